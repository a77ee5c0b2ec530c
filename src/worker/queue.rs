//! Messages waiting to be written to the socket, bounded by bytes and by age: a receiver that falls
//! behind loses frames up to the next keyframe, and never gets old ones.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::Notify;

use super::wire::{Packed, WireError};
use crate::media::{Frame, Kind, recovery};

/// Bytes of frames that may wait, and of notes: the largest one of either.
const BYTES_MAX: usize = 8 << 20;
/// Bytes beyond which log lines are left out.
const LOG_BYTES_MAX: usize = 1 << 20;
/// A frame that has waited for longer is not sent any more.
pub(super) const AGE_MAX: Duration = Duration::from_millis(500);

/// A frame to be sent.
#[derive(Clone, Debug)]
pub(super) struct OutgoingFrame {
    pub(super) track: u16,
    /// Whether frames before this one are missing.
    pub(super) gap: bool,
    pub(super) frame: Arc<Frame>,
}

/// The outcome of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameFate {
    Queued,
    /// There is no room, or the track waits for a keyframe.
    Dropped,
}

/// What waits to be written, for any number of threads that push and one task that takes.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    ready: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Those of the notes, which frames do not crowd out.
    note_bytes: usize,
    tracks: BTreeMap<u16, OutgoingTrack>,
    /// Frames that were too old when their turn came, or built on such ones.
    outdated: u64,
    /// Nothing is taken any more.
    closed: bool,
    /// Whether notes did not fit: the other side does not read.
    overflowed: bool,
}

#[derive(Debug)]
enum Entry {
    Note(Packed),
    Frame(OutgoingFrame, Duration),
}

/// A track, and which of its frames are missing.
#[derive(Debug, Default)]
struct OutgoingTrack {
    /// The queue was full: frames are not queued up to one at which a decoder can start.
    full: bool,
    /// The next frame that is queued follows a gap.
    gap: bool,
    ages: AgeGate,
}

/// Holds back frames of one track that are too old, and those that build on them.
#[derive(Debug, Default)]
pub(super) struct AgeGate {
    closed: bool,
    gap: bool,
}

impl AgeGate {
    /// Whether frames are missing before this one, if it passes. It was sent at `sent`.
    pub(super) fn pass(&mut self, frame: &Frame, sent: Duration, now: Duration) -> Option<bool> {
        if now.saturating_sub(sent) > AGE_MAX {
            self.lose(frame);
            return None;
        }
        if self.closed && !starts(frame) {
            return None;
        }
        self.closed = false;
        Some(std::mem::take(&mut self.gap))
    }

    /// This frame does not pass.
    fn lose(&mut self, frame: &Frame) {
        self.closed = frame.codec.kind() == Kind::Video;
        self.gap = true;
    }

    /// Whether it waits for a frame at which a decoder can start.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }
}

/// The next message.
#[derive(Debug)]
pub(super) enum NextWrite {
    Write(Packed),
    /// Everything has been written, and nothing follows.
    End,
    /// The other side does not read.
    Overflow,
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Self::Note(packed) => packed.len(),
            Self::Frame(outgoing, _) => outgoing.frame.data.len(),
        }
    }

    fn note_bytes(&self) -> usize {
        match self {
            Self::Note(packed) => packed.len(),
            Self::Frame(..) => 0,
        }
    }
}

impl Outbox {
    /// Queues a note, which is never dropped.
    pub(super) fn note(&self, note: &impl Serialize) -> Result<(), WireError> {
        self.push_note(Packed::note(note)?, BYTES_MAX, true);
        Ok(())
    }

    /// Queues a note that may be lost; false if it is.
    pub(super) fn log(&self, note: &impl Serialize) -> bool {
        Packed::note(note).is_ok_and(|packed| self.push_note(packed, LOG_BYTES_MAX, false))
    }

    fn push_note(&self, packed: Packed, most: usize, needed: bool) -> bool {
        let mut waiting = self.waiting();
        let fits = !waiting.closed && waiting.note_bytes + packed.len() <= most;
        if fits {
            waiting.push(Entry::Note(packed));
        } else if needed && !waiting.closed {
            waiting.overflowed = true;
        }
        drop(waiting);
        self.ready.notify_one();
        fits
    }

