//! The JSON API. Lists contain what the client may watch or publish; totals are public.

use serde::Serialize;
use warp::reply::Response;

use super::{App, auth::Visible, problem::Problem, request::HttpRequest, wire::json};
use crate::{
    broadcast::{Broadcasts, Details, SourceKind, Status},
    peer::sdp::Role,
    plan::Name,
};

/// The broadcasts that the client may see.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = BroadcastList)]
pub(super) struct List {
    broadcasts: Vec<Status>,
}

impl List {
    pub(super) fn of(broadcasts: &Broadcasts) -> Self {
        Self {
            broadcasts: broadcasts.status(),
        }
    }

    /// Without what this view hides.
    pub(super) fn seen(mut self, view: &Visible) -> Self {
        self.broadcasts.retain(|status| view.shows(&status.name));
        self
    }
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ServerStatus)]
struct Server {
    version: &'static str,
    broadcasts: usize,
    publishers: usize,
    viewers: usize,
    sessions: usize,
    needs_token: NeedsToken,
}

/// What some or all broadcasts require a token for.
#[derive(Serialize, utoipa::ToSchema)]
struct NeedsToken {
    publish: bool,
    watch: bool,
}

/// List the broadcasts
///
/// Those that the client may watch or publish.
#[utoipa::path(
    get,
    path = "/api/v1/broadcasts",
    operation_id = "broadcasts",
    tag = "broadcasts",
    responses((status = 200, body = List))
)]
pub(super) fn broadcasts(app: &App, request: &HttpRequest) -> Result<Response, Problem> {
    let view = app.auth.view(request)?;
    json(&List::of(&app.broadcasts).seen(&view))
}

/// Get a broadcast
///
/// With the figures of its pipelines.
#[utoipa::path(
    get,
    path = "/api/v1/broadcasts/{name}",
    operation_id = "broadcast",
    tag = "broadcasts",
    params(("name" = Name, Path, description = "The broadcast")),
    responses((status = 200, body = Details))
)]
pub(super) async fn broadcast(
    app: &App,
    name: &Name,
    request: &HttpRequest,
) -> Result<Response, Problem> {
    app.auth.permit_view(request, name).await?;
    let details = app.broadcasts.details_of(name).await?;
    if app.auth.is_operator(request) {
        return json(&details.with_errors());
    }
    json(&details)
}

/// Get totals
///
/// The version, how many there are of everything, and what needs a token.
#[utoipa::path(
    get,
    path = "/api/v1/server",
    operation_id = "server",
    tag = "server",
    responses((status = 200, body = Server))
)]
pub(super) fn server(app: &App) -> Result<Response, Problem> {
    let status = app.broadcasts.status();
    json(&Server {
        version: env!("CARGO_PKG_VERSION"),
        broadcasts: status.len(),
        publishers: publishers(&status),
        viewers: viewers(&status),
        sessions: app.broadcasts.sessions(),
        needs_token: NeedsToken {
            publish: app.auth.closes(Role::Publisher),
            watch: app.auth.closes(Role::Viewer),
        },
    })
}

/// WHIP publishers that are connected.
pub(super) fn publishers(status: &[Status]) -> usize {
    status
        .iter()
        .filter(|status| status.connected && status.source == SourceKind::Whip)
        .count()
}

/// Viewers of all broadcasts.
pub(super) fn viewers(status: &[Status]) -> usize {
    status.iter().map(|status| status.viewers).sum()
}
