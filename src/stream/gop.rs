//! The frames since the last keyframe, so that whoever subscribes starts at once.

use std::{sync::Arc, time::Duration};

use super::StartPoint;
use crate::media::Frame;

/// Most bytes held: a GOP of 10 s at 6 Mb/s. A longer one is not held at all, and subscribers wait
/// for the next keyframe.
const BYTES_MAX: usize = 8 << 20;
/// Longest GOP held.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Most frames held: 10 s at 120 per second.
const FRAMES_MAX: usize = 1200;

#[derive(Default)]
pub(super) struct BufferedGop {
    frames: Vec<Arc<Frame>>,
    bytes: usize,
    /// Where the newest recovery point is.
    recovery: Option<usize>,
}

impl BufferedGop {
    pub(super) fn push(&mut self, frame: Arc<Frame>, start: StartPoint) {
        match start {
            StartPoint::Keyframe => self.clear(),
            StartPoint::Recovery => self.recover(),
            StartPoint::No if self.frames.is_empty() => return,
            StartPoint::No => {}
        }
        self.bytes += frame.data.len();
        let long = self
            .frames
            .first()
            .is_some_and(|first| frame.pts.saturating_sub(first.pts) > TIME_MAX);
        if long || self.bytes > BYTES_MAX || self.frames.len() >= FRAMES_MAX {
            self.clear();
        } else {
            self.frames.push(frame);
        }
    }

    /// A recovery point is next. Keeps everything since the previous one: a decoder that starts
    /// there has whole pictures by now.
    fn recover(&mut self) {
        if let Some(before) = self.recovery.take() {
            let dropped = self.frames.drain(..before);
            self.bytes -= dropped.map(|frame| frame.data.len()).sum::<usize>();
        }
        self.recovery = Some(self.frames.len());
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
        self.recovery = None;
    }

    pub(super) fn frames(&self) -> &[Arc<Frame>] {
        &self.frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::tests::video;

    fn frame(second: u64, bytes: usize) -> Arc<Frame> {
        Arc::new(video(Duration::from_secs(second), bytes, false))
    }

    #[test]
    fn begins_at_a_keyframe_and_is_bounded() {
        let mut gop = BufferedGop::default();
        gop.push(frame(0, 10), StartPoint::No);
        assert!(gop.frames().is_empty());
        gop.push(frame(1, 10), StartPoint::Keyframe);
        gop.push(frame(2, 10), StartPoint::No);
        assert_eq!((gop.frames().len(), gop.bytes), (2, 20));
        gop.push(frame(3, 5), StartPoint::Keyframe);
        assert_eq!((gop.frames().len(), gop.bytes), (1, 5));
        gop.push(frame(20, 5), StartPoint::No);
        assert_eq!((gop.frames().len(), gop.bytes), (0, 0));
        gop.push(frame(21, 5), StartPoint::No);
        assert!(gop.frames().is_empty());
        gop.push(frame(22, 6 << 20), StartPoint::Keyframe);
        gop.push(frame(22, 6 << 20), StartPoint::No);
        assert!(gop.frames().is_empty());
    }

    #[test]
    fn two_rounds_of_a_gradual_refresh_are_held() {
        let mut gop = BufferedGop::default();
        let mut held = Vec::new();
        for second in 0..6 {
            gop.push(frame(second, 10), StartPoint::Recovery);
            gop.push(frame(second, 10), StartPoint::No);
            held.push((gop.frames().len(), gop.bytes));
        }
        assert_eq!(held, [(2, 20), (4, 40), (4, 40), (4, 40), (4, 40), (4, 40)]);
    }
}
