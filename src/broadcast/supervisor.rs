//! Runs a pipeline: starts it, follows it, stops it. `slot` decides when it runs again after a failure.

mod acceptance;
mod outcome;

use std::time::{Duration, Instant};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use self::{
    acceptance::Acceptance,
    outcome::{RunOnce, RunOutcome, stopped},
};
use super::{
    action::{InputStart, Made, RunStart, Work},
    gate::MediaEvent,
    health::{Activity, FailureCode, Snapshot},
    keyframes::REQUEST_INTERVAL,
    session::{Stop, jitter},
    slot::{Retry, RunEnd, START_INTERVAL},
    status::SharedCounters,
    takeover::Pulse,
};
use crate::{
    awake,
    events::{EventBus, Happening},
    media::{Codec, Kind},
    pipeline::{self, Event, PipelineRole, TrackOutlet, TrackSinks, Variables, job::JobSetup},
    plan::Name,
    stream::{EncodedStream, EncodedStreams, StreamSubscriptions},
    worker::{WorkerJob, WorkerLimits},
};

/// Longest start of a pipeline; network sources and outputs connect in this time.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How often the figures are read.
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);
/// How often a source's gate is read.
const PULSE_INTERVAL: Duration = Duration::from_millis(250);
/// Priority of outputs and of renditions that nobody configured: on a busy machine they give way to
/// sources and configured renditions.
const NICE: u8 = 5;
/// Events waiting for the task: one per rendition of a file, and an end.
const EVENTS_MAX: usize = 64;

/// Everything that one run needs.
pub(super) struct Run {
    pub(super) broadcast: Name,
    pub(super) start: RunStart,
    pub(super) reports: mpsc::Sender<MediaEvent>,
    pub(super) counters: SharedCounters,
    pub(super) events: EventBus,
    /// What the process of any pipeline may use.
    pub(super) limits: WorkerLimits,
    pub(super) stop: Stop,
}

impl Run {
    /// Runs the pipeline until it fails or is stopped.
    pub(super) async fn run(self) -> RunEnd {
        let RunOnce {
            made_frames,
            outcome,
        } = if self.stop.is_set() {
            RunOnce::without_frames(RunOutcome::Stopped)
        } else {
            self.start.tell_start();
            self.run_through_changes().await
        };
        let end = self.end(made_frames, outcome);
        self.tell(|snapshot| {
            snapshot.health.state = if end.error.is_some() {
                Activity::Failed
            } else {
                Activity::Idle
            };
            snapshot.health.error.clone_from(&end.error);
            snapshot.control = None;
        });
        end
    }

    fn end(&self, made_frames: bool, outcome: RunOutcome) -> RunEnd {
        let (failure, error, retry) = match outcome {
            RunOutcome::Stopped | RunOutcome::Reshaped(_) => (None, None, Retry::Later),
            RunOutcome::Failed(code, error) => (Some(code), Some(error), Retry::Later),
            RunOutcome::Unfit(error) => (Some(FailureCode::Unfit), Some(error), Retry::Never),
        };
        self.tell(|snapshot| snapshot.health.failure = failure);
        RunEnd {
            run: self.start.run,
            made_frames,
            error,
            jitter: jitter(),
            retry,
        }
    }

    /// What its worker may use.
    fn limits(&self) -> WorkerLimits {
        let RunStart { file, plan, .. } = &self.start;
        let limits = self.limits;
        match &self.start.work {
            Work::Renditions { .. } if plan.automatic.contains(file) => limits.nice(NICE),
            Work::Source(_) | Work::Renditions { .. } => limits,
            Work::Output { .. } => limits.nice(NICE).finishing(),
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Snapshot)) {
        self.start.snapshot.send_modify(change);
    }

    fn pipeline_name(&self) -> String {
        match self.start.work {
            Work::Source(_) => format!("source-{}", self.broadcast),
            _ => format!("{}-{}", self.broadcast, self.start.file.name()),
        }
    }

