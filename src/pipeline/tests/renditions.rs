//! The ready-made renditions: their output decodes, and its size is checked.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    super::{
        Event, Job, TrackOutlet, init,
        job::JobSetup,
        trial::{TestMedia, into_streams},
    },
    peers::{MEDIA, file},
};
use crate::{
    media::{Codec, Kind},
    stream::EncodedStream,
};

/// The output of one appsink.
#[derive(Default)]
struct Made {
    frames: u32,
    keyframes: u32,
    first_is_keyframe: Option<bool>,
    first_at: Option<Instant>,
    codec: Option<Codec>,
}

struct Running {
    job: Job,
    media: TestMedia,
    made: BTreeMap<String, Arc<Mutex<Made>>>,
    streams: BTreeMap<String, EncodedStream>,
    events: tokio::sync::mpsc::Receiver<Event>,
}

async fn start(text: &str, outputs: &[&str]) -> Running {
    init().unwrap();
    let media = TestMedia::start_as(MEDIA).await.unwrap();
    // a GOP is half over
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (mut made, mut streams) = (BTreeMap::new(), BTreeMap::new());
    let mut setup = JobSetup::new("test", text);
    setup.inputs = media.streams.clone();
    for &name in outputs {
        let seen = Arc::<Mutex<Made>>::default();
        let kind = if name.starts_with("video") {
            Kind::Video
        } else {
            Kind::Audio
        };
        let stream = EncodedStream::new(kind, || ());
        made.insert(name.to_owned(), Arc::clone(&seen));
        let writer = stream.writer();
        streams.insert(name.to_owned(), stream);
        let outlet = TrackOutlet::new(move |frame| {
            writer.push(&frame);
            let mut seen = seen.lock().unwrap();
            seen.frames += 1;
            seen.keyframes += u32::from(frame.keyframe);
            seen.codec = Some(frame.codec);
            seen.first_is_keyframe.get_or_insert(frame.keyframe);
            seen.first_at.get_or_insert_with(Instant::now);
        });
        setup.outlets.insert(name.to_owned(), outlet);
    }
    let (sender, events) = tokio::sync::mpsc::channel(16);
    let job = Job::start(setup, sender).await.unwrap();
    Running {
        job,
        media,
        made,
        streams,
        events,
    }
}

impl Running {
    /// Waits until every output has this many frames.
    async fn wait(&self, frames: u32) {
        let end = Instant::now() + Duration::from_secs(20);
        while self
            .made
            .values()
            .any(|made| made.lock().unwrap().frames < frames)
        {
            assert!(Instant::now() < end, "{:?}", self.job.figures());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn stop(self) {
        self.job.stop().await;
        self.media.stop().await;
    }
}

async fn check(name: &str, output: &str, codec: Codec) {
    let running = start(&file(name), &[output]).await;
    running.wait(30).await;
    let made = &running.made[output];
    assert_eq!(made.lock().unwrap().codec, Some(codec));
    assert_eq!(made.lock().unwrap().first_is_keyframe, Some(true));
    running.stop().await;
}

#[tokio::test]
async fn h264_rendition() {
    check("h264", "video_h264", Codec::H264).await;
}

#[tokio::test]
async fn vp8_rendition() {
    check("vp8", "video_vp8", Codec::Vp8).await;
}

#[tokio::test]
async fn opus_rendition() {
    check("opus", "audio_opus", Codec::Opus).await;
}

#[tokio::test]
async fn audio_only_rendition() {
    check("audio-only", "audio_only", Codec::Opus).await;
}

/// Each rendition has the size its name says, and decodes.
#[tokio::test]
async fn ladder_has_its_sizes() {
    let steps = [
        ("video_720p", 1280, 720),
        ("video_480p", 853, 480),
        ("video_240p", 427, 240),
    ];
    let mut running = start(&file("h264-ladder"), &steps.map(|step| step.0)).await;
    running.wait(20).await;
    for (name, width, height) in steps {
        let caps = caps(&running.job, name);
        let number = |field: &str| -> i32 {
            let (_, tail) = caps.split_once(&format!(" {field}=(int)")).unwrap();
            tail.split(',').next().unwrap().parse().unwrap()
        };
        assert_eq!(number("height"), height, "{caps}");
        assert!((width - 1..=width + 1).contains(&number("width")), "{caps}");
        assert_eq!(number("width") % 2, 0, "{caps}");
        assert!(decoded(&running.streams[name]).await >= 10, "{name}");
    }
    let mut heard = Vec::new();
    while let Ok(event) = running.events.try_recv() {
        heard.push(event);
    }
    let expected = Event::Rendition {
        kind: Kind::Video,
        name: "720p".to_owned(),
        codec: Codec::H264,
    };
    assert!(heard.len() == 3 && heard.contains(&expected), "{heard:?}");
    let figures = running.job.figures();
    assert_eq!(
        (
            figures.inputs.len(),
            figures.outputs.len(),
            figures.queues.len()
        ),
        (1, 3, 3)
    );
    assert!(
        figures
            .outputs
            .iter()
            .all(|output| output.time_per_frame_ms.is_some()),
        "{figures:?}"
    );
    running.stop().await;
}

/// The caps of an appsink's media.
fn caps(job: &Job, appsink: &str) -> String {
    job.figures()
        .outputs
        .into_iter()
        .find(|output| output.name == appsink)
        .unwrap()
        .caps
        .unwrap()
}

/// Decodes a stream as any output would, and counts the pictures of a second.
async fn decoded(stream: &EncodedStream) -> u64 {
    let mut setup = JobSetup::new(
        "decode",
        "appsrc name=video ! decodebin ! fakesink sync=false",
    );
    setup.inputs.video = Some(stream.clone());
    let (sender, _events) = tokio::sync::mpsc::channel(16);
    let job = Job::start(setup, sender).await.unwrap();
    let mut count = 0;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        count = job
            .figures()
            .outputs
            .iter()
            .map(|output| output.frames)
            .sum();
        if count >= 10 {
            break;
        }
    }
    job.stop().await;
    count
}

/// In the middle of a long GOP, the first picture comes at once: the past is decoded, not encoded.
#[tokio::test]
async fn first_picture_does_not_wait_for_a_keyframe() {
    init().unwrap();
    let text = MEDIA.replace("key-int-max=25", "key-int-max=1000");
    let media = TestMedia::start_as(&text).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let made = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&made);
    let mut setup = JobSetup::new("late", file("h264"));
    setup.inputs = media.streams.clone();
    let outlet = TrackOutlet::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    setup.outlets.insert("video_h264".to_owned(), outlet);
    let (sender, mut events) = tokio::sync::mpsc::channel(16);
    let begin = Instant::now();
    let job = Job::start(setup, sender).await.unwrap();
    let event = tokio::time::timeout(Duration::from_secs(5), events.recv())
        .await
        .unwrap();
    assert!(matches!(event, Some(Event::Rendition { .. })), "{event:?}");
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    tokio::time::sleep(Duration::from_millis(400)).await;
    let frames = made.load(Ordering::Relaxed);
    assert!(
        frames < 40,
        "{frames} in {:?}: the past was encoded too",
        begin.elapsed()
    );
    job.stop().await;
    media.stop().await;
}

