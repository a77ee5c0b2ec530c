//! Trusted proxies: which address a request really comes from, and which URL it was sent to.
//!
//! Only a proxy that the operator names is believed, and only about what it has seen itself: lists
//! are read from their end, up to the first address that is not a trusted proxy's. Whatever stands
//! before that, the client may have written.

use std::sync::atomic::{AtomicBool, Ordering};

use ::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

use super::forwarded::{Chain, X_FORWARDED_FOR};
use crate::client::{ClientAddress, ForwardedHeader};

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

    /// What is known of a request with these headers. `sender` is the other end of the connection,
    /// or the address in its PROXY header.
    pub(super) fn origin_of(&self, sender: ClientAddress, headers: &HeaderMap) -> RequestOrigin {
        if !self.trusts(sender) {
            let is_forwarded = |name| headers.contains_key(name);
            if is_forwarded(X_FORWARDED_FOR) || is_forwarded(header::FORWARDED) {
                self.complain(sender);
            }
            return RequestOrigin::direct(sender);
        }
        let chain = Chain::of(headers, self.header);
        let mut client = sender;
        let mut is_known = !chain.clients.is_empty();
        let mut proxies = 1;
        for node in chain.clients.iter().rev() {
            let Some(node) = *node else {
                is_known = false;
                break;
            };
            client = node;
            if !self.trusts(node) {
                break;
            }
            proxies += 1;
        }
        let site = chain.site(proxies).unwrap_or_default();
        RequestOrigin {
            client,
            is_known,
            base: site + path_prefix(headers),
        }
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

/// Where a request comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestOrigin {
    /// Its sender.
    pub(super) client: ClientAddress,
    /// Whether that is the client, and not a proxy that has not named it.
    pub(super) is_known: bool,
    /// What the client puts before this server's paths: scheme, host and path, or only a path;
    /// empty if no proxy says anything about it.
    pub(super) base: String,
}

impl RequestOrigin {
    /// Of a request that came without a proxy.
    pub(super) fn direct(client: ClientAddress) -> Self {
        Self {
            client,
            is_known: true,
            base: String::new(),
        }
    }
}