    /// Queues a frame, at `now` on the monotonic clock.
    pub(super) fn frame(&self, outgoing: OutgoingFrame, now: Duration) -> FrameFate {
        let mut waiting = self.waiting();
        if waiting.closed {
            return FrameFate::Dropped;
        }
        let frame_bytes = waiting.bytes - waiting.note_bytes;
        let full = frame_bytes + outgoing.frame.data.len() > BYTES_MAX;
        let track = waiting.tracks.entry(outgoing.track).or_default();
        if full {
            track.full = outgoing.frame.codec.kind() == Kind::Video;
            track.gap = true;
        }
        if full || track.full && !starts(&outgoing.frame) {
            return FrameFate::Dropped;
        }
        track.full = false;
        let mut outgoing = outgoing;
        outgoing.gap |= std::mem::take(&mut track.gap);
        waiting.push(Entry::Frame(outgoing, now));
        drop(waiting);
        self.ready.notify_one();
        FrameFate::Queued
    }

    /// Whether frames of a track are dropped until one comes at which a decoder can start.
    pub(super) fn waits_for_keyframe(&self, track: u16) -> bool {
        self.waiting()
            .tracks
            .get(&track)
            .is_some_and(|track| track.full || track.ages.is_closed())
    }

    /// Whether that holds for any track.
    pub(super) fn waits_for_any_keyframe(&self) -> bool {
        self.waiting()
            .tracks
            .values()
            .any(|track| track.full || track.ages.is_closed())
    }

    /// No more frames of this track are queued for now.
    pub(super) fn end_track(&self, track: u16) {
        self.waiting().tracks.remove(&track);
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.waiting().bytes
    }

    /// Frames that were queued and never written.
    pub(super) fn outdated(&self) -> u64 {
        self.waiting().outdated
    }

    /// Whether nothing more is queued.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting().closed
    }

    /// Nothing more is queued; what is there is still written.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.ready.notify_one();
    }

    /// The next message; waits for it. Only one task may call it.
    pub(super) async fn next(&self, now: impl Fn() -> Duration) -> NextWrite {
        loop {
            if let Some(next) = self.take(now()) {
                return next;
            }
            self.ready.notified().await;
        }
    }

    fn take(&self, now: Duration) -> Option<NextWrite> {
        let mut waiting = self.waiting();
        if waiting.overflowed {
            return Some(NextWrite::Overflow);
        }
        while let Some(entry) = waiting.pop() {
            match entry {
                Entry::Note(packed) => return Some(NextWrite::Write(packed)),
                Entry::Frame(outgoing, sent) => {
                    // Err: it does not fit a message, so it counts as lost.
                    if let Some(Ok(packed)) = waiting.pack(&outgoing, sent, now) {
                        return Some(NextWrite::Write(packed));
                    }
                }
            }
        }
        waiting.closed.then_some(NextWrite::End)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, entry: Entry) {
        self.bytes += entry.bytes();
        self.note_bytes += entry.note_bytes();
        self.entries.push_back(entry);
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.bytes();
        self.note_bytes -= entry.note_bytes();
        Some(entry)
    }

    /// A frame whose turn it is; `None` if it is too old, or builds on one that was.
    fn pack(
        &mut self,
        outgoing: &OutgoingFrame,
        sent: Duration,
        now: Duration,
    ) -> Option<Result<Packed, WireError>> {
        let track = self.tracks.entry(outgoing.track).or_default();
        let Some(gap) = track.ages.pass(&outgoing.frame, sent, now) else {
            self.outdated += 1;
            return None;
        };
        let gap = gap || outgoing.gap;
        let packed = Packed::frame(outgoing.track, gap, sent, &outgoing.frame);
        if packed.is_err() {
            track.ages.lose(&outgoing.frame);
        }
        Some(packed)
    }
}

