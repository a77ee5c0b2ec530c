//! Where media is taken, and by which addresses clients reach it.

use std::net::{IpAddr, SocketAddr};

use crate::plan::Value;

/// Where STUN servers listen (RFC 8489 §8.1).
const STUN_PORT: &str = "3478";

/// Where media is taken over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MediaOverTcp {
    /// Nowhere.
    Off,
    /// On the port of HTTP.
    OnHttpPort,
    /// There, too.
    Also(SocketAddr),
}

/// An address by which clients reach the server, or a host name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PublicAddress {
    /// An address.
    Ip(IpAddr),
    /// A name in the DNS.
    Name(String),
}

/// Host and port of a STUN server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StunServer(pub String);

impl Value for MediaOverTcp {
    const TAKES: &'static str = "true, false, or an address and port";

    fn read(text: &str) -> Option<Self> {
        match text {
            "true" => Some(Self::OnHttpPort),
            "false" => Some(Self::Off),
            _ => text.parse().ok().map(Self::Also),
        }
    }
}

impl Value for Vec<PublicAddress> {
    const TAKES: &'static str = "IP addresses and names, separated by commas";

    fn read(text: &str) -> Option<Self> {
        let address = |part: &str| match part.parse() {
            Ok(ip) => Some(PublicAddress::Ip(ip)),
            Err(_) => is_host_name(part).then(|| PublicAddress::Name(part.to_owned())),
        };
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(address)
            .collect()
    }
}

impl Value for StunServer {
    const TAKES: &'static str = "a host, and perhaps a port, such as stun.example.org:3478";

    fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix("stun:").unwrap_or(text);
        if text.parse::<SocketAddr>().is_ok() {
            return Some(Self(text.to_owned()));
        }
        let (host, port) = text.split_once(':').unwrap_or((text, STUN_PORT));
        let usable = port.parse::<u16>().is_ok() && is_host_name(host);
        usable.then(|| Self(format!("{host}:{port}")))
    }
}

/// Whether this may be a name, or an IPv4 address, and cannot be a wrong one.
fn is_host_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let is_address = text.parse::<IpAddr>().is_ok();
    let last = text.rsplit('.').next().unwrap_or_default();
    let numeric = last.chars().all(|c| c.is_ascii_digit());
    !text.is_empty() && text.chars().all(legal) && (is_address || !numeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_over_tcp() {
        let read = MediaOverTcp::read;
        assert_eq!(read("true"), Some(MediaOverTcp::OnHttpPort));
        assert_eq!(read("false"), Some(MediaOverTcp::Off));
        assert!(matches!(read("[::]:8189"), Some(MediaOverTcp::Also(_))));
        assert_eq!(read("on"), None);
    }

    #[test]
    fn public_addresses_and_stun_servers() {
        let name = |text: &str| PublicAddress::Name(text.to_owned());
        let read = Vec::<PublicAddress>::read;
        let ip = PublicAddress::Ip("2001:db8::1".parse().unwrap());
        assert_eq!(
            read("2001:db8::1, a.example"),
            Some(vec![ip, name("a.example")])
        );
        for wrong in ["192.0.2", "192.0.2.256", "a.example:80", "http://a", "a b"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        let server = |text| StunServer::read(text).map(|server| server.0);
        for (text, expected) in [
            ("stun.example", "stun.example:3478"),
            ("stun:stun.example:19302", "stun.example:19302"),
            ("192.0.2.1", "192.0.2.1:3478"),
            ("[2001:db8::1]:3478", "[2001:db8::1]:3478"),
        ] {
            assert_eq!(server(text).as_deref(), Some(expected));
        }
        for wrong in ["", "stun:", "a:b", "turn:a.example", "2001:db8::1"] {
            assert_eq!(server(wrong), None, "{wrong}");
        }
    }
}
