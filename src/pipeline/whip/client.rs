//! WHIP as its clients speak it (RFC 9725 §4): POST an offer, follow redirects, DELETE the session.

use std::time::Duration;

use bytes::Bytes;
use headers::{Authorization, authorization::Credentials as _};
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, header,
    uri::{PathAndQuery, Scheme},
};
use http_body_util::Full;

use super::exchange::{self, exchange};

/// Redirects to follow before the server counts as broken.
const REDIRECTS_MAX: usize = 10;
/// How much of a refusal's body is passed on, in characters.
const REASON_CHARACTERS_MAX: usize = 200;

/// Why a session does not begin or end. The texts show no URL: some contain stream keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("whip-endpoint: an http:// or https:// URL is needed")]
    Url,
    #[error("auth-token: only visible ASCII characters can be sent")]
    Token,
    #[error("the WHIP server cannot be reached: {0}")]
    Unreachable(#[from] exchange::Error),
    #[error("the WHIP server did not answer within {0:?}")]
    Timeout(Duration),
    #[error("the WHIP server answered {0}: {1}")]
    Refused(StatusCode, String),
    #[error("the WHIP server answered without a usable Location")]
    Location,
    #[error("the WHIP server redirects more than {REDIRECTS_MAX} times")]
    Redirects,
}

/// Where to publish, and with which credentials.
pub(super) struct Endpoint {
    url: Uri,
    authorization: Option<HeaderValue>,
    timeout: Duration,
}

/// A session at the server.
pub(super) struct Published {
    url: Uri,
    /// The answer to the offer.
    pub(super) answer: Bytes,
}

impl Endpoint {
    /// A URL that may have a user name and password, used unless there is a token.
    ///
    /// # Errors
    /// The URL or the token cannot be used.
    pub(super) fn new(url: &str, token: Option<&str>, seconds: u32) -> Result<Self, Error> {
        let url: Uri = url.parse().map_err(|_| Error::Url)?;
        if !is_web(&url) {
            return Err(Error::Url);
        }
        let user = url
            .authority()
            .and_then(|authority| authority.as_str().rsplit_once('@'));
        let mut authorization = match (token, user) {
            (Some(token), _) if !token.is_empty() => {
                let bearer = Authorization::bearer(token).map_err(|_| Error::Token)?;
                Some(bearer.0.encode())
            }
            (_, Some((user, _))) => {
                let (name, password) = user.split_once(':').unwrap_or((user, ""));
                Some(Authorization::basic(name, password).0.encode())
            }
            _ => None,
        };
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Ok(Self {
            url,
            authorization,
            timeout: Duration::from_secs(seconds.into()),
        })
    }

    /// Publishes with this offer.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses it.
    pub(super) async fn publish(&self, offer: String) -> Result<Published, Error> {
        let published = tokio::time::timeout(self.timeout, self.post(Bytes::from(offer)));
        published.await.map_err(|_| Error::Timeout(self.timeout))?
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses it.
    pub(super) async fn end(&self, session: &Published) -> Result<(), Error> {
        let response = self
            .send(Method::DELETE, &session.url, Bytes::new())
            .await?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(refused(&response))
        }
    }

    async fn post(&self, offer: Bytes) -> Result<Published, Error> {
        let mut url = self.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send(Method::POST, &url, offer.clone()).await?;
            let status = response.status();
            if !(status.is_success() || status.is_redirection()) {
                return Err(refused(&response));
            }
            let location = response.headers().get(header::LOCATION);
            let location = location.and_then(|location| location.to_str().ok());
            let next = location.and_then(|location| resolve(&url, location));
            let next = next.ok_or(Error::Location)?;
            if status.is_success() {
                return Ok(Published {
                    url: next,
                    answer: response.into_body(),
                });
            }
            url = next;
        }
        Err(Error::Redirects)
    }

    /// The token is sent along to wherever the server redirects, as a redirect within a service
    /// needs, but never from TLS to a connection that anybody can read.
    async fn send(&self, method: Method, url: &Uri, body: Bytes) -> Result<Response<Bytes>, Error> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        let headers = request.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/sdp"),
        );
        let downgraded =
            self.url.scheme() == Some(&Scheme::HTTPS) && url.scheme() != self.url.scheme();
        if let Some(authorization) = &self.authorization
            && !downgraded
        {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        Ok(exchange(url, request).await?)
    }
}

