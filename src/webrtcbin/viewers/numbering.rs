//! How the packets of a rendition are numbered towards its viewers, so that many of them can share
//! packets. Pure, apart from the process's salt.

use std::sync::OnceLock;

use super::outlet::{Packets, RunHeader};
use crate::{
    media::{
        Kind,
        rtp::{low16, low32},
    },
    playout::{Gop, Part},
};

/// Variants of one frame that are kept for others to share.
const SHARED_MAX: usize = 16;

/// The numbers of a rendition's packets as its viewers see them, and the packets to share.
pub(super) struct Numbering {
    /// Number of the next packet.
    pub(super) next: u64,
    pub(super) viewers: Vec<u64>,
    /// Packets of the newest frame.
    shared: Vec<(RunHeader, Packets)>,
}

impl Numbering {
    pub(super) fn new(rendition: u64) -> Self {
        Self {
            // Far from zero, because cached packets are counted backwards.
            next: (1 << 48) + (mix(rendition) >> 48),
            viewers: Vec::new(),
            shared: Vec::new(),
        }
    }

    /// Begins a new frame: the previous frame's packets are no longer of use.
    pub(super) fn begin(&mut self) {
        self.shared.clear();
    }

    /// A frame of this many packets has been sent.
    pub(super) const fn end(&mut self, packets: usize) {
        self.next += packets as u64;
    }

    /// Number of the first packet in the cache, if all of it is still to be sent.
    pub(super) fn of_cache(&self, gop: &Gop) -> u64 {
        let first = gop.keyframe().unwrap_or(gop.end());
        let packets: usize = (first..gop.end())
            .filter_map(|number| gop.at(number))
            .map(|(_, frame)| frame.ends.len())
            .sum();
        self.next - packets as u64
    }

    /// The packets of the newest frame with these headers.
    pub(super) fn packets(&mut self, header: RunHeader, make: impl FnOnce() -> Packets) -> Packets {
        if let Some((_, packets)) = self.shared.iter().find(|(of, _)| *of == header) {
            return packets.clone();
        }
        let packets = make();
        if self.shared.len() < SHARED_MAX {
            self.shared.push((header, packets.clone()));
        }
        packets
    }
}

/// The numbers of one track's packets, as one viewer sees them.
pub(crate) struct NumberedStream {
    pub(super) kind: Kind,
    ssrc: u32,
    pt: u8,
    timestamp_offset: u32,
    /// Number of the next packet, and what is subtracted from it on the wire. `None` before the
    /// first.
    next: Option<(u64, u16)>,
}

impl NumberedStream {
    /// A stream that begins with this rendition.
    pub(super) fn new(rendition: u64, kind: Kind, ssrc: u32, pt: u8) -> Self {
        Self {
            kind,
            ssrc,
            pt,
            timestamp_offset: timestamp_offset(rendition),
            next: None,
        }
    }

    /// A stream whose timestamps are the rendition's own.
    #[cfg(test)]
    pub(super) fn without_offset(rendition: u64, kind: Kind) -> Self {
        Self {
            timestamp_offset: 0,
            ..Self::new(rendition, kind, ssrc(rendition, kind), 96)
        }
    }

    /// Whether it has sent packets before.
    pub(super) const fn has_begun(&self) -> bool {
        self.next.is_some()
    }

    /// The headers of a part's packets. `number` is the first one's in the rendition: the viewer's
    /// own numbers begin there, and continue without gaps.
    pub(super) fn header(&mut self, number: u64, part: &Part<'_>) -> RunHeader {
        // At first below 2^15, so that an early loss cannot make the peer guess the rollover
        // counter wrong (RFC 3711 §3.3.1).
        let (next, shift) = self.next.unwrap_or((number, low16(number) & 0x8000));
        self.next = Some((next + part.packets.len() as u64, shift));
        RunHeader {
            ssrc: self.ssrc,
            pt: self.pt,
            sequence: low16(next).wrapping_sub(shift),
            timestamp: low32(part.timestamp).wrapping_add(self.timestamp_offset),
        }
    }
}

/// The SSRC of a rendition towards all viewers: each has a session of its own, with its own keys.
pub(crate) fn ssrc(rendition: u64, kind: Kind) -> u32 {
    // The lowest bit distinguishes the kinds, the next keeps the number from being zero.
    let random = (mix(rendition) >> 32) as u32 & !3 | 2;
    random | u32::from(kind == Kind::Video)
}

/// Added to all timestamps of a rendition, so that they reveal nothing (RFC 3550 §5.1).
fn timestamp_offset(rendition: u64) -> u32 {
    (mix(!rendition) >> 32) as u32
}

/// Different numbers in each process, the same for the same key.
fn mix(key: u64) -> u64 {
    static SALT: OnceLock<u64> = OnceLock::new();
    let salt = *SALT.get_or_init(|| getrandom::u64().unwrap_or(0x9e37_79b9_7f4a_7c15));
    // The finalizer of splitmix64.
    let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt;
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        media::{Codec, Frame},
        playout::GopLimits,
    };

    fn frame(keyframe: bool, packets: u32) -> Arc<Frame> {
        Arc::new(Frame {
            codec: Codec::H264,
            keyframe,
            pts: Duration::ZERO,
            timestamp: 0,
            data: vec![0; packets as usize].into(),
            ends: (1..=packets).collect(),
        })
    }

    fn part(frame: &Arc<Frame>) -> Part<'_> {
        Part {
            rendition: 7,
            frame,
            packets: 0..frame.ends.len(),
            timestamp: 9,
            cached: None,
        }
    }

    #[test]
    fn a_viewer_that_joins_at_the_cache_shares_packets_from_then_on() {
        crate::pipeline::init().unwrap();
        let stream = || NumberedStream::new(7, Kind::Video, 1, 96);
        let (mut gop, mut numbering) = (Gop::new(GopLimits::default()), Numbering::new(7));
        let (mut early, mut late) = (stream(), stream());
        for (number, packets) in [(0, 5), (1, 2), (2, 3)] {
            let frame = frame(number == 0, packets);
            gop.push(number, Arc::clone(&frame));
            early.header(numbering.next, &part(&frame));
            numbering.end(packets as usize);
        }
        assert_eq!(numbering.of_cache(&gop) + 10, numbering.next);
        late.header(numbering.of_cache(&gop), &part(&frame(true, 10)));
        let next = frame(true, 1);
        let headers =
            [&mut early, &mut late].map(|stream| stream.header(numbering.next, &part(&next)));
        assert_eq!(headers[0], headers[1]);
        let make = || Packets::new(headers[0], &next, 0..1, Duration::ZERO);
        numbering.packets(headers[0], make);
        numbering.packets(headers[1], || panic!("made twice"));
    }
}
