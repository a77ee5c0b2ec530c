//! Who may inspect and change pipelines: the operator. This is the only place that decides it.

use ::http::{HeaderName, header};

use super::{App, problem::Problem, request::HttpRequest};

/// Headers that proxies add: such a request has another origin than its connection.
const FORWARDED: [HeaderName; 6] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// Lets requests from this machine pass, except those through a proxy and those of another site's
/// page in a local browser (which `Origin` reveals, or `Host` after DNS rebinding).
///
/// # Errors
/// 403 for all others.
pub(super) fn check(app: &App, request: &HttpRequest) -> Result<(), Problem> {
    let refused = |why| Err(Problem::not_allowed(why));
    if !app.options.local_control {
        return refused("http.local_control is off");
    }
    if !request.client.ip().is_loopback() {
        return refused("only allowed from the machine that the server runs on");
    }
    if FORWARDED
        .iter()
        .any(|name| request.headers.contains_key(name))
    {
        return refused("not allowed through a proxy");
    }
    let host = request.header(&header::HOST).unwrap_or_default();
    if !is_local(host) {
        return refused("not allowed under this host name: use localhost");
    }
    let same_origin = |origin: &str| {
        origin
            .split_once("://")
            .is_some_and(|(_, authority)| authority == host)
    };
    match request.headers.get(header::ORIGIN) {
        Some(origin) if !origin.to_str().is_ok_and(same_origin) => {
            refused("not allowed from a page of another origin")
        }
        _ => Ok(()),
    }
}

/// Whether `Host` is a loopback address or `localhost`, with or without a port.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    let address = address.unwrap_or(name).parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_names() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
        ] {
            assert!(is_local(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "example.org",
            "localhost.example.org:8080",
            "10.0.0.1",
            "[::2]:80",
            "127.0.0.1.example.org",
        ] {
            assert!(!is_local(host), "{host}");
        }
    }
}
