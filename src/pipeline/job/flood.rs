//! Detects pipelines that produce more than anybody could watch: an endless source without a clock,
//! or an encoder without a limit. Every frame costs the fan-out, so they fail before others suffer.

use std::time::Instant;

use crate::media::{Frame, Kind, TokenBucket, rtp::PAYLOAD_BYTES_MAX};

/// Frames per second that an appsink may produce in the long run. Video: more than any camera. Audio:
/// Opus has up to 400 packets a second (RFC 6716 §2.1.4).
const fn frames_a_second(kind: Kind) -> f64 {
    match kind {
        Kind::Video => 300.0,
        Kind::Audio => 500.0,
    }
}
/// Bytes per second that an appsink may produce in the long run: 400 Mbit/s.
const BYTES_A_SECOND: f64 = 50e6;
/// How many seconds' worth of both may come at once: a rendition begins with everything its input has
/// cached, and files are read ahead.
const BURST_SECONDS: f64 = 5.0;

/// The remaining allowance of one appsink.
#[derive(Debug)]
pub(crate) struct Flood {
    frames: TokenBucket,
    bytes: TokenBucket,
}

impl Flood {
    pub(crate) fn new(kind: Kind, now: Instant) -> Self {
        let bucket = |rate| TokenBucket::new(rate, rate * BURST_SECONDS, now);
        Self {
            frames: bucket(frames_a_second(kind)),
            bytes: bucket(BYTES_A_SECOND),
        }
    }

    /// Counts a frame. Every payload counts as a full one: viewers get a packet for each. The error says which limit is exceeded and what to do.
    pub(crate) fn note(&mut self, frame: &Frame, now: Instant) -> Result<(), String> {
        let frames = self.frames.take(1.0, now);
        let packets = frame.ends.len().saturating_mul(PAYLOAD_BYTES_MAX);
        let bytes = frame.data.len().max(packets);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a frame has at most some millions of bytes"
        )]
        let bytes = self.bytes.take(bytes as f64, now);
        let (limit, what) = match (frames, bytes) {
            (true, true) => return Ok(()),
            (false, _) => (self.frames.per_second(), "frames"),
            (true, false) => (self.bytes.per_second(), "bytes"),
        };
        Err(format!(
            "floods: more than {limit} {what} per second; a source that does not follow the clock needs \
             is-live=true or `clocksync`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::Codec;

    /// Whether this many frames, this far apart, are too many.
    fn floods(kind: Kind, count: u32, bytes: u32, apart: Duration) -> bool {
        floods_of(kind, count, &frame(bytes, 1188), apart)
    }

    fn floods_of(kind: Kind, count: u32, frame: &Frame, apart: Duration) -> bool {
        let begin = Instant::now();
        let mut flood = Flood::new(kind, begin);
        (0..count).any(|index| flood.note(frame, begin + index * apart).is_err())
    }

    /// A frame of this many bytes, in payloads of this many.
    fn frame(bytes: u32, payload: u32) -> Frame {
        Frame {
            codec: Codec::Vp8,
            keyframe: true,
            pts: Duration::ZERO,
            timestamp: 0,
            data: vec![0; bytes as usize].into(),
            ends: (1..=bytes.div_ceil(payload))
                .map(|count| bytes.min(count * payload))
                .collect(),
        }
    }

    #[test]
    fn ordinary_media_is_no_flood() {
        let (second, minutes) = (Duration::from_secs(1), 300);
        assert!(!floods(Kind::Video, 240 * minutes, 20_000, second / 240));
        assert!(!floods(Kind::Audio, 400 * minutes, 200, second / 400));
        // Ten seconds of sixty frames at once.
        assert!(!floods(Kind::Video, 600, 20_000, Duration::ZERO));
    }

    #[test]
    fn endless_frames_and_endless_bytes_are() {
        let second = Duration::from_secs(1);
        assert!(floods(Kind::Video, 20_000, 100, second / 1000));
        assert!(floods(Kind::Video, 2_000, 4_000_000, second / 30));
        assert!(floods(Kind::Audio, 20_000, 100, second / 2000));
        // Tiny payloads cost as many packets as large ones.
        assert!(floods_of(Kind::Video, 600, &frame(10_000, 1), second / 30));
    }
}
