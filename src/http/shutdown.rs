//! How far the shutdown of the server has got.

use ::http::StatusCode;
use tokio_util::sync::CancellationToken;
use warp::reply::Response;

use super::{App, Problem, reply::empty, request::HttpRequest};
use crate::{access::Right, broadcast};

/// The steps to the end of the server, known to everything that serves requests.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Cancelled when no more sessions may begin.
    pub draining: CancellationToken,
    /// Cancelled when everything ends.
    pub stopping: CancellationToken,
}

impl Shutdown {
    /// Lets a session begin.
    ///
    /// # Errors
    /// 503.
    pub(super) fn permit_session(&self) -> Result<(), Problem> {
        if self.has_begun() {
            return Err(broadcast::Error::Stopping.into());
        }
        Ok(())
    }

    /// Whether new sessions are refused.
    pub(super) fn has_begun(&self) -> bool {
        self.draining.is_cancelled() || self.stopping.is_cancelled()
    }
}

/// Drain the server
///
/// Takes it out of service like SIGTERM: new sessions get 503, or 307 to another server; running ones may go on for
/// `timeouts.drain_sessions`; then the process ends.
#[utoipa::path(
    post,
    path = "/admin/drain",
    operation_id = "drain",
    tag = "server",
    security(("token" = ["admin"])),
    responses((status = 202, description = "It drains"))
)]
pub(super) fn drain(app: &App, request: &HttpRequest) -> Result<Response, Problem> {
    app.auth.permit_right(request, Right::Admin)?;
    app.shutdown.draining.cancel();
    Ok(empty(StatusCode::ACCEPTED))
}
