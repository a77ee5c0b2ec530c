//! Header names and media types that the `http` crate does not have.

use ::http::HeaderName;

/// `Accept-Post` (Linked Data Platform §7.1).
pub(super) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
/// `Accept-Patch` (RFC 5789 §3.1).
pub(super) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Media type of offers and answers.
pub(super) const OFFER_TYPE: &str = "application/sdp";
/// Media type of trickle fragments (RFC 8840 §9).
pub(super) const FRAGMENT_TYPE: &str = "application/trickle-ice-sdpfrag";
