//! Opus packets of every length, with gaps, and of one channel.

use super::{
    check,
    encode::{self, PAY_H264, Packet},
    shape::{Shape, Stream, VIDEO, h264, usual},
};

const SECONDS: u32 = 3;
/// Six frames in a packet, each but the last one preceded by its length (RFC 6716 §3.2.5).
const SIX_FRAMES: [u8; 1] = [0x80 | 6];
/// In the first byte of a packet: a number of frames follows.
const CODE_3: u8 = 3;

fn shape(name: &str, sound: Vec<Packet>) -> Shape {
    let mut shape = h264(name, Stream::VIDEO.send(usual("", PAY_H264)));
    shape.packets.retain(|packet| packet.payload_type == VIDEO);
    shape.packets.extend(Stream::AUDIO.send(sound));
    shape
}

/// Packets of 120 ms: six of 20 ms in one.
fn long_packets() -> Vec<Packet> {
    let short = encode::tone(SECONDS, "20", "");
    short.chunks_exact(6).map(six_in_one).collect()
}

fn six_in_one(packets: &[Packet]) -> Packet {
    let first = &packets[0];
    let code = first.payload[0];
    assert_eq!(code & 3, 0, "one frame in each");
    let mut payload = vec![code | CODE_3];
    payload.extend(SIX_FRAMES);
    for packet in &packets[..5] {
        payload.extend(length(packet.payload.len() - 1));
    }
    for packet in packets {
        assert_eq!(packet.payload[0], code);
        payload.extend_from_slice(&packet.payload[1..]);
    }
    Packet {
        timestamp: first.timestamp,
        marker: false,
        payload,
    }
}

/// A frame's length in one or two bytes.
fn length(bytes: usize) -> Vec<u8> {
    let small = u8::try_from(bytes).ok().filter(|&small| small < 252);
    if let Some(small) = small {
        return vec![small];
    }
    let low = 252 + bytes % 4;
    [low, (bytes - low) / 4]
        .map(|byte| byte.try_into().unwrap())
        .to_vec()
}

/// Nothing is sent while it is quiet: sequence numbers go on, timestamps show the gap.
fn gaps() -> Vec<Packet> {
    let mut packets = encode::tone(SECONDS, "20", "");
    // 400 ms in each second.
    packets.retain(|packet| packet.timestamp % 48_000 >= 19_200);
    packets
}

/// A second of silence between two of tone. Of what the encoder makes of silence, browsers send one
/// packet in 400 ms.
fn discontinuous() -> Vec<Packet> {
    const SILENT_BYTES_MAX: usize = 2;
    const KEPT: usize = 20;
    let mut silent = 0;
    let mut packets = encode::tone_with_silence();
    packets.retain(|packet| {
        let is_silent = packet.payload.len() <= SILENT_BYTES_MAX;
        silent = if is_silent { silent + 1 } else { 0 };
        !is_silent || silent % KEPT == 1
    });
    assert!(packets.len() < 130, "{}", packets.len());
    packets
}

#[test]
fn sound_of_every_length_is_heard() {
    let of = |frame_size| encode::tone(SECONDS, frame_size, "");
    let mut gaps = shape("gaps", gaps());
    gaps.expected.tone = 500;
    let mut discontinuous = shape("dtx", discontinuous());
    discontinuous.expected.tone = 900;
    check(
        "sound",
        &[
            shape("opus-10", of("10")),
            shape("opus-40", of("40")),
            shape("opus-60", of("60")),
            shape("opus-120", long_packets()),
            shape("mono", encode::mono_tone(SECONDS)),
            gaps,
            discontinuous,
        ],
    );
}
