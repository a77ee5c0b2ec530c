//! Numbered pictures and a tone, encoded once and cut into RTP packets.

pub(super) use aerial::for_tests::packets::RtpPacket as Packet;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app::{AppSink, AppSrc};

use super::picture::{Size, draw};

pub(crate) const FRAME_RATE: u32 = 30;
/// Frequency of the tone in Hz.
pub(crate) const TONE: u32 = 500;

/// x264 without delay, with a keyframe twice a second unless `options` say otherwise.
pub(crate) fn x264(options: &str) -> String {
    format!(
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 {options}
         ! video/x-h264,profile=constrained-baseline"
    )
}

/// How [`pictures`] are cut into packets.
pub(crate) const PAY_H264: &str =
    "rtph264pay mtu=600 config-interval=-1 aggregate-mode=zero-latency";
/// Each NAL unit in packets of its own.
pub(crate) const PAY_H264_APART: &str = "rtph264pay mtu=600 config-interval=-1 aggregate-mode=none";

/// Pictures with these numbers. Their timestamps begin at 0.
pub(crate) fn pictures(
    numbers: std::ops::Range<u16>,
    size: Size,
    encoder: &str,
    payloader: &str,
) -> Vec<Packet> {
    drawn(
        numbers.map(|number| draw(number, size)),
        size,
        encoder,
        payloader,
    )
}

/// These pictures. Their timestamps begin at 0.
pub(crate) fn drawn(
    pictures: impl Iterator<Item = Vec<u8>>,
    size: Size,
    encoder: &str,
    payloader: &str,
) -> Vec<Packet> {
    gst::init().unwrap();
    aerial::for_tests::init().unwrap();
    let Size { width, height } = size;
    let text = format!(
        "appsrc name=pictures format=time max-bytes=0
           caps=video/x-raw,format=I420,width={width},height={height},framerate={FRAME_RATE}/1
         ! {encoder} ! {payloader} timestamp-offset=0 ! appsink name=sink sync=false"
    );
    let pipeline = launch(&text);
    let source = pipeline.by_name("pictures").unwrap();
    let source = source.downcast::<AppSrc>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (index, picture) in (0..).zip(pictures) {
        let mut buffer = gst::Buffer::from_slice(picture);
        let frame = gst::ClockTime::SECOND / u64::from(FRAME_RATE);
        let edit = buffer.get_mut().unwrap();
        edit.set_pts(gst::ClockTime::SECOND * index / u64::from(FRAME_RATE));
        edit.set_duration(frame);
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    collect(&pipeline)
}

/// A tone of this many seconds, in Opus packets of `frame_size` milliseconds.
pub(crate) fn tone(seconds: u32, frame_size: &str, options: &str) -> Vec<Packet> {
    tone_in(2, seconds, &format!("frame-size={frame_size} {options}"))
}

/// A tone of this many seconds in one channel.
pub(crate) fn mono_tone(seconds: u32) -> Vec<Packet> {
    tone_in(1, seconds, "")
}

fn tone_in(channels: u32, seconds: u32, options: &str) -> Vec<Packet> {
    gst::init().unwrap();
    let blocks = seconds * 100;
    let pipeline = launch(&format!(
        "audiotestsrc wave=sine freq={TONE} samplesperbuffer=480 num-buffers={blocks}
         ! audio/x-raw,rate=48000,channels={channels} ! opusenc {options}
         ! rtpopuspay timestamp-offset=0 ! appsink name=sink sync=false"
    ));
    pipeline.set_state(gst::State::Playing).unwrap();
    collect(&pipeline)
}

/// A second of the tone, one of silence, which is hardly sent (DTX), and one of the tone.
pub(crate) fn tone_with_silence() -> Vec<Packet> {
    gst::init().unwrap();
    let second = |wave: &str| {
        format!(
            "audiotestsrc wave={wave} freq={TONE} samplesperbuffer=480 num-buffers=100
             ! audio/x-raw,rate=48000,channels=2 ! all. "
        )
    };
    let (tone, silence) = (second("sine"), second("silence"));
    let pipeline = launch(&format!(
        "concat name=all ! opusenc dtx=true ! rtpopuspay timestamp-offset=0
         ! appsink name=sink sync=false {tone} {silence} {tone}"
    ));
    pipeline.set_state(gst::State::Playing).unwrap();
    collect(&pipeline)
}

pub(super) fn launch(text: &str) -> gst::Pipeline {
    let pipeline = gst::parse::launch(text).unwrap();
    pipeline.downcast::<gst::Pipeline>().unwrap()
}

/// Everything that reaches the sink.
pub(super) fn samples(pipeline: &gst::Pipeline) -> Vec<gst::Sample> {
    let sink = pipeline.by_name("sink").unwrap();
    let sink = sink.downcast::<AppSink>().unwrap();
    let samples = std::iter::from_fn(|| sink.pull_sample().ok()).collect();
    pipeline.set_state(gst::State::Null).unwrap();
    samples
}

fn collect(pipeline: &gst::Pipeline) -> Vec<Packet> {
    let mut packets: Vec<Packet> = Vec::new();
    for sample in samples(pipeline) {
        let list = sample.buffer_list_owned();
        let buffers = list.iter().flat_map(|list| list.iter_owned());
        for buffer in buffers.chain(sample.buffer_owned()) {
            packets.push(Packet::read(&buffer.map_readable().unwrap()).unwrap());
        }
    }
    assert!(!packets.is_empty());
    packets
}
