//! Packets of every codec, framed well and badly.

mod damage;
mod framing;
mod payloads;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Assembler, Packet, fuzz::check};
use crate::media::{Codec, Frame};

const SPS: &[u8] = &[0x67, 66, 0xc0, 31, 0x80];
const PPS: &[u8] = &[0x68, 0x80];
/// The first slice of an IDR picture, and another one.
const IDR: &[u8] = &[0x65, 0x80, 1];
const IDR_REST: &[u8] = &[0x65, 0x40, 2];
/// The first slice of another picture, and another one.
const DELTA: &[u8] = &[0x41, 0x80, 3];
const DELTA_REST: &[u8] = &[0x41, 0x40, 4];

const VP8_KEY: &[u8] = &[0x10, 0x00, 1];
const VP8_DELTA: &[u8] = &[0x10, 0x01, 2];
const VP8_REST: &[u8] = &[0x00, 9];

/// A stream under test.
struct Stage {
    assembler: Assembler,
    now: Instant,
    sequence: u64,
    frames: Vec<Frame>,
    requests: usize,
}

/// A packet as a test writes it: with its timestamp in pictures, and a marker or not.
type Sent<'a> = (u32, bool, &'a [u8]);

impl Stage {
    fn new(codec: Codec) -> Self {
        Self {
            assembler: Assembler::new(codec),
            now: Instant::now(),
            sequence: 1000,
            frames: Vec::new(),
            requests: 0,
        }
    }

    /// A stream with its parameter sets and a key picture, whose marker has been proven right.
    fn live() -> Self {
        let mut stage = Self::new(Codec::H264);
        stage.send_all(&[
            (0, false, SPS),
            (0, false, PPS),
            (0, true, IDR),
            (1, true, DELTA),
        ]);
        assert_eq!(stage.taken(), [(0, true, 3), (1, false, 1)]);
        stage
    }

    fn send(&mut self, (picture, marker, payload): Sent<'_>) {
        let packet = Packet {
            pts: Duration::from_millis(1000 + 40 * u64::from(picture)),
            sequence: self.sequence,
            timestamp: 7000 + 3600 * picture,
            marker,
            restart: false,
            payload: Arc::from(payload),
        };
        self.sequence += 1;
        self.push(packet);
    }

    fn push(&mut self, packet: Packet) {
        let frames = &mut self.frames;
        self.assembler
            .push(self.now, packet, |frame| frames.push(frame));
        self.requests += usize::from(self.assembler.takes_keyframe_request());
    }

    fn send_all(&mut self, packets: &[Sent<'_>]) {
        for packet in packets {
            self.send(*packet);
        }
    }

    fn tick(&mut self, later: Duration) {
        self.now += later;
        let frames = &mut self.frames;
        self.assembler.tick(self.now, |frame| frames.push(frame));
    }

    /// The frames since the last call: picture, keyframe, payloads.
    fn taken(&mut self) -> Vec<(u32, bool, usize)> {
        let frames = std::mem::take(&mut self.frames);
        frames.iter().for_each(check);
        let shape = frames.iter().map(|frame| {
            let picture = u32::try_from((frame.pts.as_millis() - 1000) / 40).unwrap();
            (picture, frame.keyframe, frame.ends.len())
        });
        shape.collect()
    }
}

/// The payloads of a frame.
fn payloads(frame: &Frame) -> Vec<&[u8]> {
    frame.ranges().map(|range| &frame.data[range]).collect()
}
