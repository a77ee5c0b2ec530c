//! Layers that the bit stream itself names: temporal and spatial ones of H.264 in NAL units of their
//! own, temporal ones of AV1 in the headers of OBUs. Browsers decode the lowest spatial layer of H.264.

use super::{
    check,
    encode::{self, FRAME_RATE, PAY_H264_APART, Packet},
    picture::Size,
    shape::{PICTURES, Shape, Stream, VIDEO, h264, offer, shape, usual},
};

/// Ticks between two pictures.
const PICTURE: u32 = 90_000 / FRAME_RATE;

/// Every other picture is of the upper temporal layer.
fn temporal_layer(timestamp: u32) -> u8 {
    // A picture's timestamp may be a tick early.
    u8::from((timestamp + PICTURE / 2) / PICTURE % 2 == 1)
}

/// Types of NAL units of H.264.
const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;
const SEQUENCE_PARAMETERS: u8 = 7;
const PREFIX: u8 = 14;
const SUBSET_PARAMETERS: u8 = 15;
const SLICE_EXTENSION: u8 = 20;
const FRAGMENT: u8 = 28;
/// Of the enhancement layer's slices: large enough to be sent in parts by real senders, small enough
/// for one packet.
const ENHANCEMENT_BYTES: usize = 500;

/// What a payload has of a NAL unit.
struct Part {
    unit_type: u8,
    importance: u8,
    begins: bool,
}

impl Part {
    fn of(payload: &[u8]) -> Self {
        let unit_type = payload[0] & 0x1f;
        let is_fragment = unit_type == FRAGMENT;
        Self {
            unit_type: if is_fragment {
                payload[1] & 0x1f
            } else {
                unit_type
            },
            importance: payload[0] & 0x60,
            begins: !is_fragment || payload[1] & 0x80 != 0,
        }
    }

    fn is_slice(&self) -> bool {
        [SLICE, IDR_SLICE].contains(&self.unit_type)
    }

    /// The header of a NAL unit with the extension for scalable coding (H.264 §G.7.3.1.1).
    fn extended(&self, unit_type: u8, dependency: u8, timestamp: u32) -> Vec<u8> {
        let idr = u8::from(self.unit_type == IDR_SLICE);
        let temporal = temporal_layer(timestamp);
        vec![
            self.importance | unit_type,
            0x80 | idr << 6,
            dependency << 4,
            temporal << 5 | 0x07,
        ]
    }
}

/// In front of each slice a prefix that names its temporal layer.
fn prefixed(packets: Vec<Packet>) -> Vec<Packet> {
    let with_prefix = |packet: Packet| {
        let part = Part::of(&packet.payload);
        let prefix = (part.is_slice() && part.begins).then(|| {
            let mut payload = part.extended(PREFIX, 0, packet.timestamp);
            payload.push(0x20);
            Packet {
                marker: false,
                payload,
                ..packet.clone()
            }
        });
        prefix.into_iter().chain([packet])
    };
    packets.into_iter().flat_map(with_prefix).collect()
}

/// Behind each picture a slice of an upper spatial layer, which ends it; its parameter sets behind
/// those of the lower layer.
fn enhanced(packets: Vec<Packet>) -> Vec<Packet> {
    let with_layer = |mut packet: Packet| {
        let part = Part::of(&packet.payload);
        let upper = if part.unit_type == SEQUENCE_PARAMETERS {
            let mut payload = packet.payload.clone();
            payload[0] = payload[0] & 0x60 | SUBSET_PARAMETERS;
            Some(payload)
        } else if part.is_slice() && packet.marker {
            let mut payload = part.extended(SLICE_EXTENSION, 1, packet.timestamp);
            payload.resize(ENHANCEMENT_BYTES, 0x5a);
            Some(payload)
        } else {
            None
        };
        let upper = upper.map(|payload| Packet {
            payload,
            ..packet.clone()
        });
        packet.marker &= upper.is_none();
        [packet].into_iter().chain(upper)
    };
    packets.into_iter().flat_map(with_layer).collect()
}

/// Bits of an OBU's header, and its types.
const HAS_EXTENSION: u8 = 4;
const SEQUENCE_HEADER: u8 = 1;
const AV1: &str = "av1enc usage-profile=realtime cpu-used=7 lag-in-frames=0 end-usage=cbr
    min-quantizer=2 max-quantizer=30 target-bitrate=3000";

/// A number of up to 14 bits in little-endian base 128, and how many bytes it takes.
fn leb128(bytes: &[u8]) -> (usize, usize) {
    let low = usize::from(bytes[0] & 0x7f);
    if bytes[0] & 0x80 == 0 {
        return (low, 1);
    }
    assert_eq!(bytes[1] & 0x80, 0, "an element is smaller than a packet");
    (usize::from(bytes[1]) << 7 | low, 2)
}

/// Such bytes of such a number.
fn to_leb128(number: usize) -> Vec<u8> {
    let byte = |bits: usize| u8::try_from(bits & 0x7f).unwrap();
    let (low, high) = (byte(number), byte(number >> 7));
    if high == 0 {
        vec![low]
    } else {
        vec![0x80 | low, high]
    }
}

/// The same payload, with the layer in the header of each OBU that begins in it.
fn labelled(payload: &[u8], temporal: u8) -> Vec<u8> {
    let (header, mut rest) = (payload[0], &payload[1..]);
    let count = header >> 4 & 3;
    assert_ne!(count, 0, "the payloader counts its elements");
    let mut labelled = vec![header];
    for index in 1..=count {
        let is_last = index == count;
        let (length, bytes) = if is_last {
            (rest.len(), 0)
        } else {
            leb128(rest)
        };
        let (element, tail) = rest[bytes..].split_at(length);
        rest = tail;
        let mut element = element.to_vec();
        let begins = index > 1 || header & 0x80 == 0;
        if begins && element[0] >> 3 & 0xf != SEQUENCE_HEADER {
            element[0] |= HAS_EXTENSION;
            element.insert(1, temporal << 5);
        }
        if !is_last {
            labelled.extend(to_leb128(element.len()));
        }
        labelled.append(&mut element);
    }
    labelled
}

fn av1(name: &str, packets: Vec<Packet>) -> Shape {
    shape(
        name,
        offer(&[(VIDEO, "AV1", "")]),
        Stream::VIDEO.send(packets),
    )
}

fn av1_temporal() -> Shape {
    let encoder = format!("{AV1} keyframe-max-dist=15 ! av1parse");
    let mut packets = encode::pictures(0..PICTURES, Size::SMALL, &encoder, "rtpav1pay mtu=600");
    for packet in &mut packets {
        packet.payload = labelled(&packet.payload, temporal_layer(packet.timestamp));
    }
    av1("av1-temporal", packets)
}

#[test]
fn layers_that_a_stream_names_stay_together() {
    let apart = || usual("", PAY_H264_APART);
    let video = |packets| Stream::VIDEO.send(packets);
    check(
        "scalable",
        &[
            h264("h264-temporal", video(prefixed(apart()))).watched(),
            h264("h264-spatial", video(enhanced(prefixed(apart())))),
            av1_temporal().watched(),
        ],
    );
}
