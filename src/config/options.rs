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
        /// even when HTTP is on loopback, because Firefox never sends to 127.0.0.1; it answers only
        /// peers that have a session.
        udp: SocketAddr = "[::]:8189",
        /// Folder of pipeline files, instead of the built-in ones.
        pipelines: Option<PathBuf> = "",
        /// Folder of the pages, instead of the built-in ones.
        web: Option<PathBuf> = "",
        /// Folder for what the server itself keeps: `api.toml`, with what was changed through the
        /// API. Unset: such changes hold until the server stops.
        state: Option<PathBuf> = "",
        /// What to log to standard error. The WebRTC library `str0m` logs only errors unless it is
        /// named.
        log: LogFilter = "info",
        /// How lines of the log look: `text`, or `json` for one object a line.
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
        /// Where clients reach this server, for whole URLs in answers: scheme, host and, if a proxy
        /// puts the server below one, a path, `https://example.org/live`. The proxy removes that
        /// path from requests. Counts more than what trusted proxies say; unset, and without them,
        /// answers hold paths only.
        public_url: Option<PublicUrl> = "",
        /// Simultaneous connections, event streams included; further ones get 503. The last eighth,
        /// at most 256, is kept for POST, PATCH, DELETE, `/healthz` and `/metrics`. Unset: one for
        /// each of `limits.viewers`, and 1000 besides.
        connections: Option<usize> = "" from "1" to "1000000",
        /// Time limit for a request's head; also how long an idle connection is kept.
        header_timeout: Duration = "20s" from "100ms" to "10m",
        /// Time limit for a request's body.
        body_timeout: Duration = "10s" from "100ms" to "10m",
        /// Time for a client to take more of a reply, after which its connection ends.
        write_timeout: Duration = "20s" from "100ms" to "10m",
        /// Maximum size of a request's head.
        header_bytes: Bytes = "16KiB" from "8KiB" to "1MiB",
        /// Accept PATCH without If-Match, which RFC 9725 section 4.3.1 requires.
        lenient_etag: bool = "false",
        /// Answer 404 instead of 409 to viewers of a broadcast that has no publisher.
        missing_is_404: bool = "false",
        /// Addresses and networks of proxies that are believed about their clients' addresses and
        /// about the URLs that these use (`http.forwarded_header`, PROXY protocol). Without them, limits count everyone
        /// behind a proxy as one client.
        trusted_proxies: Vec<IpNet> = "",
        /// The header to which trusted proxies append the address of their client. The URL that
        /// clients use comes from X-Forwarded-Proto and -Host, or from `proto` and `host` in
        /// Forwarded, if both are there. The other header is ignored, because a client may have
        /// written it.
        forwarded_header: ForwardedHeader = "X-Forwarded-For",
        /// Origins of other sites' pages that may use the API, publish, and watch what is not public,
        /// such as `https://a.example`; `*` for all. Watching what is public needs no entry.
        origins: Vec<PageOrigin> = "",
        /// How long browsers shall refuse plain HTTP for this host (`Strict-Transport-Security`),
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
        /// What the server is called, on its pages and where they are shared.
        name: PageText = "Aerial",
        /// One sentence about it, for search engines and messengers. Unset: a sentence about Aerial.
        description: Option<PageText> = "",
        /// A line at the foot of each page. Unset: a line about Aerial.
        footer: Option<PageText> = "",
        /// A picture before the name, also as the icon of the pages: a file that ends in .svg, .png,
        /// .webp or .jpg.
        logo: Option<LogoFile> = "",
        /// The colour of buttons and other things that stand out. It is darkened on light grounds and
        /// lightened on dark ones until it can be read.
        accent: Option<AccentColour> = "",
    }
}

section! {
    /// `[admin]`: the operator's own port.
    Admin "admin." {
        /// Address and port, or `unix:` and a path, at which the operator reads metrics and inspects
        /// and changes pipelines. An address asks for a token with the right, which is made and
        /// logged at start if none is configured; a socket is open to the server's own user. `off`:
        /// only tokens on the HTTP port.
        listen: AdminAddress = "127.0.0.1:8190",
    }
}