/// Whether a decoder can start with this frame.
pub(super) fn starts(frame: &Frame) -> bool {
    let payloads = frame.ranges().filter_map(|range| frame.data.get(range));
    frame.keyframe || recovery::in_payloads(frame.codec, payloads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        media::Codec,
        worker::wire::{Decoder, WireMessage},
    };

    fn frame(codec: Codec, keyframe: bool, bytes: u32) -> OutgoingFrame {
        let frame = Frame {
            codec,
            keyframe,
            pts: Duration::ZERO,
            timestamp: 0,
            data: vec![0; bytes as usize].into(),
            ends: (1..=bytes / 1000).map(|count| count * 1000).collect(),
        };
        OutgoingFrame {
            track: u16::from(codec == Codec::Opus),
            gap: false,
            frame: Arc::new(frame),
        }
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// What is written at this time: of each frame its size, and whether there is a gap before it.
    fn written(outbox: &Outbox, now: Duration) -> Vec<(usize, bool)> {
        let mut frames = Vec::new();
        while let Some(NextWrite::Write(packed)) = outbox.take(now) {
            let mut decoder = Decoder::<String>::new();
            decoder.buffer.extend_from_slice(&packed.head);
            decoder.buffer.extend_from_slice(&packed.data);
            if let Some(WireMessage::Frame(sent)) = decoder.next().unwrap() {
                frames.push((sent.frame.data.len(), sent.gap));
            }
        }
        frames
    }

    #[test]
    fn old_frames_are_dropped_up_to_the_next_keyframe() {
        let outbox = Outbox::default();
        outbox.frame(frame(Codec::Vp8, true, 9000), ms(0));
        outbox.frame(frame(Codec::Vp8, false, 1000), ms(600));
        outbox.frame(frame(Codec::Opus, true, 1000), ms(90));
        outbox.frame(frame(Codec::Opus, true, 2000), ms(610));
        outbox.frame(frame(Codec::Vp8, true, 8000), ms(620));
        outbox.frame(frame(Codec::Vp8, false, 3000), ms(630));
        outbox.note(&"never dropped").unwrap();
        let expected = [(2000, true), (8000, true), (3000, false)];
        assert_eq!(written(&outbox, ms(700)), expected);
        assert_eq!(outbox.waiting().bytes, 0);
    }

    #[test]
    fn excess_frames_are_dropped_up_to_the_next_keyframe() {
        let outbox = Outbox::default();
        let push = |keyframe, bytes| outbox.frame(frame(Codec::Vp8, keyframe, bytes), ms(0));
        assert_eq!(push(true, 8_000_000), FrameFate::Queued);
        assert_eq!(push(false, 1_000_000), FrameFate::Dropped);
        assert_eq!(
            push(false, 1000),
            FrameFate::Dropped,
            "it builds on the lost one"
        );
        assert_eq!(push(true, 2000), FrameFate::Queued);
        assert_eq!(push(false, 3000), FrameFate::Queued);
        let expected = [(8_000_000, false), (2000, true), (3000, false)];
        assert_eq!(written(&outbox, ms(0)), expected);
    }

    #[test]
    fn notes_that_nobody_reads_end_the_connection_and_log_lines_do_not() {
        let outbox = Outbox::default();
        let line = "x".repeat(1000);
        let kept = (0..2000).take_while(|_| outbox.log(&line)).count();
        assert!((1000..1050).contains(&kept), "{kept}");
        assert!(matches!(outbox.take(ms(0)), Some(NextWrite::Write(_))));
        for _ in 0..9000 {
            outbox.note(&line).unwrap();
        }
        assert!(matches!(outbox.take(ms(0)), Some(NextWrite::Overflow)));
    }

    #[test]
    fn frames_that_nobody_reads_leave_room_for_notes() {
        let outbox = Outbox::default();
        while outbox.frame(frame(Codec::Vp8, true, 1_000_000), ms(0)) == FrameFate::Queued {}
        let line = "x".repeat(1000);
        for _ in 0..1000 {
            outbox.note(&line).unwrap();
        }
        assert!(matches!(outbox.take(ms(0)), Some(NextWrite::Write(_))));
        assert_eq!(
            outbox.frame(frame(Codec::Vp8, true, 1_000_000), ms(0)),
            FrameFate::Queued,
            "notes leave room for frames"
        );
    }

    #[tokio::test]
    async fn the_end_comes_after_what_is_queued() {
        let outbox = Outbox::default();
        outbox.note(&"last").unwrap();
        outbox.close();
        outbox.note(&"too late").unwrap();
        assert!(matches!(outbox.next(|| ms(0)).await, NextWrite::Write(_)));
        assert!(matches!(outbox.next(|| ms(0)).await, NextWrite::End));
    }
}
