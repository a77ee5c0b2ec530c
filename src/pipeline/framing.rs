//! RTP packets of a payloader become frames.

use std::time::Duration;

use bytes::Bytes;
use gstreamer as gst;

use crate::media::{
    Codec, FRAME_BYTES_MAX, Frame, Kind, keyframe,
    rtp::{self, RtpHeader},
    timestamps::{OpusTimestamps, VideoTimestamps},
};

/// Gathers the packets of one track into frames.
pub(crate) struct FrameAssembler {
    codec: Codec,
    video: VideoTimestamps,
    opus: OpusTimestamps,
    /// Due time of the frame being gathered; `None` between frames.
    pts: Option<Duration>,
    data: Vec<u8>,
    ends: Vec<u32>,
    too_large: bool,
}

impl FrameAssembler {
    pub(crate) fn new(codec: Codec) -> Self {
        Self {
            codec,
            video: VideoTimestamps::default(),
            opus: OpusTimestamps::default(),
            pts: None,
            data: Vec::new(),
            ends: Vec::new(),
            too_large: false,
        }
    }

    /// Takes the packets that the payloader pushed at once, `bytes` in all, due at `pts`, and
    /// delivers each frame that they complete.
    ///
    /// `rtph264pay` and `rtph265pay` push once per NAL unit or group of them, and set the marker
    /// on the last packet of a frame; all other payloaders push once per frame.
    pub(crate) fn push<'a>(
        &mut self,
        packets: impl Iterator<Item = &'a gst::BufferRef>,
        bytes: usize,
        pts: Duration,
        mut deliver: impl FnMut(Frame),
    ) {
        if self.pts.is_some_and(|pending| pending != pts) {
            self.finish().map(&mut deliver); // without its marker
        }
        if self.pts.replace(pts).is_none() {
            let (count, _) = packets.size_hint();
            self.data
                .reserve_exact(bytes.saturating_sub(rtp::FIXED_BYTES * count));
            self.ends.reserve_exact(count);
        }
        let mut marker = false;
        for packet in packets {
            marker = self.add(packet).unwrap_or(false);
        }
        let by_marker = matches!(self.codec, Codec::H264 | Codec::H265);
        if marker || !by_marker {
            self.finish().map(deliver);
        }
    }

    /// Appends one packet's payload and returns its marker bit; `None` if it is not an RTP packet.
    fn add(&mut self, packet: &gst::BufferRef) -> Option<bool> {
        // Copied: mapping would merge the memories of header and payload.
        let mut prefix = [0; rtp::PREFIX_BYTES_MAX];
        let prefix = prefix.get_mut(..packet.size().min(rtp::PREFIX_BYTES_MAX))?;
        packet.copy_to_slice(0, prefix).ok()?;
        let header = RtpHeader::read(prefix)?;
        let start = rtp::payload_start(prefix)?;
        let length = packet.size().checked_sub(start)?;
        if length == 0 {
            return None;
        }
        let old = self.data.len();
        let end = old + length;
        if end > FRAME_BYTES_MAX {
            self.too_large = true;
        }
        if !self.too_large {
            self.data.resize(end, 0);
            packet
                .copy_to_slice(start, self.data.get_mut(old..)?)
                .ok()?;
            self.ends.push(u32::try_from(end).ok()?);
        }
        Some(header.marker)
    }

    fn finish(&mut self) -> Option<Frame> {
        let pts = self.pts.take()?;
        let data = std::mem::take(&mut self.data);
        let ends = std::mem::take(&mut self.ends);
        if std::mem::take(&mut self.too_large) {
            tracing::warn!(codec = %self.codec, bytes = data.len(), "frame dropped: too large");
            return None;
        }
        if ends.is_empty() {
            return None;
        }
        let timestamp = match self.codec.kind() {
            Kind::Video => self.video.stamp(pts, self.codec.clock_rate()),
            Kind::Audio => self.opus.stamp(pts, &data)?,
        };
        let mut frame = Frame {
            codec: self.codec,
            keyframe: false,
            pts,
            timestamp,
            data: Bytes::from(data),
            ends,
        };
        frame.keyframe = keyframe::in_payloads(
            frame.codec,
            frame.ranges().filter_map(|range| frame.data.get(range)),
        );
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(marker: bool, payload: &[u8]) -> gst::Buffer {
        let header = RtpHeader {
            marker,
            payload_type: 96,
            sequence: 1,
            timestamp: 0,
            ssrc: 1,
        };
        let mut bytes = Vec::new();
        header.write(&mut bytes, &[]);
        bytes.extend_from_slice(payload);
        gst::Buffer::from_slice(bytes)
    }

    fn push(frames: &mut FrameAssembler, ms: u64, packets: &[gst::Buffer]) -> Vec<Frame> {
        let mut made = Vec::new();
        let bytes = packets.iter().map(|packet| packet.size()).sum();
        let packets = packets.iter().map(AsRef::as_ref);
        frames.push(packets, bytes, Duration::from_millis(ms), |frame| {
            made.push(frame);
        });
        made
    }

    #[test]
    fn h264_frame_ends_with_the_marker() {
        gst::init().unwrap();
        let mut frames = FrameAssembler::new(Codec::H264);
        assert!(push(&mut frames, 40, &[packet(false, &[0x67, 1])]).is_empty());
        let made = push(
            &mut frames,
            40,
            &[packet(false, &[0x7c, 0x85, 2]), packet(true, &[0x7c])],
        );
        let [frame] = made.as_slice() else {
            panic!("{made:?}")
        };
        assert!(frame.keyframe);
        assert_eq!(frame.ends, [2, 5, 6]);
        assert_eq!(frame.data.as_ref(), [0x67, 1, 0x7c, 0x85, 2, 0x7c]);
        assert_eq!(frame.timestamp, 3600);
    }

    #[test]
    fn new_time_ends_a_frame_without_marker() {
        gst::init().unwrap();
        let mut frames = FrameAssembler::new(Codec::H264);
        assert!(push(&mut frames, 40, &[packet(false, &[0x41])]).is_empty());
        let made = push(&mut frames, 80, &[packet(true, &[0x41, 2])]);
        assert_eq!(
            made.iter()
                .map(|frame| frame.data.len())
                .collect::<Vec<_>>(),
            [1, 2]
        );
    }

    #[test]
    fn av1_frame_is_what_was_pushed_at_once() {
        gst::init().unwrap();
        let mut frames = FrameAssembler::new(Codec::Av1);
        let early_marker = [packet(true, &[0x18, 1]), packet(true, &[0x10, 2])];
        assert_eq!(push(&mut frames, 0, &early_marker).len(), 1);
    }

    #[test]
    fn header_extensions_and_sources_are_skipped() {
        gst::init().unwrap();
        let mut bytes = vec![0x91, 0xe0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
        bytes.extend([9; 4]); // CSRC
        bytes.extend([0xbe, 0xde, 0, 1, 0x10, 7, 0, 0]);
        bytes.extend([0x41, 5]);
        let made = push(
            &mut FrameAssembler::new(Codec::H264),
            0,
            &[gst::Buffer::from_slice(bytes)],
        );
        assert_eq!(made[0].data.as_ref(), [0x41, 5]);
        let short = gst::Buffer::from_slice([0x91, 0x80, 0, 1]);
        assert!(push(&mut FrameAssembler::new(Codec::Vp8), 0, &[short]).is_empty());
    }
}