fn is_web(url: &Uri) -> bool {
    let schemes = [Scheme::HTTP, Scheme::HTTPS];
    url.scheme().is_some_and(|scheme| schemes.contains(scheme)) && url.host().is_some()
}

fn refused(response: &Response<Bytes>) -> Error {
    let text = String::from_utf8_lossy(response.body());
    let printable = text
        .chars()
        .take(REASON_CHARACTERS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c });
    Error::Refused(response.status(), printable.collect())
}

/// The meaning of a `Location` from this URL (RFC 3986 §5.2).
fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default();
    let scheme = location.split_once("://").map(|(scheme, _)| scheme);
    if scheme.is_some_and(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        return location.parse().ok().filter(is_web);
    }
    if let Some(authority) = location.strip_prefix("//") {
        return format!("{}://{authority}", base.scheme_str()?).parse().ok();
    }
    let path = if location.starts_with('/') {
        location.to_owned()
    } else if location.starts_with('?') {
        format!("{}{location}", base.path())
    } else {
        let folder = base
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        without_dots(folder, location)
    };
    let mut parts = base.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path).ok()?);
    Uri::from_parts(parts).ok()
}

/// A relative path below a folder, with `.` and `..` resolved.
fn without_dots(folder: &str, relative: &str) -> String {
    let (path, query) = relative.split_at(relative.find('?').unwrap_or(relative.len()));
    let mut segments: Vec<&str> = folder.split('/').skip(1).collect();
    for segment in path.split('/') {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    format!("/{}{query}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_resolved() {
        let base: Uri = "https://example.org:8443/live/whip/key?a=b"
            .parse()
            .unwrap();
        for (location, url) in [
            ("/s/1", "https://example.org:8443/s/1"),
            ("/s/1?x=y#z", "https://example.org:8443/s/1?x=y"),
            ("s/1", "https://example.org:8443/live/whip/s/1"),
            ("./s", "https://example.org:8443/live/whip/s"),
            ("../s?t=://", "https://example.org:8443/live/s?t=://"),
            ("../../../s", "https://example.org:8443/s"),
            ("?t=1", "https://example.org:8443/live/whip/key?t=1"),
            ("//other.example/s", "https://other.example/s"),
            ("http://other.example/s", "http://other.example/s"),
        ] {
            let resolved = resolve(&base, location).map(|url| url.to_string());
            assert_eq!(resolved.as_deref(), Some(url), "{location}");
        }
        for wrong in ["ftp://example.org/s", "http://", "/a b"] {
            assert_eq!(resolve(&base, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn endpoints_are_web_addresses() {
        for wrong in [
            "",
            "example.org/whip",
            "/whip",
            "ftp://example.org/",
            "http:",
        ] {
            assert!(Endpoint::new(wrong, None, 1).is_err(), "{wrong}");
        }
        assert!(Endpoint::new("http://[::1]:80/x", Some("two\nlines"), 1).is_err());
    }

    #[test]
    fn a_token_beats_a_user_name() {
        let authorization = |token| {
            let url = "http://me:secret@127.0.0.1/whip";
            let value = Endpoint::new(url, token, 1).unwrap().authorization?;
            Some(value.to_str().unwrap().to_owned())
        };
        assert_eq!(authorization(Some("t")).as_deref(), Some("Bearer t"));
        let basic = Some("Basic bWU6c2VjcmV0");
        assert_eq!(authorization(Some("")).as_deref(), basic);
        assert_eq!(authorization(None).as_deref(), basic);
        let endpoint = Endpoint::new("http://127.0.0.1/whip", None, 1).unwrap();
        assert!(endpoint.authorization.is_none());
    }
}
