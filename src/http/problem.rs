//! Refusals: problem documents (RFC 9457) with a status per way of failing.

use std::time::Duration;

use ::http::{HeaderName, Method, StatusCode, header};
use serde::Serialize;
use warp::reply::Response;

use super::reply::{set, with_body};
use crate::{broadcast, peer::sdp};

/// When a client may try again on a server that is full or stopping.
const RETRY_FULL: Duration = Duration::from_secs(5);
/// When a client that sent too often may continue.
const RETRY_OFTEN: Duration = Duration::from_secs(1);

/// The challenge to clients that may not do something (RFC 6750 §3). Never Basic, which would make
/// browsers open a dialog.
const CHALLENGE: &str = "Bearer realm=\"aerial\"";

/// Why a request is refused: becomes an `application/problem+json` reply.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// Last part of the `type` URI, stable for programs.
    kind: &'static str,
    detail: String,
    headers: Vec<(HeaderName, String)>,
}

/// Why a request was refused: in the extensions of its response.
#[derive(Clone, Debug)]
pub(super) struct Reason {
    /// Last part of the `type` URI.
    pub(super) kind: &'static str,
    pub(super) detail: String,
}

/// A refusal (RFC 9457).
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// `urn:aerial:problem:` and a word that stays the same.
    r#type: String,
    /// The status in words.
    title: &'a str,
    /// The status.
    status: u16,
    /// What is wrong and what to do.
    detail: &'a str,
    /// MediaMTX's player reads this member.
    error: &'a str,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            headers: Vec::new(),
        }
    }

    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn retry_after(self, time: Duration) -> Self {
        self.with(header::RETRY_AFTER, time.as_secs().max(1).to_string())
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            format!("no such {what}"),
        )
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// 404 for what a broadcast does not have.
    pub(super) fn not_found_because(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// 409: a file must not be touched now.
    pub(super) fn being_written(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "being-written", detail)
    }

    /// 416: a file of this length does not have what `Range` asks for.
    pub(super) fn no_such_range(length: u64) -> Self {
        let detail = format!("the file has {length} bytes");
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "no-such-range", detail)
            .with(header::CONTENT_RANGE, format!("bytes */{length}"))
    }

    /// 403: somebody may not speak, or not do this, in a chat.
    pub(super) fn silenced(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "silenced", detail)
    }

    pub(super) fn method_not_allowed(method: &Method, allowed: &str) -> Self {
        let detail = format!("{method} is not allowed here; allowed: {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
            .with(header::ALLOW, allowed)
    }

    pub(super) fn bad_request(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    pub(super) fn request_timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "too-slow",
            "the body did not arrive in time",
        )
        .with(header::CONNECTION, "close")
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("the body is limited to {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
            .with(header::CONNECTION, "close")
    }

    /// 415 naming the type that `accept` (Accept-Post or Accept-Patch) announces.
    pub(super) fn wrong_type(accept: HeaderName, wanted: &str) -> Self {
        let detail = format!("Content-Type must be {wanted}");
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "wrong-content-type",
            detail,
        )
        .with(accept, wanted)
    }

    pub(super) fn name_missing() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "name-missing",
            "name the broadcast in the path, as ?broadcast= or as bearer token",
        )
        .with(header::WWW_AUTHENTICATE, CHALLENGE)
    }

    /// 401 without `error`: nothing was sent that could be wrong (RFC 6750 §3.1).
    pub(super) fn token_missing() -> Self {
        let detail = "this needs a token: send Authorization: Bearer TOKEN";
        Self::new(StatusCode::UNAUTHORIZED, "token-missing", detail)
            .with(header::WWW_AUTHENTICATE, CHALLENGE)
    }

    pub(super) fn token_wrong(detail: &str) -> Self {
        let challenge = format!("{CHALLENGE}, error=\"invalid_token\"");
        Self::new(StatusCode::UNAUTHORIZED, "token-wrong", detail)
            .with(header::WWW_AUTHENTICATE, challenge)
    }

    pub(super) fn token_expired() -> Self {
        let challenge =
            format!("{CHALLENGE}, error=\"invalid_token\", error_description=\"expired\"");
        let detail = "this token has expired: get a new one";
        Self::new(StatusCode::UNAUTHORIZED, "token-expired", detail)
            .with(header::WWW_AUTHENTICATE, challenge)
    }

    /// The server that decides about clients refuses.
    pub(super) fn denied(reason: &str) -> Self {
        let challenge = format!("{CHALLENGE}, error=\"insufficient_scope\"");
        Self::new(StatusCode::FORBIDDEN, "denied", reason).with(header::WWW_AUTHENTICATE, challenge)
    }

    /// The server that decides about clients does not answer.
    pub(super) fn nobody_to_ask(detail: &str) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "authorization-unavailable",
            detail,
        )
        .retry_after(RETRY_FULL)
    }

    /// The configuration is invalid; nothing has changed.
    pub(super) fn bad_configuration(detail: &str) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad-configuration",
            detail,
        )
    }

    pub(super) fn token_insufficient(detail: &str) -> Self {
        let challenge = format!("{CHALLENGE}, error=\"insufficient_scope\"");
        Self::new(StatusCode::FORBIDDEN, "token-insufficient", detail)
            .with(header::WWW_AUTHENTICATE, challenge)
    }

    /// A page of another site sent this.
    pub(super) fn foreign_page() -> Self {
        let detail = "pages of this site may not do this: http.origins does not list it";
        Self::new(StatusCode::FORBIDDEN, "foreign-page", detail)
    }

    pub(super) fn wrong_host() -> Self {
        let detail = "this server listens on loopback only and does not know the name in Host: \
                      set http.public_url to the address that clients use";
        Self::new(StatusCode::MISDIRECTED_REQUEST, "wrong-host", detail)
    }

    pub(super) fn precondition_required() -> Self {
        let detail = "send If-Match with the session's entity tag, or *";
        Self::new(
            StatusCode::PRECONDITION_REQUIRED,
            "precondition-required",
            detail,
        )
    }

    pub(super) fn precondition_failed() -> Self {
        let detail = "If-Match does not name the session's present entity tag";
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "precondition-failed",
            detail,
        )
    }

    pub(super) fn unprocessable(detail: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unsupported", detail)
    }

    /// 503: a limit is reached.
    pub(super) fn full(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "full", detail).retry_after(RETRY_FULL)
    }

    /// The server runs, but does not do all that it should.
    pub(super) fn unhealthy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unhealthy", detail)
    }

    /// The server runs, but accepts no new sessions.
    pub(super) fn unready(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unready", detail).retry_after(RETRY_FULL)
    }

    pub(super) fn too_often(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-often", detail).retry_after(RETRY_OFTEN)
    }

    /// The same, until a certain time.
    pub(super) fn too_often_for(detail: impl Into<String>, wait: Option<Duration>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-often", detail)
            .retry_after(wait.unwrap_or(RETRY_OFTEN))
    }

    /// 429: this client holds as many of something as it may.
    pub(super) fn too_many(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", detail).retry_after(RETRY_FULL)
    }

    pub(super) fn unimplemented(detail: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "not-implemented", detail)
    }

    pub(super) fn failed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", detail)
    }

    /// The same refusal as 404, for players that know no 409.
    pub(super) fn hidden(self) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            ..self
        }
    }
}

