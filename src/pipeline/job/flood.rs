//! Pipelines that make more than anybody could watch: an endless source without a clock, or an
//! encoder without a limit. Each frame costs the fan-out, so they fail before others notice.

use std::time::Instant;

use crate::media::{Kind, TokenBucket};

/// Frames a second that an output may make in the long run. Video: more than any camera. Audio:
/// Opus has up to 400 packets a second (RFC 6716 §2.1.4).
const fn frames_a_second(kind: Kind) -> f64 {
    match kind {
        Kind::Video => 300.0,
        Kind::Audio => 500.0,
    }
}
/// Bytes a second that an output may make in the long run: 400 Mbit/s.
const BYTES_A_SECOND: f64 = 50e6;
/// Seconds' worth of both that may come at once: a rendition begins with all that its input has
/// kept, and a file is read ahead.
const BURST_SECONDS: f64 = 5.0;

/// What one output may still make.
#[derive(Debug)]
pub(super) struct Flood {
    frames: TokenBucket,
    bytes: TokenBucket,
}

impl Flood {
    pub(super) fn new(kind: Kind, now: Instant) -> Self {
        let bucket = |rate| TokenBucket::new(rate, rate * BURST_SECONDS, now);
        Self {
            frames: bucket(frames_a_second(kind)),
            bytes: bucket(BYTES_A_SECOND),
        }
    }

    /// Notes a frame of so many bytes. An error, in words, if there have been too many.
    pub(super) fn note(&mut self, bytes: usize, now: Instant) -> Result<(), String> {
        let frames = self.frames.take(1.0, now);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a frame is no larger than 8 MiB"
        )]
        let bytes = self.bytes.take(bytes as f64, now);
        let (limit, what) = match (frames, bytes) {
            (true, true) => return Ok(()),
            (false, _) => (self.frames.per_second(), "frames"),
            (true, false) => (self.bytes.per_second(), "bytes"),
        };
        Err(format!(
            "floods: more than {limit} {what} a second; a source that does not keep to the clock needs \
             is-live=true or `clocksync`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Whether so many frames, so far apart, are too many.
    fn floods(kind: Kind, count: u32, bytes: usize, apart: Duration) -> bool {
        let begin = Instant::now();
        let mut flood = Flood::new(kind, begin);
        (0..count).any(|index| flood.note(bytes, begin + index * apart).is_err())
    }

    #[test]
    fn what_people_make_is_no_flood() {
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
    }
}
