//! Publishers that were turned away. OBS shows its user the same box for every reason, so the log,
//! the metrics and the page of the broadcast say why.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use ::http::Method;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use warp::reply::Response;

use super::{
    App,
    problem::{Problem, Reason},
    request::HttpRequest,
    router::{Naming, Route},
    wire::json,
};
use crate::{client::ClientAddress, notices::Notices, peer::sdp::Role, plan::Name};

/// Names whose last refusal is remembered.
const NAMES_MAX: usize = 1000;
/// How long a refusal is remembered: somebody is trying to go live now.
const MEMORY: Duration = Duration::from_mins(10);

/// The refusals so far.
pub(super) struct Refusals {
    notices: Notices,
    inner: Mutex<Inner>,
}

struct Inner {
    /// By the problem's kind, of which there is a fixed number.
    counts: BTreeMap<&'static str, u64>,
    last: HashMap<Name, Refusal>,
}

/// One refusal.
#[derive(Clone)]
struct Refusal {
    at: Instant,
    status: u16,
    reason: Reason,
    user_agent: String,
}

/// A request to publish, in case that it is refused.
pub(super) struct Attempt {
    broadcast: Option<Name>,
    client: ClientAddress,
    user_agent: String,
}

impl Attempt {
    /// `None` if the request is not meant to publish. `route` is unknown for 404.
    pub(super) fn of(app: &App, route: Option<&Route<'_>>, request: &HttpRequest) -> Option<Self> {
        let harmless = [Method::GET, Method::HEAD, Method::OPTIONS];
        let broadcast = match route {
            _ if harmless.contains(&request.method) => return None,
            Some(Route::Endpoint(Role::Publisher, naming)) => named(app, *naming, request),
            None if request.path.starts_with("/whip/") || request.path.ends_with("/whip") => None,
            _ => return None,
        };
        Some(Self {
            broadcast,
            client: request.client,
            user_agent: request.user_agent(),
        })
    }
}

/// The broadcast that a request names, whether or not its token is right.
fn named(app: &App, naming: Naming<'_>, request: &HttpRequest) -> Option<Name> {
    match (naming, request.parameter("broadcast")) {
        (Naming::Path(name), _) | (Naming::Token, Some(name)) => Name::new(name),
        // With tokens it would be a secret.
        (Naming::Token, None) if app.auth.closes(Role::Publisher) => None,
        (Naming::Token, None) => Name::new(&request.bearer()?),
    }
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self {
            notices: Notices::of_requests(),
            inner: Mutex::new(Inner {
                counts: BTreeMap::new(),
                last: HashMap::new(),
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the answer to an attempt.
    pub(super) fn note(&self, attempt: Attempt, response: &Response) {
        let Some(reason) = response.extensions().get::<Reason>() else {
            if let (Some(name), true) = (&attempt.broadcast, response.status().is_success()) {
                self.inner().last.remove(name);
            }
            return;
        };
        let Attempt {
            broadcast,
            client,
            user_agent,
        } = attempt;
        let (status, now) = (response.status().as_u16(), Instant::now());
        let mut inner = self.inner();
        *inner.counts.entry(reason.kind).or_default() += 1;
        if let Some(left_out) = self.notices.line() {
            tracing::info!(
                broadcast = broadcast.as_ref().map(tracing::field::display),
                status,
                reason = reason.detail,
                %client,
                user_agent,
                left_out,
                "publisher refused"
            );
        }
        let Some(name) = broadcast else {
            return;
        };
        if inner.last.len() >= NAMES_MAX && !inner.last.contains_key(&name) {
            let oldest = inner.last.iter().min_by_key(|(_, refusal)| refusal.at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                inner.last.remove(&oldest);
            }
        }
        let refusal = Refusal {
            at: now,
            status,
            reason: reason.clone(),
            user_agent,
        };
        inner.last.insert(name, refusal);
    }

    /// Refusals so far, by reason.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.inner().counts.clone()
    }

    fn last(&self, name: &Name) -> Option<Refusal> {
        let refusal = self.inner().last.get(name).cloned()?;
        (refusal.at.elapsed() < MEMORY).then_some(refusal)
    }
}

/// The last refusal of a name, as its page shows it; every member is `null` if there is none.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Refusal)]
struct Document {
    /// When.
    #[schema(format = DateTime)]
    time: Option<String>,
    status: Option<u16>,
    reason: Option<&'static str>,
    detail: Option<String>,
    user_agent: Option<String>,
}

/// The last refusal of a publisher
///
/// The last request to publish under this name that was refused in the past ten minutes, for clients that may publish
/// there; every member is `null` if there is none.
#[utoipa::path(
    get,
    path = "/api/v1/broadcasts/{name}/refusal",
    operation_id = "refusal",
    tag = "broadcasts",
    params(("name" = Name, Path, description = "The broadcast")),
    responses((status = 200, body = Document))
)]
pub(super) async fn answer(
    app: &App,
    name: &Name,
    request: &HttpRequest,
) -> Result<Response, Problem> {
    if !app.auth.is_operator(request) {
        app.auth.permit_publishing(request, name).await?;
    }
    let last = app.refusals.last(name);
    let time = last.as_ref().and_then(|refusal| {
        let at = SystemTime::now().checked_sub(refusal.at.elapsed())?;
        Some(DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Secs, true))
    });
    json(&Document {
        time,
        status: last.as_ref().map(|refusal| refusal.status),
        reason: last.as_ref().map(|refusal| refusal.reason.kind),
        detail: last.as_ref().map(|refusal| refusal.reason.detail.clone()),
        user_agent: last.map(|refusal| refusal.user_agent),
    })
}
