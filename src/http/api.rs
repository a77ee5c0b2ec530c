//! The JSON API.

use serde::Serialize;
use warp::reply::Response;

use super::{
    App,
    reply::{Problem, json},
};
use crate::broadcast::{Broadcasts, Name, SourceKind, Status};

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
}

#[derive(Serialize)]
struct Server {
    version: &'static str,
    broadcasts: usize,
    publishers: usize,
    viewers: usize,
    sessions: usize,
}

pub(super) fn broadcasts(app: &App) -> Result<Response, Problem> {
    json(&List::of(&app.broadcasts))
}

pub(super) async fn broadcast(app: &App, name: &Name) -> Result<Response, Problem> {
    json(&app.broadcasts.details_of(name).await?)
}

pub(super) fn server(app: &App) -> Result<Response, Problem> {
    let status = app.broadcasts.status();
    json(&Server {
        version: env!("CARGO_PKG_VERSION"),
        broadcasts: status.len(),
        publishers: publishers(&status),
        viewers: viewers(&status),
        sessions: app.broadcasts.sessions(),
    })
}

/// WHIP publishers that are connected.
pub(super) fn publishers(status: &[Status]) -> usize {
    status
        .iter()
        .filter(|status| status.fed && status.source == SourceKind::Whip)
        .count()
}

/// Viewers of all broadcasts.
pub(super) fn viewers(status: &[Status]) -> usize {
    status.iter().map(|status| status.viewers).sum()
}
