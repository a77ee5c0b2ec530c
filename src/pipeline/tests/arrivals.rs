//! Every ready-made rendition of video accepts every codec that can arrive, without durations and
//! in odd sizes, as browsers send shared windows.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::super::{
    Job, PipelineRole, TrackOutlet, Variables, init, job::JobSetup, trial::TestMedia,
};
use crate::media::Kind;

/// Frames that each rendition must make.
const FRAMES: u32 = 5;
/// Longest wait for them.
const LIMIT: Duration = Duration::from_secs(30);

/// The ready-made files that make renditions of the video, with the names of their appsinks.
fn files() -> BTreeMap<String, (String, Vec<String>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let values: Variables = ["url", "file", "picture", "video_parser"]
            .map(|name| (name, "x"))
            .into_iter()
            .collect();
        let role = PipelineRole::of(&values.expand(&text).unwrap()).unwrap();
        if let PipelineRole::Renditions { inputs, outputs } = role
            && inputs == [Kind::Video]
        {
            let sinks = outputs.iter().map(|(kind, name)| format!("{kind}_{name}"));
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            files.insert(name, (text, sinks.collect()));
        }
    }
    files
}

/// Publishes a picture of this size through this encoder, received over RTP.
async fn publish(size: [u32; 2], encoder: &str, rtp: &str) -> TestMedia {
    init().unwrap();
    let [width, height] = size;
    TestMedia::start_as(&format!(
        "videotestsrc is-live=true pattern=ball
           ! video/x-raw,format=I420,width={width},height={height},framerate=15/1
           ! {encoder} ! rtp{rtp}pay ! rtp{rtp}depay ! appsink name=video"
    ))
    .await
    .unwrap()
}

async fn check(media: TestMedia) {
    let files = files();
    assert!(files.len() >= 7, "{:?}", files.keys());
    for (file, (text, sinks)) in files {
        let mut setup = JobSetup::new(&file, text);
        setup.inputs = media.streams.clone();
        setup.inputs.audio = None;
        let mut made = Vec::new();
        for name in sinks {
            let frames = Arc::<AtomicU32>::default();
            let counter = Arc::clone(&frames);
            let outlet = TrackOutlet::new(move |_| {
                counter.fetch_add(1, Relaxed);
            });
            setup.outlets.insert(name.clone(), outlet);
            made.push((name, frames));
        }
        let (sender, mut events) = mpsc::channel(16);
        let job = Job::start(setup, sender).await.unwrap();
        let end = Instant::now() + LIMIT;
        while made.iter().any(|(_, frames)| frames.load(Relaxed) < FRAMES) {
            let heard: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
            let failed = heard
                .iter()
                .any(|event| format!("{event:?}").starts_with("Failed"));
            let figures = job.figures();
            assert!(
                !failed && Instant::now() < end,
                "{file}: {heard:?} {figures:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for output in job.figures().outputs {
            let (name, caps) = (output.name, output.caps.unwrap());
            for side in ["width", "height"] {
                let (_, tail) = caps.split_once(&format!(" {side}=(int)")).unwrap();
                let digits: String = tail.chars().take_while(char::is_ascii_digit).collect();
                let pixels: u32 = digits.parse().unwrap();
                assert!(
                    pixels > 0 && pixels.is_multiple_of(2),
                    "{file}, {name}: {caps}"
                );
            }
        }
        job.stop().await;
    }
    media.stop().await;
}

const ODD: [u32; 2] = [323, 185];
/// H.264 and H.265 have no odd sizes with 4:2:0 subsampling.
const EVEN: [u32; 2] = [322, 186];

#[tokio::test]
async fn vp8_arrives() {
    check(
        publish(
            ODD,
            "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15",
            "vp8",
        )
        .await,
    )
    .await;
}

#[tokio::test]
async fn vp9_arrives() {
    let encoder = "vp9enc deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=15";
    check(publish(ODD, encoder, "vp9").await).await;
}

#[tokio::test]
async fn av1_arrives() {
    let encoder = "av1enc usage-profile=realtime cpu-used=10 lag-in-frames=0 end-usage=cbr \
                   keyframe-max-dist=15 ! av1parse";
    check(publish(ODD, encoder, "av1").await).await;
}

#[tokio::test]
async fn h264_arrives() {
    let encoder = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h264parse";
    check(publish(EVEN, encoder, "h264").await).await;
}

#[tokio::test]
async fn h265_arrives() {
    let encoder = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h265parse";
    check(publish(EVEN, encoder, "h265").await).await;
}
