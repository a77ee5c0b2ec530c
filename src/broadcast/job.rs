//! A pipeline of a broadcast at work: started, watched, started again after a pause, stopped.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use super::{
    actor::Outcome,
    feed::Report,
    session::Stop,
    source::Restarts,
    status::{PipelineKind, SharedCounters},
};
use crate::{
    fanout,
    media::{Codec, Kind},
    pipeline::{
        EncodedStream, EncodedStreams, Event, Job, TrackOutlet, Variables, hangs,
        job::{Control, JobFigures, JobSetup},
    },
    plan::{Name, PipelineFile, Plan},
};

/// Longest start of a pipeline; outputs to the network connect in this time.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Shortest time from one start to the next: files are named by the second.
const START_INTERVAL: Duration = Duration::from_secs(1);
/// How often the figures are read.
pub(super) const FIGURES_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest time between two keyframes that an encoder is asked for.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);
/// How often a pipeline that does not stop is looked at.
const REMAINS_INTERVAL: Duration = Duration::from_millis(250);
/// Events waiting for the task: one per rendition of a file, and an end.
const EVENTS_MAX: usize = 64;

/// What a pipeline does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// Nothing: it is not needed now.
    #[default]
    Idle,
    /// It starts.
    Starting,
    /// It runs.
    Running,
    /// Media goes in, but nothing comes out.
    Stalled,
    /// It has failed and is started again after a pause.
    Failed,
}

/// How a pipeline is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// What it does.
    pub state: Activity,
    /// How often it was started again.
    pub restarts: u64,
    /// Why it failed last, if it does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a job's task tells its actor.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) health: Health,
    pub(super) figures: JobFigures,
    /// While it runs.
    pub(super) control: Option<Control>,
}

impl Snapshot {
    /// A pipeline that has been started again this many times.
    pub(super) fn starting(restarts: u64) -> Self {
        let health = Health {
            state: Activity::Starting,
            restarts,
            error: None,
        };
        Self {
            health,
            ..Self::default()
        }
    }
}

/// What makes one pipeline's run different from another's.
pub(super) enum Purpose {
    /// Takes media out.
    Output,
    /// Makes these renditions.
    Renditions(Vec<Made>),
}

/// A rendition that a pipeline makes.
pub(super) struct Made {
    /// Name of the appsink.
    pub(super) sink: String,
    /// Name of the rendition.
    pub(super) name: String,
    pub(super) rendition: Arc<fanout::Rendition>,
    /// Where other pipelines take it from.
    pub(super) stream: Option<EncodedStream>,
}

/// Everything one job needs.
pub(super) struct Task {
    pub(super) number: u64,
    pub(super) broadcast: Name,
    pub(super) text: PipelineFile,
    pub(super) plan: Arc<Plan>,
    pub(super) inputs: EncodedStreams,
    pub(super) purpose: Purpose,
    pub(super) keyframe: Arc<Notify>,
    pub(super) snapshot: watch::Sender<Snapshot>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) counters: SharedCounters,
    pub(super) stop: Stop,
}

impl Purpose {
    const fn kind(&self) -> PipelineKind {
        match self {
            Self::Output => PipelineKind::Output,
            Self::Renditions(_) => PipelineKind::Renditions,
        }
    }
}

impl Task {
    /// Runs the pipeline, again and again if it fails, until it is stopped.
    pub(super) async fn run(self) -> Outcome {
        let mut restarts = Restarts::default();
        loop {
            self.wait_for_the_end_of_the_last().await;
            if self.stop.is_set() {
                break;
            }
            let began = Instant::now();
            if restarts.begin() {
                self.tell(|snapshot| snapshot.health.restarts += 1);
            }
            let (made, why) = self.run_once().await;
            let Some(why) = why else { break };
            let now = Instant::now();
            restarts.ended(now, made);
            let due = restarts.due().max(began + START_INTERVAL);
            tracing::warn!(
                broadcast = %self.broadcast,
                pipeline = self.text.name(),
                error = why,
                pause_ms = due.saturating_duration_since(now).as_millis(),
                "pipeline failed; it is started again"
            );
            self.tell(|snapshot| {
                snapshot.health.state = Activity::Failed;
                snapshot.health.error = Some(why);
            });
            let job = self.number;
            // Err: the actor is gone, and stops this task.
            let _ = self.reports.send(Report::JobFailed { job }).await;
            tokio::select! {
                () = sleep_until(due.into()) => {}
                _ = self.stop.ended() => break,
            }
        }
        self.tell(|snapshot| snapshot.health.state = Activity::Idle);
        Outcome::JobEnded
    }

    /// A pipeline whose sink is stuck, such as in a FIFO that nobody reads, holds its thread until
    /// that is over. There is never a second one beside it.
    async fn wait_for_the_end_of_the_last(&self) {
        let name = self.pipeline_name();
        if !hangs(&name) {
            return;
        }
        let (broadcast, pipeline) = (&self.broadcast, self.text.name());
        tracing::warn!(%broadcast, pipeline, "the pipeline of before does not stop; it is waited for");
        while hangs(&name) {
            tokio::select! {
                () = sleep(REMAINS_INTERVAL) => {}
                _ = self.stop.ended() => return,
            }
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Snapshot)) {
        self.snapshot.send_modify(change);
    }

