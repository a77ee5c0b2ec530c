//! Viewers on webrtcbin in a worker, seen from the server.
//!
//! The worker gets the frames of their broadcast, each once, and does for each viewer what the
//! fan-out does for viewers on the direct engine. So the usual bounds of a worker's socket hold for
//! all its viewers together, whatever their number, and a gap in what it gets is to its playout what
//! a lost frame is to the fan-out's.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tracing::{Instrument as _, Span};

use super::{
    fault::WorkerFault,
    feed::FrameFeed,
    follow::{WorkerTask, follow},
    note::{LogLine, ToServer, ToWorker, ViewerCommand, ViewerNote},
    prepared::Prepared,
    queue::Outbox,
    shared::{lock, tell},
    wire::SentFrame,
};
use crate::{
    awake,
    peer::{End, Event, relay::RelaySignals},
    pipeline::{self, Error, ProcessLoss, job::Stalls},
    playout::Target,
    resources::ProcessFigures,
    webrtcbin::viewers::{SenderFigures, SenderSetup},
};

/// How long the goodbye to a viewer may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Takes note of everything else that is sent to a viewer.
pub type OnSent = Arc<dyn Fn(SenderFigures) + Send + Sync>;

/// Where the server's side of a viewer is.
#[derive(Clone)]
pub struct Viewing {
    /// Gets [`Event::Connected`] once, [`Event::KeyframeWanted`], and [`Event::Closed`] last.
    pub events: mpsc::Sender<Event>,
    /// Signals from webrtcbin to the relay.
    pub signals: Arc<RelaySignals>,
    /// Gets what has been sent since the last call.
    pub on_sent: OnSent,
}

/// A worker that serves viewers of one broadcast. Dropping it kills the worker.
#[derive(Debug)]
pub struct WorkerViewers {
    outbox: Arc<Outbox>,
    shared: Arc<SharedViewers>,
    /// The worker has ended.
    over: watch::Receiver<bool>,
    /// The worker is killed with them.
    _tasks: JoinSet<()>,
}

/// State that the task that follows the worker and the handles share.
#[derive(Default)]
struct SharedViewers {
    viewers: Mutex<HashMap<u64, Entry>>,
    /// What the process uses, once that has been measured.
    process: Mutex<Option<ProcessFigures>>,
    /// Frames that were queued for the worker.
    queued: Arc<AtomicU64>,
}

impl fmt::Debug for SharedViewers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedViewers").finish_non_exhaustive()
    }
}

/// One viewer.
struct Entry {
    viewing: Viewing,
    figures: SenderFigures,
    connected: bool,
    /// Nothing more is reported.
    closed: bool,
    /// Gets webrtcbin's answer, or why there is none.
    answered: Option<oneshot::Sender<Result<String, Error>>>,
    /// Dropped when it is gone.
    gone: Option<oneshot::Sender<()>>,
    /// The session's.
    span: Span,
}

impl Entry {
    /// Reports an event, unless the connection has ended.
    fn report(&mut self, event: Event) {
        if self.closed {
            return;
        }
        match event {
            Event::Closed(_) => self.closed = true,
            Event::Connected => {
                self.connected = true;
                self.viewing.signals.handshake_done();
            }
            _ => {}
        }
        if self.viewing.events.try_send(event).is_err() {
            tracing::debug!(parent: &self.span, "event lost: the session is behind");
        }
    }

    fn sent(&mut self, figures: SenderFigures) {
        let before = std::mem::replace(&mut self.figures, figures);
        if before.reports != figures.reports {
            self.viewing.signals.authentic();
        }
        (self.viewing.on_sent)(figures.since(before));
    }
}

impl WorkerViewers {
    /// Makes a worker serve viewers. One that is silent, or takes no frames, for so long is killed.
    ///
    /// # Errors
    /// If the worker ends.
    pub(super) async fn start(
        name: &str,
        worker: Prepared,
        silence: Duration,
        span: Span,
    ) -> Result<Self, Error> {
        let outbox = Arc::new(Outbox::default());
        let shared = Arc::<SharedViewers>::default();
        let (started, start) = oneshot::channel();
        let work = ViewersTask {
            outbox: Arc::clone(&outbox),
            shared: Arc::clone(&shared),
            started: Some(started),
            taken: 0,
            silence,
            stalls: Stalls::default(),
        };
        let pid = worker.process.pid();
        let (follow, over) = follow(name, worker, silence, &outbox, work);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow.instrument(span.clone()));
        let viewers = Self {
            outbox,
            shared,
            over,
            _tasks: tasks,
        };
        start
            .await
            .map_err(|_| Error::Failed("the worker is gone".to_owned()))?;
        tracing::info!(parent: &span, pid, "a worker serves the viewers");
        Ok(viewers)
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// The entry for a rendition's frames. `track` names it among those of this worker.
    pub fn feed(&self, track: u16) -> FrameFeed {
        FrameFeed {
            outbox: Arc::clone(&self.outbox),
            track,
            queued: Arc::clone(&self.shared.queued),
        }
    }

