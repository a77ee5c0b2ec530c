//! Whether the server lives, and whether new sessions are welcome.

use warp::reply::Response;

use super::{problem::Problem, reply};
use crate::resources::Short;

/// What readiness depends on.
pub(super) struct Condition {
    pub(super) is_stopping: bool,
    /// Whether every fan-out worker responds.
    pub(super) has_workers: bool,
    pub(super) resources: Result<(), Short>,
}

/// # Errors
/// 503 if a fan-out worker hangs.
pub(super) fn alive(has_workers: bool) -> Result<Response, Problem> {
    if has_workers {
        Ok(reply::text("ok\n"))
    } else {
        Err(Problem::unhealthy("a fan-out worker does not respond"))
    }
}

/// # Errors
/// 503 with the reason why new sessions should go elsewhere.
pub(super) fn ready(condition: &Condition) -> Result<Response, Problem> {
    if condition.is_stopping {
        return Err(Problem::unready("the server is stopping"));
    }
    alive(condition.has_workers)?;
    match condition.resources {
        Ok(()) => Ok(reply::text("ready\n")),
        Err(short) => Err(Problem::unready(short.to_string())),
    }
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
        ready(condition).unwrap_or_else(Response::from).status()
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
        assert!(alive(true).is_ok());
        assert!(alive(false).is_err());
    }
}
