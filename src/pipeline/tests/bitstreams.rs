//! Output of real encoders, read by `media`.

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app::AppSink;

use crate::{
    media::{Codec, format, keyframe, nal::Separation, order},
    pipeline::{init, launch},
};

/// What an encoder makes of ten moving pictures.
struct Encoded {
    frames: Vec<Vec<u8>>,
    /// Whether the parser calls each a place to start.
    starts: Vec<bool>,
    caps: gst::Caps,
}

fn encoded(encoder: &str) -> Encoded {
    init().unwrap();
    let text = format!(
        "videotestsrc num-buffers=10 pattern=ball ! video/x-raw,width=160,height=120 \
         ! {encoder} ! appsink name=sink sync=false"
    );
    let pipeline = launch::parse("test", &text).unwrap();
    let sink = pipeline
        .by_name("sink")
        .unwrap()
        .downcast::<AppSink>()
        .unwrap();
    play(&pipeline, gst::State::Playing);
    let samples: Vec<_> = std::iter::from_fn(|| sink.pull_sample().ok()).collect();
    let buffers = || samples.iter().map(|sample| sample.buffer().unwrap());
    let delta = |buffer: &gst::BufferRef| buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    let made = Encoded {
        frames: buffers()
            .map(|buffer| buffer.map_readable().unwrap().to_vec())
            .collect(),
        starts: buffers().map(|buffer| !delta(buffer)).collect(),
        caps: samples.last().unwrap().caps_owned().unwrap(),
    };
    play(&pipeline, gst::State::Null);
    made
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
        let Encoded { frames, .. } = encoded(&format!("{encoder} ! {parser}"));
        let found = frames
            .iter()
            .any(|frame| order::in_payloads(codec, Separation::of(frame).units(frame)));
        assert_eq!(found, expected, "{encoder} ! {parser}");
        let first = &frames[0];
        let format = format::in_frame(codec, Separation::of(first), first).unwrap();
        let reordered_max = format.reordered_max.unwrap();
        assert_eq!(reordered_max > 0, expected, "{encoder} ! {parser}");
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
        let Encoded { frames, starts, .. } = encoded(&encoder);
        let found: Vec<_> = frames
            .iter()
            .map(|frame| keyframe::in_frame(codec, Separation::of(frame), frame))
            .collect();
        let said: Vec<_> = starts.into_iter().map(Some).collect();
        assert_eq!(found, said, "{encoder}");
        assert!(
            found.len() == 10 && found.iter().filter(|starts| **starts == Some(true)).count() > 1
        );
    }
}

/// The choice of renditions compares these names.
#[test]
fn profiles_levels_and_sizes_are_those_of_the_parsers() {
    let h264 = |format: &str, profile: &str| {
        let encoder = "videoconvert ! video/x-raw,format={format} ! x264enc speed-preset=ultrafast";
        let encoder = encoder.replace("{format}", format);
        (
            Codec::H264,
            format!("{encoder} ! video/x-h264,profile={profile} ! {H264}"),
        )
    };
    let h265 = |format: &str| {
        let encoder = "videoconvert ! video/x-raw,format={format} ! x265enc speed-preset=ultrafast";
        let encoder = encoder.replace("{format}", format);
        (Codec::H265, format!("{encoder} ! {H265}"))
    };
    let size = "videoscale ! video/x-raw,width=1282,height=722";
    let (codec, large) = h264("I420", "main");
    for (codec, encoder) in [
        h264("I420", "constrained-baseline"),
        h264("I420", "main"),
        h264("I420", "high"),
        h264("I420_10LE", "high-10"),
        h264("Y42B", "high-4:2:2"),
        h264("Y444", "high-4:4:4"),
        (codec, format!("{size} ! {large}")),
        h265("I420"),
        h265("I420_10LE"),
        h265("I422_10LE"),
        h265("Y444"),
    ] {
        let Encoded { frames, caps, .. } = encoded(&encoder);
        let first = &frames[0];
        let read = format::in_frame(codec, Separation::of(first), first).unwrap();
        let caps = caps.structure(0).unwrap();
        let text = |field| caps.get::<String>(field).ok();
        let number = |field| u32::try_from(caps.get::<i32>(field).unwrap()).unwrap();
        assert_eq!(
            read.profile.map(str::to_owned),
            text("profile"),
            "{encoder}"
        );
        assert_eq!(read.level, text("level"), "{encoder}");
        let size = (number("width"), number("height"));
        assert_eq!((read.width, read.height), size, "{encoder}");
    }
}
