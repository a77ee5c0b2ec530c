//! Frames of real encoders on their way into an appsrc.

use std::time::Duration;

use super::*;
use crate::pipeline::{Event, Source, TrackSinks, clock, init};

/// Frames of each codec.
const FRAMES: usize = 30;

/// What an encoder makes of this many pictures, or of as much sound.
async fn frames(kind: Kind, encoder: &str) -> Vec<Frame> {
    let made = Arc::<Mutex<Vec<Frame>>>::default();
    let sink = Arc::clone(&made);
    let keep: crate::media::FrameSink = Arc::new(move |frame| sink.lock().unwrap().push(frame));
    let sinks = TrackSinks::new(Arc::clone(&keep), keep);
    let (sender, mut events) = tokio::sync::mpsc::channel(16);
    let media = match kind {
        Kind::Video => {
            "videotestsrc pattern=ball ! video/x-raw,format=I420,width=1280,height=720,framerate=60/1"
        }
        Kind::Audio => "audiotestsrc samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2",
    };
    let media = media.replacen(' ', &format!(" num-buffers={FRAMES} "), 1);
    let text = format!("{media} ! {encoder} ! appsink name={kind}");
    let source = Source::start("test", &text, sinks, sender).await.unwrap();
    while let Some(event) = events.recv().await {
        match event {
            Event::Ended => break,
            Event::Failed(reason) => panic!("{reason}"),
            _ => {}
        }
    }
    source.stop().await;
    made.lock().unwrap().clone()
}

/// Nothing is held back until the next frame comes: an output would lag by that much.
#[tokio::test]
async fn every_frame_has_reached_the_appsrc_when_the_push_returns() {
    init().unwrap();
    let limits = TapLimits {
        queue: Duration::MAX,
        decodes: false,
        fixed: false,
    };
    for (kind, encoder) in [
        (
            Kind::Video,
            "x264enc tune=zerolatency speed-preset=ultrafast bitrate=2500",
        ),
        (
            Kind::Video,
            "x265enc tune=zerolatency speed-preset=ultrafast option-string=bframes=0",
        ),
        (Kind::Video, "vp8enc deadline=1 cpu-used=8 lag-in-frames=0"),
        (Kind::Video, "vp9enc deadline=1 cpu-used=8 lag-in-frames=0"),
        (
            Kind::Video,
            "av1enc usage-profile=realtime cpu-used=10 lag-in-frames=0",
        ),
        (Kind::Audio, "opusenc"),
    ] {
        let frames = frames(kind, encoder).await;
        assert!(frames.len() >= FRAMES - 1, "{encoder}: {}", frames.len());
        let pipeline = gst::Pipeline::new();
        clock::share(&pipeline);
        let source = gst_app::AppSrc::builder().build();
        source.set_format(gst::Format::Time);
        let sink = crate::pipeline::elements::make("fakesink", &[("async", "false")]).unwrap();
        pipeline.add_many([source.upcast_ref(), &sink]).unwrap();
        source.link(&sink).unwrap();
        let stream = EncodedStream::new(kind, || ());
        let subscription = stream.subscribe().unwrap();
        let (events, _reports) = tokio::sync::mpsc::channel::<()>(4);
        let running = crate::pipeline::running::RunningPipeline::start(
            pipeline.clone(),
            |_, _| (),
            events,
            |_| None,
        );
        let running = running.await.unwrap();
        let mut feed = Feed::new(&pipeline, &source, &stream, &subscription, limits);
        let mut reached = Vec::new();
        for (index, frame) in frames.iter().enumerate() {
            let frame = StreamFrame {
                frame: Arc::new(frame.clone()),
                discontinuous: index == 0,
            };
            feed.push(&frame).unwrap();
            reached.push(feed.counters().frames());
        }
        let expected: Vec<u64> = (1..).take(frames.len()).collect();
        assert_eq!(reached, expected, "{encoder}");
        running.stop().await;
    }
}
