//! Which pages may use what, and under which host names this server answers. Pure.
//!
//! A browser lets any page send requests to any server, also to one that only the visitor's network
//! reaches. Without tokens, being there is all that publishing takes; therefore only this server's
//! own pages, and those that `http.origins` lists, may do more than watch what is public.

use std::net::{IpAddr, SocketAddr};

use ::http::{HeaderMap, HeaderName, Uri, header};

use super::request::Door;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
/// In `http.origins`: pages of all origins.
const ALL: &str = "*";

/// Whose pages a resource is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageAudience {
    /// Pages of all sites.
    Everyone,
    /// This server's own pages, and those of listed origins.
    Own,
}

/// What a request may do, judged by the page that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageAccess<'a> {
    /// It comes from no page, or from one of this server's own.
    Own,
    /// Pages of all origins may read the reply.
    Everyone,
    /// Pages of this origin may read the reply.
    Listed(&'a str),
    /// The page is of another site.
    Refused,
}

/// The rules.
pub(super) struct Origins {
    /// The host name of the public URL.
    public: Option<String>,
    listed: Vec<String>,
    /// Whether a port is on loopback, and therefore only answers under names of loopback.
    public_is_local: bool,
    admin_is_local: bool,
}

impl Origins {
    /// `listed` are origins, or `*`.
    pub(super) fn new(
        public_url: Option<&str>,
        listed: Vec<String>,
        public: Option<SocketAddr>,
        admin: Option<SocketAddr>,
    ) -> Self {
        let is_local = |address: Option<SocketAddr>| {
            address.is_some_and(|address| address.ip().to_canonical().is_loopback())
        };
        Self {
            public: public_url.and_then(origin),
            listed,
            public_is_local: is_local(public),
            admin_is_local: is_local(admin),
        }
    }

    /// Judges a request for a resource with this audience.
    pub(super) fn judge<'a>(
        &'a self,
        audience: PageAudience,
        headers: &'a HeaderMap,
    ) -> PageAccess<'a> {
        if audience == PageAudience::Everyone || self.lists(ALL) {
            return PageAccess::Everyone;
        }
        let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
        // The browser's own statement, if there is one; no page can change it.
        let site = text(&SEC_FETCH_SITE);
        if matches!(site, Some("same-origin" | "none")) {
            return PageAccess::Own;
        }
        let Some(origin) = text(&header::ORIGIN) else {
            // A link, or an address that was typed.
            let is_navigation = text(&SEC_FETCH_MODE) == Some("navigate")
                && text(&SEC_FETCH_DEST) == Some("document");
            return if site.is_none() || is_navigation {
                PageAccess::Own
            } else {
                PageAccess::Refused
            };
        };
        let is_host = || site.is_none() && authority(origin) == text(&header::HOST);
        if self.lists(origin) {
            PageAccess::Listed(origin)
        } else if self.public.as_deref() == Some(origin) || is_host() {
            PageAccess::Own
        } else {
            PageAccess::Refused
        }
    }

    fn lists(&self, origin: &str) -> bool {
        self.listed.iter().any(|listed| listed == origin)
    }

    /// Whether the server answers under the name in `Host`. On loopback, only under names of
    /// loopback and configured ones: a page whose name suddenly resolves to 127.0.0.1 (DNS
    /// rebinding) counts as the server's own in a browser.
    pub(super) fn knows_host(&self, door: Door, headers: &HeaderMap) -> bool {
        let is_local = match door {
            Door::Public => self.public_is_local,
            Door::Admin => self.admin_is_local,
            Door::Socket => false,
        };
        if !is_local {
            return true;
        }
        let Some(host) = headers.get(header::HOST) else {
            return true;
        };
        let name = name(host.to_str().unwrap_or_default());
        let mut configured = self.public.iter().chain(&self.listed);
        is_fixed(name)
            || configured.any(|origin| {
                authority(origin).is_some_and(|known| self::name(known).eq_ignore_ascii_case(name))
            })
    }
}

/// The origin of a URL, as browsers write it.
pub(super) fn origin(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    let (scheme, authority) = (url.scheme_str()?, url.authority()?);
    let default_port = if scheme.eq_ignore_ascii_case("https") {
        ":443"
    } else {
        ":80"
    };
    let authority = authority.as_str();
    let authority = authority.strip_suffix(default_port).unwrap_or(authority);
    Some(format!("{scheme}://{authority}").to_ascii_lowercase())
}

