//! RTP packets of an encoded picture, framed as senders of all kinds frame them.

use gst::prelude::*;
use gstreamer as gst;

use crate::{
    media::{
        Codec,
        nal::{self, Payload},
        rtp::{self, RtpHeader},
    },
    pipeline::launch,
};

/// One RTP packet.
#[derive(Clone, Debug)]
pub(crate) struct RtpPacket {
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Vec<u8>,
}

impl RtpPacket {
    fn has_slice(&self) -> bool {
        nal::first_slice(Codec::H264, &self.payload).is_some()
    }

    /// Whether a slice ends with this packet.
    fn ends_slice(&self) -> bool {
        match Payload::read(Codec::H264, &self.payload) {
            Payload::Fragment(fragment) => fragment.ends && fragment.kind.is_slice(),
            Payload::Units(_) => self.has_slice(),
        }
    }
}

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
        let sink = pipeline.by_name("sink").unwrap();
        let sink = sink.downcast::<gstreamer_app::AppSink>().unwrap();
        play(&pipeline, gst::State::Playing);
        let mut all = Vec::new();
        while let Ok(sample) = sink.pull_sample() {
            let packet = sample.buffer().unwrap().map_readable().unwrap();
            let header = RtpHeader::read(&packet).unwrap();
            all.push(RtpPacket {
                timestamp: header.timestamp,
                marker: header.marker,
                payload: packet[rtp::payload_start(&packet).unwrap()..].to_vec(),
            });
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

    /// Sets the marker on everything except slices.
    pub(crate) fn mark_parameter_sets(&mut self) {
        for packet in &mut self.all {
            packet.marker |= !packet.has_slice();
        }
    }

    /// Sets the marker on every slice.
    pub(crate) fn mark_slices(&mut self) {
        for packet in &mut self.all {
            packet.marker |= packet.ends_slice();
        }
    }

    /// Gives everything except slices the timestamp of the previous picture.
    pub(crate) fn date_parameter_sets_back(&mut self) {
        let mut before = None;
        for packet in &mut self.all {
            if packet.has_slice() {
                before = Some(packet.timestamp);
            } else {
                packet.timestamp = before.unwrap_or(packet.timestamp);
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test may block")]
fn play(pipeline: &gst::Pipeline, state: gst::State) {
    pipeline.set_state(state).unwrap();
}