    fn pipeline_name(&self) -> String {
        format!("{}-{}", self.broadcast, self.text.name())
    }

    fn setup(&self) -> JobSetup {
        let mut setup = JobSetup::new(self.pipeline_name(), &*self.text.text);
        setup.variables =
            Variables::of_broadcast(self.broadcast.as_str()).with_all(&self.plan.vars);
        setup.inputs = self.inputs.clone();
        setup.stall = self.plan.stall;
        if let Purpose::Renditions(renditions) = &self.purpose {
            let outlet = |made: &Made| {
                let frames = made.rendition.sink();
                let mut outlet = TrackOutlet::new(move |frame| frames(frame));
                outlet.stream.clone_from(&made.stream);
                outlet.transcode = true;
                (made.sink.clone(), outlet)
            };
            setup.outlets = renditions.iter().map(outlet).collect::<BTreeMap<_, _>>();
        }
        setup
    }

    /// One run: whether it made something, and why it failed; `None` if it was stopped.
    async fn run_once(&self) -> (bool, Option<String>) {
        self.tell(|snapshot| snapshot.health.state = Activity::Starting);
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let began = Instant::now();
        // Not cut short by `stop`: a pipeline that is starting must be stopped in order.
        let job = match timeout(START_TIMEOUT, Job::start(self.setup(), sender)).await {
            Ok(Ok(job)) => job,
            Ok(Err(error)) => return (false, Some(error.to_string())),
            Err(_) => return (false, Some("it does not start in time".to_owned())),
        };
        let (broadcast, pipeline) = (&self.broadcast, self.text.name());
        tracing::info!(%broadcast, pipeline, "pipeline begins");
        self.counters.pipeline_started(self.purpose.kind());
        self.tell(|snapshot| {
            snapshot.health.state = Activity::Running;
            snapshot.health.error = None;
            snapshot.control = Some(job.control());
        });
        let why = self.follow(&job, &mut events).await;
        let figures = job.figures();
        let frames: u64 = figures.outputs.iter().map(|output| output.frames).sum();
        self.tell(|snapshot| {
            snapshot.figures = figures;
            snapshot.control = None;
        });
        job.stop().await;
        tracing::info!(
            %broadcast,
            pipeline,
            seconds = began.elapsed().as_secs(),
            frames,
            "pipeline ended"
        );
        (frames > 0, why)
    }

    /// Runs until the pipeline fails or is stopped.
    async fn follow(&self, job: &Job, events: &mut mpsc::Receiver<Event>) -> Option<String> {
        let mut tick = interval(FIGURES_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keyframe_due = Instant::now();
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Rendition { kind, name, codec }) => {
                        self.report(kind, &format!("{kind}_{name}"), codec).await;
                    }
                    Some(Event::Track(kind, codec)) => self.report(kind, kind.name(), codec).await,
                    Some(Event::Stalled) => {
                        self.tell(|snapshot| snapshot.health.state = Activity::Stalled);
                        let seconds = self.plan.stall.as_secs_f32();
                        return Some(match self.purpose {
                            Purpose::Renditions(_) => format!("it has made nothing for {seconds} s"),
                            Purpose::Output => format!("it has taken nothing for {seconds} s"),
                        });
                    }
                    Some(Event::Resumed) => {}
                    Some(Event::Failed(why)) => return Some(why),
                    Some(Event::Ended) | None => return Some("it came to its end".to_owned()),
                },
                () = self.keyframe.notified(), if Instant::now() >= keyframe_due => {
                    keyframe_due = Instant::now() + KEYFRAME_INTERVAL;
                    self.force_keyframes(job);
                }
                _ = tick.tick() => {
                    let figures = job.figures();
                    self.tell(|snapshot| snapshot.figures = figures);
                }
                _ = self.stop.ended() => return None,
            }
        }
    }

    /// Tells the actor of the first frame of a rendition.
    async fn report(&self, kind: Kind, sink: &str, codec: Codec) {
        let Purpose::Renditions(renditions) = &self.purpose else {
            return;
        };
        let Some(made) = renditions.iter().find(|made| made.sink == sink) else {
            return;
        };
        let (broadcast, pipeline, rendition) = (&self.broadcast, self.text.name(), &made.name);
        tracing::info!(%broadcast, pipeline, %kind, rendition, %codec, "first frame");
        let report = Report::Rendition {
            job: self.number,
            kind,
            name: rendition.clone(),
            codec,
        };
        // Err: the actor is gone, and stops this task.
        let _ = self.reports.send(report).await;
    }

    fn force_keyframes(&self, job: &Job) {
        let Purpose::Renditions(renditions) = &self.purpose else {
            return;
        };
        let pictures = renditions.iter().map(|made| &made.sink);
        for sink in pictures.filter(|sink| sink.starts_with(Kind::Video.name())) {
            job.force_keyframe(sink);
        }
    }
}
