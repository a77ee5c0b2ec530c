//! `aerial bench --workers`: what it costs that pipelines run in processes of their own.
//!
//! The same text runs in a worker and in this process, in turns, and each frame's age is taken when it
//! arrives here: the difference is the way from the worker. This process stands for the server. Then
//! workers are started and killed, and timed. At last, publishers wait for their answers from a server.

mod answers;
mod report;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

pub(super) use report::WorkersReport;
use report::{Hop, Hops, Starts};

use super::{Options, process, report::Percentiles, say};
use crate::{
    pipeline::{
        self, Event, TrackOutlet,
        job::{Job, JobSetup},
        running_time,
        trial::TestMedia,
    },
    stream::EncodedStreams,
    worker::{WorkerJob, WorkerLimits, processes},
};

/// Fifty frames a second.
const SOUND: &str = "audiotestsrc is-live=true samplesperbuffer=960 ! audio/x-raw,rate=48000
    ! opusenc frame-size=20 ! appsink name=audio";
/// Thirty frames a second.
const PICTURE: &str = "videotestsrc is-live=true
    ! video/x-raw,format=I420,width=1280,height=720,framerate=30/1
    ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=2500 key-int-max=30
    ! video/x-h264,profile=constrained-baseline ! appsink name=video";
const RENDITION: &str = "appsrc name=video ! h264parse ! avdec_h264 ! videoscale
    ! video/x-raw,width=640,height=360
    ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=800 key-int-max=30
    ! video/x-h264,profile=constrained-baseline ! appsink name=video_small";
/// Memory of a worker: as much as by default.
const MEMORY: u64 = 4 << 30;
/// Events of a job that may wait.
const EVENTS_MAX: usize = 16;
/// From a job's start to what is measured.
const SETTLE: Duration = Duration::from_secs(1);
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often each start and each death is timed in a round.
const TIMES: u32 = 5;
/// Workers that start at once.
const AT_ONCE: usize = 20;

/// Where a pipeline runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    Worker,
}

/// The pipeline under test.
enum Running {
    Here(Job),
    Worker(WorkerJob),
}

impl Running {
    async fn start(place: Place, setup: JobSetup, events: mpsc::Sender<Event>) -> Result<Self> {
        Ok(match place {
            Place::Here => Self::Here(Job::start(setup, events).await?),
            Place::Worker => {
                let limits = WorkerLimits::new(MEMORY);
                Self::Worker(WorkerJob::start(setup, limits, events).await?)
            }
        })
    }

    async fn stop(self) {
        match self {
            Self::Here(job) => job.stop().await,
            Self::Worker(job) => {
                job.stop().await;
            }
        }
    }
}

/// When frames have arrived, and how old they were.
#[derive(Clone, Default)]
struct Arrivals(Arc<Mutex<Vec<Duration>>>);

impl Arrivals {
    fn note(&self, pts: Duration) {
        let age = running_time().saturating_sub(pts);
        let mut ages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ages.push(age);
    }

    fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn wait_for_first(&self) -> Result<()> {
        let arrived = async {
            while self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_empty()
            {
                sleep(Duration::from_micros(500)).await;
            }
        };
        timeout(PATIENCE, arrived).await.context("no frame arrives")
    }
}

fn setup(text: &str, appsink: &str, arrivals: &Arrivals) -> JobSetup {
    let arrivals = arrivals.clone();
    let outlet = TrackOutlet::new(move |frame| arrivals.note(frame.pts));
    let mut setup = JobSetup::new("bench", text);
    setup.outlets = [(appsink.to_owned(), outlet)].into();
    setup
}

/// The findings of one run.
struct RunFigures {
    ages: Vec<Duration>,
    /// CPU time of this process.
    own: Duration,
    /// CPU time of the worker.
    worker: Duration,
    /// Bytes that nobody shares with the worker, and its threads.
    private_bytes: u64,
    threads: u64,
}

/// Runs a text for a while.
async fn run_text(
    place: Place,
    text: &str,
    appsink: &str,
    inputs: &EncodedStreams,
    window: Duration,
) -> Result<RunFigures> {
    let arrivals = Arrivals::default();
    let mut setup = setup(text, appsink, &arrivals);
    setup.inputs = inputs.clone();
    let (sender, _events) = mpsc::channel(EVENTS_MAX);
    let running = Running::start(place, setup, sender).await?;
    arrivals.wait_for_first().await?;
    sleep(SETTLE).await;
    let worker = match place {
        Place::Here => None,
        Place::Worker => Some(worker().await?),
    };
    let cpu = |pid: Option<u32>| pid.map_or(Ok(Duration::ZERO), process::precise_cpu);
    let this = Some(std::process::id());
    let before = (cpu(this)?, cpu(worker)?);
    arrivals.take();
    sleep(window).await;
    let ages = arrivals.take();
    let figures = RunFigures {
        ages,
        own: cpu(this)?.saturating_sub(before.0),
        worker: cpu(worker)?.saturating_sub(before.1),
        private_bytes: worker.map_or(Ok(0), process::private_bytes)?,
        threads: worker.map_or(Ok(0), |pid| {
            process::Usage::of(pid).map(|usage| usage.threads)
        })?,
    };
    running.stop().await;
    Ok(figures)
}

