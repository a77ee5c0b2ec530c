//! Trusted proxies: which address a request really comes from.
//!
//! Only a proxy that the operator names is believed, and only about the address that it has seen
//! itself: lists are read from their end, up to the first address that is not a trusted proxy's.
//! Whatever stands before that, the client may have written.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
};

use ::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use crate::client::{ClientAddress, ForwardedHeader};

/// `X-Forwarded-For`, which most proxies send.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The path that a proxy has removed from the front of a request's, as Traefik and others say it.
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Longest such path, in bytes.
const PREFIX_BYTES_MAX: usize = 256;

/// The proxies that are believed.
pub(super) struct Proxies {
    trusted: Vec<IpNet>,
    /// Where they name their clients.
    header: ForwardedHeader,
    /// Whether the log already says that another proxy is in front.
    complained: AtomicBool,
}

impl Proxies {
    pub(super) fn new(trusted: Vec<IpNet>, header: ForwardedHeader) -> Self {
        Self {
            trusted,
            header,
            complained: AtomicBool::new(false),
        }
    }

    /// Whether this is the address of a trusted proxy.
    pub(super) fn trusts(&self, address: ClientAddress) -> bool {
        let ip = address.ip();
        self.trusted.iter().any(|network| network.contains(&ip))
    }

    /// Who sent a request with these headers. `sender` is the other end of the connection, or the
    /// address in its PROXY header.
    pub(super) fn client(&self, sender: ClientAddress, headers: &HeaderMap) -> ClientAddress {
        if !self.trusts(sender) {
            let is_forwarded = |name| headers.contains_key(name);
            if is_forwarded(X_FORWARDED_FOR) || is_forwarded(header::FORWARDED) {
                self.complain(sender);
            }
            return sender;
        }
        // The other header may be the client's own.
        let nodes = match self.header {
            ForwardedHeader::XForwardedFor => x_forwarded_for(headers),
            ForwardedHeader::Forwarded => forwarded(headers),
        };
        self.last_untrusted(sender, nodes)
    }

    /// The path below which a trusted proxy has put this server: `/live`. Otherwise empty.
    pub(super) fn path_prefix<'a>(&self, sender: ClientAddress, headers: &'a HeaderMap) -> &'a str {
        let prefix = headers.get(X_FORWARDED_PREFIX);
        let prefix = prefix.and_then(|value| value.to_str().ok());
        let prefix = prefix.unwrap_or_default().trim_end_matches('/');
        if self.trusts(sender) && is_path(prefix) {
            prefix
        } else {
            ""
        }
    }

    /// Follows the chain of proxies from its end for as long as they are trusted.
    fn last_untrusted(
        &self,
        sender: ClientAddress,
        nodes: Vec<Option<ClientAddress>>,
    ) -> ClientAddress {
        let mut client = sender;
        for node in nodes.into_iter().rev() {
            let Some(node) = node else { break };
            client = node;
            if !self.trusts(node) {
                break;
            }
        }
        client
    }

    /// Says once that limits count the clients of a proxy together. Anyone can send such a header.
    fn complain(&self, sender: ClientAddress) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                address = %sender,
                "request through a proxy that http.trusted_proxies does not list: limits count \
                 all its clients as one"
            );
        }
    }
}

/// Whether this is an absolute path, and not the beginning of another server's address (`//`).
fn is_path(text: &str) -> bool {
    let segments = text.strip_prefix('/').map(|rest| rest.split('/'));
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-%".contains(&byte);
    text.len() <= PREFIX_BYTES_MAX
        && segments.is_some_and(|mut segments| {
            segments.all(|segment| !segment.is_empty() && segment.bytes().all(harmless))
        })
}

/// The addresses in `X-Forwarded-For`, in order; `None` for what is not an address.
fn x_forwarded_for(headers: &HeaderMap) -> Vec<Option<ClientAddress>> {
    let lines = headers.get_all(X_FORWARDED_FOR);
    let nodes = lines
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    nodes
        .map(|text| node(std::str::from_utf8(text).ok()?))
        .collect()
}

/// The addresses in `Forwarded` (RFC 7239 §4), in order; `None` for elements without one.
fn forwarded(headers: &HeaderMap) -> Vec<Option<ClientAddress>> {
    let lines = headers.get_all(header::FORWARDED).iter();
    let mut nodes = Vec::new();
    for line in lines {
        let Ok(line) = line.to_str() else {
            nodes.push(None);
            continue;
        };
        nodes.extend(split(line, ',').map(|element| {
            let mut pairs = split(element, ';').filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
            node(value)
        }));
    }
    nodes
}

/// Splits at a separator outside quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |c: char| {
        let is_escaped = std::mem::take(&mut escaped);
        match c {
            '\\' if quoted && !is_escaped => escaped = true,
            '"' if !is_escaped => quoted = !quoted,
            _ => {}
        }
        c == separator && !quoted
    })
}

