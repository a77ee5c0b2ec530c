//! Runs one pipeline file alone: test media goes in, rates and caps of the output are reported, and
//! what its process uses.

use std::{
    fmt,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{MEMORY_DEFAULT, WorkerJob, WorkerLimits};
use crate::{
    media::Kind,
    pipeline::{
        Error, Event, PipelineRole, TrackOutlet, Variables,
        job::{JobFigures, JobSetup},
        trial::{TEST_MEDIA, into_streams, wait_for_tracks},
    },
    resources::ProcessFigures,
    stream::{EncodedStream, EncodedStreams},
};

/// Events that may wait.
const EVENTS_MAX: usize = 16;

/// An event of a file on trial.
#[derive(Debug)]
pub enum TrialNews {
    /// It has started, in this role.
    Began(PipelineRole),
    /// The pipeline reported something.
    Happened(Event),
    /// A second has passed.
    Second(Box<TrialSecond>),
    /// It has ended, and its process has used this.
    Over(ProcessFigures),
}

/// The events of one second.
#[derive(Debug)]
pub struct TrialSecond {
    /// Time since the file started.
    pub at: Duration,
    before: JobFigures,
    now: JobFigures,
    elapsed: Duration,
}

impl fmt::Display for TrialSecond {
    /// One line for each appsrc, appsink or sink.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |now: u64, before: u64| per_second(now.saturating_sub(before), self.elapsed);
        let mut lines = Vec::new();
        for (index, input) in self.now.inputs.iter().enumerate() {
            let before = self.before.inputs.get(index);
            let frames = rate(input.frames, before.map_or(0, |before| before.frames));
            let bits = 8.0 * rate(input.bytes, before.map_or(0, |before| before.bytes)) / 1000.0;
            let (dropped, queued) = (input.dropped, input.queued_ms);
            lines.push(format!(
                "in  {}: {frames:.1} frames/s, {bits:.0} kbit/s, {dropped} dropped, {queued} ms queued",
                input.kind
            ));
        }
        for (index, output) in self.now.outputs.iter().enumerate() {
            let before = self.before.outputs.get(index); // sinks are never removed
            let frames = rate(output.frames, before.map_or(0, |before| before.frames));
            let bits = 8.0 * rate(output.bytes, before.map_or(0, |before| before.bytes)) / 1000.0;
            let time = output
                .time_per_frame_ms
                .map(|ms| format!(", {ms:.1} ms a frame"));
            let time = time.unwrap_or_default();
            let caps = output.caps.as_deref().unwrap_or("nothing yet");
            let name = &output.name;
            lines.push(format!(
                "out {name}: {frames:.1} buffers/s, {bits:.0} kbit/s{time}: {caps}"
            ));
        }
        if let Some(process) = self.now.process {
            let before = self.before.process.map_or(0, |before| before.cpu_ms);
            let cpu = rate(process.cpu_ms, before) / 10.0;
            let (mebibytes, threads) = (process.memory_bytes >> 20, process.threads);
            lines.push(format!(
                "process: {cpu:.0} % of a core, {mebibytes} MiB, {threads} threads"
            ));
        }
        write!(
            f,
            "{:>4.0} s  {}",
            self.at.as_secs_f64(),
            lines.join("\n        ")
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown to people")]
fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64().max(0.001)
}

/// The appsinks of a text.
fn appsinks(role: &PipelineRole) -> Vec<String> {
    match role {
        PipelineRole::Source { tracks } => tracks.iter().map(ToString::to_string).collect(),
        PipelineRole::Renditions { outputs, .. } => outputs
            .iter()
            .map(|(kind, name)| format!("{kind}_{name}"))
            .collect(),
        PipelineRole::Output { .. } => Vec::new(),
    }
}

/// Test media, made by a worker of its own.
struct TrialMedia {
    job: WorkerJob,
    streams: EncodedStreams,
    /// A worker whose events nobody takes is ended.
    _events: mpsc::Receiver<Event>,
}

impl TrialMedia {
    /// Returns once both tracks flow.
    async fn start() -> Result<Self, Error> {
        let streams = EncodedStreams::from_fn(|kind| Some(EncodedStream::new(kind, || ())));
        let sinks = into_streams(&streams);
        let mut setup = JobSetup::new("test media", TEST_MEDIA);
        setup.outlets = Kind::ALL
            .map(|kind| (kind.name().to_owned(), sinks.outlet(kind)))
            .into();
        let (sender, mut events) = mpsc::channel(EVENTS_MAX);
        let job = WorkerJob::start(setup, WorkerLimits::new(MEMORY_DEFAULT), sender).await?;
        wait_for_tracks(&mut events, Kind::ALL.len()).await?;
        Ok(Self {
            job,
            streams,
            _events: events,
        })
    }
}

/// Sets up what depends on the role of a pipeline. What it makes goes nowhere. Returns its limits.
fn prepare(setup: &mut JobSetup, role: &PipelineRole) -> WorkerLimits {
    let nowhere = |appsink| (appsink, TrackOutlet::new(|_| ()));
    setup.outlets = appsinks(role).into_iter().map(nowhere).collect();
    let limits = WorkerLimits::new(MEMORY_DEFAULT);
    match role {
        PipelineRole::Source { .. } => {
            setup.stall = Duration::MAX; // it may make something whenever it likes
            limits
        }
        PipelineRole::Renditions { .. } => limits,
        PipelineRole::Output { .. } => limits.finishing(),
    }
}

/// Runs a text for `length`, or until it ends, and calls `tell` with each event.
///
/// # Errors
/// If it does not start, or fails.
pub async fn run(
    name: &str,
    text: &str,
    variables: Variables,
    length: Duration,
    mut tell: impl FnMut(TrialNews),
) -> Result<(), Error> {
    let role = PipelineRole::of(
        &variables
            .clone()
            .with("video_parser", "h264parse")
            .expand(text)?,
    )?;
    let media = match role {
        PipelineRole::Source { .. } => None,
        PipelineRole::Renditions { .. } | PipelineRole::Output { .. } => {
            Some(TrialMedia::start().await?)
        }
    };
    let mut setup = JobSetup::new(name, text);
    setup.variables = variables;
    if let Some(media) = &media {
        setup.inputs = media.streams.clone();
    }
    let limits = prepare(&mut setup, &role);
    let (sender, mut events) = mpsc::channel(EVENTS_MAX);
    let job = WorkerJob::start(setup, limits, sender).await?;
    tell(TrialNews::Began(role));
    let (begin, period) = (Instant::now(), Duration::from_secs(1));
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    let (mut before, mut last) = (job.figures(), begin);
    let outcome = loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Failed(reason)) => break Err(Error::Failed(reason)),
                Some(Event::Lost(loss)) => break Err(loss.into()),
                Some(event) => {
                    let over = event == Event::Ended;
                    tell(TrialNews::Happened(event));
                    if over {
                        break Ok(());
                    }
                }
                None => break Ok(()),
            },
            _ = tick.tick() => {
                let (now, at) = (job.figures(), begin.elapsed());
                let elapsed = std::mem::replace(&mut last, Instant::now()).elapsed();
                let before = std::mem::replace(&mut before, now.clone());
                let second = TrialSecond { at, before, now, elapsed };
                tell(TrialNews::Second(Box::new(second)));
                if at >= length {
                    break Ok(());
                }
            }
        }
    };
    if let Some(process) = job.stop().await.process {
        tell(TrialNews::Over(process));
    }
    if let Some(media) = media {
        media.job.stop().await;
    }
    outcome
}
