//! Puts the numbered frames of one track in order: sent by subject, sent again from the origin's
//! cache, or not at all. Pure: time comes in.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::frames::NumberedFrame;

/// Frames that may wait for one that is missing.
const FRAMES_MAX: usize = 256;
/// Bytes that may wait for one that is missing.
const BYTES_MAX: usize = 16 << 20;
/// How long others wait for a missing frame. After that the track goes on at a keyframe.
const WAIT_MAX: Duration = Duration::from_millis(1500);
/// Shortest time between two requests for what is missing.
const ASK_INTERVAL: Duration = Duration::from_millis(150);

/// The order of a track's frames.
#[derive(Debug, Default)]
pub(super) struct TrackSequence {
    /// The number that comes next; `None` before the first keyframe.
    next: Option<u64>,
    waiting: BTreeMap<u64, NumberedFrame>,
    bytes: usize,
    /// Since when a frame has been missing.
    missing: Option<Instant>,
    asked: Option<Instant>,
    repaired: u64,
    lost: u64,
}

impl TrackSequence {
    /// Takes a frame; returns those that are due, in order.
    pub(super) fn push(&mut self, frame: NumberedFrame, now: Instant) -> Vec<NumberedFrame> {
        let number = frame.number;
        match self.next {
            None if !frame.frame.keyframe => return Vec::new(),
            Some(next) if number < next => return Vec::new(),
            None => self.next = Some(number),
            Some(_) => {}
        }
        let bytes = frame.frame.data.len();
        if self.waiting.insert(number, frame).is_none() {
            self.bytes += bytes;
        }
        let mut due = self.due(now);
        if due.len() > 1 {
            // Others had overtaken it.
            self.repaired += 1;
        }
        if self.waiting.len() > FRAMES_MAX || self.bytes > BYTES_MAX {
            due.extend(self.skip(now));
        }
        due
    }

