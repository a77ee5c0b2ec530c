//! The values of `[cluster]`.

use std::net::IpAddr;

use crate::plan::Value;

/// Longest name of a node, in characters.
const NODE_CHARS_MAX: usize = 64;

/// The address of a NATS server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NatsServer {
    /// The address as NATS clients take it.
    pub url: String,
    /// Whether it is on this machine.
    pub is_loopback: bool,
    /// Whether it asks for TLS.
    pub is_tls: bool,
}

/// The name of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeName(pub String);

/// What publishers get while NATS cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlonePolicy {
    /// They are accepted.
    Accept,
    /// They are refused.
    Refuse,
}

impl NatsServer {
    fn new(text: &str) -> Option<Self> {
        let url = if text.contains("://") {
            text.to_owned()
        } else {
            format!("nats://{text}")
        };
        let address: http::Uri = url.parse().ok()?;
        let scheme = address.scheme_str()?;
        let authority = address.authority()?;
        let host = authority.host();
        let is_bare = address.path().len() <= 1 && address.query().is_none();
        // Credentials belong into a file.
        let is_known = ["nats", "tls"].contains(&scheme) && !authority.as_str().contains('@');
        if !is_bare || !is_known || host.is_empty() {
            return None;
        }
        let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        Some(Self {
            is_loopback: host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()),
            is_tls: scheme == "tls",
            url,
        })
    }
}

impl Value for Vec<NatsServer> {
    const TAKES: &'static str =
        "addresses without credentials, such as nats://10.0.0.1:4222, separated by commas";

    fn read(text: &str) -> Option<Self> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(NatsServer::new)
            .collect()
    }
}

impl Value for NodeName {
    const TAKES: &'static str = "a name of 1 to 64 characters A-Z a-z 0-9 . _ -";

    fn read(text: &str) -> Option<Self> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = (1..=NODE_CHARS_MAX).contains(&text.len());
        (fits && text.bytes().all(legal)).then(|| Self(text.to_owned()))
    }
}

impl Value for AlonePolicy {
    const TAKES: &'static str = "accept or refuse";

    fn read(text: &str) -> Option<Self> {
        match text {
            "accept" => Some(Self::Accept),
            "refuse" => Some(Self::Refuse),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nats_servers() {
        let read = Vec::<NatsServer>::read;
        let servers = read("127.0.0.1:4222, nats://[::1]:4223,tls://nats.example").unwrap();
        let told = servers
            .iter()
            .map(|server| (&*server.url, server.is_loopback, server.is_tls));
        let expected = [
            ("nats://127.0.0.1:4222", true, false),
            ("nats://[::1]:4223", true, false),
            ("tls://nats.example", false, true),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
        for wrong in ["http://a", "nats://u:p@a", "nats://", "nats://a/b", "a b"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_of_nodes_are_one_part_of_a_subject() {
        assert!(NodeName::read("edge-1.example_2").is_some());
        for wrong in ["", "a b", "a*", "a>", "ü", &"x".repeat(65)] {
            assert_eq!(NodeName::read(wrong), None, "{wrong}");
        }
    }
}
