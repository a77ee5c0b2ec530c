//! The readers of RTP packets, for [`crate::fuzz`].

use std::time::Duration;

use gstreamer as gst;

use super::{framing::FrameAssembler, tidy};
use crate::media::{Codec, format, keyframe, nal::Separation, order, rtp, timestamps};

/// Reads packets, each preceded by its length in one byte, as every codec's.
///
/// # Panics
/// If a frame is not made of its packets. [`super::init`] must have been called.
pub(crate) fn packets(data: &[u8]) {
    let mut packets = Vec::new();
    let mut rest = data;
    while let Some((&length, tail)) = rest.split_first() {
        let (packet, tail) = tail.split_at_checked(length.into()).unwrap_or((tail, &[]));
        packets.push(gst::Buffer::from_mut_slice(packet.to_vec()));
        rest = tail;
    }
    timestamps::opus_duration(data);
    Separation::of(data);
    if let Some(payload) = rtp::payload(data) {
        assert!(payload.end <= data.len(), "a payload from nowhere");
    }
    for codec in Codec::ALL {
        keyframe::in_payloads(codec, packets_of(data));
        order::in_payloads(codec, packets_of(data));
        format::in_payloads(codec, std::iter::once(data));
        for separation in [Separation::StartCodes, Separation::Lengths] {
            keyframe::in_frame(codec, separation, data);
            format::in_frame(codec, separation, data);
        }
        let mut frames = FrameAssembler::new(codec);
        tidy::look(codec, &packets);
        for (millis, packet) in (0..).zip(packets.chunks(2)) {
            let bytes = packet.iter().map(|packet| packet.size()).sum();
            let parts = packet.iter().map(AsRef::as_ref);
            frames.push(parts, bytes, Duration::from_millis(20 * millis), |frame| {
                let ends = frame.ranges().map(|range| range.end);
                assert!(ends.max() == Some(frame.data.len()), "bytes of no packet");
                assert!(frame.data.len() <= data.len(), "bytes from nowhere");
            });
        }
    }
}

/// The same bytes as payloads of a frame.
fn packets_of(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.chunks(7)
}
