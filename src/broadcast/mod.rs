//! Who publishes and who watches: one actor per broadcast.
//!
//! [`Broadcasts`] is what `http` calls. Sessions and pipelines are child tasks of the
//! actor that negotiate, run and close on their own and report back, so that the actor never waits
//! for GStreamer or for a viewer. This room knows neither HTTP nor SDP details nor GStreamer.
//!
//! ```text
//!  requests, media events,   +-------+  events   +-------------------------------------+
//!  ended tasks, a tick  ---> | actor | --------> | parts: supply, audience, renditions,|
//!                            | (loop)| <-------- |        outputs, slate; choice, slot |
//!                            +-------+  actions  +-------------------------------------+
//!                                |                 pure: no task, no clock, no IO
//!                                v
//!             publisher, viewer: a session each;  supervisor: a run of a pipeline
//! ```

mod action;
mod actor;
mod admittance;
mod attendance;
mod attendee;
mod audience;
mod bitrate;
mod choice;
mod control;
mod error;
mod event_types;
mod figures;
mod gate;
mod happenings;
mod health;
mod keyframes;
mod metrics;
mod nodes;
mod options;
mod outcome;
mod outputs;
mod participation;
mod parts;
mod place;
mod publisher;
mod reload;
mod remote;
mod renditions;
mod roster;
mod rules;
mod session;
mod session_id;
mod slate;
mod slot;
mod status;
mod supervisor;
mod supply;
mod takeover;
mod tracks;
mod transcodes;
mod viewer;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

pub use attendance::AnswerDelivery;
pub use control::{Drawing, OutputStatus, PropertyList};
pub use error::Error;
pub use event_types::EventKind;
pub use metrics::PublisherTotals;
pub use nodes::Relayed;
pub use options::Options;
pub use roster::SessionStatus;
pub use session::{Applicant, Introduction, Revocation, Session};
pub use session_id::SessionId;
pub use status::{Details, PipelineFigures, SourceKind, State, Status};
pub use takeover::Times;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use self::{
    actor::{Actor, ActorRequest},
    admittance::admit,
    options::CurrentOptions,
    status::SharedCounters,
    transcodes::TranscodeBudget,
};
use crate::{
    awake,
    chat::Chats,
    cluster::Cluster,
    events::EventBus,
    fanout::Fanout,
    media::Codec,
    peer::{End, sdp::Choice},
    plan::{Engine, Name},
    resources::Amount,
};

/// Requests waiting for the actor of a broadcast, which answers each within microseconds.
const REQUESTS_MAX: usize = 256;
/// Longest negotiation; OBS gives up 8 s after its POST.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(7);
/// How many times a request is retried because its broadcast ended meanwhile.
const ATTEMPTS_MAX: usize = 4;
/// When to ask again for a broadcast that nobody publishes.
const RETRY_MISSING: Duration = Duration::from_secs(2);
/// When a second publisher may try again: after this long without a sign of life the first is stale.
const RETRY_TAKEN: Duration = Duration::from_secs(2);

/// A session that has just been made.
#[derive(Debug)]
pub struct Created {
    /// The session.
    pub session: Arc<Session>,
    /// The SDP answer.
    pub answer: String,
    /// To be kept until the answer has been written.
    pub delivery: AnswerDelivery,
}

/// All broadcasts. Cheap to clone.
#[derive(Clone)]
pub struct Broadcasts {
    shared: Arc<Shared>,
}

/// State that the actor tasks share.
struct Shared {
    options: CurrentOptions,
    fanout: Fanout,
    /// If this server is one of several nodes.
    cluster: Option<Cluster>,
    // Held for a map operation only, never across an await.
    directory: Mutex<Directory>,
    changes: watch::Sender<u64>,
    counters: SharedCounters,
    events: EventBus,
    transcodes: TranscodeBudget,
    chats: Chats,
    stopping: CancellationToken,
    numbers: AtomicU64,
}

#[derive(Default)]
struct Directory {
    broadcasts: BTreeMap<Name, Entry>,
    sessions: HashMap<SessionId, Arc<Session>>,
    actors: JoinSet<()>,
}

impl Directory {
    /// The session that makes room when the server is full: the oldest of those that have sent no
    /// check, otherwise the oldest of those that are not connected.
    fn yielding(&self) -> Option<Arc<Session>> {
        let first = self
            .sessions
            .values()
            .filter(|session| !session.is_connected())
            .min_by_key(|session| (session.is_checked(), session.number));
        first.cloned()
    }
}

struct Entry {
    requests: mpsc::Sender<ActorRequest>,
    status: watch::Receiver<Status>,
}

