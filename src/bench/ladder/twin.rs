//! The twin: the same text in `gst-launch-1.0`, fed with the same pictures at the same time.

use std::{
    collections::BTreeMap,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use str0m::media::MediaKind;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinSet,
    time::sleep_until,
};

use super::super::{clip::Clip, h264, process::Usage};
use crate::pipeline::expand;

/// The program, of the Debian package gstreamer1.0-tools.
const PROGRAM: &str = "gst-launch-1.0";
/// In place of `appsrc name=video`. `clocksync` makes it live, as the server's appsrc is, which
/// matters to decoders. It never waits, because buffers are stamped as they arrive.
const SOURCE: &str = "fdsrc fd=0 blocksize=65536 do-timestamp=true ! h264parse ! clocksync";
/// In place of `appsink`. It never waits either, and reports twice a second how many frames have
/// arrived.
const SINK: &str =
    "fpsdisplaysink text-overlay=false sync=false fps-update-interval=500 video-sink=fakesink";
/// Samples kept of one sink: half an hour.
const SAMPLES_MAX: usize = 3600;

/// How many frames had reached a sink at some time.
#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    frames: u64,
}

/// By the sink's name.
type Seen = Arc<Mutex<BTreeMap<String, Vec<Sample>>>>;

/// A running `gst-launch-1.0`. It is killed when dropped.
pub(super) struct Twin {
    child: Child,
    tasks: JoinSet<Result<()>>,
    seen: Seen,
}

impl Twin {
    /// Starts it with a text of one video appsrc.
    pub(super) fn start(text: &str, clip: &Arc<Clip>) -> Result<Self> {
        let mut child = Command::new(PROGRAM)
            .arg("-v")
            .args(description(text)?.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {PROGRAM} (Debian package gstreamer1.0-tools)"))?;
        let input = child.stdin.take().context("no pipe")?;
        let output = child.stdout.take().context("no pipe")?;
        let seen = Seen::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(feed(Arc::clone(clip), input));
        tasks.spawn(listen(output, Arc::clone(&seen)));
        Ok(Self { child, tasks, seen })
    }

    /// The resources it has used so far.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub(super) fn usage(&self) -> Result<Usage> {
        if self.tasks.len() < 2 {
            bail!("{PROGRAM} has ended");
        }
        Usage::of(self.child.id().context("gst-launch-1.0 has ended")?)
    }

    /// Waits until it ends, which it should not.
    pub(super) async fn failure(&mut self) -> anyhow::Error {
        let failed = match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => error.into(),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("no more output"),
        };
        failed.context(format!("{PROGRAM} has ended"))
    }

    /// Frames per second in this interval at the sink that got fewest. `NaN` if the interval is too
    /// short to say.
    pub(super) fn frames_per_second(&self, [from, to]: [Instant; 2]) -> f64 {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = |samples: &Vec<Sample>| {
            let mut within = samples
                .iter()
                .filter(|sample| (from..=to).contains(&sample.at));
            match (within.next(), within.next_back()) {
                (Some(first), Some(last)) => rate(*first, *last),
                _ => f64::NAN,
            }
        };
        seen.values().map(rate).reduce(f64::min).unwrap_or(f64::NAN)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counters stay far below 2^52")]
fn rate(from: Sample, to: Sample) -> f64 {
    let frames = to.frames - from.frames;
    frames as f64 / to.at.saturating_duration_since(from.at).as_secs_f64()
}

/// The text without what only a server provides.
fn description(text: &str) -> Result<String> {
    Ok(expand(text, |_| None)?
        .replace("appsrc name=video", SOURCE)
        .replace("appsink", SINK))
}

/// Writes the clip's pictures, in real time, again and again.
async fn feed(clip: Arc<Clip>, mut input: ChildStdin) -> Result<()> {
    let video = clip
        .frames
        .iter()
        .filter(|frame| frame.kind == MediaKind::Video);
    let pictures: Vec<(Duration, Vec<u8>)> = video
        .map(|frame| (frame.at, h264::byte_stream(&frame.payloads)))
        .collect();
    let begin = Instant::now();
    for round in 0.. {
        for (at, picture) in &pictures {
            sleep_until((begin + clip.length * round + *at).into()).await;
            input.write_all(picture).await?;
        }
    }
    Ok(())
}

async fn listen(output: ChildStdout, seen: Seen) -> Result<()> {
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some((sink, frames)) = read(&line) {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let samples = seen.entry(sink.to_owned()).or_default();
            if samples.len() < SAMPLES_MAX {
                samples.push(Sample {
                    at: Instant::now(),
                    frames,
                });
            }
        }
    }
    Ok(())
}

/// `/GstPipeline:pipeline0/GstFPSDisplaySink:video_480p: last-message = rendered: 867, dropped: ..`
fn read(line: &str) -> Option<(&str, u64)> {
    let (element, message) = line.split_once(": last-message = rendered: ")?;
    let (_, sink) = element.rsplit_once(':')?;
    Some((sink, message.split(',').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ends_of_a_text_change() {
        let text = "# a ladder\nappsrc name=video ! x264enc bitrate=${high:-2000}\n\
                    ! appsink name=video_high";
        let words = description(text).unwrap();
        let words: Vec<_> = words.split_whitespace().collect();
        assert_eq!(words.first(), Some(&"fdsrc"));
        assert!(
            words
                .join(" ")
                .contains("! clocksync ! x264enc bitrate=2000 ! fpsdisplaysink")
        );
        assert_eq!(words.last(), Some(&"name=video_high"));
    }

    #[test]
    fn frames_are_read_off_its_output() {
        let line = "/GstPipeline:pipeline0/GstFPSDisplaySink:video_480p: last-message = \
                    rendered: 867, dropped: 0, current: 39.36, average: 29.78";
        assert_eq!(read(line), Some(("video_480p", 867)));
        assert_eq!(read("Setting pipeline to PLAYING ..."), None);
    }
}