    fn setup(&self) -> Result<JobSetup, pipeline::Error> {
        let RunStart { file, plan, .. } = &self.start;
        let mut setup = JobSetup::new(self.pipeline_name(), &*file.text);
        setup.variables = Variables::of_broadcast(self.broadcast.as_str()).with_all(&plan.vars);
        setup.stall = plan.stall;
        match &self.start.work {
            Work::Source(input) => {
                let role = PipelineRole::of(&setup.variables.expand(&file.text)?)?;
                let PipelineRole::Source { tracks } = role else {
                    return Err(pipeline::Error::Text(format!(
                        "{}: not a source: it has an appsrc; a source has only appsinks",
                        file.file
                    )));
                };
                setup.stall = Duration::MAX; // its gate is watched
                let sinks = TrackSinks {
                    transcode: !plan.automatic.is_empty(),
                    ..self.sinks(input)
                };
                let outlet = |kind: Kind| (kind.name().to_owned(), sinks.outlet(kind));
                setup.outlets = tracks.into_iter().map(outlet).collect();
            }
            Work::Renditions { inputs, made } => {
                let outlet = |made: &Made| {
                    let (frames, stream) = (made.rendition.sink(), made.stream.writer());
                    let mut outlet = TrackOutlet::new(move |frame| {
                        stream.push(&frame);
                        frames(frame);
                    });
                    outlet.transcode = true;
                    (made.sink.clone(), outlet)
                };
                setup.inputs = EncodedStreams::clone(inputs);
                setup.outlets = made.iter().map(outlet).collect();
            }
            Work::Output { inputs } => setup.inputs = EncodedStreams::clone(inputs),
        }
        Ok(setup)
    }

    fn sinks(&self, input: &InputStart) -> TrackSinks {
        let sinks = input
            .gate
            .sinks(&input.tracks, &input.streams, &self.reports);
        sinks.tracks
    }

    /// Runs the pipeline, and starts again whenever its media changes its shape. Nothing that comes
    /// meanwhile is lost.
    async fn run_through_changes(&self) -> RunOnce {
        let mut held = StreamSubscriptions::default();
        let mut made_frames = false;
        loop {
            let began = awake::now();
            let ended = self.run_once(held).await;
            made_frames |= ended.made_frames;
            let outcome = ended.outcome;
            let RunOutcome::Reshaped(inputs) = outcome else {
                return RunOnce {
                    made_frames,
                    outcome,
                };
            };
            held = inputs;
            self.tell(|snapshot| snapshot.health.state = Activity::Starting);
            let rest = START_INTERVAL.saturating_sub(awake::since(began));
            tokio::select! {
                () = awake::sleep(rest) => {}
                end = self.stop.ended() => {
                    return RunOnce {
                        made_frames,
                        outcome: stopped(end, &[]),
                    };
                }
            }
        }
    }

