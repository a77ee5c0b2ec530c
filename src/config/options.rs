//! The table of all options: the structs, their documentation, defaults and ranges, once.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

use super::{
    AlonePolicy, Error, NatsServer, NodeName, Opt, RawConfig,
    network::{MediaOverTcp, PublicAddress, StunServer},
    option::range,
    site::{AccentColour, LogoFile},
    value::{
        AdminAddress, Bytes, IceServer, LogFilter, LogFormat, PageOrigin, PublicUrl, ServiceUrl,
    },
};
use crate::{
    access::Secret,
    client::ForwardedHeader,
    plan::{Engine, PageText, Pattern, Value},
};

/// Every option outside `[broadcasts]`, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Opt> {
    [
        Main::OPTIONS,
        Http::OPTIONS,
        SiteOptions::OPTIONS,
        Admin::OPTIONS,
        Auth::OPTIONS,
        Limits::OPTIONS,
        Timeouts::OPTIONS,
        WebRtc::OPTIONS,
        RecordingOptions::OPTIONS,
        ClusterOptions::OPTIONS,
    ]
    .into_iter()
    .flatten()
}

/// Declares a section: a struct with one field per option, the table row of each, and `take`,
/// which fills the struct.
macro_rules! section {
    (@option $prefix:literal $field:ident $type:ty, $default:literal, [$($help:literal)+] $($range:literal)*) => {
        Opt {
            key: concat!($prefix, stringify!($field)),
            help: concat!($($help),+),
            takes: <$type as Value>::TAKES,
            secret: <$type as Value>::SECRET,
            default: $default,
            range: range!($($range)*),
        }
    };
    ($(#[doc = $about:literal])+ $name:ident $prefix:literal {
        $($(#[doc = $help:literal])+
        $field:ident: $type:ty = $default:literal $(from $min:literal to $max:literal)?,)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub struct $name {
            $($(#[doc = $help])+
            #[doc = concat!("\n\nDefault: `", $default, "`" $(, "; from `", $min, "` to `", $max, "`")?, ".")]
            pub $field: $type,)+
        }

        impl $name {
            const OPTIONS: &[Opt] =
                &[$(section!(@option $prefix $field $type, $default, [$($help)+] $($min $max)?)),+];

            pub(super) fn take(raw: &RawConfig) -> Result<Self, Error> {
                Ok(Self {
                    $($field: raw.take(&section!(
                        @option $prefix $field $type, $default, [$($help)+] $($min $max)?
                    ))?,)+
                })
            }
        }
    };
}

section! {
    /// Options outside any section.
    Main "" {
        /// Address and port of HTTP. Beyond 127.0.0.1, use TLS (`http.tls_certificate`) or a TLS
        /// proxy in front: browsers allow cameras only on secure pages.
        listen: SocketAddr = "127.0.0.1:8080",
        /// Address and port of WebRTC media, one UDP port for everyone. `[::]` is every address,
        /// IPv6 and IPv4; `0.0.0.0` is IPv4 only. It stays open on the machine's network addresses
        /// even when HTTP listens on loopback, because Firefox never sends to 127.0.0.1; it answers
        /// only peers that have a session.
        udp: SocketAddr = "[::]:8189",
        /// Folder of pipeline files, instead of the built-in ones.
        pipelines: Option<PathBuf> = "",
        /// Folder of the pages, instead of the built-in ones.
        web: Option<PathBuf> = "",
        /// Folder for the server's own state: `api.toml`, which holds changes made through the API.
        /// Unset: such changes last until the server stops.
        state: Option<PathBuf> = "",
        /// What to log to standard error. The WebRTC library `str0m` logs only errors unless you
        /// name it.
        log: LogFilter = "info",
        /// Format of the log: `text`, or `json` for one object per line.
        log_format: LogFormat = "text",
        /// Whether the broadcast `demo` runs. Unset: only if no broadcast is configured.
        demo: Option<bool> = "",
    }
}

section! {
    /// `[http]`: the HTTP port.
    Http "http." {
        /// Certificate chain for HTTPS: a PEM file, the server's own certificate first. Reloaded
        /// when it changes, and on SIGHUP. Unset: plain HTTP.
        tls_certificate: Option<PathBuf> = "",
        /// Private key of the certificate: a PEM file without a password.
        tls_key: Option<PathBuf> = "",
        /// Where clients reach this server, for absolute URLs in responses: scheme, host and, if a
        /// proxy serves it below a path, that path: `https://example.org/live`. The proxy removes
        /// the path from requests. Takes precedence over what trusted proxies say; without either,
        /// responses contain paths only.
        public_url: Option<PublicUrl> = "",
        /// Simultaneous connections, event streams included; further ones get 503. The last eighth,
        /// at most 256, is reserved for POST, PATCH, DELETE, `/healthz` and `/metrics`. Unset:
        /// `limits.viewers` plus 1000.
        connections: Option<usize> = "" from "1" to "1000000",
        /// Time limit for a request's head; also how long an idle connection is kept open.
        header_timeout: Duration = "20s" from "100ms" to "10m",
        /// Time limit for a request's body.
        body_timeout: Duration = "10s" from "100ms" to "10m",
        /// How long a client may stop reading a response before its connection is closed.
        write_timeout: Duration = "20s" from "100ms" to "10m",
        /// Maximum size of a request's head.
        header_bytes: Bytes = "16KiB" from "8KiB" to "1MiB",
        /// Accept PATCH without If-Match, which RFC 9725 section 4.3.1 requires.
        lenient_etag: bool = "false",
        /// Answer viewers of a broadcast without a publisher with 404 instead of 409.
        missing_is_404: bool = "false",
        /// Addresses and networks of proxies that are trusted to report the addresses of their
        /// clients and the URLs that these use (`http.forwarded_header`, PROXY protocol). Without
        /// this, limits count everyone behind a proxy as one client.
        trusted_proxies: Vec<IpNet> = "",
        /// The header to which trusted proxies append their client's address. The URL that clients
        /// use is taken from X-Forwarded-Proto and -Host, or from `proto` and `host` in Forwarded,
        /// if both are present. The other header is ignored, because a client may have set it.
        forwarded_header: ForwardedHeader = "X-Forwarded-For",
        /// Origins of other sites whose pages may use the API, publish, and watch broadcasts that
        /// are not public, such as `https://a.example`; `*` for all. Watching public broadcasts
        /// needs no entry.
        origins: Vec<PageOrigin> = "",
        /// How long browsers should refuse plain HTTP for this host (`Strict-Transport-Security`),
        /// such as 8760h. Needs TLS here, or an https:// address in `http.public_url`.
        hsts: Option<Duration> = "",
        /// Send publishers to this server instead (307). Set its `http.public_url`: some clients
        /// look for their session on the server that they contacted first.
        redirect_publishers: Option<PublicUrl> = "",
        /// Send viewers to this server instead (307), which needs `http.public_url` as well.
        redirect_viewers: Option<PublicUrl> = "",
    }
}

section! {
    /// `[site]`: what the pages look like.
    SiteOptions "site." {
        /// The server's name on its pages and in link previews.
        name: PageText = "Aerial",
        /// One sentence about the server, for search engines and messengers. Unset: a sentence
        /// about Aerial.
        description: Option<PageText> = "",
        /// A line at the foot of each page. Unset: a line about Aerial.
        footer: Option<PageText> = "",
        /// A picture shown before the name and as the icon of the pages: a .svg, .png, .webp or
        /// .jpg file.
        logo: Option<LogoFile> = "",
        /// The accent colour of buttons and highlights. It is darkened on light backgrounds and
        /// lightened on dark ones until it is legible.
        accent: Option<AccentColour> = "",
    }
}

section! {
    /// `[admin]`: the operator's own port.
    Admin "admin." {
        /// Address and port, or `unix:` and a path, where the operator reads metrics and inspects
        /// and changes pipelines. An address requires a token with that right; if none is
        /// configured, Aerial creates one at startup and logs it. A socket is open to the server's
        /// own user. `off`: only tokens on the HTTP port.
        listen: AdminAddress = "127.0.0.1:8190",
    }
}

section! {
    /// `[auth]`: who may publish and watch. Off without tokens.
    Auth "auth." {
        /// A token that may publish every broadcast. As a flag, it is visible to other users of the
        /// machine.
        publish_token: Option<Secret> = "",
        /// A token that may watch every broadcast.
        watch_token: Option<Secret> = "",
        /// Broadcasts that anyone may watch without a token. Unset: all, unless some token grants
        /// watching.
        public: Option<Vec<Pattern>> = "",
        /// Also accept tokens in URLs, as `?token=`. Proxies then log them.
        query: bool = "false",
        /// Also accept tokens as the password of Basic authentication, with any user name.
        basic: bool = "false",
        /// Require the token for session URLs as well. Off: anyone who knows such a URL, which is
        /// secret, can end the session; several clients send no token there.
        sessions: bool = "false",
        /// File with the key of signed tokens (JWT): a public key (PEM) for RS256, ES256 or `EdDSA`, a
        /// JWK Set, or a secret of at least 32 bytes for HS256.
        jwt_key: Option<PathBuf> = "",
        /// URL of a JWK Set with the keys, instead of a file.
        jwt_url: Option<ServiceUrl> = "",
        /// How long fetched keys are used before they are fetched again. A token with an unknown
        /// key id triggers a fetch at once, at most every 5s. Keys that cannot be refreshed remain
        /// valid for 24h.
        jwt_refresh: Duration = "10m" from "10s" to "24h",
        /// The issuer (`iss`) that signed tokens must have. Unset: any issuer with the key.
        jwt_issuer: Option<String> = "",
        /// The audience (`aud`) that signed tokens must include. Unset: any.
        jwt_audience: Option<String> = "",
        /// The claim of signed tokens that holds their rights.
        jwt_claim: String = "aerial",
        /// How far the clocks of issuer and server may differ: signed tokens are accepted this long
        /// before `nbf` and after `exp`, and sessions end this long after `exp`.
        jwt_leeway: Duration = "10s" from "0s" to "5m",
        /// URL that decides, by POST, who may publish and watch when no configured token does.
        /// Needs `auth.callback_secret`.
        callback: Option<ServiceUrl> = "",
        /// Secret that signs the requests (HMAC-SHA256), so that the other server knows who is
        /// asking.
        callback_secret: Option<Secret> = "",
        /// Time limit for an answer; without one, access is denied.
        callback_timeout: Duration = "2s" from "100ms" to "10s",
        /// How long an answer without a lifetime is valid; when it expires, running sessions are
        /// checked again.
        callback_lifetime: Duration = "1m" from "1s" to "24h",
    }
}

section! {
    /// `[limits]`: how much clients can make the server do.
    Limits "limits." {
        /// Simultaneous sessions, publishers and viewers together. When the limit is reached, a
        /// session that has not connected yet makes room: the oldest without a connectivity check,
        /// or else the oldest.
        sessions: usize = "10000" from "1" to "1000000",
        /// Simultaneous broadcasts.
        broadcasts: usize = "1000" from "1" to "100000",
        /// Simultaneous broadcasts published with one token; further ones get 503.
        token_broadcasts: usize = "1000" from "1" to "100000",
        /// Viewers of one broadcast. When the limit is reached, one that has not connected yet
        /// makes room, as with `limits.sessions`.
        viewers: usize = "5000" from "1" to "1000000",
        /// Bitrate in kbit/s above which a publisher is asked to send less (REMB) and, five seconds
        /// later, disconnected; above four times the limit, after two seconds.
        publisher_bitrate: usize = "50000" from "50" to "1000000",
        /// Simultaneous automatic transcodes of all broadcasts. Beyond that, viewers get what is
        /// available.
        transcodes: usize = "16" from "0" to "1000",
        /// Simultaneous automatic transcodes of one broadcast.
        broadcast_transcodes: usize = "4" from "0" to "100",
        /// Offers per second from one address (IPv6: one /64), in bursts of up to ten times as
        /// many; further ones get 429. A /24 (IPv6: /48) has sixteen times as many.
        source_offers: usize = "20" from "1" to "1000000",
        /// Wrong tokens per minute from one address (IPv6: one /64); further wrong ones get 429. A
        /// /24 (IPv6: /48) has sixteen times as many.
        source_failures: usize = "60" from "1" to "1000000",
        /// Simultaneous publishers at one address (IPv6: one /64); further ones get 429. A /24
        /// (IPv6: /48) may have four times as many.
        source_publishers: usize = "100" from "1" to "1000000",
        /// Simultaneous viewers at one address (IPv6: one /64), such as a conference behind one
        /// NAT; further ones get 429. A /24 (IPv6: /48) may have four times as many.
        source_viewers: usize = "1000" from "1" to "1000000",
        /// Simultaneous viewers that share one token; further ones get 429.
        token_viewers: usize = "10000" from "1" to "1000000",
        /// Simultaneous HTTP connections from one address (IPv6: one /64); further ones get 429. A
        /// /24 (IPv6: /48) may have four times as many.
        source_connections: usize = "2000" from "1" to "1000000",
        /// Simultaneous event streams to one address (IPv6: one /64); further ones get 429. A /24
        /// (IPv6: /48) may have four times as many.
        source_streams: usize = "1000" from "1" to "1000000",
        /// Resident memory of the server; close to this limit, new clients get 503. Unset: the
        /// limit of its control group. `ulimit -v` counts as well.
        memory: Option<Bytes> = "",
        /// Memory for the data of one pipeline's process; a pipeline that needs more fails and is
        /// restarted. GPU drivers may need more.
        pipeline_memory: Bytes = "4096MiB" from "64MiB" to "1048576MiB",
        /// Maximum size of an offer.
        offer_bytes: Bytes = "128KiB" from "1KiB" to "128KiB",
        /// Maximum size of a trickle ICE fragment.
        fragment_bytes: Bytes = "64KiB" from "1KiB" to "64KiB",
    }
}

section! {
    /// `[timeouts]`: how long things may take.
    Timeouts "timeouts." {
        /// Time from the answer, or from the client's last PATCH, to its first authentic
        /// connectivity check (STUN), after which the session ends.
        first_check: Duration = "3s" from "500ms" to "5m",
        /// Time from the answer until ICE and DTLS are up, after which the session ends.
        connect: Duration = "15s" from "100ms" to "5m",
        /// Time from a publisher's connection to its first packet, after which the session ends.
        media: Duration = "10s" from "100ms" to "5m",
        /// Time without a sign of life (RTP, RTCP, or a consent check) after which a publisher is
        /// stale and another may take its name. A publisher with longer gaps in the past gets one
        /// and a half times its longest gap, up to 8s.
        stale: Duration = "2s" from "100ms" to "5m",
        /// Time without RTP after which a publisher is stale even though its connection is alive.
        /// Unset: never.
        silent: Option<Duration> = "" from "100ms" to "1h",
        /// Time without a sign of life after which a publisher is gone.
        ended: Duration = "10s" from "200ms" to "10m",
        /// Time without a sign of life from a viewer after which its session ends (RFC 7675).
        consent: Duration = "15s" from "1s" to "30s",
        /// How long viewers wait for a publisher that is gone.
        grace: Duration = "5s" from "0s" to "1h",
        /// Time after which the process of a pipeline, or of peers on webrtcbin, is killed if it
        /// does not answer, or passes nothing on of the media of its peers. `stall` is the limit for
        /// the media of pipelines.
        worker: Duration = "10s" from "1s" to "5m",
        /// How long the server may take to stop.
        drain: Duration = "5s" from "100ms" to "1m",
        /// How long sessions may go on after SIGTERM, SIGINT or `POST /admin/drain`, while new ones
        /// get 503. The server stops when the last one has ended, or at a second signal.
        drain_sessions: Duration = "0s" from "0s" to "24h",
    }
}

section! {
    /// `[webrtc]`: peer connections.
    WebRtc "webrtc." {
        /// Addresses, or host names, at which clients reach a server behind NAT. They are
        /// advertised before the machine's own.
        public_addresses: Vec<PublicAddress> = "",
        /// STUN server that the UDP port itself asks for its public address, which is then
        /// advertised like `webrtc.public_addresses`. Needs a NAT that keeps the port open, such as
        /// one that forwards it.
        stun_server: Option<StunServer> = "",
        /// Advertise the machine's own addresses even if public ones are known. Clients in the same
        /// network need them.
        local_addresses: bool = "true",
        /// Accept media over TCP from clients whose network blocks UDP (RFC 6544): on the HTTP
        /// port, with or without TLS. An address and port, such as `[::]:8189`, adds a listener for
        /// a server whose HTTP port is behind a proxy.
        tcp: MediaOverTcp = "true",
        /// The engine for publishers: GStreamer's webrtcbin, or the direct engine.
        publisher_engine: Engine = "webrtcbin",
        /// The engine for viewers: the direct engine, or GStreamer's webrtcbin, which needs several
        /// times the CPU and some threads per viewer.
        viewer_engine: Engine = "direct",
        /// STUN and TURN servers announced to clients (RFC 9725 section 4.6). Anyone who may
        /// publish or watch sees the passwords. A TURN server without a user name needs
        /// `webrtc.turn_secret`.
        ice_servers: Vec<IceServer> = "",
        /// Secret shared with the TURN servers that have no user name (coturn:
        /// `static-auth-secret`). From it, each session gets a user name and a password of its own.
        turn_secret: Option<Secret> = "",
        /// How long such a password can be used to start a TURN session.
        turn_lifetime: Duration = "24h" from "1m" to "720h",
        /// How long to wait for a publisher's lost packets.
        jitter: Duration = "200ms" from "0ms" to "5s",
        /// Let a new publisher replace a live one. Otherwise it gets 409.
        replace_live: bool = "false",
    }
}

section! {
    /// `[recordings]`: what outputs have recorded.
    RecordingOptions "recordings." {
        /// Folder of recordings, for the list, playback and the options below. It is created if
        /// missing, and is the default of the pipeline variable `directory`. Only files named as
        /// the recording pipelines name them count.
        directory: Option<PathBuf> = "",
        /// Delete recordings this long after they were last written, such as 720h. Unset: never.
        max_age: Option<Duration> = "" from "1m" to "876000h",
        /// Delete the oldest recordings while their total size is larger, such as 500GiB. Unset:
        /// never.
        max_size: Option<Bytes> = "",
        /// Delete the oldest recordings while the file system has less free space, such as 20GiB.
        /// Unset: never.
        min_free: Option<Bytes> = "",
    }
}

section! {
    /// `[cluster]`: several servers as one service, on NATS.
    ClusterOptions "cluster." {
        /// Addresses of NATS servers (2.11 or later, with `JetStream`), separated by commas. The server
        /// becomes a node of a cluster: publishers and viewers may connect to any node. TLS is
        /// required unless every address is on loopback. Unset: the server is on its own.
        nats: Vec<NatsServer> = "",
        /// This node's name, unique in the cluster. Unset: the host name.
        node: Option<NodeName> = "",
        /// File with the credentials for NATS: a `.creds` file, or the seed of an nkey.
        credentials: Option<PathBuf> = "",
        /// Certificates of the authorities that sign the NATS servers' certificates: a PEM file.
        /// Unset: those of the system.
        ca: Option<PathBuf> = "",
        /// This node's certificate for NATS: a PEM file.
        certificate: Option<PathBuf> = "",
        /// Private key of the certificate: a PEM file without a password.
        key: Option<PathBuf> = "",
        /// How long a node without a sign of life still counts as alive. After that, its broadcasts
        /// are free, and another node may run its sources.
        lease: Duration = "2s" from "1s" to "1m",
        /// How long to wait for frames from another node before requesting them again and
        /// suspecting the NATS server.
        silence: Duration = "300ms" from "100ms" to "10s",
        /// What happens to new publishers while NATS is unreachable: `accept` them, for the viewers
        /// of this node only until NATS is back, or `refuse` them (503).
        alone: AlonePolicy = "accept",
        /// Copies of the registry, at most one for each NATS server. Unset: 3 if there are at least
        /// three addresses, otherwise 1.
        replicas: Option<usize> = "" from "1" to "5",
    }
}
