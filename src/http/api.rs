//! The JSON API. Lists contain what the client may watch or publish; totals are public.

use serde::Serialize;
use warp::reply::Response;

use super::{App, auth::Visible, problem::Problem, request::HttpRequest, wire::json};
use crate::{
    broadcast::{Broadcasts, SourceKind, Status},
    peer::sdp::Role,
    plan::Name,
};

/// The document of `/api/broadcasts` and of its events.
#[derive(Serialize)]
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

#[derive(Serialize)]
struct Server {
    version: &'static str,
    broadcasts: usize,
    publishers: usize,
    viewers: usize,
    sessions: usize,
    needs_token: NeedsToken,
}

/// What some or all broadcasts require a token for.
#[derive(Serialize)]
struct NeedsToken {
    publish: bool,
    watch: bool,
}

pub(super) fn broadcasts(app: &App, request: &HttpRequest) -> Result<Response, Problem> {
    let view = app.auth.view(request)?;
    json(&List::of(&app.broadcasts).seen(&view))
}

pub(super) async fn broadcast(
    app: &App,
    name: &Name,
    for_operator: bool,
) -> Result<Response, Problem> {
    let details = app.broadcasts.details_of(name).await?;
    if for_operator {
        return json(&details.with_errors());
    }
    json(&details)
}

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
