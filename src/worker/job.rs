//! A pipeline in a worker, seen from the server.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use rustix::io::Errno;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};
use tracing::Instrument as _;

use super::{
    follow::follow,
    limits::WorkerLimits,
    note::{Answer, InputSetup, OutletSetup, Preparation, Request, ToWorker, WorkerSetup},
    outlet::Outlet,
    pipeline::{PipelineProgress, PipelineTask, WatchedOutlet},
    prepared::{Prepared, preparation},
    queue::Outbox,
    shared::{Shared, lock, tell},
    spawn::{self, Spawned},
    starting::Turn,
};
use crate::{
    awake,
    media::Kind,
    pipeline::{
        self, Error, Event, Variables,
        job::{JobFigures, JobSetup, Property, svg},
        sandbox::Sandbox,
    },
    resources::{self, Amount, Asker},
    stream::{EncodedStreams, StreamSubscriptions},
};

/// How long an output may take to complete its files when it is stopped.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long any other pipeline may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a worker may take to answer an operator.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(12);
/// Operators that may wait for answers of one worker.
const ANSWERS_MAX: usize = 16;

/// A pipeline that runs in a worker. Dropping it kills the worker; see [`WorkerJob::stop`].
#[derive(Debug)]
pub struct WorkerJob {
    outbox: Arc<Outbox>,
    shared: Arc<Shared>,
    finishes: bool,
    /// The worker has ended, or does not answer.
    over: watch::Receiver<bool>,
    /// The worker is killed with them.
    tasks: JoinSet<()>,
}