/// A status per way in which SDP can be unfit.
impl From<sdp::Error> for Problem {
    fn from(error: sdp::Error) -> Self {
        let detail = error.to_string();
        match error {
            sdp::Error::Malformed(_) => Self::bad_request(&detail),
            sdp::Error::Unsupported(_) => Self::unprocessable(&detail),
            sdp::Error::CodecMismatch(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "codec-mismatch", detail)
            }
            sdp::Error::Engine(_) => {
                tracing::error!(%error, "unusable answer from the engine");
                Self::failed("the server failed; its log says why")
            }
        }
    }
}

/// A status per way in which a broadcast can refuse.
impl From<broadcast::Error> for Problem {
    fn from(error: broadcast::Error) -> Self {
        use broadcast::Error;

        let detail = error.to_string();
        match error {
            Error::Offer(error) => error.into(),
            Error::Missing(what) => Self::not_found(what),
            Error::NotLive { retry_after, .. } => {
                Self::new(StatusCode::CONFLICT, "not-live", detail).retry_after(retry_after)
            }
            Error::Idle(_) => Self::new(StatusCode::CONFLICT, "not-running", detail),
            Error::Unfit(_) => Self::unprocessable(&detail),
            Error::Lacking(_) => Self::new(StatusCode::NOT_IMPLEMENTED, "missing-program", detail),
            Error::NoRendition { .. } => Self::new(StatusCode::NOT_FOUND, "no-rendition", detail),
            Error::NotReady { retry_after } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", detail)
                    .retry_after(retry_after)
            }
            Error::Taken { retry_after, .. } => {
                Self::new(StatusCode::CONFLICT, "name-taken", detail).retry_after(retry_after)
            }
            Error::Away { retry_after } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "registry-away", detail)
                    .retry_after(retry_after)
            }
            Error::Full(_) => Self::full(detail),
            Error::Overloaded => Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
                .retry_after(RETRY_FULL),
            Error::TooOften => Self::too_often(detail),
            Error::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail)
                .retry_after(RETRY_FULL),
            Error::Failed(_) => {
                // It may quote a pipeline file.
                tracing::error!(error = detail, "request failed");
                Self::failed("the server failed; its log says why")
            }
        }
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        let body = serde_json::to_vec(&ProblemBody {
            r#type: format!("urn:aerial:problem:{}", problem.kind),
            title: problem.status.canonical_reason().unwrap_or_default(),
            status: problem.status.as_u16(),
            detail: &problem.detail,
            error: &problem.detail,
        });
        // Strings and a number always serialize; an empty body would still carry the status.
        let body = body.unwrap_or_default();
        let mut response = with_body(problem.status, "application/problem+json", body);
        set(&mut response, &header::CACHE_CONTROL, "no-store");
        for (name, value) in problem.headers {
            set(&mut response, &name, &value);
        }
        response.extensions_mut().insert(Reason {
            kind: problem.kind,
            detail: problem.detail,
        });
        response
    }
}
