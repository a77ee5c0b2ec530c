//! Runs one pipeline file alone: test media goes in, rates and caps of the output are reported.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use super::{
    Error, Event, Job, PipelineRole, Source, TrackOutlet, TrackSinks, Variables,
    job::{self, JobSetup},
};
use crate::{
    media::{FrameSink, Kind},
    stream::{EncodedStream, EncodedStreams},
};

/// The test media: like a browser's, with a keyframe every second.
const TEST_MEDIA: &str = "
    videotestsrc is-live=true pattern=smpte horizontal-speed=2
      ! video/x-raw,format=I420,width=1280,height=720,framerate=30/1 ! timeoverlay
      ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=2500 key-int-max=30 bframes=0
      ! video/x-h264,profile=constrained-baseline ! appsink name=video
    audiotestsrc is-live=true wave=ticks volume=0.1 samplesperbuffer=960
      ! audio/x-raw,rate=48000,channels=2 ! opusenc frame-size=20 ! appsink name=audio";
/// Longest wait for the test media to begin.
const MEDIA_TIMEOUT: Duration = Duration::from_secs(10);

/// Test media as a broadcast has it: H.264 and Opus.
#[derive(Debug)]
pub struct TestMedia {
    source: Source,
    /// The streams for the pipelines to take.
    pub streams: EncodedStreams,
}

impl TestMedia {
    /// Starts the test media; returns once both tracks flow.
    ///
    /// # Errors
    /// If an element is missing, or the media does not flow in time.
    pub async fn start() -> Result<Self, Error> {
        Self::start_as(TEST_MEDIA).await
    }

    /// Starts another source text in its place.
    ///
    /// # Errors
    /// As [`TestMedia::start`].
    pub async fn start_as(text: &str) -> Result<Self, Error> {
        let streams = EncodedStreams::from_fn(|kind| Some(EncodedStream::new(kind, || ())));
        let sinks = into_streams(&streams);
        let (sender, mut events) = mpsc::channel(4);
        let source = Source::start("test media", text, sinks, sender).await?;
        let tracks = Kind::ALL
            .into_iter()
            .filter(|kind| text.contains(&format!("name={kind}")))
            .count();
        let mut begun = 0;
        while begun < tracks {
            let limit = MEDIA_TIMEOUT;
            let event = tokio::time::timeout(limit, events.recv()).await;
            let event = event.map_err(|_| Error::Timeout {
                step: "starting test media",
                limit,
            })?;
            match event {
                Some(Event::Track(..)) => begun += 1,
                Some(Event::Failed(reason)) => return Err(Error::Failed(reason)),
                Some(_) => {}
                None => return Err(Error::Failed("the test media has ended".to_owned())),
            }
        }
        Ok(Self { source, streams })
    }

    /// Stops the test media.
    pub async fn stop(self) {
        self.source.stop().await;
    }
}

/// Sinks that write into streams.
pub(super) fn into_streams(streams: &EncodedStreams) -> TrackSinks {
    let sink = |kind| {
        let writer = streams.of(kind).map(EncodedStream::writer);
        Arc::new(move |frame| {
            if let Some(writer) = &writer {
                writer.push(&frame);
            }
        }) as FrameSink
    };
    TrackSinks::new(sink(Kind::Video), sink(Kind::Audio))
}

/// An event of a file on trial.
#[derive(Debug)]
pub enum TrialNews {
    /// It has started, in this role.
    Began(PipelineRole),
    /// The pipeline reported something.
    Happened(Event),
    /// A second has passed.
    Second(TrialSecond),
}

/// What happened within a second.
#[derive(Debug)]
pub struct TrialSecond {
    /// Time since the file started.
    pub at: Duration,
    before: job::JobFigures,
    now: job::JobFigures,
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
            Some(TestMedia::start().await?)
        }
    };
    let mut setup = JobSetup::new(name, text);
    setup.variables = variables;
    setup.inputs = media
        .as_ref()
        .map(|media| media.streams.clone())
        .unwrap_or_default();
    setup.outlets = Kind::ALL
        .map(|kind| (kind.name().to_owned(), TrackOutlet::new(|_| ())))
        .into_iter()
        .collect();
    let (sender, mut events) = mpsc::channel(16);
    let job = Job::start(setup, sender).await?;
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
                tell(TrialNews::Second(TrialSecond { at, before, now, elapsed }));
                if at >= length {
                    break Ok(());
                }
            }
        }
    };
    job.stop().await;
    if let Some(media) = media {
        media.stop().await;
    }
    outcome
}
