//! Output of real encoders, read by `media`.

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app::AppSink;

use crate::{
    media::{Codec, keyframe, nal::Separation, order},
    pipeline::{init, launch},
};

/// An encoder's output for ten moving pictures, and whether the parser calls each a place to start.
fn encoded(encoder: &str) -> Vec<(Vec<u8>, bool)> {
    init().unwrap();
    let text = format!(
        "videotestsrc num-buffers=10 pattern=ball ! video/x-raw,width=160,height=120 \
         ! {encoder} ! appsink name=sink sync=false"
    );
    let pipeline = launch::parse("test", &text).unwrap();
    let sink = pipeline.by_name("sink").unwrap();
    let sink = sink.downcast::<AppSink>().unwrap();
    play(&pipeline, gst::State::Playing);
    let samples = std::iter::from_fn(|| sink.pull_sample().ok());
    let frames = samples
        .map(|sample| {
            let buffer = sample.buffer().unwrap();
            let starts = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
            (buffer.map_readable().unwrap().to_vec(), starts)
        })
        .collect();
    play(&pipeline, gst::State::Null);
    frames
}

#[expect(clippy::disallowed_methods, reason = "a test has its own thread")]
fn play(pipeline: &gst::Pipeline, state: gst::State) {
    pipeline.set_state(state).unwrap();
}

const H264: &str = "h264parse ! video/x-h264,stream-format=byte-stream,alignment=au";
const H264_LENGTHS: &str = "h264parse ! video/x-h264,stream-format=avc,alignment=au";
const H265: &str = "h265parse ! video/x-h265,stream-format=byte-stream,alignment=au";

#[test]
fn b_frames_are_found() {
    for (encoder, parser, expected) in [
        ("x264enc bframes=2 b-adapt=false", H264, true),
        ("x264enc bframes=2 b-adapt=false", H264_LENGTHS, true),
        ("x264enc tune=zerolatency", H264, false),
        ("x264enc bframes=0", H264, false),
        ("x265enc option-string=bframes=2", H265, true),
        ("x265enc tune=zerolatency", H265, false),
    ] {
        let codec = if parser == H265 {
            Codec::H265
        } else {
            Codec::H264
        };
        let frames = encoded(&format!("{encoder} ! {parser}"));
        let found = frames
            .iter()
            .any(|(frame, _)| order::is_reordered(codec, Separation::of(frame), frame));
        assert_eq!(found, expected, "{encoder} ! {parser}");
    }
}

#[test]
fn keyframes_are_found() {
    for (encoder, codec) in [
        (
            format!("x264enc tune=zerolatency key-int-max=4 ! {H264}"),
            Codec::H264,
        ),
        (
            format!("x264enc tune=zerolatency key-int-max=4 ! {H264_LENGTHS}"),
            Codec::H264,
        ),
        (
            format!("x265enc tune=zerolatency key-int-max=4 ! {H265}"),
            Codec::H265,
        ),
        (
            "vp8enc deadline=1 keyframe-max-dist=4".to_owned(),
            Codec::Vp8,
        ),
        (
            "vp9enc deadline=1 keyframe-max-dist=4 lag-in-frames=0 ! vp9parse".to_owned(),
            Codec::Vp9,
        ),
        (
            "av1enc cpu-used=8 usage-profile=realtime lag-in-frames=0 keyframe-max-dist=4 \
             ! av1parse ! video/x-av1,stream-format=obu-stream,alignment=tu"
                .to_owned(),
            Codec::Av1,
        ),
    ] {
        let frames = encoded(&encoder);
        let found: Vec<_> = frames
            .iter()
            .map(|(frame, _)| keyframe::in_frame(codec, Separation::of(frame), frame))
            .collect();
        let said: Vec<_> = frames.iter().map(|(_, starts)| Some(*starts)).collect();
        assert_eq!(found, said, "{encoder}");
        assert!(
            found.len() == 10 && found.iter().filter(|starts| **starts == Some(true)).count() > 1
        );
    }
}