    /// Handles the passing of time: a track that has waited too long continues at a keyframe.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<NumberedFrame> {
        let late = |since: Instant| now.saturating_duration_since(since) >= WAIT_MAX;
        if self.missing.is_some_and(late) {
            self.skip(now)
        } else {
            Vec::new()
        }
    }

    /// The origin sends again from this frame on; what is missing before it is lost.
    pub(super) fn begin_at(&mut self, number: u64, now: Instant) -> Vec<NumberedFrame> {
        let Some(next) = self.next.filter(|next| *next < number) else {
            return Vec::new();
        };
        self.lost += number - next;
        self.waiting = self.waiting.split_off(&number);
        self.bytes = self
            .waiting
            .values()
            .map(|frame| frame.frame.data.len())
            .sum();
        self.next = Some(number);
        self.due(now)
    }

    /// Whether to ask for what is missing now.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        let recent = |asked: Instant| now.saturating_duration_since(asked) < ASK_INTERVAL;
        if self.missing.is_none() || self.asked.is_some_and(recent) {
            return false;
        }
        self.asked = Some(now);
        true
    }

    /// The last frame that has arrived; everything after it is wanted.
    pub(super) fn last(&self) -> Option<u64> {
        self.next.map(|next| next.saturating_sub(1))
    }

    /// Whether it waits for a keyframe.
    pub(super) fn needs_keyframe(&self) -> bool {
        self.next.is_none()
    }

    /// Gaps that have been filled.
    pub(super) fn take_repaired(&mut self) -> u64 {
        std::mem::take(&mut self.repaired)
    }

    /// Frames that never came.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn due(&mut self, now: Instant) -> Vec<NumberedFrame> {
        let mut due = Vec::new();
        while let Some(next) = self.next
            && let Some(frame) = self.waiting.remove(&next)
        {
            self.bytes -= frame.frame.data.len();
            self.next = Some(next + 1);
            due.push(frame);
        }
        if self.waiting.is_empty() {
            self.missing = None;
        } else if !due.is_empty() || self.missing.is_none() {
            self.missing = Some(now);
        }
        due
    }

    /// Gives up what is missing: goes on at the first keyframe that waits, or else at the next one.
    fn skip(&mut self, now: Instant) -> Vec<NumberedFrame> {
        let keyframe = self.waiting.iter().find(|(_, frame)| frame.frame.keyframe);
        let Some((&start, _)) = keyframe else {
            self.lost += self.waiting.len() as u64 + 1;
            self.waiting.clear();
            self.bytes = 0;
            (self.next, self.missing) = (None, None);
            return Vec::new();
        };
        let kept = self.waiting.split_off(&start);
        let missing = start - self.next.unwrap_or(start);
        self.lost += missing;
        self.waiting = kept;
        self.bytes = self
            .waiting
            .values()
            .map(|frame| frame.frame.data.len())
            .sum();
        self.next = Some(start);
        self.due(now)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::{Codec, Frame};

    fn frame(number: u64, keyframe: bool) -> NumberedFrame {
        NumberedFrame {
            number,
            sent: Duration::ZERO,
            frame: Frame {
                codec: Codec::H264,
                keyframe,
                pts: Duration::ZERO,
                timestamp: 0,
                data: Bytes::from_static(&[1]),
                ends: vec![1],
            },
        }
    }

    struct Track {
        sequence: TrackSequence,
        now: Instant,
    }

    impl Track {
        fn new() -> Self {
            Self {
                sequence: TrackSequence::default(),
                now: Instant::now(),
            }
        }

        /// The numbers that are due when these come; a keyframe is every tenth.
        fn push(&mut self, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
            let mut due = Vec::new();
            for number in numbers {
                due.extend(
                    self.sequence
                        .push(frame(number, number.is_multiple_of(10)), self.now),
                );
            }
            due.iter().map(|frame| frame.number).collect()
        }

        fn wait(&mut self, millis: u64) -> Vec<u64> {
            self.now += Duration::from_millis(millis);
            self.sequence
                .tick(self.now)
                .iter()
                .map(|frame| frame.number)
                .collect()
        }
    }

    #[test]
    fn live_frames_wait_for_those_from_the_cache() {
        let mut track = Track::new();
        assert_eq!(track.push([13, 14]), [0; 0], "no decoder can start here");
        assert_eq!(track.push([10, 11]), [10, 11]);
        assert_eq!(track.push([15, 12, 13, 14]), [12, 13, 14, 15]);
        assert_eq!(track.push([13, 14, 16]), [16], "what has come once");
        assert_eq!(track.sequence.take_lost(), 0);
    }

    #[test]
    fn a_gap_is_asked_for_and_filled() {
        let mut track = Track::new();
        track.push([10, 11]);
        assert!(!track.sequence.asks(track.now));
        assert_eq!(track.push([14, 15]), [0; 0]);
        assert!(track.sequence.asks(track.now));
        assert!(!track.sequence.asks(track.now), "asked");
        assert_eq!(track.sequence.last(), Some(11));
        assert_eq!(track.wait(200), [0; 0]);
        assert!(track.sequence.asks(track.now), "again");
        assert_eq!(track.push([12, 13]), [12, 13, 14, 15]);
        assert_eq!(
            (track.sequence.take_repaired(), track.sequence.take_lost()),
            (1, 0)
        );
        assert!(!track.sequence.asks(track.now));
    }

    #[test]
    fn a_lost_frame_costs_up_to_the_next_keyframe() {
        let mut track = Track::new();
        track.push([10, 11, 18, 19, 20, 21]);
        assert_eq!(track.wait(1499), [0; 0]);
        assert_eq!(track.wait(1), [20, 21]);
        assert_eq!(track.sequence.take_lost(), 8);
        track.push([24]);
        assert_eq!(track.wait(1500), [0; 0]);
        assert!(track.sequence.needs_keyframe());
        assert_eq!(track.push([25, 30, 31]), [30, 31]);
    }

    #[test]
    fn frames_that_the_origin_has_dropped_are_not_awaited() {
        let mut track = Track::new();
        track.push([10, 11, 22, 23]);
        assert!(
            track.sequence.begin_at(20, track.now).is_empty(),
            "it is on its way"
        );
        assert_eq!(track.push([20, 21]), [20, 21, 22, 23]);
        assert_eq!(track.sequence.take_lost(), 8);
        assert!(track.sequence.begin_at(20, track.now).is_empty());
        assert_eq!(track.push([24]), [24]);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut track = Track::new();
        track.push([10]);
        for number in 12..12 + FRAMES_MAX as u64 {
            track.push([number]);
        }
        assert!(track.sequence.waiting.len() <= FRAMES_MAX);
        let mut keyless = Track::new();
        keyless.sequence.push(frame(0, true), keyless.now);
        for number in 2..3000 {
            keyless.sequence.push(frame(number, false), keyless.now);
            assert!(keyless.sequence.waiting.len() <= FRAMES_MAX);
        }
    }
}