    /// Begins with a viewer, and waits for webrtcbin's answer. Call it within the session's span.
    ///
    /// # Errors
    /// If webrtcbin does not negotiate, or the worker ends.
    pub async fn join(
        self: &Arc<Self>,
        viewer: u64,
        setup: SenderSetup,
        viewing: Viewing,
    ) -> Result<(WorkerViewer, String), Error> {
        let (answered, answer) = oneshot::channel();
        let (gone, is_gone) = oneshot::channel();
        let entry = Entry {
            viewing,
            figures: SenderFigures::default(),
            connected: false,
            closed: false,
            answered: Some(answered),
            gone: Some(gone),
            span: Span::current(),
        };
        lock(&self.shared.viewers).insert(viewer, entry);
        let handle = WorkerViewer {
            worker: Arc::clone(self),
            state: WorkerViewerState {
                shared: Arc::clone(&self.shared),
                viewer,
            },
            is_gone: Some(is_gone),
        };
        handle.tell(ViewerCommand::Join(Box::new(setup)));
        let over = || Error::Failed("the worker is gone".to_owned());
        let mut ended = self.over.clone();
        let answer = tokio::select! {
            answer = answer => answer.unwrap_or_else(|_| Err(over())),
            _ = ended.wait_for(|over| *over) => Err(over()),
        };
        Ok((handle, answer?))
    }
}

impl Drop for WorkerViewers {
    fn drop(&mut self) {
        // Nothing reaches a worker that is killed.
        self.outbox.close();
    }
}

/// The server's view of one viewer in a worker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WorkerViewerState {
    shared: Arc<SharedViewers>,
    viewer: u64,
}

impl WorkerViewerState {
    fn entry<T>(&self, look: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        lock(&self.shared.viewers).get_mut(&self.viewer).map(look)
    }

    /// Whether the connection has come up.
    pub fn is_connected(&self) -> bool {
        self.entry(|entry| entry.connected).unwrap_or(false)
    }

    /// The media sent, as last reported by the worker.
    pub fn figures(&self) -> SenderFigures {
        self.entry(|entry| entry.figures).unwrap_or_default()
    }

    /// What its process uses, which serves other viewers, too.
    pub fn process(&self) -> Option<ProcessFigures> {
        *lock(&self.shared.process)
    }

    /// Reports that the connection has ended.
    pub fn report_end(&self, end: End) {
        self.entry(|entry| entry.report(Event::Closed(end)));
    }
}

/// Another rendition for a viewer, to be sent when the worker gets the rendition's frames.
#[derive(Debug)]
pub struct ViewerSwitch {
    outbox: Arc<Outbox>,
    note: ToWorker,
}

impl ViewerSwitch {
    /// Tells the worker.
    pub fn send(&self) {
        tell(&self.outbox, &self.note);
    }
}

/// One viewer in a worker. Dropping it ends its connection.
#[derive(Debug)]
pub struct WorkerViewer {
    /// The worker lives as long as it.
    worker: Arc<WorkerViewers>,
    state: WorkerViewerState,
    /// `None` once it is closed.
    is_gone: Option<oneshot::Receiver<()>>,
}

impl WorkerViewer {
    fn tell(&self, command: ViewerCommand) {
        let viewer = self.state.viewer;
        tell(&self.worker.outbox, &ToWorker::Viewer { viewer, command });
    }

    /// The server's view of it.
    pub const fn state(&self) -> &WorkerViewerState {
        &self.state
    }

    /// Gives it this layer of its picture, or leaves the choice to the server.
    pub fn select(&self, layer: Option<usize>) {
        self.tell(ViewerCommand::Select(layer));
    }

    /// Sends it another rendition of a track.
    pub fn switch(&self, to: Target) -> ViewerSwitch {
        ViewerSwitch {
            outbox: Arc::clone(&self.worker.outbox),
            note: ToWorker::Viewer {
                viewer: self.state.viewer,
                command: ViewerCommand::Switch(to),
            },
        }
    }

    /// Says goodbye to the viewer, within a time limit. Nothing more is reported.
    pub async fn close(mut self) {
        self.state.entry(|entry| entry.closed = true);
        self.tell(ViewerCommand::Close);
        if let Some(is_gone) = self.is_gone.take()
            && awake::timeout(CLOSE_TIMEOUT, is_gone).await.is_err()
        {
            tracing::warn!("viewer's worker did not confirm the close");
        }
    }
}

