//! Workers for peer connections, one of which is kept ready: no client waits until GStreamer has
//! started.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinSet};
use tracing::Span;

use super::{
    job::no_worker,
    limits::WorkerLimits,
    prepared::{Prepared, preparation},
    receiver::{Receiving, WorkerReceiver},
    shared::lock,
    spawn,
    starting::Turn,
    viewers::WorkerViewers,
};
use crate::{
    awake,
    pipeline::Error,
    resources::{self, Amount, Asker, Permit},
    webrtcbin::publisher::ReceiverSetup,
};

/// The name of such a worker in lists of processes: it is started before its session is known.
const NAME: &str = "webrtcbin";
/// How long a worker that was ready may take to answer: it may have been stopped meanwhile.
const SPARE_TIMEOUT: Duration = Duration::from_secs(2);
/// Viewers of one worker: each opens about ten of its file descriptors.
const VIEWERS_MAX: usize = 64;
/// What a viewer takes of its memory: most of it for the stacks of six threads, which are reserved
/// rather than used.
const VIEWER_BYTES: u64 = 56 << 20;
/// How often to check whether the one that is ready still runs.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait after a worker that did not become ready.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Starts workers for peer connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerWorkers {
    limits: WorkerLimits,
    spare: Arc<Spare>,
    /// Keeps the spare worker.
    _keeper: Arc<JoinSet<()>>,
}

/// A worker that waits for its work.
#[derive(Debug, Default)]
struct Spare {
    worker: Mutex<Option<Prepared>>,
    /// It has been taken.
    changed: Notify,
}

impl Spare {
    fn take(&self) -> Option<Prepared> {
        let worker = lock(&self.worker).take()?;
        self.changed.notify_one();
        Some(worker)
    }

    /// Whether there is one that runs.
    fn is_there(&self) -> bool {
        let mut worker = lock(&self.worker);
        let runs = worker
            .as_mut()
            .is_some_and(|worker| worker.process.is_alive());
        if !runs {
            *worker = None;
        }
        runs
    }
}

impl PeerWorkers {
    /// Starts workers with these limits, when they are wanted.
    pub fn new(limits: WorkerLimits) -> Self {
        Self {
            limits,
            spare: Arc::default(),
            _keeper: Arc::default(),
        }
    }

    /// Keeps one ready from now on. Call it within the runtime.
    #[must_use]
    pub fn keeping_one_ready(self) -> Self {
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(Arc::clone(&self.spare), self.limits));
        Self {
            _keeper: Arc::new(keeper),
            ..self
        }
    }

    /// Receives a publisher on webrtcbin, in a worker of its own. Returns webrtcbin's answer.
    ///
    /// # Errors
    /// If the system refuses a process, or webrtcbin does not negotiate.
    pub async fn receive(
        &self,
        setup: ReceiverSetup,
        receiving: Receiving,
    ) -> Result<(WorkerReceiver, String), Error> {
        let _permit = reserve()?;
        let silence = self.limits.silence();
        if let Some(spare) = self.spare.take() {
            let starting = WorkerReceiver::start(spare, silence, setup.clone(), receiving.clone());
            match awake::timeout(SPARE_TIMEOUT, starting).await {
                Ok(Ok(started)) => return Ok(started),
                Ok(Err(error)) => tracing::warn!(%error, "the spare worker failed"),
                Err(_) => tracing::warn!("the spare worker hangs"),
            }
        }
        WorkerReceiver::start(self.next().await?, silence, setup, receiving).await
    }

    /// Starts a worker for the viewers of one broadcast. `name` names it in figures, and its log lines
    /// belong to `span`.
    ///
    /// # Errors
    /// If the system refuses a process, or GStreamer does not start.
    pub async fn serve_viewers(&self, name: &str, span: &Span) -> Result<WorkerViewers, Error> {
        let _permit = reserve()?;
        let silence = self.limits.silence();
        if let Some(spare) = self.spare.take() {
            let starting = WorkerViewers::start(name, spare, silence, span.clone());
            match awake::timeout(SPARE_TIMEOUT, starting).await {
                Ok(Ok(started)) => return Ok(started),
                Ok(Err(error)) => tracing::warn!(%error, "the spare worker failed"),
                Err(_) => tracing::warn!("the spare worker hangs"),
            }
        }
        WorkerViewers::start(name, self.next().await?, silence, span.clone()).await
    }

    /// A worker, when it is this one's turn: one that has become ready meanwhile, or a new one.
    async fn next(&self) -> Result<Prepared, Error> {
        let turn = Turn::wait().await;
        match self.spare.take() {
            Some(worker) => Ok(worker),
            None => start(self.limits, turn).await,
        }
    }

    /// How many viewers one worker can serve: its memory holds the stacks of their threads.
    pub fn viewers_max(&self) -> usize {
        usize::try_from(self.limits.memory() / VIEWER_BYTES)
            .unwrap_or(usize::MAX)
            .clamp(1, VIEWERS_MAX)
    }
}

fn reserve() -> Result<Permit, Error> {
    let permit = resources::reserve(Asker::Pipeline, Amount::WORKER);
    permit.map_err(|short| Error::Busy(short.to_string()))
}

/// A process that prepares itself.
async fn start(limits: WorkerLimits, turn: Turn) -> Result<Prepared, Error> {
    let spawned = spawn::spawn(NAME, limits, turn).await.map_err(no_worker)?;
    Prepared::begin(spawned, preparation(true))
        .await
        .map_err(no_worker)
}

/// Keeps a worker ready.
async fn keep(spare: Arc<Spare>, limits: WorkerLimits) {
    loop {
        match start_ready(limits).await {
            Ok(worker) => {
                *lock(&spare.worker) = Some(worker);
                while spare.is_there() {
                    // Err: nobody has taken it.
                    let _ = awake::timeout(LOOK_INTERVAL, spare.changed.notified()).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot keep a worker ready");
                awake::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

async fn start_ready(limits: WorkerLimits) -> Result<Prepared, Error> {
    let turn = Turn::wait().await;
    let permit = resources::reserve(Asker::Pipeline, Amount::WORKER);
    let _permit = permit.map_err(|short| Error::Failed(short.to_string()))?;
    let mut worker = start(limits, turn).await?;
    worker.ready().await?;
    Ok(worker)
}
