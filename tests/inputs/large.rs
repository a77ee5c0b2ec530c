//! Pictures in 4K, with keyframes of a megabyte, as a camera with a fast line sends them.

use std::{collections::BTreeMap, time::Duration};

use super::{
    check_so_many,
    encode::{self, FRAME_RATE, Packet},
    picture::{Size, draw_grained},
    shape::{Stream, VIDEO, h264, tone_of},
};

const PICTURES: u16 = 6;
const KEYFRAME_INTERVAL: u16 = 4;
/// Ticks between two pictures as they are encoded.
const ENCODED: u32 = 90_000 / FRAME_RATE;
/// And as they are sent: so few in a second that a slow machine can draw and decode them.
const PICTURE: u32 = 90_000 * 2 / 5;
/// A picture takes this long on the line: 24 Mbit/s for a keyframe.
const SENDING: Duration = Duration::from_millis(350);
/// Seconds: longer than the pictures.
const SOUND: u32 = 4;
const KEYFRAME_BYTES_MIN: usize = 1_000_000;

fn packets() -> Vec<Packet> {
    let pictures = (0..PICTURES).map(|number| draw_grained(number, Size::HUGE));
    let encoder = format!(
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max={KEYFRAME_INTERVAL}
         pass=quant quantizer=22 ! video/x-h264,profile=constrained-baseline"
    );
    let payloader = "rtph264pay mtu=1200 config-interval=-1 aggregate-mode=zero-latency";
    let mut packets = encode::drawn(pictures, Size::HUGE, &encoder, payloader);
    for packet in &mut packets {
        // Rounded: a picture's time in nanoseconds is a fraction of a tick too early.
        packet.timestamp = (packet.timestamp + ENCODED / 2) / ENCODED * PICTURE;
    }
    packets
}

#[test]
fn keyframes_of_a_megabyte_in_4k_are_seen() {
    let packets = packets();
    let mut sizes = BTreeMap::<u32, usize>::new();
    let mut counts = BTreeMap::<u32, u32>::new();
    for packet in &packets {
        *sizes.entry(packet.timestamp).or_default() += packet.payload.len();
        *counts.entry(packet.timestamp).or_default() += 1;
    }
    assert!(sizes[&0] >= KEYFRAME_BYTES_MIN, "{sizes:?}");
    // A packet's place among those of its picture says when it is sent.
    let mut places = BTreeMap::<u32, u32>::new();
    let pauses = packets.iter().map(|packet| {
        let place = places.entry(packet.timestamp).or_default();
        *place += 1;
        SENDING * (*place - 1) / counts[&packet.timestamp]
    });
    let pauses: Vec<Duration> = pauses.collect();
    let mut video = Stream::VIDEO.send(packets);
    for (packet, pause) in video.iter_mut().zip(pauses) {
        packet.at += pause;
    }
    let mut shape = h264("4k", video).watched();
    // The last picture has arrived when the sound ends.
    shape.packets.retain(|packet| packet.payload_type == VIDEO);
    shape.packets.extend(tone_of(SOUND));
    shape.expected.last = PICTURES - 1;
    // One at a time: they are as much as a small machine can carry, in a debug build.
    check_so_many("large", &[shape], 1);
}