impl Drop for WorkerViewer {
    fn drop(&mut self) {
        lock(&self.worker.shared.viewers).remove(&self.state.viewer);
        if self.is_gone.is_some() {
            self.tell(ViewerCommand::Close);
        }
    }
}

/// The work, as the task that follows the worker sees it.
struct ViewersTask {
    outbox: Arc<Outbox>,
    shared: Arc<SharedViewers>,
    /// Notified when the worker is ready for viewers.
    started: Option<oneshot::Sender<()>>,
    /// Frames that the worker has taken.
    taken: u64,
    /// For how long frames may arrive of which none is taken.
    silence: Duration,
    stalls: Stalls,
}

impl ViewersTask {
    fn viewer(&self, viewer: u64, note: ViewerNote) {
        let mut viewers = lock(&self.shared.viewers);
        // None: its handle is gone.
        let Some(entry) = viewers.get_mut(&viewer) else {
            return;
        };
        match note {
            ViewerNote::Answered(answer) => {
                if let Some(waiting) = entry.answered.take() {
                    // Err: nobody waits any more.
                    let _ = waiting.send(answer);
                }
            }
            ViewerNote::Event(event) => {
                let connected = event == Event::Connected;
                entry.report(event);
                if connected {
                    // Now that the relay lets media through.
                    let command = ViewerCommand::Open;
                    tell(&self.outbox, &ToWorker::Viewer { viewer, command });
                }
            }
            ViewerNote::Sent(figures) => entry.sent(figures),
            ViewerNote::Gone(figures) => {
                entry.sent(figures);
                entry.gone = None;
            }
        }
    }

    /// Asks for keyframes of what the viewers get: what follows the frames that were lost is useless
    /// without.
    fn want_keyframe(&self) {
        for entry in lock(&self.shared.viewers).values_mut() {
            entry.report(Event::KeyframeWanted);
        }
    }
}

impl WorkerTask for ViewersTask {
    const SERVES_STRANGERS: bool = true;

    fn begin(&mut self) -> Result<(), WorkerFault> {
        tell(&self.outbox, &ToWorker::ServeViewers);
        Ok(())
    }

    fn frame(&mut self, _: SentFrame) -> Result<(), WorkerFault> {
        Err(WorkerFault::UnexpectedMessage)
    }

    fn note(&mut self, note: ToServer) -> Result<(), WorkerFault> {
        match note {
            ToServer::Started => {
                if let Some(started) = self.started.take() {
                    // Err: nobody waits any more.
                    let _ = started.send(());
                }
            }
            ToServer::Viewer { viewer, note } => self.viewer(viewer, note),
            ToServer::Served { taken } => self.taken = taken,
            ToServer::KeyframeWanted(_) => self.want_keyframe(),
            ToServer::Stopped => {}
            ToServer::Refused(error) => return Err(WorkerFault::Refused(error)),
            _ => return Err(WorkerFault::UnexpectedMessage),
        }
        Ok(())
    }

    fn span(&self, line: &LogLine) -> Option<Span> {
        let viewers = lock(&self.shared.viewers);
        Some(viewers.get(&line.viewer()?)?.span.clone())
    }

    fn measured(&mut self, figures: ProcessFigures) {
        *lock(&self.shared.process) = Some(figures);
    }

    fn is_running(&self) -> bool {
        self.started.is_none()
    }

    fn watch(&mut self, now: Instant) -> Result<(), WorkerFault> {
        if self.outbox.waits_for_any_keyframe() {
            self.want_keyframe();
        }
        let queued = self.shared.queued.load(Relaxed);
        let done = self.taken + self.outbox.outdated();
        match self.stalls.look(now, queued, done, self.silence) {
            Some(pipeline::Event::Stalled) => Err(WorkerFault::TakesNoFrames),
            _ => Ok(()),
        }
    }

    async fn end(self, loss: ProcessLoss) {
        let mut viewers = lock(&self.shared.viewers);
        if !viewers.is_empty() {
            let (failure, reason) = (loss.cause.name(), &loss.reason);
            tracing::warn!(
                failure,
                reason,
                viewers = viewers.len(),
                "viewers' worker ended"
            );
        }
        for entry in viewers.values_mut() {
            if let Some(waiting) = entry.answered.take() {
                // Err: nobody waits any more.
                let _ = waiting.send(Err(loss.clone().into()));
            }
            entry.report(Event::Closed(End::Failed));
            entry.gone = None;
        }
    }
}