section! {
    /// `[auth]`: who may publish and watch. Off without tokens.
    Auth "auth." {
        /// A token that may publish everything. As a flag, it is visible to other users of the
        /// machine.
        publish_token: Option<Secret> = "",
        /// A token that may watch everything.
        watch_token: Option<Secret> = "",
        /// Broadcasts that anyone may watch without a token. Unset: all, unless a token is for
        /// watching.
        public: Option<Vec<Pattern>> = "",
        /// Also accept tokens in URLs, as `?token=`. Proxies then log them.
        query: bool = "false",
        /// Also accept tokens as the password of Basic authentication, with any user name.
        basic: bool = "false",
        /// Require the token at session URLs too. Off: anyone who knows such a URL, which is
        /// secret, may end the session; several clients send no token there.
        sessions: bool = "false",
        /// File with the key of signed tokens (JWT): a public key (PEM) for RS256, ES256 or `EdDSA`, a
        /// JWK Set, or a secret of at least 32 bytes for HS256.
        jwt_key: Option<PathBuf> = "",
        /// URL of a JWK Set with the keys, instead of a file.
        jwt_url: Option<ServiceUrl> = "",
        /// How long fetched keys are used before they are fetched again. A token with an unknown
        /// key id fetches them at once, at most every 5s. Keys that cannot be refreshed stay good for
        /// 24h.
        jwt_refresh: Duration = "10m" from "10s" to "24h",
        /// The issuer (`iss`) that signed tokens must have. Unset: any that has the key.
        jwt_issuer: Option<String> = "",
        /// The audience (`aud`) that must be among that of signed tokens. Unset: any.
        jwt_audience: Option<String> = "",
        /// The claim of signed tokens that holds their rights.
        jwt_claim: String = "aerial",
        /// How far the clocks of issuer and server may differ: signed tokens are accepted for as long
        /// before `nbf` and after `exp`, and sessions end that long after `exp`.
        jwt_leeway: Duration = "10s" from "0s" to "5m",
        /// URL that is asked by POST who may publish and watch, if no token here says so. Needs
        /// `auth.callback_secret`.
        callback: Option<ServiceUrl> = "",
        /// Signs the questions (HMAC-SHA256), so that the other server knows who asks.
        callback_secret: Option<Secret> = "",
        /// Time for an answer, after which nobody is let in.
        callback_timeout: Duration = "2s" from "100ms" to "10s",
        /// How long an answer is kept that names no lifetime; a session asks again at the end of it.
        callback_lifetime: Duration = "1m" from "1s" to "24h",
    }
}

