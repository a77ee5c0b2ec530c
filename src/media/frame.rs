//! Encoded media in transit: frames and packets.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Codec, Kind};

/// Largest frame carried, in bytes of RTP payload: more than a 4K keyframe at the highest rates in
/// use. Larger ones are dropped.
pub const FRAME_BYTES_MAX: usize = 8 << 20;
/// Most payloads of a frame carried: half of the sequence numbers, beyond which receivers take later
/// packets for earlier ones. Frames with more are dropped.
pub const FRAME_PAYLOADS_MAX: usize = 1 << 15;

/// Longest payload of a video packet; packets are cut to 1200 bytes.
const VIDEO_PAYLOAD_BYTES_MAX: u32 = 1500;
/// Longest payload of an audio packet. Opus packets are not cut, and have at most 7.5 kB.
const AUDIO_PAYLOAD_BYTES_MAX: u32 = 8000;

/// One encoded access unit, already cut into RTP payloads.
///
/// Made once by the pipeline's packetizer and shared, never copied, by every viewer.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What the payloads contain.
    pub codec: Codec,
    /// True if a decoder can start here. Always true for audio.
    pub keyframe: bool,
    /// Server running time at which the frame is due, on the one clock and base time shared by
    /// every pipeline. Audio and video of a broadcast are in sync on it, and it continues across a
    /// publisher's reconnect.
    pub pts: Duration,
    /// RTP timestamp in units of [`Codec::clock_rate`], not wrapped. Derived from `pts`, but free
    /// of jitter: consecutive audio frames differ by exactly their duration.
    pub timestamp: u64,
    /// All RTP payloads, back to back.
    pub data: Bytes,
    /// Where each payload ends in `data`, in bytes; the first begins at 0. The marker bit belongs
    /// on the last packet (for audio: on none).
    pub ends: Vec<u32>,
}

impl Frame {
    /// The byte range of each payload in [`Frame::data`], in sending order.
    pub fn ranges(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let range = start..end as usize;
            start = range.end;
            range
        })
    }

    /// What is wrong with a frame from another process; `None` if nothing is.
    pub fn flaw(&self) -> Option<&'static str> {
        let len = self.data.len();
        if len > FRAME_BYTES_MAX || self.ends.len() > FRAME_PAYLOADS_MAX {
            return Some("too large");
        }
        let longest = match self.codec.kind() {
            Kind::Video => VIDEO_PAYLOAD_BYTES_MAX,
            Kind::Audio if !self.keyframe => return Some("audio that depends on other audio"),
            Kind::Audio => AUDIO_PAYLOAD_BYTES_MAX,
        };
        let mut start = 0;
        for &end in &self.ends {
            if end <= start {
                return Some("an empty payload");
            }
            if end - start > longest {
                return Some("a payload that is too long");
            }
            start = end;
        }
        (start == 0 || start as usize != len).then_some("payloads that do not add up to it")
    }
}

/// Where an input hands over its frames. Called on GStreamer streaming threads and in sessions' tasks:
/// must not block, take contended locks or panic.
pub type FrameSink = Arc<dyn Fn(Frame) + Send + Sync>;
