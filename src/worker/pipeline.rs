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
    fault::WorkerFault,
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
    media::{ByKind, KeyframeRequestLimit, Kind},
    pipeline::{Error, Event, ProcessLoss, job::Stalls, sandbox::SandboxState},
    resources::ProcessFigures,
    stream::{EncodedStream, EncodedStreams, StreamSubscription, StreamSubscriptions},
};

/// How much later than the worker itself this side notices that nothing comes out.
const STALL_GRACE: Duration = Duration::from_secs(1);
/// A pipeline that has made nothing yet may take this many times longer.
const FIRST_FACTOR: u32 = 3;
/// How long the last event may take to be taken.
const LAST_TIMEOUT: Duration = Duration::from_millis(100);

/// An appsink of the pipeline, and whether it goes on.
pub(super) struct WatchedOutlet {
    outlet: Outlet,
    /// Frames that have come out.
    made: u64,
    stalls: Stalls,
}

impl WatchedOutlet {
    pub(super) fn new(outlet: Outlet) -> Self {
        Self {
            outlet,
            made: 0,
            stalls: Stalls::default(),
        }
    }
}

/// A pipeline in a worker.
pub(super) struct PipelineTask {
    /// `None` once it has been sent.
    pub(super) setup: Option<WorkerSetup>,
    pub(super) shared: Arc<Shared>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) outlets: Vec<WatchedOutlet>,
    pub(super) events: mpsc::Sender<Event>,
    /// Notified when the pipeline runs, or does not start.
    pub(super) started: Option<oneshot::Sender<Result<(), Error>>>,
    pub(super) stall: Duration,
    pub(super) inputs: EncodedStreams,
    /// What has come for them already.
    pub(super) held: StreamSubscriptions,
    /// Send the inputs' frames, once the worker is there.
    pub(super) feeding: JoinSet<()>,
    pub(super) progress: PipelineProgress,
}

