//! A worker that runs a pipeline file, as the task that follows it sees it.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time,
};

use super::{
    follow::WorkerTask,
    monotonic,
    note::{ToServer, ToWorker, WorkerSetup, track_of},
    outlet::Outlet,
    queue::{FrameFate, Outbox, OutgoingFrame},
    shared::{Shared, lock, tell},
    wire::SentFrame,
};
use crate::{
    awake,
    media::{KeyframeRequestLimit, Kind},
    pipeline::{
        Error, Event,
        job::{ProcessFigures, Stalls},
        sandbox::SandboxState,
    },
    stream::{EncodedStream, EncodedStreams, StreamSubscription},
};

/// How much later than the worker itself this side notices that nothing comes out.
const STALL_GRACE: Duration = Duration::from_secs(1);
/// A pipeline that has made nothing yet may take this many times longer.
const FIRST_FACTOR: u32 = 3;
/// How long the last event may take to be taken.
const LAST_TIMEOUT: Duration = Duration::from_millis(100);

/// A pipeline in a worker.
pub(super) struct PipelineTask {
    /// `None` once it has been sent.
    pub(super) setup: Option<WorkerSetup>,
    pub(super) shared: Arc<Shared>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) outlets: Vec<Outlet>,
    pub(super) events: mpsc::Sender<Event>,
    /// Notified when the pipeline runs, or does not start.
    pub(super) started: Option<oneshot::Sender<Result<(), Error>>>,
    pub(super) stall: Duration,
    pub(super) inputs: EncodedStreams,
    /// Send the inputs' frames, once the worker is there.
    pub(super) feeding: JoinSet<()>,
    pub(super) progress: PipelineProgress,
}

/// Its progress.
#[derive(Default)]
pub(super) struct PipelineProgress {
    /// Frames that have come out.
    made: u64,
    /// Frames that the pipeline has taken.
    taken: u64,
    stalls: Stalls,
    process: Option<ProcessFigures>,
    sandbox: Option<SandboxState>,
    /// Nothing more is reported.
    ended: bool,
}

/// Sends a stream's frames to a worker.
async fn forward(
    stream: EncodedStream,
    mut subscription: StreamSubscription,
    outbox: Arc<Outbox>,
    shared: Arc<Shared>,
) {
    let kind = stream.kind();
    let track = track_of(kind);
    let mut requests = KeyframeRequestLimit::default();
    while let Some(next) = subscription.next().await {
        let outgoing = OutgoingFrame {
            track,
            gap: next.discontinuous,
            frame: next.frame,
        };
        shared.offered.fetch_add(1, Relaxed);
        if outbox.frame(outgoing, monotonic()) == FrameFate::Dropped {
            shared.lost.get(kind).fetch_add(1, Relaxed);
        }
        if outbox.waits_for_keyframe(track) && requests.admits(awake::now()) {
            stream.want_keyframe();
        }
    }
}

impl PipelineTask {
    /// Sends the worker what its inputs bring from now on. It keeps that until its pipeline runs.
    fn feed(&mut self) -> Result<(), String> {
        for stream in Kind::ALL
            .into_iter()
            .filter_map(|kind| self.inputs.of(kind))
        {
            let subscription = stream
                .subscribe()
                .ok_or_else(|| format!("too many pipelines take the {} track", stream.kind()))?;
            let forward = forward(
                stream.clone(),
                subscription,
                Arc::clone(&self.outbox),
                Arc::clone(&self.shared),
            );
            self.feeding.spawn(forward);
        }
        Ok(())
    }

    fn tell_start(&mut self, started: Result<(), Error>) {
        if let Some(waiting) = self.started.take() {
            // Err: nobody waits any more.
            let _ = waiting.send(started);
        }
    }
}

impl WorkerTask for PipelineTask {
    const SERVES_STRANGERS: bool = false;

    fn begin(&mut self) -> Result<(), String> {
        if let Some(setup) = self.setup.take() {
            tell(&self.outbox, &ToWorker::Setup(Box::new(setup)));
        }
        self.feed()
    }

    fn frame(&mut self, sent: SentFrame) -> Result<(), String> {
        self.progress.made += 1;
        let outlet = self.outlets.get_mut(usize::from(sent.track));
        let outlet = outlet.ok_or("its process sends an unknown track")?;
        if let Some(appsink) = outlet.take(sent)? {
            let appsink = appsink.to_owned();
            tell(&self.outbox, &ToWorker::ForceKeyframe { appsink });
        }
        Ok(())
    }

    fn note(&mut self, note: ToServer) -> Result<(), String> {
        match note {
            ToServer::Started => self.tell_start(Ok(())),
            ToServer::Refused(error) => self.tell_start(Err(error)),
            ToServer::Event(event) => {
                self.progress.ended |= matches!(event, Event::Failed(_) | Event::Ended);
                if self.events.try_send(event).is_err() {
                    return Err("its process reports too many events".to_owned());
                }
            }
            ToServer::KeyframeWanted(kind) => {
                if let Some(stream) = self.inputs.of(kind) {
                    stream.want_keyframe();
                }
            }
            ToServer::Figures { figures, taken } => {
                self.progress.taken = taken;
                let mut figures = figures;
                figures.process = self.progress.process;
                figures.sandbox = self.progress.sandbox;
                for input in &mut figures.inputs {
                    input.dropped += self.shared.lost.get(input.kind).load(Relaxed);
                }
                *lock(&self.shared.figures) = figures;
            }
            ToServer::Answer { id, answer } => {
                if let Some(reply) = lock(&self.shared.answers).remove(&id) {
                    // Err: nobody waits any more.
                    let _ = reply.send(answer);
                }
            }
            // Nothing follows, asked or not: the end of the events says so.
            ToServer::Stopped => self.progress.ended = true,
            _ => return Err("its process speaks of something else".to_owned()),
        }
        Ok(())
    }

    fn confined(&mut self, sandbox: SandboxState) {
        if sandbox == SandboxState::Unavailable {
            tracing::warn!("this kernel has no Landlock: the pipeline runs without its sandbox");
        }
        self.progress.sandbox = Some(sandbox);
        lock(&self.shared.figures).sandbox = Some(sandbox);
    }

    fn measured(&mut self, figures: ProcessFigures) {
        self.progress.process = Some(figures);
        lock(&self.shared.figures).process = Some(figures);
    }

    fn is_running(&self) -> bool {
        self.started.is_none() && !self.progress.ended
    }

    fn watch(&mut self, now: Instant) -> Result<(), String> {
        let progress = &mut self.progress;
        let made = if self.outlets.is_empty() {
            progress.taken
        } else {
            progress.made
        };
        let factor = if made == 0 { FIRST_FACTOR } else { 1 };
        let limit = self
            .stall
            .saturating_mul(factor)
            .saturating_add(STALL_GRACE);
        let offered = self.shared.offered.load(Relaxed);
        if let Some(event) = progress.stalls.look(now, offered, made, limit) {
            // Err: nobody listens any more.
            let _ = self.events.try_send(event);
        }
        Ok(())
    }

    async fn end(mut self, reason: String) {
        lock(&self.shared.answers).clear();
        if let Some(waiting) = self.started.take() {
            // Err: nobody waits any more.
            let _ = waiting.send(Err(Error::Failed(reason)));
        } else if !self.progress.ended {
            tracing::debug!(reason, "worker ended");
            let report = self.events.send(Event::Failed(reason));
            let _ = time::timeout(LAST_TIMEOUT, report).await;
        }
    }
}