/// Host and port of an origin.
fn authority(origin: &str) -> Option<&str> {
    let (_, authority) = origin.split_once("://")?;
    Some(authority)
}

/// The host of an authority, without its port.
fn name(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

/// Whether nobody can make this name lead to another machine: an address, or `localhost` (RFC 6761
/// §6.3).
fn is_fixed(name: &str) -> bool {
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let last = name.rsplit('.').next().unwrap_or(name);
    last.eq_ignore_ascii_case("localhost") || address.unwrap_or(name).parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&str, &'static str)]) -> HeaderMap {
        let line = |&(name, value): &(&str, &'static str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    fn origins(public_url: Option<&str>, listed: &[&str]) -> Origins {
        let local = "127.0.0.1:8080".parse().ok();
        let listed = listed.iter().map(|&origin| origin.to_owned()).collect();
        Origins::new(public_url, listed, local, local)
    }

    #[test]
    fn only_own_and_listed_pages_control() {
        let origins = origins(Some("https://live.example/tv"), &["https://a.example"]);
        let host = ("host", "localhost:8080");
        for (lines, expected) in [
            (&[][..], PageAccess::Own),
            (&[("origin", "http://localhost:8080")], PageAccess::Own),
            (&[("origin", "https://live.example")], PageAccess::Own),
            (
                &[("origin", "https://a.example")],
                PageAccess::Listed("https://a.example"),
            ),
            (&[("origin", "https://b.example")], PageAccess::Refused),
            (&[("origin", "http://localhost:8081")], PageAccess::Refused),
            (&[("origin", "null")], PageAccess::Refused),
            (&[("sec-fetch-site", "none")], PageAccess::Own),
            // Behind a proxy that changes Host.
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("origin", "https://c.example"),
                ],
                PageAccess::Own,
            ),
            // The same host under another scheme is another origin.
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "https://localhost:8080"),
                ],
                PageAccess::Refused,
            ),
            // A picture, a script or a frame of another site sends no origin.
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "no-cors"),
                ],
                PageAccess::Refused,
            ),
            (
                &[
                    ("sec-fetch-site", "same-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "iframe"),
                ],
                PageAccess::Refused,
            ),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                PageAccess::Own,
            ),
        ] {
            let headers = headers(&[&[host], lines].concat());
            assert_eq!(
                origins.judge(PageAudience::Own, &headers),
                expected,
                "{lines:?}"
            );
            let everyone = origins.judge(PageAudience::Everyone, &headers);
            assert_eq!(everyone, PageAccess::Everyone, "{lines:?}");
        }
    }

    #[test]
    fn all_pages_if_so_configured() {
        let origins = origins(None, &["*"]);
        let headers = headers(&[("origin", "null")]);
        assert_eq!(
            origins.judge(PageAudience::Own, &headers),
            PageAccess::Everyone
        );
    }

    #[test]
    fn loopback_answers_under_its_own_names() {
        let origins = origins(Some("https://Live.example/tv"), &["https://a.example:8443"]);
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "aerial.localhost:8080",
            "10.0.0.1",
            "[2001:db8::1]:80",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
            "live.example",
            "LIVE.example:443",
            "a.example",
        ] {
            let headers = headers(&[("host", host)]);
            assert!(origins.knows_host(Door::Public, &headers), "{host}");
        }
        for host in [
            "",
            ":80",
            "example.org",
            "localhost.example.org:8080",
            "[::1",
            "127.0.0.1.example.org",
        ] {
            let headers = headers(&[("host", host)]);
            assert!(!origins.knows_host(Door::Public, &headers), "{host}");
            assert!(!origins.knows_host(Door::Admin, &headers), "{host}");
            assert!(origins.knows_host(Door::Socket, &headers), "{host}");
        }
        let elsewhere = Origins::new(None, Vec::new(), "192.0.2.1:80".parse().ok(), None);
        let headers = headers(&[("host", "example.org")]);
        assert!(elsewhere.knows_host(Door::Public, &headers));
    }
}
