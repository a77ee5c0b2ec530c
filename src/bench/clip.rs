//! The clip that the benchmark publishes: really encoded, made once, kept in memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use str0m::media::MediaKind;
use tokio::{sync::mpsc, time::timeout};

use super::h264;
use crate::{
    media::{Frame, FrameSink},
    pipeline::{self, Source, TrackSinks},
};

/// 720p30 H264 at 2.5 Mb/s with a keyframe every 2 s, as a browser or OBS sends it, and Opus.
/// The snow in the test picture keeps the encoder busy, so that frames have an even, real size.
/// One thread makes one slice, and there are no access unit delimiters, as in a browser's stream.
const PIPELINE: &str = "
    videotestsrc pattern=smpte horizontal-speed=3
        ! video/x-raw,format=I420,width=1280,height=720,framerate=30/1
        ! x264enc tune=zerolatency speed-preset=superfast bitrate=2500 vbv-buf-capacity=600
            key-int-max=60 option-string=scenecut=0 threads=1 aud=false
        ! video/x-h264,profile=constrained-baseline
        ! appsink name=video
    audiotestsrc wave=pink-noise samplesperbuffer=960
        ! audio/x-raw,rate=48000,channels=2
        ! opusenc bitrate=64000 frame-size=20
        ! appsink name=audio";

/// Two groups of pictures.
const LENGTH: Duration = Duration::from_secs(4);
const VIDEO_FRAMES: u32 = 120;
const AUDIO_FRAMES: u32 = 200;
/// How long making the clip may take: several times its length, for slow machines.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Encoded frames in sending order, played again and again.
pub(super) struct Clip {
    /// All frames by time.
    pub(super) frames: Vec<ClipFrame>,
    /// How long one round takes.
    pub(super) length: Duration,
}

/// One frame of a [`Clip`].
pub(super) struct ClipFrame {
    /// Video or audio.
    pub(super) kind: MediaKind,
    /// When it is due, from the beginning of the clip.
    pub(super) at: Duration,
    /// How long it lasts, in units of its RTP clock.
    pub(super) ticks: u32,
    /// RTP payloads.
    pub(super) payloads: Vec<Arc<[u8]>>,
    /// Identifies a video frame on the viewers' side of the server, if it is unique.
    pub(super) tag: Option<u64>,
}

#[derive(Default)]
struct Collected {
    video: Vec<Frame>,
    audio: Vec<Frame>,
}

impl Collected {
    fn complete(&self) -> bool {
        self.video.len() == VIDEO_FRAMES as usize && self.audio.len() == AUDIO_FRAMES as usize
    }
}

/// Encodes the clip.
///
/// # Errors
///
/// If the pipeline cannot be built or does not deliver in time.
pub(super) async fn make() -> Result<Clip> {
    pipeline::init()?;
    let collected = Arc::new(Mutex::new(Collected::default()));
    let (done, mut completed) = mpsc::channel(1);
    let sink = |pick: fn(&mut Collected) -> &mut Vec<Frame>, wanted: u32| -> FrameSink {
        let (collected, done) = (Arc::clone(&collected), done.clone());
        Arc::new(move |frame| {
            let mut collected = collected.lock().unwrap_or_else(PoisonError::into_inner);
            let frames = pick(&mut collected);
            if frames.len() < wanted as usize && (frame.keyframe || !frames.is_empty()) {
                frames.push(frame);
            }
            if collected.complete() {
                // Full means that it has already been sent.
                let _ = done.try_send(());
            }
        })
    };
    let sinks = TrackSinks::new(
        sink(|all| &mut all.video, VIDEO_FRAMES),
        sink(|all| &mut all.audio, AUDIO_FRAMES),
    );
    // Nobody reads the events: what matters is whether the frames come.
    let (events, _ignored) = mpsc::channel(8);
    let source = Source::start("bench", PIPELINE, sinks, events).await?;
    let waited = timeout(TIMEOUT, completed.recv()).await;
    source.stop().await;
    waited.context("the clip was not encoded in time")?;

    let collected = std::mem::take(&mut *collected.lock().unwrap_or_else(PoisonError::into_inner));
    arrange(&collected)
}

/// Puts the frames onto one timeline, by their number: encoders are exact, pipelines' times need
/// not be.
fn arrange(collected: &Collected) -> Result<Clip> {
    let video = spread(&collected.video, MediaKind::Video, 90_000);
    let audio = spread(&collected.audio, MediaKind::Audio, 48_000);
    let mut frames: Vec<ClipFrame> = video.chain(audio).collect();
    frames.sort_by_key(|frame| frame.at);

    let mut seen: HashMap<u64, u32> = HashMap::new();
    for tag in frames.iter().filter_map(|frame| frame.tag) {
        *seen.entry(tag).or_default() += 1;
    }
    for frame in &mut frames {
        frame.tag = frame.tag.filter(|tag| seen.get(tag) == Some(&1));
    }
    if frames.iter().filter(|frame| frame.tag.is_some()).count() < VIDEO_FRAMES as usize / 2 {
        bail!("the clip's frames are too much alike to measure transit times");
    }
    Ok(Clip {
        frames,
        length: LENGTH,
    })
}

fn spread(frames: &[Frame], kind: MediaKind, rate: u32) -> impl Iterator<Item = ClipFrame> + '_ {
    let count = u32::try_from(frames.len()).unwrap_or(u32::MAX).max(1);
    let seconds = u32::try_from(LENGTH.as_secs()).unwrap_or(u32::MAX);
    frames.iter().zip(0..).map(move |(frame, number)| {
        let payloads: Vec<Arc<[u8]>> = frame
            .ranges()
            .filter_map(|range| frame.data.get(range))
            .map(Arc::from)
            .collect();
        let tag = match kind {
            MediaKind::Video => payloads.last().and_then(|payload| h264::tag(payload)),
            MediaKind::Audio => None,
        };
        let at = LENGTH * number / count;
        ClipFrame {
            kind,
            at,
            ticks: rate * seconds / count,
            payloads,
            tag,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_clip_is_720p30_at_its_bit_rate_with_opus() {
        let clip = make().await.unwrap();
        let of = |kind| clip.frames.iter().filter(move |frame| frame.kind == kind);
        assert_eq!(of(MediaKind::Video).count(), 120);
        assert_eq!(of(MediaKind::Audio).count(), 200);
        let bytes: usize = of(MediaKind::Video)
            .flat_map(|f| &f.payloads)
            .map(|p| p.len())
            .sum();
        let bits_per_second = bytes * 8 / usize::try_from(LENGTH.as_secs()).unwrap();
        assert!(
            (2_200_000..=2_800_000).contains(&bits_per_second),
            "{bits_per_second} bit/s"
        );
        assert!(clip.frames.is_sorted_by_key(|frame| frame.at));

        let mut frames = h264::FrameChecker::default();
        let mut keyframes = Vec::new();
        for (number, frame) in (0_u32..).zip(of(MediaKind::Video)) {
            for (sequence, payload) in (0..).zip(&frame.payloads) {
                let last = sequence + 1 == frame.payloads.len() as u64;
                if frames
                    .push(sequence, number, last, payload)
                    .is_some_and(|end| end.keyframe)
                {
                    keyframes.push(number);
                }
            }
        }
        assert_eq!(keyframes, [0, 60], "a keyframe every two seconds");
        assert!(of(MediaKind::Audio).all(|frame| frame.ticks == 960 && frame.payloads.len() == 1));
    }
}
