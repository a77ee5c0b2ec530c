//! What a client has received of a track.

use std::collections::{BTreeMap, BTreeSet};

use aerial::for_tests::RtpHeader;

use super::clip;

/// What has been received of one track.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    /// Sequence numbers, extended.
    pub(crate) packets: BTreeSet<u64>,
    /// The payload of the first one.
    pub(crate) beginning: Vec<u8>,
    /// Timestamps, extended.
    pub(crate) frames: BTreeSet<u64>,
    /// Whether an RTCP sender report was received.
    pub(crate) reported: bool,
    /// Every packet by its sequence number, if the client keeps them.
    pub(crate) kept: BTreeMap<u64, KeptPacket>,
}

/// A received packet.
#[derive(Clone, Debug)]
pub(crate) struct KeptPacket {
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload_type: u8,
    pub(crate) payload: Vec<u8>,
}

impl KeptPacket {
    /// The packet with this sequence number.
    pub(crate) fn write(&self, sequence: u64) -> Vec<u8> {
        let header = RtpHeader {
            marker: self.marker,
            payload_type: self.payload_type,
            sequence: (sequence & 0xffff).try_into().unwrap(),
            timestamp: self.timestamp,
            ssrc: 1,
        };
        let mut packet = Vec::new();
        header.write(&mut packet, &[]);
        packet.extend_from_slice(&self.payload);
        packet
    }
}

impl Received {
    /// Packets that are missing between the first and the last.
    pub(crate) fn missing(&self) -> u64 {
        match (self.packets.first(), self.packets.last()) {
            (Some(first), Some(last)) => last - first + 1 - self.packets.len() as u64,
            _ => 0,
        }
    }

    /// Fails if the times of the pictures after the `first` ones have gaps.
    /// A few missing frames are tolerated: on a busy machine a publisher is late and its times are
    /// corrected.
    pub(crate) fn expect_no_glitch(&self, first: usize) {
        let frames: Vec<_> = self.frames.iter().skip(first).collect();
        let longest = frames
            .windows(2)
            .map(|two| (two[1] - two[0]) / 90)
            .max()
            .unwrap_or(0);
        let span = frames.last().zip(frames.first());
        let span = span.map_or(0, |(last, first)| *last - *first);
        let due = span * u64::from(clip::FRAME_RATE) / 90_000 + 1;
        let count = frames.len() as u64;
        assert!(longest < 900, "{longest} ms without a frame");
        assert!(count * 10 >= due * 9, "{count} of {due} frames");
    }
}