    /// One run, from the start of the pipeline to its end. Its inputs begin with what has been held.
    async fn run_once(&self, held: StreamSubscriptions) -> RunOnce {
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let setup = match self.setup() {
            Ok(setup) => setup,
            Err(error) => return RunOnce::without_frames(error.into()),
        };
        for (_, stream) in self.made_streams() {
            stream.set_origin(None); // until its appsink says so
        }
        let appsinks: Vec<String> = setup.outlets.keys().cloned().collect();
        let began = awake::now();
        let job = tokio::select! {
            job = awake::timeout(
                START_TIMEOUT,
                WorkerJob::start_with(setup, held, self.limits(), sender),
            ) => job,
            // Its worker is killed.
            end = self.stop.ended() => return RunOnce::without_frames(stopped(end, &appsinks)),
        };
        let job = match job {
            Ok(Ok(job)) => job,
            Ok(Err(error)) => return RunOnce::without_frames(error.into()),
            Err(_) => {
                let late =
                    RunOutcome::Failed(FailureCode::Timeout, "did not start in time".to_owned());
                return RunOnce::without_frames(late);
            }
        };
        tracing::info!("pipeline started");
        self.counters.pipeline_started(self.start.run.slot.kind());
        self.begin_pulse(began);
        self.tell(|snapshot| {
            snapshot.control = Some(job.control());
        });
        if !self.is_output() {
            self.tell_running();
        }
        let outcome = tokio::select! {
            outcome = self.follow(&job, &mut events) => outcome,
            end = self.stop.ended() => stopped(end, &appsinks),
        };
        self.tell(|snapshot| snapshot.control = None);
        let figures = job.stop().await;
        let frames: u64 = match &self.start.work {
            Work::Source(input) => input.gate.frames(),
            _ => figures.outputs.iter().map(|output| output.frames).sum(),
        };
        self.tell(|snapshot| snapshot.figures = figures);
        while let Ok(event) = events.try_recv() {
            if let Event::FileFinished(path) = event {
                self.tell_file(path).await;
            }
        }
        tracing::info!(
            seconds = awake::since(began).as_secs(),
            frames,
            "pipeline ended"
        );
        if self.is_output() {
            let (broadcast, pipeline) = (self.broadcast.clone(), self.file_name());
            self.events.tell(Happening::OutputEnded {
                broadcast,
                pipeline,
            });
        }
        RunOnce {
            made_frames: frames > 0,
            outcome,
        }
    }

    /// Takes what comes from now on, for the next file.
    fn hold(&self) -> StreamSubscriptions {
        let Work::Output { inputs } = &self.start.work else {
            return StreamSubscriptions::default();
        };
        StreamSubscriptions::from_fn(|kind| Some(inputs.of(kind)?.subscribe()?.held()))
    }

    /// A source is connected once its pipeline runs.
    fn begin_pulse(&self, began: Instant) {
        if let Work::Source(InputStart { pulse, .. }) = &self.start.work {
            pulse.send_replace(Pulse {
                answered: Some(began),
                connected: Some(began),
                ..Pulse::default()
            });
        }
    }

    fn is_output(&self) -> bool {
        matches!(self.start.work, Work::Output { .. })
    }

    fn file_name(&self) -> String {
        self.start.file.name().to_owned()
    }

    fn tell_running(&self) {
        self.tell(|snapshot| {
            snapshot.health.state = Activity::Running;
            snapshot.health.failure = None;
            snapshot.health.error = None;
        });
    }

    /// Reports a file that the pipeline has finished.
    async fn tell_file(&self, path: String) {
        // Do not trust what its process says.
        let Ok(metadata) = tokio::fs::metadata(&path).await else {
            return;
        };
        self.events.tell(Happening::SegmentFinished {
            broadcast: self.broadcast.clone(),
            pipeline: self.file_name(),
            file: path,
            bytes: metadata.len(),
        });
    }