/// Its progress.
#[derive(Default)]
pub(super) struct PipelineProgress {
    /// Frames that the pipeline has taken.
    taken: u64,
    /// Whether an output goes on.
    stalls: Stalls,
    /// How often it has been looked at.
    looks: u64,
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
        shared.offered.get(kind).fetch_add(1, Relaxed);
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
    fn feed(&mut self) -> Result<(), WorkerFault> {
        for stream in Kind::ALL
            .into_iter()
            .filter_map(|kind| self.inputs.of(kind))
        {
            let subscription = self
                .held
                .get_mut(stream.kind())
                .take()
                .or_else(|| stream.subscribe())
                .ok_or(WorkerFault::TooManyReaders(stream.kind()))?;
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

    /// How much has gone in of what an appsink of this kind is made of. A pipeline without inputs always
    /// has something to make.
    fn offered(&self, kind: Kind) -> u64 {
        if self.inputs.of(kind).is_some() {
            return self.shared.offered.get(kind).load(Relaxed);
        }
        if Kind::ALL.iter().all(|kind| self.inputs.of(*kind).is_none()) {
            return self.progress.looks;
        }
        self.offered_of_all()
    }

    fn offered_of_all(&self) -> u64 {
        Kind::ALL
            .map(|kind| self.shared.offered.get(kind).load(Relaxed))
            .iter()
            .sum()
    }

    /// Looks whether the pipeline goes on: an output if it takes anything, any other if each appsink
    /// that has begun does, whatever the others do.
    fn look(&mut self, now: Instant) -> Option<Event> {
        self.progress.looks += 1;
        if self.outlets.is_empty() {
            let limit = self.stall_limit(self.progress.taken > 0);
            let (offered, taken) = (self.offered_of_all(), self.progress.taken);
            return self.progress.stalls.look(now, offered, taken, limit);
        }
        let begun = self.outlets.iter().any(|watched| watched.made > 0);
        let limit = self.stall_limit(begun);
        let offered = ByKind::from_fn(|kind| self.offered(kind));
        let mut found = None;
        for watched in &mut self.outlets {
            if begun && watched.made == 0 {
                continue;
            }
            let offered = *offered.get(watched.outlet.kind());
            found = found.or(watched.stalls.look(now, offered, watched.made, limit));
        }
        found
    }

    fn stall_limit(&self, begun: bool) -> Duration {
        let factor = if begun { 1 } else { FIRST_FACTOR };
        self.stall
            .saturating_mul(factor)
            .saturating_add(STALL_GRACE)
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

    fn begin(&mut self) -> Result<(), WorkerFault> {
        if let Some(setup) = self.setup.take() {
            tell(&self.outbox, &ToWorker::Setup(Box::new(setup)));
        }
        self.feed()
    }

    fn frame(&mut self, sent: SentFrame) -> Result<(), WorkerFault> {
        let watched = self.outlets.get_mut(usize::from(sent.track));
        let watched = watched.ok_or(WorkerFault::UnknownTrack)?;
        watched.made += 1;
        if let Some(appsink) = watched.outlet.take(sent)? {
            let appsink = appsink.to_owned();
            tell(&self.outbox, &ToWorker::ForceKeyframe { appsink });
        }
        Ok(())
    }

    fn note(&mut self, note: ToServer) -> Result<(), WorkerFault> {
        match note {
            ToServer::Started => self.tell_start(Ok(())),
            ToServer::Refused(error) => self.tell_start(Err(error)),
            ToServer::Event(event) => {
                self.progress.ended |=
                    matches!(event, Event::Failed(_) | Event::Lost(_) | Event::Ended);
                if self.events.try_send(event).is_err() {
                    return Err(WorkerFault::TooManyEvents);
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
            _ => return Err(WorkerFault::UnexpectedMessage),
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

    fn watch(&mut self, now: Instant) -> Result<(), WorkerFault> {
        if let Some(event) = self.look(now) {
            // Err: nobody listens any more.
            let _ = self.events.try_send(event);
        }
        Ok(())
    }

    async fn end(mut self, loss: ProcessLoss) {
        lock(&self.shared.answers).clear();
        if let Some(waiting) = self.started.take() {
            // Err: nobody waits any more.
            let _ = waiting.send(Err(loss.into()));
        } else if !self.progress.ended {
            tracing::debug!(
                failure = loss.cause.name(),
                reason = loss.reason,
                "worker ended"
            );
            let _ = time::timeout(LAST_TIMEOUT, self.events.send(Event::Lost(loss))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{media::Codec, worker::tests::small_frame};

    struct WatchedTask {
        task: PipelineTask,
        happened: mpsc::Receiver<Event>,
    }

    impl WatchedTask {
        /// A pipeline that runs, with these inputs and these appsinks.
        fn new(inputs: EncodedStreams, appsinks: &[&str]) -> Self {
            let (events, happened) = mpsc::channel(4);
            let outlet = |name: &&str| WatchedOutlet::new(Outlet::new(name, Arc::new(|_| {})));
            let task = PipelineTask {
                setup: None,
                shared: Arc::default(),
                outbox: Arc::default(),
                outlets: appsinks.iter().map(outlet).collect(),
                events,
                started: None,
                stall: Duration::from_secs(10),
                inputs,
                held: StreamSubscriptions::default(),
                feeding: JoinSet::new(),
                progress: PipelineProgress::default(),
            };
            Self { task, happened }
        }

        /// The first of these seconds in which it has stalled, if `work` happens in each.
        fn stalls_at(mut self, seconds: u64, work: impl Fn(&mut PipelineTask, u64)) -> Option<u64> {
            let begin = Instant::now();
            (0..seconds).find(|&second| {
                work(&mut self.task, second);
                assert_eq!(self.task.watch(begin + Duration::from_secs(second)), Ok(()));
                self.happened.try_recv() == Ok(Event::Stalled)
            })
        }
    }

    fn frame(track: u16, codec: Codec) -> SentFrame {
        SentFrame {
            track,
            gap: false,
            sent: monotonic(),
            frame: small_frame(codec),
        }
    }

    /// A slate has no inputs, and answers while its streaming thread loops.
    #[test]
    fn a_pipeline_without_inputs_must_always_make_something() {
        let slate = || WatchedTask::new(EncodedStreams::default(), &["video"]);
        let goes_on = |task: &mut PipelineTask, _| task.frame(frame(0, Codec::H264)).unwrap();
        assert_eq!(slate().stalls_at(100, goes_on), None);
        let loops = |task: &mut PipelineTask, second| {
            if second < 50 {
                task.frame(frame(0, Codec::H264)).unwrap();
            }
        };
        assert_eq!(slate().stalls_at(100, loops), Some(61));
        assert_eq!(slate().stalls_at(100, |_, _| {}), Some(31), "its start");
    }

    #[test]
    fn one_appsink_that_stops_is_found_beside_others_that_go_on() {
        let both = || {
            let streams = EncodedStreams::from_fn(|kind| Some(EncodedStream::new(kind, || ())));
            WatchedTask::new(streams, &["video_small", "audio_small", "video_seldom"])
        };
        let offer = |task: &PipelineTask, kind| task.shared.offered.get(kind).fetch_add(1, Relaxed);
        let loops = |task: &mut PipelineTask, second| {
            offer(task, Kind::Video);
            offer(task, Kind::Audio);
            task.frame(frame(1, Codec::Opus)).unwrap();
            if second < 50 {
                task.frame(frame(0, Codec::H264)).unwrap();
            }
        };
        assert_eq!(both().stalls_at(100, loops), Some(61));
        let camera_off = |task: &mut PipelineTask, second| {
            offer(task, Kind::Audio);
            task.frame(frame(1, Codec::Opus)).unwrap();
            if second < 50 {
                offer(task, Kind::Video);
                task.frame(frame(0, Codec::H264)).unwrap();
            }
        };
        assert_eq!(both().stalls_at(100, camera_off), None);
    }
}
