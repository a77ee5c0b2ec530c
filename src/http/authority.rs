//! The host that a request is for: exactly one, wherever the protocol puts it.

use ::http::{HeaderValue, Request, Version, header};

use super::problem::Problem;

/// Makes `Host` say which host the request is for, as it does in HTTP/1.1.
///
/// # Errors
/// 400 if there is none, more than one, or two that differ (RFC 9112 §3.2, RFC 9113 §8.3.1).
pub(super) fn settle<B>(request: &mut Request<B>) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err(Problem::bad_request("more than one Host header"));
    }
    let authority = request.uri().authority();
    if let (Some(host), Some(authority)) = (host, authority)
        && !host
            .as_bytes()
            .eq_ignore_ascii_case(authority.as_str().as_bytes())
    {
        return Err(Problem::bad_request(
            "Host differs from the request's target",
        ));
    }
    if host.is_some() {
        return Ok(());
    }
    let Some(authority) = authority else {
        return match request.version() {
            Version::HTTP_09 | Version::HTTP_10 => Ok(()),
            _ => Err(Problem::bad_request("no Host header")),
        };
    };
    if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The host that is settled on.
    fn settled(version: Version, target: &str, hosts: &[&str]) -> Option<String> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let mut request = request.body(()).unwrap();
        settle(&mut request).ok()?;
        let host = request.headers().get(header::HOST);
        Some(host.map_or("", |host| host.to_str().unwrap()).to_owned())
    }

    #[test]
    fn there_is_one_host() {
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        let is = |host: &str| Some(host.to_owned());
        assert_eq!(settled(one, "/", &["a:1"]), is("a:1"));
        assert_eq!(settled(one, "/", &["a", "a"]), None);
        assert_eq!(settled(one, "/", &[]), None);
        assert_eq!(settled(Version::HTTP_10, "/", &[]), is(""));
        assert_eq!(settled(one, "http://a/", &["A"]), is("A"));
        assert_eq!(settled(one, "http://a/", &["b"]), None);
        assert_eq!(settled(two, "https://a:1/", &[]), is("a:1"));
        assert_eq!(settled(two, "https://a/", &["b"]), None);
    }
}