/// The path below which a trusted proxy has put this server: `/live`. Otherwise empty.
fn path_prefix(headers: &HeaderMap) -> &str {
    let prefix = headers
        .get(X_FORWARDED_PREFIX)
        .and_then(|value| value.to_str().ok());
    let prefix = prefix.unwrap_or_default().trim_end_matches('/');
    if is_path(prefix) { prefix } else { "" }
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

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    fn address(text: &str) -> ClientAddress {
        ClientAddress::new(text.parse().unwrap())
    }

    fn client(sender: &str, headers: &[(&str, &str)]) -> String {
        client_by(ForwardedHeader::XForwardedFor, sender, headers)
    }

    fn client_by(header: ForwardedHeader, sender: &str, headers: &[(&str, &str)]) -> String {
        origin(header, sender, headers).client.to_string()
    }

    fn origin(header: ForwardedHeader, sender: &str, headers: &[(&str, &str)]) -> RequestOrigin {
        let trusted = ["10.0.0.0/24", "::1/128"].map(|network| network.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        Proxies::new(trusted.to_vec(), header).origin_of(address(sender), &map)
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
    fn a_proxy_that_names_nobody_is_not_the_client() {
        for (sender, value, expected) in [
            ("10.0.0.2", Some("192.0.2.1"), true),
            ("10.0.0.2", Some("10.0.0.3"), true),
            ("10.0.0.2", Some("unknown, 192.0.2.1"), true),
            ("10.0.0.2", Some("unknown"), false),
            ("10.0.0.2", Some("192.0.2.1, unknown"), false),
            ("10.0.0.2", Some("unknown, 10.0.0.3"), false),
            ("10.0.0.2", None, false),
            ("192.0.2.1", None, true),
            ("192.0.2.1", Some("unknown"), true),
        ] {
            let headers: Vec<_> = value
                .map(|value| ("x-forwarded-for", value))
                .into_iter()
                .collect();
            let found = origin(ForwardedHeader::XForwardedFor, sender, &headers);
            assert_eq!(found.is_known, expected, "{sender} {value:?}");
        }
    }

    #[test]
    fn an_open_quote_hides_no_appended_element() {
        for (lines, expected) in [
            (vec!["for=\"192.0.2.9, for=192.0.2.1"], None),
            (vec!["for=\"x, for=\"192.0.2.1\""], None),
            (vec!["for=\"x", "for=192.0.2.1"], Some("192.0.2.1")),
            (vec!["for=\"\\\"\", for=192.0.2.1"], Some("192.0.2.1")),
        ] {
            let headers: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
            let found = origin(ForwardedHeader::Forwarded, "10.0.0.2", &headers);
            let client = found.is_known.then(|| found.client.to_string());
            assert_eq!(client.as_deref(), expected, "{lines:?}");
        }
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
            let found = proxies.origin_of(address(sender), &headers);
            assert_eq!(found.base, expected, "{sender} {prefix}");
        }
    }

    /// What precedes paths in the URLs of a request from 10.0.0.2.
    fn base(header: ForwardedHeader, lines: &[(&str, &str)]) -> String {
        origin(header, "10.0.0.2", lines).base
    }

    #[test]
    fn the_url_that_clients_see() {
        let is = |lines: &[(&str, &str)], expected: &str| {
            assert_eq!(
                base(ForwardedHeader::XForwardedFor, lines),
                expected,
                "{lines:?}"
            );
        };
        let (https, site) = (
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "live.example"),
        );
        is(&[https, site], "https://live.example");
        is(
            &[https, site, ("x-forwarded-prefix", "/tv/")],
            "https://live.example/tv",
        );
        is(
            &[("x-forwarded-proto", "HTTP"), site],
            "http://live.example",
        );
        for host in ["a.example:8443", "192.0.2.1", "[2001:db8::1]:443"] {
            let lines = [https, ("x-forwarded-host", host)];
            is(&lines, &format!("https://{host}"));
        }
        // One of them alone does not make a URL: paths are right in any case.
        is(&[https], "");
        is(&[site], "");
        is(&[site, ("x-forwarded-prefix", "/tv")], "/tv");
        // Something else.
        for proto in ["", "ftp", "https://", "javascript", "https http"] {
            is(&[("x-forwarded-proto", proto), site], "");
        }
        for host in [
            "",
            ":80",
            "evil.example/path",
            "user@evil.example",
            "a b",
            "a>; rel=x",
            "a.example:",
            "a.example:0",
            "a.example:66000",
            "a.example:8o",
            "[::1",
            "[evil.example]",
            "::1",
            "a..example",
            "ä.example",
            "a?b",
            "a#b",
        ] {
            is(&[https, ("x-forwarded-host", host)], "");
        }
        is(&[https, ("x-forwarded-host", &"a".repeat(300))], "");
        // That is the other header.
        is(&[("forwarded", "proto=https;host=live.example")], "");
    }

    #[test]
    fn the_url_as_rfc_7239_has_it() {
        for (value, expected) in [
            ("proto=https;host=live.example", "https://live.example"),
            (
                "for=192.0.2.1; Proto=\"https\"; Host=\"live.example:8443\"",
                "https://live.example:8443",
            ),
            // The client's own, and that of the proxy.
            (
                "proto=https;host=evil.example, for=192.0.2.1;proto=http;host=a.example",
                "http://a.example",
            ),
            // Two proxies: the outer one has seen the client.
            (
                "for=192.0.2.1;proto=https;host=a.example, for=10.0.0.7;proto=http;host=inner",
                "https://a.example",
            ),
            ("proto=https", ""),
            ("host=a.example", ""),
            ("proto=https;host=\"a/b\"", ""),
        ] {
            assert_eq!(
                base(ForwardedHeader::Forwarded, &[("forwarded", value)]),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn the_outermost_trusted_proxy_knows_the_url() {
        let x = ForwardedHeader::XForwardedFor;
        let lists = |clients, protos, hosts| {
            let lines = [
                ("x-forwarded-for", clients),
                ("x-forwarded-proto", protos),
                ("x-forwarded-host", hosts),
            ];
            base(x, &lines)
        };
        // One proxy, which appends to what the client wrote.
        let appended = lists("8.8.8.8, 192.0.2.1", "http, https", "evil, a.example");
        assert_eq!(appended, "https://a.example");
        // Two, which both append.
        let two = lists("192.0.2.1, 10.0.0.7", "https, http", "a.example, inner");
        assert_eq!(two, "https://a.example");
        // Two, of which the inner one leaves alone what the outer one says.
        let kept = lists("192.0.2.1, 10.0.0.7", "https", "a.example");
        assert_eq!(kept, "https://a.example");
    }

    #[test]
    fn only_trusted_proxies_say_what_the_url_is() {
        let lines = [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("forwarded", "proto=https;host=evil.example"),
        ];
        for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
            let direct = RequestOrigin::direct(address("10.0.1.2"));
            assert_eq!(origin(header, "10.0.1.2", &lines), direct);
        }
    }

    #[test]
    fn addresses_that_the_client_wrote_are_ignored() {
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
        assert_eq!(
            client_by(ForwardedHeader::XForwardedFor, "10.0.0.2", &only),
            "10.0.0.2"
        );
    }
}
