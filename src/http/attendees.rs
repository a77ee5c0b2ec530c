//! The sessions of a broadcast, for the operator: list them, move viewers, end them.
//!
//! They go by their public numbers here; the URL of a session is its client's secret.

use ::http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use warp::reply::Response;

use super::{App, problem::Problem, relay, reply::empty, request::HttpRequest, wire::json};
use crate::{access::Right, broadcast::SessionStatus, peer::sdp::Role, plan::Name};

/// Size of a change, in bytes.
const CHANGE_BYTES_MAX: usize = 4 << 10;

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SessionList)]
struct List {
    sessions: Vec<SessionStatus>,
}

/// The same, of another node, or of several.
#[derive(Serialize, Deserialize)]
struct ListElsewhere {
    sessions: Vec<Value>,
}

/// What may be changed.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct SessionChange {
    /// The rendition that a viewer asks for from now on; `null` for none.
    rendition: Option<String>,
}

/// List the sessions
///
/// Of a broadcast, oldest first; in a cluster, those of all nodes.
#[utoipa::path(
    get,
    path = "/api/v1/broadcasts/{name}/sessions",
    operation_id = "sessions",
    tag = "sessions",
    params(
        ("name" = Name, Path, description = "The broadcast"),
        ("role" = Option<Role>, Query, description = "Only sessions in this role")
    ),
    security(("token" = ["admin"])),
    responses(
        (status = 200, body = List),
        (status = 400, description = "There is no such role")
    )
)]
pub(super) async fn list(
    app: &App,
    name: &Name,
    request: &HttpRequest,
) -> Result<Response, Problem> {
    app.auth.permit_right(request, Right::Admin)?;
    let role = match request.parameter("role") {
        None => None,
        Some("publisher") => Some(Role::Publisher),
        Some("viewer") => Some(Role::Viewer),
        Some(_) => return Err(Problem::bad_request("role is publisher or viewer")),
    };
    let own = app.broadcasts.sessions_of(name, role).await;
    let replies = relay::others(app, request, &[]).await;
    let elsewhere = replies
        .iter()
        .filter_map(|reply| serde_json::from_str::<ListElsewhere>(&reply.body).ok());
    let mut sessions: Vec<Value> = elsewhere.flat_map(|list| list.sessions).collect();
    if sessions.is_empty() {
        return json(&List { sessions: own? });
    }
    for session in own.unwrap_or_default() {
        let value = serde_json::to_value(session);
        sessions.push(value.map_err(|error| Problem::failed(error.to_string()))?);
    }
    let started = |session: &Value| session["started"].as_str().map(str::to_owned);
    sessions.sort_by_cached_key(started);
    json(&ListElsewhere { sessions })
}

pub(super) async fn answer(
    app: &App,
    name: &Name,
    number: u64,
    mut request: HttpRequest,
) -> Result<Response, Problem> {
    app.auth.permit_right(&request, Right::Admin)?;
    let body = request
        .body(CHANGE_BYTES_MAX, app.options.body_timeout)
        .await?;
    let answer = match request.method {
        Method::DELETE => kick(app, name, number).await,
        Method::PATCH => move_viewer(app, name, number, change(&request, &body)?).await,
        _ => get(app, name, number).await,
    };
    match answer {
        Err(problem) if problem.is_not_found() => {
            let mut replies = relay::others(app, &request, &body).await.into_iter();
            let found = replies.find(|reply| StatusCode::NOT_FOUND != reply.status);
            found.and_then(relay::response).ok_or(problem)
        }
        answer => answer,
    }
}

/// Get a session
#[utoipa::path(
    get,
    path = "/api/v1/broadcasts/{name}/sessions/{id}",
    operation_id = "session",
    tag = "sessions",
    params(
        ("name" = Name, Path, description = "The broadcast"),
        ("id" = u64, Path, description = "The session's number")
    ),
    security(("token" = ["admin"])),
    responses((status = 200, body = SessionStatus))
)]
async fn get(app: &App, name: &Name, number: u64) -> Result<Response, Problem> {
    json(&app.broadcasts.session_of(name, number).await?)
}

/// Move a viewer
///
/// It gets what it would get if it had asked for this rendition. With `null` it asks for nothing any more.
#[utoipa::path(
    patch,
    path = "/api/v1/broadcasts/{name}/sessions/{id}",
    operation_id = "move_session",
    tag = "sessions",
    params(
        ("name" = Name, Path, description = "The broadcast"),
        ("id" = u64, Path, description = "The session's number")
    ),
    request_body = SessionChange,
    security(("token" = ["admin"])),
    responses((status = 200, body = SessionStatus))
)]
async fn move_viewer(
    app: &App,
    name: &Name,
    number: u64,
    change: SessionChange,
) -> Result<Response, Problem> {
    let rendition = change.rendition.as_deref();
    app.broadcasts.move_viewer(name, number, rendition).await?;
    get(app, name, number).await
}

/// End a session
///
/// Its client may come back unless its token is taken away.
#[utoipa::path(
    delete,
    path = "/api/v1/broadcasts/{name}/sessions/{id}",
    operation_id = "end_session",
    tag = "sessions",
    params(
        ("name" = Name, Path, description = "The broadcast"),
        ("id" = u64, Path, description = "The session's number")
    ),
    security(("token" = ["admin"])),
    responses((status = 204, description = "It ends"))
)]
async fn kick(app: &App, name: &Name, number: u64) -> Result<Response, Problem> {
    app.broadcasts.kick(name, number).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn change(request: &HttpRequest, body: &[u8]) -> Result<SessionChange, Problem> {
    request.json(body, r#"send {"rendition": "NAME"}, or null"#)
}
