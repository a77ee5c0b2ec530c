//! A moving picture in RTP packets.

use gst::prelude::*;
use gstreamer as gst;

use super::packets::RtpPacket;
use crate::{
    media::{Codec, nal::Payload},
    pipeline::launch,
};

/// A moving picture, 30 times a second, with each parameter set in a packet of its own.
pub(crate) struct H264Packets {
    pub(crate) all: Vec<RtpPacket>,
}

impl H264Packets {
    /// `pictures` pictures of `slices` slices each.
    pub(crate) fn new(pictures: usize, slices: usize) -> Self {
        crate::pipeline::init().unwrap();
        let text = format!(
            "videotestsrc num-buffers={pictures} ! video/x-raw,width=320,height=240,framerate=30/1 \
             ! x264enc tune=zerolatency key-int-max=5 option-string=sliced-threads=0:slices={slices} \
             ! video/x-h264,profile=constrained-baseline \
             ! rtph264pay config-interval=-1 aggregate-mode=none mtu=1200 ! appsink name=sink sync=false"
        );
        let pipeline = launch::parse("packets", &text).unwrap();
        let sink = pipeline
            .by_name("sink")
            .unwrap()
            .downcast::<gstreamer_app::AppSink>()
            .unwrap();
        play(&pipeline, gst::State::Playing);
        let mut all = Vec::new();
        while let Ok(sample) = sink.pull_sample() {
            let packet = sample.buffer().unwrap().map_readable().unwrap();
            all.push(RtpPacket::read(&packet).unwrap());
        }
        play(&pipeline, gst::State::Null);
        Self { all }
    }

    /// The NAL units, each with its timestamp.
    pub(crate) fn units(&self) -> Vec<(u32, Vec<u8>)> {
        let mut units: Vec<(u32, Vec<u8>)> = Vec::new();
        for packet in &self.all {
            match Payload::read(Codec::H264, &packet.payload) {
                Payload::Fragment(fragment) if !fragment.begins => {
                    units.last_mut().unwrap().1.extend_from_slice(fragment.body);
                }
                Payload::Fragment(fragment) => {
                    units.push((
                        packet.timestamp,
                        [fragment.header(), fragment.body].concat(),
                    ));
                }
                Payload::Units(_) => units.push((packet.timestamp, packet.payload.clone())),
            }
        }
        units
    }
}

#[expect(clippy::disallowed_methods, reason = "a test may block")]
fn play(pipeline: &gst::Pipeline, state: gst::State) {
    pipeline.set_state(state).unwrap();
}
