//! The table of all options: the structs, their documentation, defaults and ranges, once.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::{
    Error, Opt, RawConfig,
    option::range,
    value::{Bytes, IceServer, LogFilter, PublicUrl},
};
use crate::{
    access::Secret,
    peer::element::Ports,
    plan::{Engine, Pattern, Value},
};

/// Every option outside `[broadcasts]`, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Opt> {
    [
        Main::OPTIONS,
        Http::OPTIONS,
        Auth::OPTIONS,
        Limits::OPTIONS,
        Timeouts::OPTIONS,
        WebRtc::OPTIONS,
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
        /// Address and port of HTTP. Beyond 127.0.0.1, use TLS (`http.tls_certificate`) or put a
        /// proxy with TLS in front: browsers give pages without it no camera.
        listen: SocketAddr = "127.0.0.1:8080",
        /// Address and port of WebRTC media, one UDP port for all viewers. It stays open to the
        /// machine's own network addresses when HTTP is on loopback, because Firefox never sends
        /// to 127.0.0.1; it answers only to who has a session.
        udp: SocketAddr = "0.0.0.0:8189",
        /// Folder of pipeline files, instead of the built-in ones.
        pipelines: Option<PathBuf> = "",
        /// Folder of the pages, instead of the built-in ones.
        web: Option<PathBuf> = "",
        /// What is logged to standard error. The WebRTC library `str0m` says errors only, unless it is named.
        log: LogFilter = "info",
        /// Whether the broadcast `demo` runs. Unset: only if no broadcast is configured.
        demo: Option<bool> = "",
    }
}

section! {
    /// `[http]`: the HTTP port.
    Http "http." {
        /// Certificate chain for HTTPS, a PEM file with the server's own certificate first. Read
        /// again when it changes, and at SIGHUP. Unset: HTTP without TLS.
        tls_certificate: Option<PathBuf> = "",
        /// The certificate's private key, a PEM file without a password.
        tls_key: Option<PathBuf> = "",
        /// What clients put before paths to reach this server, if they are told whole URLs.
        public_url: Option<PublicUrl> = "",
        /// Connections at the same time, event streams included; more wait.
        connections: usize = "2000" from "1" to "1000000",
        /// Time for a request's head, and how long an idle connection is kept.
        header_timeout: Duration = "20s" from "100ms" to "10m",
        /// Time for a request's body.
        body_timeout: Duration = "10s" from "100ms" to "10m",
        /// Size of a request's head.
        header_bytes: Bytes = "16KiB" from "8KiB" to "1MiB",
        /// Accept PATCH without If-Match (RFC 9725 section 4.3.1 wants it).
        lenient_etag: bool = "false",
        /// Answer 404 instead of 409 to viewers of a broadcast without a publisher.
        missing_is_404: bool = "false",
        /// Let requests that come from this machine, to `localhost` and not through a proxy, look
        /// into pipelines and change them.
        local_control: bool = "true",
        /// Send publishers to this server instead (307). Set its `http.public_url`: some clients
        /// look for their session at the server that they were told first.
        redirect_publishers: Option<PublicUrl> = "",
        /// Send viewers to this server instead (307), which likewise needs `http.public_url`.
        redirect_viewers: Option<PublicUrl> = "",
    }
}

section! {
    /// `[auth]`: who may publish and watch. Off without tokens.
    Auth "auth." {
        /// A token with which everything may be published. As a flag, other users of the machine
        /// can see it.
        publish_token: Option<Secret> = "",
        /// A token with which everything may be watched.
        watch_token: Option<Secret> = "",
        /// Broadcasts that everybody may watch, without a token. Unset: all, as long as no token
        /// is for watching.
        public: Option<Vec<Pattern>> = "",
        /// Take tokens from URLs too, as `?token=`. They are then in the logs of proxies.
        query: bool = "false",
        /// Take tokens as the password of Basic authentication too, with any user name.
        basic: bool = "false",
        /// Require the token at the URLs of sessions too. Off: whoever knows such a URL, which is
        /// secret, may end the session; several clients send no token there.
        sessions: bool = "false",
    }
}

section! {
    /// `[limits]`: how much clients can make the server do.
    Limits "limits." {
        /// Sessions at the same time, publishers and viewers together.
        sessions: usize = "10000" from "1" to "1000000",
        /// Broadcasts at the same time.
        broadcasts: usize = "1000" from "1" to "100000",
        /// Viewers of one broadcast.
        viewers: usize = "5000" from "1" to "1000000",
        /// Offers a second from one address (of IPv6, from one /64), and ten times as many at
        /// once; more are answered 429. Unset: 20, but without a limit from this machine, where
        /// a proxy would be.
        source_offers: Option<usize> = "",
        /// Wrong tokens a minute from one address (of IPv6, from one /64); more are answered 429,
        /// and right ones too. Unset: 60, but without a limit from this machine, where a proxy
        /// would be.
        source_failures: Option<usize> = "",
        /// Size of an offer.
        offer_bytes: Bytes = "128KiB" from "1KiB" to "128KiB",
        /// Size of a trickle ICE fragment.
        fragment_bytes: Bytes = "64KiB" from "1KiB" to "64KiB",
    }
}

section! {
    /// `[timeouts]`: how long things may take.
    Timeouts "timeouts." {
        /// From the answer to ICE and DTLS being up; then the session ends.
        connect: Duration = "15s" from "100ms" to "5m",
        /// From a publisher's connection to its first packet; then the session ends.
        media: Duration = "10s" from "100ms" to "5m",
        /// Without RTP a publisher is stale: another may take its name.
        stale: Duration = "2s" from "100ms" to "5m",
        /// Without RTP a publisher is gone.
        ended: Duration = "10s" from "200ms" to "10m",
        /// Without a sign of life from a viewer its session ends (RFC 7675).
        consent: Duration = "15s" from "1s" to "30s",
        /// How long viewers wait for a publisher that is gone.
        grace: Duration = "5s" from "0s" to "1h",
        /// How long stopping the server may take.
        drain: Duration = "5s" from "100ms" to "1m",
    }
}

section! {
    /// `[webrtc]`: peer connections.
    WebRtc "webrtc." {
        /// Addresses to advertise instead of the machine's own, for a server behind NAT.
        public_addresses: Vec<IpAddr> = "",
        /// Local addresses on which publishers can connect, and viewers on webrtcbin. Unset: those of the machine's network
        /// interfaces, and loopback when HTTP is on loopback.
        publisher_addresses: Vec<IpAddr> = "",
        /// What carries publishers: GStreamer's webrtcbin, or the direct engine, which uses the
        /// one UDP port and can restart ICE.
        publisher_engine: Engine = "webrtcbin",
        /// What carries viewers: the direct engine, or GStreamer's webrtcbin, which costs several
        /// times the processor and some threads for each, cannot restart ICE, and does not follow
        /// a viewer to a new address (the page begins a new session then).
        viewer_engine: Engine = "direct",
        /// The UDP ports that webrtcbin connects on, such as 40000-40999: one for each session and
        /// address. Unset: any that the system gives.
        webrtcbin_ports: Option<Ports> = "",
        /// STUN and TURN servers that clients are told of (RFC 9725 section 4.6). Everybody who may
        /// publish or watch sees the passwords.
        ice_servers: Vec<IceServer> = "",
        /// How long a lost packet of a publisher is waited for.
        jitter: Duration = "200ms" from "0ms" to "5s",
        /// Let a new publisher replace a live one; otherwise it gets 409.
        replace_live: bool = "false",
    }
}
