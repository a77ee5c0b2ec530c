//! What goes over the wire: JSON and entity tags.

use ::http::{StatusCode, header};
use serde::Serialize;
use warp::reply::Response;

use super::{
    headers::JSON_TYPE,
    problem::Problem,
    reply::{set, with_body},
};

/// A JSON document that changes from moment to moment.
pub(super) fn json(value: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(value).map_err(|error| Problem::failed(error.to_string()))?;
    let mut response = with_body(StatusCode::OK, JSON_TYPE, body);
    set(&mut response, &header::CACHE_CONTROL, "no-store");
    Ok(response)
}

/// The entity tag of an ICE session (RFC 9725 §4.3.1).
pub(super) fn ice_etag(ice_id: &str) -> String {
    format!("\"{ice_id}\"")
}
