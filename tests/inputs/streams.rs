//! Streams whose numbers jump, wrap and begin again, and what comes between their packets.

use std::time::Duration;

use super::{
    check,
    encode::{self, PAY_H264, Packet, x264},
    picture::Size,
    shape::{AUDIO, PICTURES, Shape, Stream, VIDEO, h264, tone, usual},
};
use crate::rtc::raw::Scripted;

/// Ticks between two pictures.
const PICTURE: u32 = 90_000 / encode::FRAME_RATE;
/// The 40th picture, in the middle of a group.
const MIDDLE: u32 = 40 * PICTURE;

/// A stream that goes on under other numbers from a packet of this time on.
fn split(packets: &[Packet], at: u32, before: Stream, after: Stream) -> Vec<Scripted> {
    let early = packets.iter().filter(|packet| packet.timestamp < at);
    let late = packets.iter().filter(|packet| packet.timestamp >= at);
    [
        before.send(early.cloned().collect()),
        after.send(late.cloned().collect()),
    ]
    .concat()
}

fn usual_split(name: &str, after: Stream) -> Shape {
    h264(
        name,
        split(&usual("", PAY_H264), MIDDLE, Stream::VIDEO, after),
    )
}

/// Of a codec that is offered second.
const OTHER_TYPE: u8 = 97;
const OTHER_VIDEO: Stream = Stream {
    ssrc: 0x3333,
    sequence: 30_000,
    timestamp: 0x7000_0000,
    ..Stream::VIDEO
};
const OTHER_AUDIO: Stream = Stream {
    ssrc: 0x4444,
    sequence: 40_000,
    timestamp: 0x8000_0000,
    ..Stream::AUDIO
};

/// Picture and sound go on under other SSRCs, the picture in the middle of a group.
fn other_ssrcs() -> Shape {
    let mut shape = usual_split("other-ssrcs", OTHER_VIDEO);
    shape.packets.retain(|packet| packet.payload_type == VIDEO);
    let sound = encode::tone(3, "20", "");
    let sound = split(&sound, 64_000, Stream::AUDIO, OTHER_AUDIO);
    shape.packets.extend(sound);
    shape.expected.missing = 6;
    shape.expected.asked = true;
    shape
}

/// Another encoder goes on: its first keyframe is lost, and its numbers are a little lower.
fn other_encoder() -> Shape {
    let clip =
        |numbers| encode::pictures(numbers, Size::SMALL, &x264("noise-reduction=100"), PAY_H264);
    let mut other = clip(30..PICTURES);
    other.retain(|packet| packet.timestamp >= 5 * PICTURE);
    for packet in &mut other {
        packet.timestamp += 30 * PICTURE;
    }
    let before = Stream::VIDEO.send(clip(0..30));
    let after = Stream {
        ssrc: OTHER_VIDEO.ssrc,
        sequence: before.last().unwrap().sequence - 60,
        ..Stream::VIDEO
    };
    let mut shape = h264("other-encoder", [before, after.send(other)].concat());
    shape.expected.missing = 15;
    shape.expected.asked = true;
    shape
}

/// An encoder that is restarted goes on with a keyframe and other numbers under its SSRC.
fn reset() -> Shape {
    // A picture's timestamp may be a tick early.
    const KEYFRAME: u32 = 45 * PICTURE - PICTURE / 2;
    let after = Stream {
        sequence: Stream::VIDEO.sequence + 20_000,
        timestamp: 0x9000_0000,
        ..Stream::VIDEO
    };
    let packets = usual("", PAY_H264);
    let mut shape = h264("reset", split(&packets, KEYFRAME, Stream::VIDEO, after));
    // Whether packets between the numbers are missing shows late.
    shape.expected.missing = 15;
    shape
}

#[test]
fn a_track_goes_on_from_another_source() {
    check("sources", &[other_ssrcs(), other_encoder(), reset()]);
}

/// Sequence numbers and timestamps begin at their ends.
fn wraps() -> Shape {
    let video = Stream {
        sequence: 65_500,
        timestamp: 0xffff_8000,
        ..Stream::VIDEO
    };
    let audio = Stream {
        sequence: 65_520,
        timestamp: 0xffff_f000,
        ..Stream::AUDIO
    };
    let mut shape = h264("wraps", video.send(usual("", PAY_H264)));
    shape.packets.retain(|packet| packet.payload_type == VIDEO);
    let sound = audio.send(encode::tone(3, "20", ""));
    shape.packets.extend(sound);
    shape
}

