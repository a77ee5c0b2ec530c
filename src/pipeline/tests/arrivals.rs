//! Every ready-made file that takes video accepts every codec that can arrive, without durations and in
//! odd sizes, as browsers send shared windows: renditions, and outputs that write files. Those that
//! push are tested in `outputs`; what the others accept, in `job::fit`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::{
    super::{
        Event, Job, PipelineRole, Source, TrackOutlet, Variables, init,
        job::JobSetup,
        trial::{TestMedia, into_streams},
    },
    peers::{Folder, H265, file, probe},
};
use crate::{
    media::Kind,
    stream::{EncodedStream, EncodedStreams},
};

/// Frames that each rendition must make.
const FRAMES: u32 = 5;
/// Frames that each output must take: more than two seconds of them.
const OUTPUT_FRAMES: u64 = 35;
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

async fn check(size: [u32; 2], encoder: &str, rtp: &str) {
    let media = publish(size, encoder, rtp).await;
    check_renditions(&media).await;
    // In the size that the file asks for by default.
    let scaled = [640, 640 * size[1] / size[0]];
    tokio::join!(
        check_output("record-mkv", ".mkv", size, &media),
        check_output("record-mp4", ".mp4", size, &media),
        check_output("snapshot", ".jpg", scaled, &media),
    );
    media.stop().await;
}

/// Runs an output until it has taken some frames; what it has written decodes, in this size.
async fn check_output(name: &str, ending: &str, size: [u32; 2], media: &TestMedia) {
    let folder = Folder::new();
    let [width, height] = size;
    let mut setup = JobSetup::new(name, file(name));
    setup.variables =
        Variables::of_broadcast("x").with("directory", folder.path().display().to_string());
    setup.inputs = media.streams.clone();
    setup.inputs.audio = None;
    let (sender, mut events) = mpsc::channel(16);
    let job = Job::start(setup, sender).await.unwrap();
    let end = Instant::now() + LIMIT;
    while job.taken() < OUTPUT_FRAMES {
        let heard: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
        assert!(
            Instant::now() < end && heard.is_empty(),
            "{name}: {heard:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    job.stop().await;
    let files = folder.files(ending);
    let written = files
        .first()
        .unwrap_or_else(|| panic!("{name} wrote nothing"));
    let streams = probe(&folder.file(written)).await;
    // A scaled height is rounded.
    let fits = streams
        .first()
        .is_some_and(|stream| stream.1 == width && stream.2.abs_diff(height) <= 1 && stream.3 > 0);
    assert!(fits, "{name}: {streams:?}");
}

async fn check_renditions(media: &TestMedia) {
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
}

const ODD: [u32; 2] = [323, 185];
/// H.264 and H.265 have no odd sizes with 4:2:0 subsampling.
const EVEN: [u32; 2] = [322, 186];

const VP8: &str = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=15";
const VP9: &str = "vp9enc deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=15";
const AV1: &str = "av1enc usage-profile=realtime cpu-used=10 lag-in-frames=0 end-usage=cbr \
                   keyframe-max-dist=15 ! av1parse";
const H264: &str = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h264parse";

#[tokio::test]
async fn vp8_arrives() {
    check(ODD, VP8, "vp8").await;
}

#[tokio::test]
async fn vp9_arrives() {
    check(ODD, VP9, "vp9").await;
}

#[tokio::test]
async fn av1_arrives() {
    check(ODD, AV1, "av1").await;
}

#[tokio::test]
async fn h264_arrives() {
    check(EVEN, H264, "h264").await;
}

#[tokio::test]
async fn h265_arrives() {
    check(EVEN, H265, "h265").await;
}

/// A viewer that needs a rendition while the picture pauses (a camera that is off) gets the last
/// one. The frame rate of the first codec is known, that of the second one is not.
#[tokio::test]
async fn every_rendition_shows_the_last_picture_of_one_that_pauses() {
    init().unwrap();
    let vp8 = format!("{VP8} ! rtpvp8pay ! rtpvp8depay");
    for encoder in [H264, &vp8] {
        check_pause(encoder).await;
    }
}

async fn check_pause(encoder: &str) {
    let streams = EncodedStreams::from_fn(|kind| Some(EncodedStream::new(kind, || ())));
    let text = format!(
        "videotestsrc is-live=true num-buffers=20 ! video/x-raw,width=160,height=90,framerate=30/1
           ! {encoder} ! appsink name=video"
    );
    let (sender, mut events) = mpsc::channel(16);
    let source = Source::start("pauses", &text, into_streams(&streams), sender)
        .await
        .unwrap();
    while events.recv().await.unwrap() != Event::Ended {}
    source.stop().await;
    let (files, streams) = (files(), &streams);
    let judged = files.iter().map(|(file, (text, sinks))| async move {
        let made = made(text, &sinks[0], streams, 1).await;
        assert_eq!(made, 1, "{file}: {encoder}");
    });
    join_all(judged).await;
}

/// How many of this many frames of a rendition are made in time.
async fn made(text: &str, sink: &str, streams: &EncodedStreams, count: u32) -> u32 {
    let mut setup = JobSetup::new("paused", text);
    setup.inputs.video.clone_from(&streams.video);
    let (seen, mut frames) = mpsc::channel(64);
    let outlet = TrackOutlet::new(move |_| {
        // Err: there are enough.
        let _ = seen.try_send(());
    });
    setup.outlets.insert(sink.to_owned(), outlet);
    let (sender, _events) = mpsc::channel(16);
    let job = Job::start(setup, sender).await.unwrap();
    let mut made = 0;
    while made < count
        && matches!(
            tokio::time::timeout(LIMIT, frames.recv()).await,
            Ok(Some(()))
        )
    {
        made += 1;
    }
    job.stop().await;
    made
}
