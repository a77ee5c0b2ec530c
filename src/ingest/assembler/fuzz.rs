//! Packets of any kind in any order, for [`crate::fuzz`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Assembler, Packet};
use crate::media::{Codec, FRAME_BYTES_MAX, Frame, rtp::PAYLOAD_BYTES_MAX};

/// Four bytes in front of each packet: the first one's bits say whether it has the marker, whether
/// one before it is lost, whether another source begins, whether the numbers jump, and how much time
/// passes (two bits, in 64 ms). Then come the pictures since the last packet, and the payload's
/// length.
const HEAD_BYTES: usize = 4;

/// Reads packets as every codec's.
///
/// # Panics
/// If a frame is not as [`check`] says.
pub(crate) fn packets(data: &[u8]) {
    for codec in Codec::ALL {
        let mut assembler = Assembler::new(codec);
        let (mut now, mut sequence, mut picture) = (Instant::now(), 0_u64, 0_u32);
        let mut rest = data;
        while let Some((&[flags, later, high, low], tail)) = rest.split_first_chunk::<HEAD_BYTES>()
        {
            let length = usize::from(u16::from_be_bytes([high & 7, low]));
            let (payload, tail) = tail.split_at_checked(length).unwrap_or((tail, &[]));
            rest = tail;
            sequence += 1 + u64::from(flags >> 1 & 1) + 9000 * u64::from(flags >> 3 & 1);
            picture = picture.wrapping_add(u32::from(later));
            now += Duration::from_millis(64 * u64::from(flags >> 4 & 3));
            assembler.tick(now, |frame| check(&frame));
            let packet = Packet {
                pts: Duration::from_millis(40 * u64::from(picture)),
                sequence,
                timestamp: picture.wrapping_mul(3600),
                marker: flags & 1 != 0,
                restart: flags & 4 != 0,
                payload: Arc::from(payload),
            };
            assembler.push(now, packet, |frame| check(&frame));
            assembler.takes_keyframe_request();
        }
    }
}

/// What holds for every frame: its bytes are those of its payloads, none of which is empty or, for
/// pictures, larger than viewers take.
///
/// # Panics
/// If it does not.
pub(in crate::ingest) fn check(frame: &Frame) {
    let end = frame.ranges().last().map(|range| range.end);
    assert_eq!(end, Some(frame.data.len()), "bytes of no payload");
    assert!(
        frame.data.len() <= FRAME_BYTES_MAX + (256 << 10),
        "{frame:?}"
    );
    let payload_max = match frame.codec {
        Codec::Opus => usize::MAX,
        _ => PAYLOAD_BYTES_MAX,
    };
    for range in frame.ranges() {
        assert!((1..=payload_max).contains(&range.len()), "{range:?}");
    }
}