    /// Follows the pipeline until it ends or is stopped.
    async fn follow(&self, job: &WorkerJob, events: &mut mpsc::Receiver<Event>) -> RunOutcome {
        let mut acceptance = Acceptance::default();
        let mut figures = interval(FIGURES_INTERVAL);
        figures.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pulse = interval(PULSE_INTERVAL);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keyframe_due = awake::now();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Rendition { kind, name, codec }) => {
                        self.report(kind, &format!("{kind}_{name}"), codec).await;
                    }
                    Some(Event::Track(kind, codec)) => {
                            self.report(kind, kind.name(), codec).await;
                    }
                    Some(Event::Transcoded { appsink, from }) => self.note_origin(&appsink, &from),
                    Some(Event::Stalled) => {
                        self.tell(|snapshot| snapshot.health.state = Activity::Stalled);
                        return RunOutcome::Failed(FailureCode::Stalled, self.stalled());
                    }
                    Some(Event::Resumed) => {}
                    Some(Event::FileFinished(path)) => self.tell_file(path).await,
                    Some(Event::Reshaped) => {
                        tracing::info!("format changed; starting a new file");
                        return RunOutcome::Reshaped(self.hold());
                    }
                    Some(Event::Failed(why)) => {
                        return RunOutcome::Failed(FailureCode::Failed, why);
                    }
                    Some(Event::Lost(loss)) => {
                        return RunOutcome::Failed(loss.cause.into(), loss.reason);
                    }
                    Some(Event::Ended) | None => {
                        let why = "end of stream".to_owned();
                        return RunOutcome::Failed(FailureCode::Ended, why);
                    }
                },
                () = self.start.keyframe.notified(), if awake::now() >= keyframe_due => {
                    if !matches!(self.start.work, Work::Source(_)) {
                        keyframe_due = awake::now() + REQUEST_INTERVAL;
                    }
                    self.force_keyframes(job);
                }
                _ = figures.tick() => {
                    let figures = job.figures();
                    if self.is_output()
                        && acceptance.is_proven(&figures, awake::now())
                    {
                        self.tell_running();
                        let (broadcast, pipeline) = (self.broadcast.clone(), self.file_name());
                        self.events.tell(Happening::OutputStarted { broadcast, pipeline });
                    }
                    self.tell(|snapshot| snapshot.figures = figures);
                }
                _ = pulse.tick() => {
                    if let Work::Source(InputStart { gate, pulse, .. }) = &self.start.work {
                        pulse.send_modify(|pulse| pulse.looked(gate.last_frame(), None));
                    }
                }
            }
        }
    }

    fn stalled(&self) -> String {
        let seconds = self.start.plan.stall.as_secs_f32();
        match self.start.work {
            Work::Output { .. } => format!("no data accepted for {seconds} s"),
            _ => format!("no output for {seconds} s"),
        }
    }

    /// Tells the actor about the first frame of a rendition. For a source, its gate does so.
    async fn report(&self, kind: Kind, sink: &str, codec: Codec) {
        let Work::Renditions { made, .. } = &self.start.work else {
            tracing::debug!(%kind, %codec, "first frame");
            return;
        };
        let Some(made) = made.iter().find(|made| made.sink == sink) else {
            return;
        };
        tracing::info!(%kind, rendition = made.name, %codec, "first frame");
        let report = MediaEvent::Rendition {
            run: self.start.run,
            kind,
            name: made.name.clone(),
            codec,
        };
        // Err: the actor is gone, and stops this task.
        let _ = self.reports.send(report).await;
    }

    /// The streams of what the pipeline makes, by the names of its appsinks.
    fn made_streams(&self) -> Vec<(&str, &EncodedStream)> {
        match &self.start.work {
            Work::Source(input) => {
                let stream = |kind: Kind| Some((kind.name(), input.streams.of(kind)?));
                Kind::ALL.into_iter().filter_map(stream).collect()
            }
            Work::Renditions { made, .. } => made
                .iter()
                .map(|made| (made.sink.as_str(), &made.stream))
                .collect(),
            Work::Output { .. } => Vec::new(),
        }
    }

    /// Notes what the media of an appsink is transcoded from.
    fn note_origin(&self, appsink: &str, from: &str) {
        for (name, stream) in self.made_streams() {
            if name == appsink {
                stream.set_origin(Some(from));
            }
        }
    }

    fn force_keyframes(&self, job: &WorkerJob) {
        match &self.start.work {
            Work::Source(_) => {
                job.force_keyframe(Kind::Video.name());
            }
            Work::Renditions { made, .. } => {
                let sinks = made.iter().map(|made| &made.sink);
                for sink in sinks.filter(|sink| sink.starts_with(Kind::Video.name())) {
                    job.force_keyframe(sink);
                }
            }
            Work::Output { .. } => {}
        }
    }
}
