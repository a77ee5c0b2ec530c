//! Plain replies.

use ::http::{HeaderName, HeaderValue, StatusCode, header};
use bytes::Bytes;
use warp::reply::Response;

/// A reply with nothing in it.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    // RFC 9110 §8.6: no Content-Length in a 204.
    if status != StatusCode::NO_CONTENT {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

/// A reply with a body of this media type.
pub(super) fn with_body(status: StatusCode, kind: &str, body: impl Into<Bytes>) -> Response {
    let body: Bytes = body.into();
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    set(&mut response, &header::CONTENT_TYPE, kind);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    response
}

/// A line of text.
pub(super) fn text(body: impl Into<Bytes>) -> Response {
    with_body(StatusCode::OK, "text/plain; charset=utf-8", body)
}

/// Sets a header to a value of our own. A value that no header can hold is left out.
pub(super) fn set(response: &mut Response, name: &HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Adds `Link` headers, each on a line of its own: clients split a combined one wrongly. They may
/// hold secrets.
pub(super) fn add_links(response: &mut Response, links: &[String]) {
    for link in links {
        if let Ok(mut link) = HeaderValue::from_str(link) {
            link.set_sensitive(true);
            response.headers_mut().append(header::LINK, link);
        }
    }
}
