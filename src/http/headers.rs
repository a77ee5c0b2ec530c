//! Header names and media types that the `http` crate does not have, and the headers of all replies.

use std::time::Duration;

use ::http::{HeaderName, header};
use warp::reply::Response;

use super::reply::set;

/// `Accept-Post` (Linked Data Platform §7.1).
pub(super) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
/// `Accept-Patch` (RFC 5789 §3.1).
pub(super) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// In what `GET` of a viewer's session gets: the state of its broadcast.
pub(super) const BROADCAST_STATE: HeaderName = HeaderName::from_static("broadcast-state");
/// `Permissions-Policy` (W3C).
pub(super) const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// Media type of the API's documents.
pub(super) const JSON_TYPE: &str = "application/json";
/// Media type of offers and answers.
pub(super) const OFFER_TYPE: &str = "application/sdp";
/// Media type of trickle fragments (RFC 8840 §9).
pub(super) const FRAGMENT_TYPE: &str = "application/trickle-ice-sdpfrag";

/// Adds what every reply carries: browsers do not guess types, and stay on HTTPS if so configured.
pub(super) fn protect(response: &mut Response, hsts: Option<Duration>) {
    set(response, &header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if let Some(time) = hsts {
        let value = format!("max-age={}", time.as_secs());
        set(response, &header::STRICT_TRANSPORT_SECURITY, &value);
    }
}