section! {
    /// `[limits]`: how much clients can make the server do.
    Limits "limits." {
        /// Simultaneous sessions, publishers and viewers together. When full, one that has not
        /// connected yet makes room: the oldest that has sent no connectivity check, or else the
        /// oldest.
        sessions: usize = "10000" from "1" to "1000000",
        /// Simultaneous broadcasts.
        broadcasts: usize = "1000" from "1" to "100000",
        /// Simultaneous broadcasts that one token publishes; beyond that, 503.
        token_broadcasts: usize = "1000" from "1" to "100000",
        /// Viewers of one broadcast. When full, one that has not connected yet makes room, as with
        /// `limits.sessions`.
        viewers: usize = "5000" from "1" to "1000000",
        /// Bit rate in kbit/s above which a publisher is asked for less (REMB) and, five seconds
        /// later, ended; above four times as much, after two seconds.
        publisher_bitrate: usize = "50000" from "50" to "1000000",
        /// Automatic transcodes of all broadcasts at once. Beyond that, viewers get what there is.
        transcodes: usize = "16" from "0" to "1000",
        /// Automatic transcodes of one broadcast at once.
        broadcast_transcodes: usize = "4" from "0" to "100",
        /// Offers per second from one address (IPv6: one /64), in bursts of up to ten times as
        /// many; beyond that, 429. A /24 (IPv6: /48) has sixteen times as many.
        source_offers: usize = "20" from "1" to "1000000",
        /// Wrong tokens per minute from one address (IPv6: one /64); further wrong ones get 429. A
        /// /24 (IPv6: /48) has sixteen times as many.
        source_failures: usize = "60" from "1" to "1000000",
        /// Simultaneous publishers at one address (IPv6: one /64); beyond that, 429. A /24 (IPv6: /48)
        /// may have four times as many.
        source_publishers: usize = "100" from "1" to "1000000",
        /// Simultaneous viewers at one address (IPv6: one /64), such as a conference behind one NAT;
        /// beyond that, 429. A /24 (IPv6: /48) may have four times as many.
        source_viewers: usize = "1000" from "1" to "1000000",
        /// Simultaneous viewers with one token, which they may all share; beyond that, 429.
        token_viewers: usize = "10000" from "1" to "1000000",
        /// Simultaneous HTTP connections of one address (IPv6: one /64); beyond that, 429. A /24
        /// (IPv6: /48) may have four times as many.
        source_connections: usize = "2000" from "1" to "1000000",
        /// Simultaneous event streams of one address (IPv6: one /64); beyond that, 429. A /24
        /// (IPv6: /48) may have four times as many.
        source_streams: usize = "1000" from "1" to "1000000",
        /// Resident memory of the server, near which new clients get 503. Unset: what its control
        /// group allows. `ulimit -v` counts as well.
        memory: Option<Bytes> = "",
        /// Data that the process of one pipeline may hold in memory; a pipeline that needs more
        /// fails, and is restarted. GPU drivers may need more.
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
        /// Time without a sign of life (RTP, RTCP, or a consent check) after
        /// which a publisher is stale and another may take its name. A publisher that has left
        /// longer gaps gets one and a half times its longest one, up to 8s.
        stale: Duration = "2s" from "100ms" to "5m",
        /// Time without RTP after which a publisher is stale although its connection is alive.
        /// Unset: never.
        silent: Option<Duration> = "" from "100ms" to "1h",
        /// Time without a sign of life after which a publisher is gone.
        ended: Duration = "10s" from "200ms" to "10m",
        /// Time without a sign of life from a viewer after which its session ends (RFC 7675).
        consent: Duration = "15s" from "1s" to "30s",
        /// How long viewers wait for a publisher that is gone.
        grace: Duration = "5s" from "0s" to "1h",
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
        /// Addresses that clients reach, or names of them, for a server behind NAT. They are
        /// advertised besides the machine's own, and before them.
        public_addresses: Vec<PublicAddress> = "",
        /// STUN server that is asked, from the UDP port itself, by which address the port is reached.
        /// That is advertised like `webrtc.public_addresses`. Needs a NAT that keeps the port open,
        /// such as one that forwards it.
        stun_server: Option<StunServer> = "",
        /// Advertise the machine's own addresses although public ones are known. They serve clients in
        /// the same network.
        local_addresses: bool = "true",
        /// Take media over TCP as well, from clients whose network lets no UDP through (RFC 6544):
        /// on the port of HTTP, with TLS or without. An address and port, such as `[::]:8189`: there,
        /// too, for a server whose HTTP port is behind a proxy.
        tcp: MediaOverTcp = "true",
        /// What carries publishers: GStreamer's webrtcbin, or the direct engine.
        publisher_engine: Engine = "webrtcbin",
        /// What carries viewers: the direct engine, or GStreamer's webrtcbin, which needs several
        /// times the CPU and some threads per viewer.
        viewer_engine: Engine = "direct",
        /// STUN and TURN servers that clients are told about (RFC 9725 section 4.6). Anyone who may
        /// publish or watch sees the passwords. A TURN server without a user name needs
        /// `webrtc.turn_secret`.
        ice_servers: Vec<IceServer> = "",
        /// Secret that the TURN servers without a user name know as well (coturn:
        /// `static-auth-secret`). Each session gets a user name and a password of its own, made from
        /// it.
        turn_secret: Option<Secret> = "",
        /// How long such a password may be used to begin.
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
        /// Folder of recordings, for the list, playback and the options below. It is created if it is
        /// missing, and is the variable `directory` of pipelines unless `vars` has another. Only files
        /// named as the recording pipelines name them count.
        directory: Option<PathBuf> = "",
        /// Delete recordings this long after they were last written to, such as 720h. Unset: never.
        max_age: Option<Duration> = "" from "1m" to "876000h",
        /// Delete the oldest recordings while all together are larger, such as 500GiB. Unset: never.
        max_size: Option<Bytes> = "",
        /// Delete the oldest recordings while less than this is free where they are, such as 20GiB.
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
        /// This node's name, different from that of every other one. Unset: the host name.
        node: Option<NodeName> = "",
        /// File with the credentials for NATS: a `.creds` file, or the seed of an nkey.
        credentials: Option<PathBuf> = "",
        /// Certificates of the authorities that sign those of the NATS servers: a PEM file. Unset:
        /// those of the system.
        ca: Option<PathBuf> = "",
        /// This node's certificate for NATS: a PEM file.
        certificate: Option<PathBuf> = "",
        /// Private key of the certificate: a PEM file without a password.
        key: Option<PathBuf> = "",
        /// How long a node that gives no sign of life still counts as alive. Then its broadcasts are
        /// free, and another node may run its sources.
        lease: Duration = "2s" from "1s" to "1m",
        /// How long frames from another node may fail to arrive before they are asked for again, and
        /// the NATS server is doubted.
        silence: Duration = "300ms" from "100ms" to "10s",
        /// What publishers get while NATS cannot be reached: `accept`, for the viewers of this node
        /// until it can be, or `refuse` (503).
        alone: AlonePolicy = "accept",
        /// Copies of the registry, at most one for each NATS server. Unset: 3 if there are at least
        /// three addresses, otherwise 1.
        replicas: Option<usize> = "" from "1" to "5",
    }
}