impl WorkerJob {
    /// Starts a worker and in it the pipeline. Media goes to the outlets on a task of the runtime.
    /// `events` gets [`Event::Track`] or [`Event::Rendition`] with the first frame of each, and the
    /// pipeline's other events. After [`Event::Failed`], [`Event::Lost`] or [`Event::Ended`] nothing
    /// follows, and the job must be stopped.
    ///
    /// # Errors
    /// The text fits no role, a variable has no value, an element is missing, an element does not
    /// start, or the system refuses a process.
    pub async fn start(
        setup: JobSetup,
        limits: WorkerLimits,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, Error> {
        Self::start_with(setup, StreamSubscriptions::default(), limits, events).await
    }

    /// The same for inputs that begin with what has been held for them.
    ///
    /// # Errors
    /// Likewise.
    pub async fn start_with(
        setup: JobSetup,
        held: StreamSubscriptions,
        limits: WorkerLimits,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, Error> {
        let turn = Turn::wait().await;
        let permit = resources::reserve(Asker::Pipeline, Amount::WORKER);
        let _permit = permit.map_err(|short| Error::Busy(short.to_string()))?;
        let spawned = spawn::spawn(&setup.name, limits, turn).await;
        Self::start_in(spawned.map_err(no_worker)?, setup, held, limits, events).await
    }

    /// As [`WorkerJob::start_with`], in a process that has been started.
    pub(super) async fn start_in(
        spawned: Spawned,
        setup: JobSetup,
        held: StreamSubscriptions,
        limits: WorkerLimits,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, Error> {
        let preparation = Preparation {
            sandbox: Sandbox::declared(&setup.text, &setup.variables)?,
            ..preparation(false)
        };
        let worker = Prepared::begin(spawned, preparation)
            .await
            .map_err(no_worker)?;
        let outbox = Arc::new(Outbox::default());
        let shared = Arc::<Shared>::default();
        let (started, start) = oneshot::channel();
        let name = setup.name.clone();
        let setup = SplitSetup::new(setup, &held);
        let work = PipelineTask {
            setup: Some(setup.note),
            shared: Arc::clone(&shared),
            outbox: Arc::clone(&outbox),
            outlets: setup.outlets,
            events,
            started: Some(started),
            stall: setup.stall,
            inputs: setup.inputs,
            held,
            feeding: JoinSet::new(),
            progress: PipelineProgress::default(),
        };
        let (follow, ended) = follow(&name, worker, limits.silence(), &outbox, work);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow.in_current_span());
        let job = Self {
            outbox,
            shared,
            finishes: limits.finishes(),
            over: ended,
            tasks,
        };
        match start.await {
            Ok(Ok(())) => Ok(job),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(Error::Failed("the worker is gone".to_owned())),
        }
    }

    /// Requests a keyframe from the encoder before an appsink. Does nothing if there is none, or if
    /// it takes no requests.
    pub fn force_keyframe(&self, appsink: &str) {
        let appsink = appsink.to_owned();
        tell(&self.outbox, &ToWorker::ForceKeyframe { appsink });
    }

    /// The operator's control of the job.
    pub fn control(&self) -> WorkerControl {
        WorkerControl {
            outbox: Arc::clone(&self.outbox),
            shared: Arc::clone(&self.shared),
        }
    }

    /// The newest figures.
    pub fn figures(&self) -> JobFigures {
        lock(&self.shared.figures).clone()
    }

    /// Stops the pipeline within a time limit, after which its worker is killed. An output first
    /// writes what it holds, so that its files are complete. Returns the last figures.
    pub async fn stop(mut self) -> JobFigures {
        tell(&self.outbox, &ToWorker::Stop);
        let limit = if self.finishes {
            FINISH_TIMEOUT
        } else {
            STOP_TIMEOUT
        };
        let stopped = self.over.wait_for(|over| *over);
        if awake::timeout(limit, stopped).await.is_err() {
            tracing::warn!(
                seconds = limit.as_secs_f64(),
                "pipeline did not stop in time; killing its worker"
            );
        }
        // The worker is killed when the task is dropped.
        self.tasks.shutdown().await;
        self.outbox.close();
        self.figures()
    }
}

/// The two halves of a setup: what the worker gets to know, and what stays.
struct SplitSetup {
    note: WorkerSetup,
    inputs: EncodedStreams,
    outlets: Vec<WatchedOutlet>,
    stall: Duration,
}

impl SplitSetup {
    fn new(setup: JobSetup, held: &StreamSubscriptions) -> Self {
        let JobSetup {
            name,
            text,
            variables,
            inputs,
            outlets,
            stall,
        } = setup;
        let outlet = |(appsink, outlet): (&String, &pipeline::TrackOutlet)| OutletSetup {
            appsink: appsink.clone(),
            transcode: outlet.transcode,
        };
        let input = |kind| {
            let stream = inputs.of(kind)?;
            Some(InputSetup {
                kind,
                codec: stream.codec(),
                stereo: stream.is_stereo(),
                held: held.of(kind).is_some(),
            })
        };
        let note = WorkerSetup {
            name,
            text,
            stall,
            secrets: secrets(&variables),
            variables,
            inputs: Kind::ALL.into_iter().filter_map(input).collect(),
            outlets: outlets.iter().map(outlet).collect(),
        };
        let outlets = outlets.into_iter();
        Self {
            note,
            outlets: outlets
                .map(|(appsink, outlet)| Outlet::new(&appsink, outlet.frames))
                .map(WatchedOutlet::new)
                .collect(),
            inputs,
            stall,
        }
    }
}

/// The values of a pipeline's variables may be secret; those that every pipeline has are not.
pub(super) fn secrets(variables: &Variables) -> Vec<(String, String)> {
    let all = variables
        .iter()
        .filter(|(name, _)| !["name", "time"].contains(name));
    all.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A handle to a running job, for operators. Keeps nothing alive; cheap to clone.
#[derive(Clone, Debug)]
pub struct WorkerControl {
    outbox: Arc<Outbox>,
    shared: Arc<Shared>,
}

impl WorkerControl {
    /// The properties that the file declares adjustable, with their current values.
    ///
    /// # Errors
    /// If the pipeline is gone or lacks a declared property.
    pub async fn properties(&self) -> Result<Vec<Property>, Error> {
        match self.ask(Request::Properties).await? {
            Answer::Properties(properties) => Ok(properties),
            _ => Err(nonsense()),
        }
    }

    /// Sets properties that the file declares adjustable, by `element.property`: either all of them or
    /// none.
    ///
    /// # Errors
    /// [`Error::Text`] if one is not declared, or a value does not fit its type or range.
    pub async fn adjust(&self, changes: Vec<(String, String)>) -> Result<(), Error> {
        match self.ask(Request::Adjust(changes)).await? {
            Answer::Adjusted => Ok(()),
            _ => Err(nonsense()),
        }
    }

    /// The pipeline's graph with these figures, in Graphviz's language.
    ///
    /// # Errors
    /// If drawing takes too long.
    pub async fn dot(&self, figures: &JobFigures) -> Result<String, Error> {
        match self.ask(Request::Dot(figures.clone())).await? {
            Answer::Dot(dot) => Ok(dot),
            _ => Err(nonsense()),
        }
    }

    /// The pipeline's graph as SVG.
    ///
    /// # Errors
    /// If Graphviz is not installed (Debian package graphviz), fails, or takes too long.
    pub async fn svg(&self, figures: &JobFigures) -> Result<String, Error> {
        svg(&self.dot(figures).await?).await
    }

    async fn ask(&self, request: Request) -> Result<Answer, Error> {
        if self.outbox.is_closed() {
            return Err(Error::Failed("the pipeline is gone".to_owned()));
        }
        let (reply, answer) = oneshot::channel();
        let id = self.shared.next_answer.fetch_add(1, Relaxed);
        {
            let mut answers = lock(&self.shared.answers);
            if answers.len() >= ANSWERS_MAX {
                return Err(Error::Failed("too many requests at once".to_owned()));
            }
            answers.insert(id, reply);
        }
        tell(&self.outbox, &ToWorker::Request { id, request });
        let answered = awake::timeout(ANSWER_TIMEOUT, answer).await;
        lock(&self.shared.answers).remove(&id);
        match answered {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::Failed("the pipeline is gone".to_owned())),
            Err(_) => Err(Error::Timeout {
                step: "asking the pipeline".into(),
                limit: ANSWER_TIMEOUT,
            }),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn no_worker(error: io::Error) -> Error {
    let why = format!("no worker: {error}");
    let short = [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE];
    let is_short = Errno::from_io_error(&error).is_some_and(|errno| short.contains(&errno));
    if is_short || error.kind() == io::ErrorKind::WouldBlock {
        Error::Busy(why)
    } else {
        Error::Failed(why)
    }
}

fn nonsense() -> Error {
    Error::Failed("the worker sent an unexpected answer".to_owned())
}