impl Broadcasts {
    /// No broadcasts yet. `cluster`: this server is one of several nodes.
    pub fn new(options: Options, fanout: Fanout, cluster: Option<Cluster>) -> Self {
        let first = cluster.as_ref().map_or(0, Cluster::first_number);
        Self {
            shared: Arc::new(Shared {
                transcodes: TranscodeBudget::new(options.transcodes_max),
                chats: Chats::new(options.plans.clone()),
                options: CurrentOptions::new(options),
                fanout,
                cluster,
                directory: Mutex::default(),
                changes: watch::Sender::new(0),
                counters: SharedCounters::default(),
                events: EventBus::default(),
                stopping: CancellationToken::new(),
                numbers: AtomicU64::new(first),
            }),
        }
    }

    /// Starts a broadcast whose plan has a source, for as long as the server runs.
    ///
    /// # Errors
    /// If there are too many broadcasts.
    pub fn start_source(&self, name: &Name) -> Result<(), Error> {
        self.actor(name).map(drop)
    }

    /// Starts a publisher session. `arrived` is when the request came in; `token` stands for the
    /// token that it came with, if it needed one.
    ///
    /// # Errors
    /// The offer cannot be used, the name is taken, or a limit is reached.
    pub async fn publish(
        &self,
        name: &Name,
        applicant: Applicant,
        arrived: Instant,
        token: Option<Arc<str>>,
    ) -> Result<Created, Error> {
        let codecs: Vec<Codec> = applicant
            .offer
            .choose_publish()?
            .iter()
            .filter_map(|choice| match choice {
                Choice::Receive(format) => format.codec,
                Choice::Inactive | Choice::Rejected => None,
            })
            .collect();
        let _permit = admit(Amount::SESSION)?;
        let claim = self.claim(name, arrived).await?;
        self.ask(|reply| {
            let request = ActorRequest::Publish {
                applicant: applicant.clone(),
                codecs: codecs.clone(),
                arrived,
                token: token.clone(),
                claim: claim.clone(),
                reply,
            };
            Ok((self.actor(name)?, request))
        })
        .await
    }

    /// Starts a viewer session. Without `rendition` the viewer gets the source, or a rendition that
    /// it can decode.
    ///
    /// # Errors
    /// The offer cannot be used, nobody publishes, there is no such rendition, or a limit is reached.
    pub async fn watch(
        &self,
        name: &Name,
        applicant: Applicant,
        rendition: Option<&str>,
    ) -> Result<Created, Error> {
        let engine = self.shared.options.now().plans.of(name).viewer_engine;
        let engine = engine.unwrap_or(self.shared.options.now().viewer.engine);
        let _permit = admit(match engine {
            Engine::Webrtcbin => Amount::SESSION,
            Engine::Direct => Amount::VIEWER,
        })?;
        self.ask(|reply| {
            let request = ActorRequest::Watch {
                applicant: applicant.clone(),
                requested: rendition.map(str::to_owned),
                reply,
            };
            let options = self.shared.options.now();
            if options.plans.has_slate(name) || self.is_elsewhere(name) {
                return Ok((self.actor(name)?, request));
            }
            let directory = self.shared.directory();
            let entry = directory.broadcasts.get(name);
            let entry = entry.ok_or_else(|| Error::NotLive {
                name: name.clone(),
                awaited: None,
                retry_after: RETRY_MISSING,
            })?;
            Ok((entry.requests.clone(), request))
        })
        .await
    }

    /// Ends a session on its client's request. Afterwards its broadcast's name is free and
    /// its URL is unknown; the goodbye to the peer follows.
    ///
    /// # Errors
    /// If there is no such session.
    pub async fn end(&self, id: &SessionId) -> Result<(), Error> {
        let session = self.session(id)?;
        self.ask(|reply| {
            let directory = self.shared.directory();
            let entry = directory
                .broadcasts
                .get(&session.broadcast)
                .ok_or(Error::Missing("session"))?;
            Ok((
                entry.requests.clone(),
                ActorRequest::End {
                    session: session.number,
                    why: End::Deleted,
                    reply,
                },
            ))
        })
        .await
    }

    /// A running session.
    ///
    /// # Errors
    /// If there is no such session.
    pub fn session(&self, id: &SessionId) -> Result<Arc<Session>, Error> {
        self.shared
            .directory()
            .sessions
            .get(id)
            .cloned()
            .ok_or(Error::Missing("session"))
    }

    /// The chats of broadcasts.
    pub fn chats(&self) -> &Chats {
        &self.shared.chats
    }

    /// Sessions that are running or being negotiated.
    pub fn sessions(&self) -> usize {
        self.shared.directory().sessions.len()
    }

    /// One broadcast, with the figures of its pipelines.
    ///
    /// # Errors
    /// If there is no such broadcast.
    pub async fn details_of(&self, name: &Name) -> Result<Details, Error> {
        let described = self.ask_existing(name, |reply| ActorRequest::Describe { reply });
        match (described.await, self.status_elsewhere(name)) {
            (Err(Error::Missing(_)), Some(status)) => Ok(Details::of_status(status)),
            (Ok(details), Some(status)) => Ok(details.led_by(status)),
            (described, _) => described,
        }
    }