#[tokio::test]
async fn keyframes_and_bit_rate_on_demand() {
    let text = file("h264").replace("${gop:-60}", "1000");
    let running = start(&text, &["video_h264"]).await;
    running.wait(10).await;
    let made = &running.made["video_h264"];
    let before = made.lock().unwrap().keyframes;
    assert!(running.job.force_keyframe("video_h264"));
    assert!(!running.job.force_keyframe("video_nothing"));
    let frames = made.lock().unwrap().frames;
    running.wait(frames + 10).await;
    assert_eq!(made.lock().unwrap().keyframes, before + 1);

    let control = running.job.control();
    let change = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    control
        .adjust(change("encoder.bitrate", "200"))
        .await
        .unwrap();
    let mut mixed = change("encoder.bitrate", "300");
    mixed.extend(change("encoder.bitrate", "1"));
    let refused = control.adjust(mixed).await.unwrap_err().to_string();
    assert!(refused.contains("100 to 20000"), "{refused}");
    assert!(control.adjust(change("encoder.tune", "1")).await.is_err());
    let properties = control.properties().await.unwrap();
    assert_eq!(properties.len(), 1);
    assert_eq!(
        (&*properties[0].name, &properties[0].value),
        ("encoder.bitrate", &200.into())
    );

    let dot = control.dot(&running.job.figures()).await.unwrap();
    assert!(
        dot.contains("GstX264Enc") && dot.contains("frames"),
        "{dot}"
    );
    let svg = crate::pipeline::job::svg(&dot).await.unwrap();
    assert!(svg.contains("<svg") && svg.contains("GstX264Enc"));
    running.stop().await;
    assert!(
        control.properties().await.is_err(),
        "it keeps nothing alive"
    );
}

/// A rendition that fails says so; another one of the same stream continues.
#[tokio::test]
async fn failing_rendition_disturbs_nobody() {
    let running = start(&file("h264"), &["video_h264"]).await;
    let text = "appsrc name=video ! decodebin ! identity error-after=5 ! videoconvert
        ! vp8enc deadline=1 ! appsink name=video_bad";
    let mut setup = JobSetup::new("bad", text);
    setup.inputs = running.media.streams.clone();
    let (sender, mut events) = tokio::sync::mpsc::channel(16);
    let bad = Job::start(setup, sender).await.unwrap();
    let failed = loop {
        match tokio::time::timeout(Duration::from_secs(5), events.recv())
            .await
            .unwrap()
        {
            Some(Event::Failed(reason)) => break reason,
            other => assert!(matches!(other, Some(Event::Rendition { .. })), "{other:?}"),
        }
    };
    assert!(failed.contains("identity"), "{failed}");
    bad.stop().await;
    let frames = running.made["video_h264"].lock().unwrap().frames;
    running.wait(frames + 10).await;
    running.stop().await;
}

/// A publisher that comes back with another codec ends the job, with the reason.
#[tokio::test]
async fn another_codec_is_reported() {
    let mut running = start(&file("h264"), &["video_h264"]).await;
    running.wait(5).await;
    let sinks = into_streams(&running.media.streams);
    let text = "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=25/1
        ! vp8enc deadline=1 cpu-used=8 ! appsink name=video";
    let (sender, _events) = tokio::sync::mpsc::channel(4);
    let other = super::super::Source::start("x", text, sinks, sender)
        .await
        .unwrap();
    let failed = loop {
        let event = tokio::time::timeout(Duration::from_secs(5), running.events.recv()).await;
        if let Some(Event::Failed(reason)) = event.unwrap() {
            break reason;
        }
    };
    assert!(failed.contains("video"), "{failed}");
    other.stop().await;
    running.stop().await;
}
