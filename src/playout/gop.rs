//! The frames since the last keyframe, so that a viewer who joins can start at once. Pure data.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::media::Frame;

/// How much of a group of pictures is kept.
#[derive(Clone, Copy, Debug)]
pub struct GopLimits {
    /// Payload bytes. Default: 16 MiB.
    pub bytes: usize,
    /// Time from the keyframe to the newest frame. Default: 10 s.
    pub duration: Duration,
    /// Frames. Default: 6000, 10 s at the 600 frames/s of the fastest cameras.
    pub frames: usize,
}

impl Default for GopLimits {
    fn default() -> Self {
        Self {
            bytes: 16 << 20,
            duration: Duration::from_secs(10),
            frames: 6000,
        }
    }
}

/// The frames of one rendition since its last keyframe, numbered without gaps.
#[derive(Debug)]
pub(crate) struct Gop {
    limits: GopLimits,
    frames: VecDeque<Arc<Frame>>,
    /// Number of the first frame kept.
    first: u64,
    bytes: usize,
}

/// How a new frame continues the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Continuity {
    /// It follows the previous frame.
    Continuous,
    /// Frames are missing before it, and it is not a keyframe: wait for one.
    Broken,
}

impl Gop {
    pub(crate) const fn new(limits: GopLimits) -> Self {
        Self {
            limits,
            frames: VecDeque::new(),
            first: 0,
            bytes: 0,
        }
    }

    /// Takes the next frame of the rendition. A jump in `number` says that frames are missing.
    pub(crate) fn push(&mut self, number: u64, frame: Arc<Frame>) -> Continuity {
        let continuous = number == self.end();
        if frame.keyframe {
            self.clear(number);
        } else if self.frames.is_empty() || !continuous || self.is_full(&frame) {
            self.clear(number + 1);
            return if continuous {
                Continuity::Continuous
            } else {
                Continuity::Broken
            };
        }
        self.bytes += frame.data.len();
        self.frames.push_back(frame);
        Continuity::Continuous
    }

    /// Payload bytes of all frames.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of the frame that comes next.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    /// Number of the keyframe, if the cache has one.
    pub(crate) fn keyframe(&self) -> Option<u64> {
        (!self.frames.is_empty()).then_some(self.first)
    }

    /// The frame with this number, or the keyframe if it is older than that.
    pub(crate) fn at(&self, number: u64) -> Option<(u64, &Arc<Frame>)> {
        let number = number.max(self.first);
        let index = usize::try_from(number - self.first).ok()?;
        self.frames.get(index).map(|frame| (number, frame))
    }

    /// The newest frame.
    pub(crate) fn newest(&self) -> Option<&Arc<Frame>> {
        self.frames.back()
    }

    /// Mean bytes per second of the cached frames; `None` if they span less than half a second.
    pub(crate) fn bytes_per_second(&self) -> Option<usize> {
        let span = self.newest()?.pts.checked_sub(self.frames.front()?.pts)?;
        if span < Duration::from_millis(500) {
            return None;
        }
        let millis = usize::try_from(span.as_millis()).ok()?;
        Some(self.bytes.saturating_mul(1000) / millis)
    }

    fn is_full(&self, frame: &Frame) -> bool {
        let span = self
            .frames
            .front()
            .and_then(|first| frame.pts.checked_sub(first.pts));
        self.frames.len() >= self.limits.frames
            || self.bytes + frame.data.len() > self.limits.bytes
            || span.is_some_and(|span| span > self.limits.duration)
    }

    fn clear(&mut self, next: u64) {
        self.frames.clear();
        self.bytes = 0;
        self.first = next;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::Codec;

    pub(crate) fn frame(millis: u64, keyframe: bool, bytes: usize) -> Arc<Frame> {
        Arc::new(Frame {
            codec: Codec::H264,
            keyframe,
            pts: Duration::from_millis(millis),
            timestamp: millis * 90,
            data: Bytes::from(vec![0; bytes]),
            ends: vec![u32::try_from(bytes).unwrap()],
        })
    }

    #[test]
    fn holds_from_the_last_keyframe_on() {
        let mut gop = Gop::new(GopLimits::default());
        assert_eq!(gop.push(0, frame(0, true, 10)), Continuity::Continuous);
        assert_eq!(gop.push(1, frame(33, false, 10)), Continuity::Continuous);
        assert_eq!((gop.keyframe(), gop.end()), (Some(0), 2));
        assert_eq!(gop.push(2, frame(66, true, 10)), Continuity::Continuous);
        assert_eq!((gop.keyframe(), gop.end()), (Some(2), 3));
        assert_eq!(
            gop.at(0).map(|(n, _)| n),
            Some(2),
            "who is behind goes on at the keyframe"
        );
        assert!(gop.at(3).is_none());
    }

    #[test]
    fn a_missing_frame_breaks_until_the_next_keyframe() {
        let mut gop = Gop::new(GopLimits::default());
        gop.push(0, frame(0, true, 10));
        assert_eq!(gop.push(2, frame(66, false, 10)), Continuity::Broken);
        assert_eq!((gop.keyframe(), gop.end()), (None, 3));
        assert_eq!(gop.push(3, frame(99, false, 10)), Continuity::Continuous);
        assert_eq!(gop.keyframe(), None);
        assert_eq!(gop.push(7, frame(133, true, 10)), Continuity::Continuous);
        assert_eq!(gop.keyframe(), Some(7));
    }

    #[test]
    fn bytes_and_time_are_bounded() {
        let limits = GopLimits {
            bytes: 25,
            duration: Duration::from_secs(1),
            frames: 5,
        };
        let mut gop = Gop::new(limits);
        gop.push(0, frame(0, true, 10));
        gop.push(1, frame(10, false, 10));
        assert_eq!(gop.push(2, frame(20, false, 10)), Continuity::Continuous);
        assert_eq!(gop.keyframe(), None, "too many bytes");
        gop.push(3, frame(30, true, 10));
        gop.push(4, frame(1031, false, 1));
        assert_eq!(gop.keyframe(), None, "too long");
        gop.push(5, frame(2000, true, 1));
        for number in 6..10 {
            gop.push(number, frame(2000 + number, false, 1));
        }
        assert_eq!(gop.keyframe(), Some(5));
        gop.push(10, frame(2011, false, 1));
        assert_eq!(gop.keyframe(), None, "too many frames");
    }
}
