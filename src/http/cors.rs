//! Cross-origin access (Fetch standard): what preflights and plain OPTIONS say, and the headers that
//! let pages of other origins read a reply. `origins` decides which may.

use ::http::{HeaderValue, StatusCode, header};
use warp::reply::Response;

use super::{
    headers::{ACCEPT_PATCH, ACCEPT_POST, FRAGMENT_TYPE, OFFER_TYPE},
    origins::PageAccess,
    pipelines::PipelinePart,
    reply::{empty, set},
    request::HttpRequest,
    router::Route,
};

/// Also in the answer to a plain OPTIONS: MediaMTX and Eyevinn look for PATCH there before they
/// trickle.
const METHODS: &str = "GET, HEAD, OPTIONS, POST, PATCH, DELETE";
/// `*` would not cover Authorization. Eyevinn's WHIP client sends `ETag` as a request header.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, If-Match, If-None-Match, ETag, Accept, Cache-Control, Last-Event-ID";
/// Without these a page cannot see where its session is.
const EXPOSED: &str = "Location, ETag, Link, Accept-Patch, Accept-Post, Allow, Retry-After, \
                       WWW-Authenticate, Access-Control-Allow-Methods, Broadcast-State";
/// How long a browser may remember a preflight, in seconds: the most that Chromium takes.
const MAX_AGE: &str = "7200";

pub(super) fn is_preflight(request: &HttpRequest) -> bool {
    request
        .headers
        .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

pub(super) fn preflight() -> Response {
    let mut response = empty(StatusCode::OK);
    set(
        &mut response,
        &header::ACCESS_CONTROL_ALLOW_METHODS,
        METHODS,
    );
    set(
        &mut response,
        &header::ACCESS_CONTROL_ALLOW_HEADERS,
        REQUEST_HEADERS,
    );
    set(&mut response, &header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response
}

/// What a plain OPTIONS says about a resource.
pub(super) fn describe(response: &mut Response, route: &Route<'_>) {
    set(response, &header::ALLOW, route.methods());
    set(response, &header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    set(
        response,
        &header::ACCESS_CONTROL_ALLOW_HEADERS,
        REQUEST_HEADERS,
    );
    match route {
        Route::Endpoint(..) => set(response, &ACCEPT_POST, OFFER_TYPE),
        Route::Session(..) => set(response, &ACCEPT_PATCH, FRAGMENT_TYPE),
        Route::Pipeline(_, _, PipelinePart::Properties) => {
            set(response, &ACCEPT_PATCH, "application/json");
        }
        _ => {}
    }
}

/// Lets the pages read the response that may.
pub(super) fn open(response: &mut Response, access: PageAccess<'_>) {
    let origin = match access {
        PageAccess::Own | PageAccess::Refused => return,
        PageAccess::Everyone => "*",
        PageAccess::Listed(origin) => {
            response
                .headers_mut()
                .append(header::VARY, HeaderValue::from_static("Origin"));
            origin
        }
    };
    set(response, &header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    set(response, &header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}