/// The process of the one worker that runs.
async fn worker() -> Result<u32> {
    let found = async {
        loop {
            if let [pid] = processes()[..] {
                return pid;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, found)
        .await
        .context("no worker is running")
}

/// Measures the way from a worker for one text, in both places in turns.
async fn measure_hop(
    options: &Options,
    text: &str,
    appsink: &str,
    inputs: &EncodedStreams,
) -> Result<Hop> {
    let window = Duration::from_secs(options.seconds.into());
    let mut hop = Hop::default();
    for _ in 0..options.rounds {
        for place in [Place::Here, Place::Worker] {
            let figures = run_text(place, text, appsink, inputs, window).await?;
            hop.add(place == Place::Worker, &figures);
        }
    }
    Ok(hop)
}

/// From the request for a worker to its first frame.
async fn time_start(text: &str, appsink: &str) -> Result<Duration> {
    let arrivals = Arrivals::default();
    let (sender, _events) = mpsc::channel(EVENTS_MAX);
    let begin = Instant::now();
    let setup = setup(text, appsink, &arrivals);
    let running = Running::start(Place::Worker, setup, sender).await?;
    arrivals.wait_for_first().await?;
    let took = begin.elapsed();
    running.stop().await;
    Ok(took)
}

/// From the request for many workers to the first frame of the last one.
async fn time_many() -> Result<Duration> {
    let begin = Instant::now();
    let starts = (0..AT_ONCE).map(|_| async {
        let arrivals = Arrivals::default();
        let (sender, _events) = mpsc::channel(EVENTS_MAX);
        let setup = setup(SOUND, "audio", &arrivals);
        let running = Running::start(Place::Worker, setup, sender).await?;
        arrivals.wait_for_first().await?;
        anyhow::Ok((running, begin.elapsed()))
    });
    let mut last = Duration::ZERO;
    for started in futures_util::future::join_all(starts).await {
        let (running, took) = started?;
        last = last.max(took);
        running.stop().await;
    }
    Ok(last)
}

/// From a worker's death to its report.
async fn time_death() -> Result<Duration> {
    let arrivals = Arrivals::default();
    let (sender, mut events) = mpsc::channel(EVENTS_MAX);
    let setup = setup(SOUND, "audio", &arrivals);
    let running = Running::start(Place::Worker, setup, sender).await?;
    let pid = i32::try_from(worker().await?).ok().and_then(Pid::from_raw);
    let begin = Instant::now();
    kill_process(pid.context("no process")?, Signal::KILL)?;
    let failed = async {
        loop {
            match events.recv().await {
                Some(Event::Lost(_)) => return Ok(begin.elapsed()),
                Some(_) => {}
                None => bail!("the worker's death was not reported"),
            }
        }
    };
    let took = timeout(PATIENCE, failed)
        .await
        .context("its death was not noticed")??;
    running.stop().await;
    Ok(took)
}

async fn measure_starts(options: &Options) -> Result<Starts> {
    let mut starts = Starts::default();
    for _ in 0..options.rounds {
        for _ in 0..TIMES {
            starts.sound.push(time_start(SOUND, "audio").await?);
            starts.picture.push(time_start(PICTURE, "video").await?);
            starts.death.push(time_death().await?);
        }
        starts.many.push(time_many().await?);
    }
    Ok(starts)
}

/// Measures all of it.
pub(super) async fn run(options: &Options) -> Result<WorkersReport> {
    pipeline::init()?;
    let none = EncodedStreams::default();
    say("sound: here and in a worker\n")?;
    let sound = measure_hop(options, SOUND, "audio", &none).await?;
    say("picture: here and in a worker\n")?;
    let picture = measure_hop(options, PICTURE, "video", &none).await?;
    say("rendition: here and in a worker\n")?;
    let media = TestMedia::start().await?;
    let rendition = measure_hop(options, RENDITION, "video_small", &media.streams).await;
    media.stop().await;
    say("starts and deaths\n")?;
    let starts = measure_starts(options).await?;
    say("answers to publishers\n")?;
    let answers = answers::measure(options).await?;
    let hops = Hops {
        sound,
        picture,
        rendition: rendition?,
    };
    Ok(WorkersReport::new(&hops, &starts, &answers))
}
