//! Encoders that change in mid-stream, and keyframes of every frequency and size.

use std::time::Duration;

use aerial::for_tests::packets;

use super::{
    check,
    encode::{self, PAY_H264, PAY_H264_APART, Packet, x264},
    picture::Size,
    shape::{PICTURES, Shape, Stream, h264, usual},
};

/// Ticks between two pictures.
const PICTURE: u32 = 90_000 / encode::FRAME_RATE;
/// The first picture of a group, in the middle of the stream.
const MIDDLE: u16 = 30;

/// Each picture parameter set before its sequence parameter set.
fn reordered_sets() -> Shape {
    let mut packets = usual("", PAY_H264_APART);
    let mut swapped = 0;
    for first in 1..packets.len() {
        if packets[first - 1].payload[0] & 0x1f == 7 && packets[first].payload[0] & 0x1f == 8 {
            packets.swap(first - 1, first);
            swapped += 1;
        }
    }
    assert!(swapped > 1, "{swapped}");
    h264("reordered-sets", Stream::VIDEO.send(packets))
}

/// Every parameter set twice.
fn duplicated_sets() -> Shape {
    let packets = usual("", PAY_H264_APART).into_iter().flat_map(|packet| {
        let is_set = packets::has_parameter_sets(&packet.payload);
        vec![packet; if is_set { 2 } else { 1 }]
    });
    h264("duplicated-sets", Stream::VIDEO.send(packets.collect()))
}

/// Another encoder continues with a keyframe, under the same numbers.
fn changing(name: &str, size: Size, encoder: &str) -> Shape {
    let mut packets = encode::pictures(0..MIDDLE, Size::SMALL, &x264(""), PAY_H264);
    let mut other = encode::pictures(MIDDLE..PICTURES, size, encoder, PAY_H264);
    for packet in &mut other {
        packet.timestamp += u32::from(MIDDLE) * PICTURE;
    }
    packets.extend(other);
    h264(name, Stream::VIDEO.send(packets))
}

fn changing_profile() -> Shape {
    let encoder = "x264enc tune=zerolatency speed-preset=medium key-int-max=15
        ! video/x-h264,profile=high";
    changing("changing-profile", Size::SMALL, encoder)
}

/// This many pictures in a group.
fn groups_of(pictures: u16) -> Shape {
    let encoder = format!(
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max={pictures}
         ! video/x-h264,profile=constrained-baseline"
    );
    let packets = encode::pictures(0..PICTURES, Size::SMALL, &encoder, PAY_H264);
    h264(
        &format!("groups-of-{pictures}"),
        Stream::VIDEO.send(packets),
    )
}

/// The clock of the picture jumps in mid-stream.
fn jumping_clock(name: &str, ticks: u32) -> Shape {
    let mut packets = Stream::VIDEO.send(usual("", PAY_H264));
    let jump = Stream::VIDEO.timestamp + u32::from(MIDDLE) * PICTURE;
    for packet in &mut packets {
        if packet.timestamp >= jump {
            packet.timestamp = packet.timestamp.wrapping_add(ticks);
        }
    }
    h264(name, packets)
}

/// The clock of the picture runs at this many ticks a second, although 90 000 are announced.
fn wrong_clock(name: &str, clock: u32) -> Shape {
    let stream = Stream {
        clock,
        ..Stream::VIDEO
    };
    h264(name, stream.send(usual("", PAY_H264)))
}

/// It counts milliseconds.
fn clock_of_milliseconds() -> Shape {
    let mut video = Stream::VIDEO.send(usual("", PAY_H264));
    for packet in &mut video {
        packet.timestamp =
            Stream::VIDEO.timestamp + (packet.timestamp - Stream::VIDEO.timestamp) / 90;
    }
    h264("milliseconds", video)
}

/// A keyframe of a quarter of a megabyte in the middle, most of it filler data, sent within a tenth of
/// a second. Larger ones are in [`super::large`].
fn huge_keyframe() -> Shape {
    const UNITS: u32 = 220;
    let filler = [&[0x0c][..], &[0xff; 1150], &[0x80]].concat();
    let time = u32::from(MIDDLE) * PICTURE;
    let mut packets = Vec::new();
    for packet in usual("", PAY_H264_APART) {
        if packet.timestamp == time && packet.marker {
            packets.extend((0..UNITS).map(|_| Packet {
                timestamp: time,
                marker: false,
                payload: filler.clone(),
            }));
        }
        packets.push(packet);
    }
    let mut packets = Stream::VIDEO.send(packets);
    let mut delay = Duration::ZERO;
    for packet in &mut packets {
        if packet.payload.len() == filler.len() {
            delay += Duration::from_millis(100) / UNITS;
        }
        packet.at += delay;
    }
    h264("huge-keyframe", packets)
}

#[test]
fn encoders_change_and_keyframes_are_of_every_kind() {
    check(
        "encodings",
        &[
            duplicated_sets(),
            reordered_sets(),
            changing("changing-size", Size::LARGE, &x264("")).watched(),
            changing_profile(),
            groups_of(1),
            groups_of(1000),
        ],
    );
}

#[test]
fn clocks_are_wrong_or_jump_and_keyframes_are_huge() {
    check(
        "jumps",
        &[
            jumping_clock("forward", 3600 * 90_000),
            jumping_clock("backward", 0u32.wrapping_sub(3600 * 90_000)),
            wrong_clock("slow-clock", 75_000),
            wrong_clock("fast-clock", 110_000),
            clock_of_milliseconds(),
            huge_keyframe(),
        ],
    );
}
