//! The media words as plain data: kinds, codecs and frames.
//!
//! Pure data shared by all layers; nothing here knows GStreamer, HTTP or sockets.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;

/// One medium of a broadcast. A broadcast has at most one track of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

impl Kind {
    /// The word used in SDP (`m=video`), in the API and in element names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The encodings that Aerial carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264 (RFC 6184), packetization mode 1.
    H264,
    /// H.265 (RFC 7798).
    H265,
    /// VP8 (RFC 7741).
    Vp8,
    /// VP9 (RFC 9628).
    Vp9,
    /// AV1 (the AOMedia RTP payload specification).
    Av1,
    /// Opus (RFC 7587).
    Opus,
}

impl Codec {
    /// Every codec, in no particular order.
    pub const ALL: [Self; 6] = [
        Self::H264,
        Self::H265,
        Self::Vp8,
        Self::Vp9,
        Self::Av1,
        Self::Opus,
    ];

    /// The track kind this codec encodes.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Opus => Kind::Audio,
            Self::H264 | Self::H265 | Self::Vp8 | Self::Vp9 | Self::Av1 => Kind::Video,
        }
    }

    /// RTP clock rate in Hz.
    pub const fn clock_rate(self) -> u32 {
        match self.kind() {
            Kind::Video => 90_000,
            Kind::Audio => 48_000,
        }
    }

    /// The encoding name of `a=rtpmap` as browsers write it; compare without case (RFC 8866 §6.6).
    pub const fn encoding_name(self) -> &'static str {
        match self {
            Self::H264 => "H264",
            Self::H265 => "H265",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
            Self::Opus => "opus",
        }
    }

    /// The codec with this `a=rtpmap` encoding name, in any case.
    pub fn from_encoding_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.encoding_name().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encoding_name())
    }
}

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
    /// every pipeline. Audio and video of a broadcast are in sync on it, and it goes on across a
    /// publisher's reconnect.
    pub pts: Duration,
    /// RTP timestamp in units of [`Codec::clock_rate`], not wrapped. Derived from `pts`, but free
    /// of jitter: consecutive audio frames differ by exactly their duration.
    pub timestamp: u64,
    /// All RTP payloads, one behind the other.
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
}

/// One RTP packet on its way into a pipeline's depayloader, in order.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Server running time at which its media is due, as in [`Frame::pts`].
    pub pts: Duration,
    /// RTP sequence number, extended to 64 bits.
    pub sequence: u64,
    /// RTP timestamp as sent.
    pub timestamp: u32,
    /// RTP marker bit.
    pub marker: bool,
    /// True if packets before this one are missing for good.
    pub gap: bool,
    /// RTP payload.
    pub payload: Arc<[u8]>,
}

/// Where an engine hands over the packets of one track. Must not block.
pub type PacketSink = Arc<dyn Fn(Packet) + Send + Sync>;

/// Where a pipeline hands over its frames. Called on GStreamer streaming threads: must not block,
/// take contended locks or panic.
pub type FrameSink = Arc<dyn Fn(Frame) + Send + Sync>;
