//! The frames since the last keyframe, so that a pipeline that attaches starts at once.

use std::time::Duration;

use gstreamer as gst;

use super::StartPoint;

/// Most bytes held: a GOP of 10 s at 6 Mb/s. A longer one is not held at all, and pipelines that
/// attach wait for the next keyframe.
const BYTES_MAX: usize = 8 << 20;
/// Longest GOP held.
const TIME_MAX: Duration = Duration::from_secs(10);
/// Most frames held: 10 s at 120 per second.
const FRAMES_MAX: usize = 1200;

#[derive(Default)]
pub(super) struct BufferedGop {
    buffers: Vec<gst::Buffer>,
    bytes: usize,
    /// Where the newest recovery point is.
    recovery: Option<usize>,
}

impl BufferedGop {
    pub(super) fn push(&mut self, buffer: gst::Buffer, start: StartPoint) {
        match start {
            StartPoint::Keyframe => self.clear(),
            StartPoint::Recovery => self.recover(),
            StartPoint::No if self.buffers.is_empty() => return,
            StartPoint::No => {}
        }
        self.bytes += buffer.size();
        let begin = self.buffers.first().and_then(|first| first.pts());
        let length = buffer
            .pts()
            .zip(begin)
            .map(|(now, begin)| now.saturating_sub(begin));
        let long = length.is_some_and(|length| Duration::from(length) > TIME_MAX);
        if long || self.bytes > BYTES_MAX || self.buffers.len() >= FRAMES_MAX {
            self.clear();
        } else {
            self.buffers.push(buffer);
        }
    }

    /// A recovery point is next. Keeps what has come since the one before: who starts there has
    /// whole pictures by now.
    fn recover(&mut self) {
        if let Some(before) = self.recovery.take() {
            let dropped = self.buffers.drain(..before);
            self.bytes -= dropped.map(|buffer| buffer.size()).sum::<usize>();
        }
        self.recovery = Some(self.buffers.len());
    }

    pub(super) fn clear(&mut self) {
        self.buffers.clear();
        self.bytes = 0;
        self.recovery = None;
    }

    pub(super) fn buffers(&self) -> &[gst::Buffer] {
        &self.buffers
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(second: u64, bytes: usize) -> gst::Buffer {
        let mut buffer = gst::Buffer::with_size(bytes).unwrap();
        let pts = gst::ClockTime::from_seconds(second);
        buffer.get_mut().unwrap().set_pts(pts);
        buffer
    }

    #[test]
    fn begins_at_a_keyframe_and_is_bounded() {
        gst::init().unwrap();
        let mut gop = BufferedGop::default();
        gop.push(buffer(0, 10), StartPoint::No);
        assert!(gop.buffers().is_empty());
        gop.push(buffer(1, 10), StartPoint::Keyframe);
        gop.push(buffer(2, 10), StartPoint::No);
        assert_eq!((gop.buffers().len(), gop.bytes()), (2, 20));
        gop.push(buffer(3, 5), StartPoint::Keyframe);
        assert_eq!((gop.buffers().len(), gop.bytes()), (1, 5));
        gop.push(buffer(20, 5), StartPoint::No);
        assert_eq!((gop.buffers().len(), gop.bytes()), (0, 0));
        gop.push(buffer(21, 5), StartPoint::No);
        assert!(gop.buffers().is_empty());
        gop.push(buffer(22, 6 << 20), StartPoint::Keyframe);
        gop.push(buffer(22, 6 << 20), StartPoint::No);
        assert!(gop.buffers().is_empty());
    }

    #[test]
    fn two_rounds_of_a_gradual_refresh_are_held() {
        gst::init().unwrap();
        let mut gop = BufferedGop::default();
        let mut held = Vec::new();
        for second in 0..6 {
            gop.push(buffer(second, 10), StartPoint::Recovery);
            gop.push(buffer(second, 10), StartPoint::No);
            held.push((gop.buffers().len(), gop.bytes()));
        }
        assert_eq!(held, [(2, 20), (4, 40), (4, 40), (4, 40), (4, 40), (4, 40)]);
    }
}
