//! Changes by the operator while the server runs: the options that hold from now on, and the
//! requests to read the configuration again or to change it.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, PoisonError, RwLock, Weak},
};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use warp::reply::Response;

use super::{
    App, Options, admission, clients::ClientLimits, problem::Problem, request::HttpRequest,
    wire::json,
};
use crate::{
    access::Right,
    amendments::{AmendmentError, BroadcastChange, OutputSwitch},
    peer::sdp::Role,
    plan::Name,
};

/// Requests that may wait.
const REQUESTS_MAX: usize = 4;

/// A request to read or change the configuration.
#[derive(Debug)]
pub struct ConfigRequest {
    /// What.
    pub what: ConfigChange,
    /// Where the answer goes: what has changed, or why nothing has.
    pub reply: oneshot::Sender<Result<Reloaded, ConfigRefusal>>,
}

/// The changes.
#[derive(Clone, Debug)]
pub enum ConfigChange {
    /// Whatever the files say now.
    Reload,
    /// Options are set, or restored.
    Options(BTreeMap<String, Option<String>>),
    /// The entry of a broadcast.
    Broadcast(Name, BroadcastChange),
    /// An output of a broadcast starts or stops.
    Output(Name, OutputSwitch),
}

/// Why nothing has changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConfigRefusal {
    /// There is a mistake in it.
    #[error("{0}")]
    Mistake(String),
    /// There are as many as there may be.
    #[error(transparent)]
    Amendment(#[from] AmendmentError),
    /// It cannot be kept.
    #[error("the change cannot be saved: {0}")]
    Unkept(String),
}

impl From<ConfigRefusal> for Problem {
    fn from(refusal: ConfigRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            ConfigRefusal::Mistake(_) | ConfigRefusal::Amendment(AmendmentError::Unfit(_)) => {
                Self::bad_configuration(&detail)
            }
            ConfigRefusal::Amendment(AmendmentError::Full(_)) => Self::full(detail),
            ConfigRefusal::Amendment(AmendmentError::Missing(_)) => Self::not_found_because(detail),
            ConfigRefusal::Unkept(_) => Self::failed(detail),
        }
    }
}

/// The changes that reading the configuration again has made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Reloaded {
    /// Options that hold from now on.
    pub changed: Vec<String>,
    /// Options that differ from what the server runs with, and take a restart.
    pub needs_restart: Vec<String>,
    /// Broadcasts that run, and follow their new sections.
    pub broadcasts: Vec<String>,
}

/// The connection between the HTTP server and whoever has the configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ConfigControl {
    requests: mpsc::Sender<ConfigRequest>,
    app: Arc<OnceLock<Weak<App>>>,
}

impl ConfigControl {
    /// Also returns where the operator's requests arrive.
    pub fn new() -> (Self, mpsc::Receiver<ConfigRequest>) {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let control = Self {
            requests,
            app: Arc::default(),
        };
        (control, receiver)
    }

    /// Has the configuration changed, and waits until the change holds.
    pub(super) async fn change(&self, what: ConfigChange) -> Result<Reloaded, Problem> {
        let (reply, outcome) = oneshot::channel();
        let sent = self.requests.try_send(ConfigRequest { what, reply });
        sent.map_err(|_| Problem::full("the configuration is being changed already"))?;
        match outcome.await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(Problem::failed("the server is stopping")),
        }
    }

    /// Begins to change the options of this server.
    pub(super) fn attach(&self, app: &Arc<App>) {
        // Err: there is one server.
        let _ = self.app.set(Arc::downgrade(app));
    }

    /// Takes over the options that can change.
    pub fn apply(&self, options: Options) {
        let Some(app) = self.app.get().and_then(Weak::upgrade) else {
            return;
        };
        app.sessions.set(Role::Publisher, options.publishers_max);
        app.sessions.set(Role::Viewer, options.viewers_max);
        app.admission.set(admission::Limits::of(&options));
        let offers = || ClientLimits::of_offers(options.client_offers);
        app.clients.become_like(offers());
        app.auth.reload(options.auth.clone(), offers());
        app.current.set(options);
    }
}

/// The options that hold now.
pub(super) struct HeldOptions(RwLock<Arc<Options>>);

impl HeldOptions {
    pub(super) fn new(options: Options) -> Self {
        Self(RwLock::new(Arc::new(options)))
    }

    fn set(&self, options: Options) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(options);
    }
}

impl App {
    /// The options that hold now; `options` are those that the server has started with.
    pub(super) fn now(&self) -> Arc<Options> {
        let current = self.current.0.read();
        // A poisoned lock is fine: nothing is ever left half-changed.
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }
}

/// Read the configuration again
///
/// All or nothing: with a mistake in it, nothing changes. Sessions go on.
#[utoipa::path(
    post,
    path = "/admin/reload",
    operation_id = "reload",
    tag = "server",
    security(("token" = ["admin"])),
    responses(
        (status = 200, body = Reloaded),
        (status = 422, description = "The configuration is invalid")
    )
)]
pub(super) async fn reload(app: &App, request: &HttpRequest) -> Result<Response, Problem> {
    app.auth.permit_right(request, Right::Admin)?;
    json(&app.options.control.change(ConfigChange::Reload).await?)
}