/// An address, with or without quotes, brackets and port. `unknown` and made-up names are none
/// (RFC 7239 §6).
fn node(text: &str) -> Option<ClientAddress> {
    let text = text.trim();
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let address = bare.parse::<IpAddr>().ok().or_else(with_port)?;
    Some(ClientAddress::new(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress::new(text.parse().unwrap())
    }

    fn client(sender: &str, headers: &[(&str, &str)]) -> String {
        client_by(ForwardedHeader::XForwardedFor, sender, headers)
    }

    fn client_by(header: ForwardedHeader, sender: &str, headers: &[(&str, &str)]) -> String {
        let trusted = ["10.0.0.0/24", "::1/128"].map(|network| network.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, value.parse().unwrap());
        }
        let proxies = Proxies::new(trusted.to_vec(), header);
        proxies.client(address(sender), &map).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let header = [("x-forwarded-for", "192.0.2.1")];
        assert_eq!(client("10.0.0.2", &header), "192.0.2.1");
        assert_eq!(client("::ffff:10.0.0.2", &header), "192.0.2.1");
        assert_eq!(client("::1", &header), "192.0.2.1");
        assert_eq!(client("127.0.0.1", &header), "127.0.0.1");
        assert_eq!(client("10.0.1.2", &header), "10.0.1.2");
        assert_eq!(client("10.0.0.2", &[]), "10.0.0.2");
    }

    #[test]
    fn the_path_that_a_trusted_proxy_has_removed() {
        let proxies = Proxies::new(
            vec!["10.0.0.0/24".parse().unwrap()],
            ForwardedHeader::XForwardedFor,
        );
        for (sender, prefix, expected) in [
            ("10.0.0.2", "/live", "/live"),
            ("10.0.0.2", "/live/", "/live"),
            ("10.0.0.2", "/a/b-c", "/a/b-c"),
            ("10.0.0.2", "/", ""),
            ("10.0.0.2", "", ""),
            ("10.0.0.2", "live", ""),
            ("10.0.0.2", "//evil.example", ""),
            ("10.0.0.2", "/a//b", ""),
            ("10.0.0.2", "/a>; rel=x", ""),
            ("10.0.1.2", "/live", ""),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(X_FORWARDED_PREFIX, prefix.parse().unwrap());
            let found = proxies.path_prefix(address(sender), &headers);
            assert_eq!(found, expected, "{sender} {prefix}");
        }
    }

    #[test]
    fn what_the_client_wrote_is_not_believed() {
        for list in [
            "127.0.0.1, 192.0.2.1",
            "nonsense, 192.0.2.1",
            "192.0.2.9, 192.0.2.1, 10.0.0.7",
            "192.0.2.1:4711,10.0.0.7:80",
        ] {
            assert_eq!(
                client("10.0.0.2", &[("x-forwarded-for", list)]),
                "192.0.2.1"
            );
        }
        // Several lines are one list.
        let lines = [
            ("x-forwarded-for", "192.0.2.9"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        assert_eq!(client("10.0.0.2", &lines), "192.0.2.1");
        // A trusted proxy that says nothing useful stands for its clients.
        for list in ["unknown", "", "192.0.2.9, _hidden", "192.0.2.9, 300.1.1.1"] {
            assert_eq!(client("10.0.0.2", &[("x-forwarded-for", list)]), "10.0.0.2");
        }
    }

    #[test]
    fn forwarded_as_rfc_7239_has_it() {
        for (value, expected) in [
            ("for=192.0.2.43", "192.0.2.43"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=\"[2001:db8::1]\";proto=https", "2001:db8::1"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("proto=https; for=192.0.2.60", "192.0.2.60"),
            ("for=192.0.2.9, for=\"192.0.2.43:1\"", "192.0.2.43"),
            ("for=192.0.2.43, for=10.0.0.9", "192.0.2.43"),
            ("for=192.0.2.9;host=\"a,for=192.0.2.8\"", "192.0.2.9"),
            ("for=192.0.2.9;host=\"\\\",for=192.0.2.8\"", "192.0.2.9"),
            ("for=unknown", "10.0.0.2"),
            ("for=_gazonk, proto=https", "10.0.0.2"),
        ] {
            assert_eq!(
                client_by(
                    ForwardedHeader::Forwarded,
                    "10.0.0.2",
                    &[("forwarded", value)]
                ),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn the_other_header_is_the_clients_own() {
        let both = [
            ("x-forwarded-for", "192.0.2.1"),
            ("forwarded", "for=192.0.2.9"),
        ];
        for (header, expected) in [
            (ForwardedHeader::XForwardedFor, "192.0.2.1"),
            (ForwardedHeader::Forwarded, "192.0.2.9"),
        ] {
            assert_eq!(client_by(header, "10.0.0.2", &both), expected);
        }
        let only = [("forwarded", "for=192.0.2.9")];
        let client = client_by(ForwardedHeader::XForwardedFor, "10.0.0.2", &only);
        assert_eq!(client, "10.0.0.2");
    }
}
