//! Values that only options have, as text. Those that the keys of broadcasts have as well are in
//! `plan`.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;

use crate::{access::Secret, client::ForwardedHeader, plan::Value};

/// A size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub usize);

/// Where the operator's own port is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminAddress {
    /// Nowhere.
    Off,
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What is logged: a filter of `tracing-subscriber`, known to be valid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFilter(pub String);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Value for LogFormat {
    const TAKES: &'static str = "text or json";

    fn read(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Scheme, authority and perhaps a path, without a slash at the end: `https://example.org/live`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicUrl(pub String);

/// The URL of another server that gets requests; it may have a query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceUrl(pub String);

/// The origin of pages as browsers send it, `https://live.example`, or `*` for all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageOrigin(pub String);

/// A STUN or TURN server that is announced to clients (RFC 7064, RFC 7065).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IceServer {
    /// `stun:host:port` or `turn:host:port?transport=udp`.
    url: String,
    /// User name and password of a TURN server.
    login: Option<(String, String)>,
}

impl IceServer {
    /// The value of a `Link` header (RFC 9725 §4.6), the parameters in the order that clients
    /// look for them.
    pub fn link(&self) -> String {
        let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let url = &self.url;
        match &self.login {
            None => format!("<{url}>; rel=\"ice-server\""),
            Some((user, password)) => format!(
                "<{url}>; rel=\"ice-server\"; username=\"{}\"; credential=\"{}\"; \
                 credential-type=\"password\"",
                quote(user),
                quote(password)
            ),
        }
    }

    /// The URL of a TURN server whose passwords are made for each session.
    pub fn takes_made_password(&self) -> Option<&str> {
        let is_turn = self.url.starts_with("turn");
        (is_turn && self.login.is_none()).then_some(&self.url)
    }

    fn read(text: &str) -> Option<Self> {
        // OBS and MediaMTX cut the header at `,` and `;`, also within quotes.
        let harmless = |c: char| c.is_ascii_graphic() && !"<>,;".contains(c);
        let (scheme, rest) = text.split_once(':')?;
        if rest.is_empty() || !text.chars().all(harmless) {
            return None;
        }
        match (scheme, rest.rsplit_once('@')) {
            ("stun" | "stuns" | "turn" | "turns", None) => Some(Self {
                url: text.to_owned(),
                login: None,
            }),
            ("turn" | "turns", Some((login, host))) if !host.is_empty() => {
                let (user, password) = login.split_once(':')?;
                Some(Self {
                    url: format!("{scheme}:{host}"),
                    login: Some((user.to_owned(), password.to_owned())),
                })
            }
            _ => None,
        }
    }
}

/// Without the password.
impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl Value for SocketAddr {
    const TAKES: &'static str = "an address and port such as 127.0.0.1:8080";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for AdminAddress {
    const TAKES: &'static str = "an address and port, unix: and a path, or off";

    fn read(text: &str) -> Option<Self> {
        match text.strip_prefix("unix:") {
            Some("") => None,
            Some(path) => Some(Self::Unix(path.into())),
            None if text == "off" => Some(Self::Off),
            None => text.parse().ok().map(Self::Tcp),
        }
    }
}

impl Value for PathBuf {
    const TAKES: &'static str = "a path";

    fn read(text: &str) -> Option<Self> {
        Some(text.into())
    }
}

impl Value for Bytes {
    const TAKES: &'static str = "a size in bytes, such as 65536 or 64KiB,";

    fn read(text: &str) -> Option<Self> {
        let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
        let mut sizes = units
            .into_iter()
            .filter_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
        let (number, factor) = sizes.next().unwrap_or((text, 1));
        number.parse::<usize>().ok()?.checked_mul(factor).map(Self)
    }
}

impl Value for Secret {
    const TAKES: &'static str = "a token of 1 to 256 visible ASCII characters without spaces";
    const SECRET: bool = true;

    fn read(text: &str) -> Option<Self> {
        Self::new(text)
    }
}

impl Value for LogFilter {
    const TAKES: &'static str =
        "error, warn, info, debug, trace or off, or a list such as info,aerial=debug";

    fn read(text: &str) -> Option<Self> {
        // The filter's own parser would take a misspelt level for the name of a module.
        let level = |text: &str| text.parse::<tracing::level_filters::LevelFilter>().is_ok();
        let known = text.split(',').all(|part| match part.split_once('=') {
            Some((target, text)) => !target.is_empty() && level(text),
            None => level(part) && !part.is_empty(),
        });
        known.then(|| Self(text.to_owned()))
    }
}

impl Value for PublicUrl {
    const TAKES: &'static str = "a URL such as https://live.example or https://example.org/live";

    fn read(text: &str) -> Option<Self> {
        let url: http::Uri = text.parse().ok()?;
        let scheme = matches!(url.scheme_str(), Some("http" | "https"));
        let bare = url.query().is_none() && !text.contains('#');
        (scheme && bare && url.authority().is_some())
            .then(|| Self(text.trim_end_matches('/').to_owned()))
    }
}

impl Value for ServiceUrl {
    const TAKES: &'static str = "a URL such as https://auth.example/keys";
    // It may have a secret in its query.
    const SECRET: bool = true;

    fn read(text: &str) -> Option<Self> {
        let url: http::Uri = text.parse().ok()?;
        let scheme = matches!(url.scheme_str(), Some("http" | "https"));
        let authority = url.authority()?.as_str();
        (scheme && !authority.contains('@')).then(|| Self(text.to_owned()))
    }
}

impl Value for Vec<PageOrigin> {
    const TAKES: &'static str = "origins such as https://live.example, or *, separated by commas,";

    fn read(text: &str) -> Option<Self> {
        let is_origin = |text: &str| {
            let bare = |(scheme, host): (&str, &str)| {
                let legal = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
                !scheme.is_empty() && !host.is_empty() && host.chars().all(legal)
            };
            text == "*" || text.split_once("://").is_some_and(bare)
        };
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(|part| is_origin(part).then(|| PageOrigin(part.to_ascii_lowercase())))
            .collect()
    }
}

impl Value for ForwardedHeader {
    const TAKES: &'static str = "X-Forwarded-For or Forwarded";

    fn read(text: &str) -> Option<Self> {
        match text {
            "X-Forwarded-For" => Some(Self::XForwardedFor),
            "Forwarded" => Some(Self::Forwarded),
            _ => None,
        }
    }
}

impl Value for Vec<IpNet> {
    const TAKES: &'static str =
        "addresses and networks such as 10.0.0.2 or 10.0.0.0/24, separated by commas";

    fn read(text: &str) -> Option<Self> {
        let network = |part: &str| {
            part.parse::<IpAddr>()
                .ok()
                .map(IpNet::from)
                .or_else(|| part.parse().ok())
        };
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(network)
            .collect()
    }
}

impl Value for Vec<IceServer> {
    const TAKES: &'static str = "servers such as stun:host:3478, turn:host:3478 or \
                                 turn:user:password@host:3478?transport=udp, separated by commas,";
    // They have passwords.
    const SECRET: bool = true;

    fn read(text: &str) -> Option<Self> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(IceServer::read)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let read = Vec::<IpNet>::read;
        let text = |networks: Vec<IpNet>| networks.iter().map(IpNet::to_string).collect::<Vec<_>>();
        assert_eq!(
            read("10.0.0.2, 10.1.0.0/16,::1").map(text).unwrap(),
            ["10.0.0.2/32", "10.1.0.0/16", "::1/128"]
        );
        for wrong in [
            "localhost",
            "10.0.0.0/33",
            "10.0.0.2:80",
            "10.0.0.0-10.0.0.9",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn admin_addresses() {
        let read = AdminAddress::read;
        assert_eq!(read("off"), Some(AdminAddress::Off));
        let socket = AdminAddress::Unix("/run/aerial/admin".into());
        assert_eq!(read("unix:/run/aerial/admin"), Some(socket));
        assert!(matches!(read("[::1]:0"), Some(AdminAddress::Tcp(_))));
        for wrong in ["", "unix:", "8190", "localhost:8190"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn page_origins() {
        let read = Vec::<PageOrigin>::read;
        let text = "https://A.example, http://[::1]:8080,capacitor://localhost,*";
        let read_as = [
            "https://a.example",
            "http://[::1]:8080",
            "capacitor://localhost",
            "*",
        ];
        let expected = read_as.map(|origin| PageOrigin(origin.to_owned()));
        assert_eq!(read(text).unwrap(), expected);
        for wrong in [
            "a.example",
            "https://",
            "https://a.example/",
            "https://*.example",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(Bytes::read("64KiB"), Some(Bytes(65_536)));
        assert_eq!(Bytes::read("12"), Some(Bytes(12)));
        assert_eq!(Bytes::read("12KB"), None);
    }

    #[test]
    fn misspelt_levels_are_refused() {
        assert!(LogFilter::read("debug").is_some());
        assert!(LogFilter::read("info,aerial::http=trace,gstreamer=warn").is_some());
        for wrong in ["", "debgu", "info,aerial=loud", "=info"] {
            assert!(LogFilter::read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn ice_servers_as_links() {
        let read = Vec::<IceServer>::read;
        let servers = read("stun:a.example:3478, turn:u:p@\"b@a.example?transport=udp").unwrap();
        assert_eq!(
            servers.iter().map(IceServer::link).collect::<Vec<_>>(),
            [
                r#"<stun:a.example:3478>; rel="ice-server""#,
                r#"<turn:a.example?transport=udp>; rel="ice-server"; username="u"; credential="p@\"b"; credential-type="password""#,
            ]
        );
        assert!(
            !format!("{servers:?}").contains("p@"),
            "passwords stay out of logs"
        );
        for wrong in [
            "a.example",
            "stun:",
            "stun:u:p@a",
            "turn:u:p;q@a",
            "http://a",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn public_urls() {
        for (text, url) in [
            ("https://a.example", "https://a.example"),
            ("https://a.example/", "https://a.example"),
            ("http://a.example:8080/live/", "http://a.example:8080/live"),
            ("https://a.example/x/y", "https://a.example/x/y"),
        ] {
            assert_eq!(PublicUrl::read(text), Some(PublicUrl(url.into())));
        }
        for wrong in [
            "a.example",
            "/live",
            "ftp://a.example",
            "https://a/?q",
            "https://a/x?q",
            "https://a/#x",
        ] {
            assert!(PublicUrl::read(wrong).is_none(), "{wrong}");
        }
    }
}
