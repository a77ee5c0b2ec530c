//! What a viewer has received, decoded.

use std::collections::BTreeMap;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app::AppSrc;

use super::{
    encode::{TONE, launch, samples},
    picture::{self, Size},
};
use crate::rtc::KeptPacket;

/// Samples per second of decoded sound.
const RATE: usize = 48_000;
/// The tone is judged in pieces of this many samples.
const PIECE: usize = RATE / 10;

/// A codec's way from packets to pictures.
fn decoder(encoding: &str) -> &'static str {
    match encoding {
        "H264" => "rtph264depay ! h264parse ! avdec_h264 max-threads=1",
        "H265" => "rtph265depay ! h265parse ! avdec_h265 max-threads=1",
        "VP8" => "rtpvp8depay ! vp8dec",
        "VP9" => "rtpvp9depay ! vp9dec",
        _ => "rtpav1depay ! av1parse ! av1dec",
    }
}

/// The numbers of the pictures, in order; `None` for each that is garbled.
pub(super) fn pictures(encoding: &str, packets: &BTreeMap<u64, KeptPacket>) -> Vec<Option<u16>> {
    let caps = format!("media=video,clock-rate=90000,encoding-name={encoding}");
    let to_luma = "videoconvert ! video/x-raw,format=GRAY8";
    let decoded = run(
        &caps,
        &format!("{} ! {to_luma}", decoder(encoding)),
        packets,
    );
    let decoded = decoded.iter().map(|sample| {
        let structure = sample.caps().unwrap().structure(0).unwrap();
        let pixels = |name| usize::try_from(structure.get::<i32>(name).unwrap()).unwrap();
        let size = Size {
            width: pixels("width"),
            height: pixels("height"),
        };
        let luma = sample.buffer().unwrap().map_readable().unwrap();
        picture::read(&luma, luma.len() / size.height, size)
    });
    decoded.collect()
}

/// Milliseconds in which the tone is heard.
pub(super) fn tone(packets: &BTreeMap<u64, KeptPacket>) -> usize {
    let caps = "media=audio,clock-rate=48000,encoding-name=OPUS,encoding-params=(string)2";
    let decoder = "rtpopusdepay ! opusdec plc=true ! audioconvert
        ! audio/x-raw,format=S16LE,channels=1,rate=48000";
    let mut waves: Vec<i16> = Vec::new();
    for sample in run(caps, decoder, packets) {
        let bytes = sample.buffer().unwrap().map_readable().unwrap();
        let pairs = bytes.chunks_exact(2);
        waves.extend(pairs.map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
    }
    waves
        .chunks_exact(PIECE)
        .filter(|piece| is_tone(piece))
        .count()
        * PIECE
        * 1000
        / RATE
}

/// Whether a piece is loud and changes its sign as often as the tone.
fn is_tone(piece: &[i16]) -> bool {
    let loudest = piece.iter().map(|value| value.unsigned_abs()).max();
    let changes = piece
        .windows(2)
        .filter(|two| (two[0] < 0) != (two[1] < 0))
        .count();
    let expected = 2 * TONE as usize * PIECE / RATE;
    loudest > Some(2000) && changes.abs_diff(expected) <= expected / 10
}

fn run(caps: &str, decoder: &str, packets: &BTreeMap<u64, KeptPacket>) -> Vec<gst::Sample> {
    let Some(first) = packets.values().next() else {
        return Vec::new();
    };
    let payload_type = first.payload_type;
    let pipeline = launch(&format!(
        "appsrc name=packets format=time max-bytes=0
           caps=application/x-rtp,payload={payload_type},{caps}
         ! {decoder} ! appsink name=sink sync=false"
    ));
    let source = pipeline.by_name("packets").unwrap();
    let source = source.downcast::<AppSrc>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    for (sequence, packet) in packets {
        let mut buffer = gst::Buffer::from_slice(packet.write(*sequence));
        let ticks = u64::from(packet.timestamp.wrapping_sub(first.timestamp));
        let pts = gst::ClockTime::from_useconds(ticks * 11);
        buffer.get_mut().unwrap().set_pts(pts);
        source.push_buffer(buffer).unwrap();
    }
    source.end_of_stream().unwrap();
    samples(&pipeline)
}
