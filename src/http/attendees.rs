//! The sessions of a broadcast, for the operator: who they are, what they get, how to end them.
//!
//! They go by their public numbers here; the URL of a session is its client's secret.

use ::http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use warp::reply::Response;

use super::{App, problem::Problem, reply::empty, request::HttpRequest, wire::json};
use crate::{access::Right, broadcast::SessionStatus, plan::Name};

/// Size of a change, in bytes.
const CHANGE_BYTES_MAX: usize = 4 << 10;

#[derive(Serialize)]
struct List {
    sessions: Vec<SessionStatus>,
}

/// What may be changed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionChange {
    /// The rendition that a viewer asks for from now on; `null` for none.
    rendition: Option<String>,
}

pub(super) async fn list(app: &App, name: &Name) -> Result<Response, Problem> {
    let sessions = app.broadcasts.sessions_of(name).await?;
    json(&List { sessions })
}

pub(super) async fn answer(
    app: &App,
    name: &Name,
    number: u64,
    request: HttpRequest,
) -> Result<Response, Problem> {
    app.auth.permit_right(&request, Right::Admin)?;
    if request.method == Method::DELETE {
        app.broadcasts.kick(name, number).await?;
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    if request.method == Method::PATCH {
        let change = change(app, request).await?;
        let moving = app
            .broadcasts
            .move_viewer(name, number, change.rendition.as_deref());
        moving.await?;
    }
    json(&app.broadcasts.session_of(name, number).await?)
}

async fn change(app: &App, mut request: HttpRequest) -> Result<SessionChange, Problem> {
    let body = request.body(CHANGE_BYTES_MAX, app.options.body_timeout);
    let body = body.await?;
    request.json(&body, r#"send {"rendition": "NAME"}, or null"#)
}
