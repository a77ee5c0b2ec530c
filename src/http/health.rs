//! Whether the server lives, and whether new sessions are welcome.

use warp::reply::Response;

use super::{App, problem::Problem, reply};
use crate::{
    fanout::FanoutFault,
    resources::{self, Short},
};

/// What readiness depends on.
struct Condition {
    is_stopping: bool,
    /// What keeps viewers from getting anything.
    fault: Option<FanoutFault>,
    resources: Result<(), Short>,
}

/// Ask whether the server is healthy
///
/// 503 while a fan-out worker does not respond, or the UDP port is not read.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "health",
    tag = "server",
    responses((status = 200, content_type = "text/plain; charset=utf-8", body = String))
)]
pub(super) fn alive(app: &App) -> Result<Response, Problem> {
    check_fanout(app.fanout.fault()).map(|()| reply::text("ok\n"))
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
        fault: app.fanout.fault(),
        resources: resources::check(),
    };
    check(&condition).map(|()| reply::text("ready\n"))
}

/// 503 while some viewers get nothing.
fn check_fanout(fault: Option<FanoutFault>) -> Result<(), Problem> {
    match fault {
        None => Ok(()),
        Some(fault) => Err(Problem::unhealthy(fault.to_string())),
    }
}

/// 503 with the reason why new sessions should go elsewhere.
fn check(condition: &Condition) -> Result<(), Problem> {
    if condition.is_stopping {
        return Err(Problem::unready("the server is stopping"));
    }
    check_fanout(condition.fault)?;
    let short = |short: Short| Problem::unready(short.to_string());
    condition.resources.map_err(short)
}

#[cfg(test)]
mod tests {
    use ::http::StatusCode;

    use super::*;

    const GOOD: Condition = Condition {
        is_stopping: false,
        fault: None,
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
                fault: Some(FanoutFault::Worker),
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
        assert!(check_fanout(None).is_ok());
        assert!(check_fanout(Some(FanoutFault::Port)).is_err());
    }
}