/// The first keyframe is lost.
fn late_start() -> Shape {
    let mut packets = usual("", PAY_H264);
    packets.retain(|packet| packet.timestamp >= 5 * PICTURE);
    let mut shape = h264("late-start", Stream::VIDEO.send(packets));
    shape.expected.asked = true;
    shape
}

/// Packets of padding alone, as senders probe for bandwidth: numbered like the others, with the
/// time of the picture before.
fn padding() -> Shape {
    let mut video = Vec::new();
    let mut shift = 0;
    for mut packet in Stream::VIDEO.send(usual("", PAY_H264)) {
        packet.sequence += shift;
        let marker = packet.marker;
        video.push(packet.clone());
        for _ in 0..if marker { 3 } else { 0 } {
            shift += 1;
            packet.sequence += 1;
            video.push(Scripted {
                marker: false,
                payload: Vec::new(),
                padding: 255,
                ..packet.clone()
            });
        }
    }
    h264("padding", video)
}

/// Header extensions that nobody has negotiated.
fn extensions() -> Shape {
    let mut shape = h264("extensions", Stream::VIDEO.send(usual("", PAY_H264)));
    for packet in &mut shape.packets {
        // Numbers 5 and 9, of one and three bytes.
        packet.elements = vec![0x50, 1, 0x92, 1, 2, 3];
    }
    shape
}

/// Every packet twice, and each two packets in the wrong order.
fn disorder() -> Shape {
    let mut shape = h264("disorder", Stream::VIDEO.send(usual("", PAY_H264)));
    let twice = shape.packets.iter().flat_map(|packet| {
        let late = Scripted {
            at: packet.at + Duration::from_millis(5),
            ..packet.clone()
        };
        [packet.clone(), late]
    });
    let mut packets: Vec<Scripted> = twice.collect();
    for packet in &mut packets {
        if packet.sequence.is_multiple_of(2) {
            packet.at += Duration::from_millis(8);
        }
    }
    shape.packets = packets;
    shape
}

/// A hundred payload types in the offer.
fn many_types() -> Shape {
    let parameters: Vec<String> = (0..32)
        .map(|number| format!("packetization-mode=1;profile-level-id=42e0{number:02x}"))
        .collect();
    let usable: Vec<u8> = (96..=126)
        .filter(|&number| number != AUDIO)
        .chain(35..64)
        .collect();
    let usable: Vec<u8> = usable.into_iter().chain(0..35).collect();
    let mut formats: Vec<(u8, &str, &str)> = vec![(VIDEO, "H264", super::shape::H264_PARAMETERS)];
    for (index, &number) in usable.iter().filter(|&&number| number != VIDEO).enumerate() {
        formats.push((number, "H264", &parameters[index % 32]));
    }
    let packets = [Stream::VIDEO.send(usual("", PAY_H264)), tone()].concat();
    Shape {
        offer: super::shape::offer(&formats),
        packets,
        ..h264("many-types", Vec::new())
    }
}

/// Pictures in another payload type, which was offered and not answered, come between two groups:
/// they are ignored, and the others go on.
fn foreign_type() -> Shape {
    const GROUP: u32 = 15;
    let is_between =
        |timestamp: u32| (GROUP * 2 * PICTURE..GROUP * 3 * PICTURE).contains(&timestamp);
    let mut video = Stream::VIDEO.send(usual("", PAY_H264));
    for packet in &mut video {
        if is_between(packet.timestamp - Stream::VIDEO.timestamp + 1) {
            packet.payload_type = OTHER_TYPE;
        }
    }
    let formats = [
        (VIDEO, "H264", super::shape::H264_PARAMETERS),
        (OTHER_TYPE, "VP8", ""),
    ];
    let mut shape = Shape {
        offer: super::shape::offer(&formats),
        ..h264("foreign-type", video)
    };
    shape.expected.missing = GROUP as usize;
    shape
}

#[test]
fn numbers_wrap_and_other_packets_come_between() {
    let shapes = [
        wraps(),
        late_start(),
        padding(),
        extensions(),
        disorder(),
        many_types(),
        foreign_type(),
    ];
    check("numbers", &shapes);
}
