//! Whether the server lives, and whether new sessions are welcome.

use warp::reply::Response;

use super::{App, problem::Problem, reply};
use crate::resources::{self, Short};

/// What readiness depends on.
struct Condition {
    is_stopping: bool,
    /// Whether every fan-out worker responds.
    has_workers: bool,
    resources: Result<(), Short>,
}

/// Ask whether the server is healthy
///
/// 503 while a fan-out worker does not respond.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "health",
    tag = "server",
    responses((status = 200, content_type = "text/plain; charset=utf-8", body = String))
)]
pub(super) fn alive(app: &App) -> Result<Response, Problem> {
    check_workers(app.fanout.is_healthy()).map(|()| reply::text("ok\n"))
}

/// Ask whether new sessions are welcome
///
/// 503 while the server is draining or stopping, is unhealthy, or has nearly used up what the system allows.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "ready",
    tag = "server",
    responses((status = 200, content_type = "text/plain; charset=utf-8", body = String))
)]
pub(super) fn ready(app: &App) -> Result<Response, Problem> {
    let condition = Condition {
        is_stopping: app.shutdown.has_begun(),
        has_workers: app.fanout.is_healthy(),
        resources: resources::check(),
    };
    check(&condition).map(|()| reply::text("ready\n"))
}

/// 503 if a fan-out worker hangs.
fn check_workers(has_workers: bool) -> Result<(), Problem> {
    if has_workers {
        return Ok(());
    }
    Err(Problem::unhealthy("a fan-out worker does not respond"))
}

/// 503 with the reason why new sessions should go elsewhere.
fn check(condition: &Condition) -> Result<(), Problem> {
    if condition.is_stopping {
        return Err(Problem::unready("the server is stopping"));
    }
    check_workers(condition.has_workers)?;
    let short = |short: Short| Problem::unready(short.to_string());
    condition.resources.map_err(short)
}

#[cfg(test)]
mod tests {
    use ::http::StatusCode;

    use super::*;

    const GOOD: Condition = Condition {
        is_stopping: false,
        has_workers: true,
        resources: Ok(()),
    };

    fn status(condition: &Condition) -> StatusCode {
        check(condition)
            .err()
            .map(Response::from)
            .map_or(StatusCode::OK, |response| response.status())
    }

    #[test]
    fn whatever_keeps_sessions_out_makes_the_server_unready() {
        assert_eq!(status(&GOOD), StatusCode::OK);
        let bad = [
            Condition {
                is_stopping: true,
                ..GOOD
            },
            Condition {
                has_workers: false,
                ..GOOD
            },
            Condition {
                resources: Err(Short::Threads),
                ..GOOD
            },
        ];
        for condition in &bad {
            assert_eq!(status(condition), StatusCode::SERVICE_UNAVAILABLE);
        }
        // Only what a restart would mend ends the server's life.
        assert!(check_workers(true).is_ok());
        assert!(check_workers(false).is_err());
    }
}