    /// Changes whenever any status changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Ends all broadcasts and sessions with a goodbye to every peer. Returns when all are done or
    /// after `limit`.
    pub async fn stop(&self, limit: Duration) {
        self.shared.stopping.cancel();
        let mut actors = std::mem::take(&mut self.shared.directory().actors);
        let all = async { while actors.join_next().await.is_some() {} };
        if awake::timeout(limit, all).await.is_err() {
            tracing::warn!(broadcasts = actors.len(), "sessions did not close in time");
            actors.shutdown().await;
        }
    }

    /// The actor of the broadcast; a new one if there is none.
    fn actor(&self, name: &Name) -> Result<mpsc::Sender<ActorRequest>, Error> {
        let shared = &self.shared;
        let mut directory = shared.directory();
        if shared.stopping.is_cancelled() {
            return Err(Error::Stopping);
        }
        if let Some(entry) = directory.broadcasts.get(name) {
            return Ok(entry.requests.clone());
        }
        if directory.broadcasts.len() >= shared.options.now().broadcasts_max {
            return Err(Error::Full("broadcasts"));
        }
        // Reap the actors that have ended.
        while directory.actors.try_join_next().is_some() {}
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let (actor, status) = Actor::new(name, Arc::clone(shared), receiver);
        // An error span, so that it is enabled at every level.
        let span = tracing::error_span!("broadcast", %name);
        directory.actors.spawn(actor.run().instrument(span));
        directory.broadcasts.insert(
            name.clone(),
            Entry {
                requests: requests.clone(),
                status,
            },
        );
        drop(directory);
        shared.notify();
        Ok(requests)
    }

    /// Sends a request to the actor of a broadcast that exists.
    async fn ask_existing<T>(
        &self,
        name: &Name,
        request: impl Fn(Reply<T>) -> ActorRequest,
    ) -> Result<T, Error> {
        self.ask(|reply| {
            let directory = self.shared.directory();
            let entry = directory.broadcasts.get(name);
            let entry = entry.ok_or(Error::Missing("broadcast"))?;
            Ok((entry.requests.clone(), request(reply)))
        })
        .await
    }

    /// Sends a request to an actor and waits for the answer. An actor that ends meanwhile drops
    /// the request unanswered; then `request` finds another actor or says that there is none.
    async fn ask<T>(
        &self,
        request: impl Fn(Reply<T>) -> Result<(mpsc::Sender<ActorRequest>, ActorRequest), Error>,
    ) -> Result<T, Error> {
        let attempts = async {
            for _ in 0..ATTEMPTS_MAX {
                let (reply, answer) = oneshot::channel();
                let (actor, request) = request(reply)?;
                if actor.send(request).await.is_ok()
                    && let Ok(answer) = answer.await
                {
                    return answer;
                }
            }
            Err(if self.shared.stopping.is_cancelled() {
                Error::Stopping
            } else {
                Error::Failed("the broadcast does not answer".to_owned())
            })
        };
        awake::timeout(ANSWER_TIMEOUT, attempts)
            .await
            .unwrap_or(Err(Error::Overloaded))
    }
}

/// Where the answer to a request goes.
type Reply<T> = oneshot::Sender<Result<T, Error>>;

impl Shared {
    fn directory(&self) -> MutexGuard<'_, Directory> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for the log.
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn register(&self, session: &Arc<Session>) -> Result<(), Error> {
        let mut directory = self.directory();
        let is_full = directory.sessions.len() >= self.options.now().sessions_max;
        if is_full && directory.yielding().is_none() {
            return Err(Error::Full("sessions"));
        }
        if session.token.is_some() {
            let mut published: BTreeSet<&Name> = directory
                .sessions
                .values()
                .filter(|other| other.token == session.token)
                .map(|other| &other.broadcast)
                .collect();
            published.remove(&session.broadcast);
            if published.len() >= self.options.now().token_broadcasts_max {
                return Err(Error::Full("broadcasts of one token"));
            }
        }
        if is_full && let Some(oldest) = directory.yielding() {
            directory.sessions.remove(&oldest.id);
            oldest.stop.end(End::Yielded);
        }
        directory
            .sessions
            .insert(session.id.clone(), Arc::clone(session));
        Ok(())
    }

    fn unregister(&self, id: &SessionId) {
        self.directory().sessions.remove(id);
    }

    /// Removes a broadcast, unless a request for it is waiting.
    fn remove(&self, name: &Name, requests: &mut mpsc::Receiver<ActorRequest>) -> bool {
        let mut directory = self.directory();
        if !requests.is_empty() {
            return false;
        }
        // Requests sent from now on fail, and their senders start over.
        requests.close();
        directory.broadcasts.remove(name);
        drop(directory);
        self.notify();
        true
    }

    fn notify(&self) {
        self.changes.send_modify(|generation| *generation += 1);
    }
}
