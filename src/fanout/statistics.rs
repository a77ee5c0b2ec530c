//! Counters: of one worker, of all.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use crate::{awake, webrtcbin::viewers::SenderFigures};

/// A worker that has not taken a turn for this long is stuck: it takes one at least every second.
const STUCK: Duration = Duration::from_secs(5);
/// One that has not for this long hangs, and never will again.
const HANGING: Duration = Duration::from_secs(15);

/// The fan-out's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Statistics {
    /// RTP packets sent, retransmissions included.
    pub packets: u64,
    /// Bytes of these, encrypted, without UDP and IP headers.
    pub bytes: u64,
    /// Packets sent again on request.
    pub retransmitted: u64,
    /// Requests for packets past a viewer's retransmission budget.
    pub retransmissions_refused: u64,
    /// Viewers' requests for keyframes that came too soon after the previous one.
    pub keyframe_requests_capped: u64,
    /// Frames and datagrams dropped because the socket's buffer stayed full.
    pub send_dropped: u64,
    /// Sends that failed for another reason, such as no route to the viewer.
    pub send_failed: u64,
    /// Datagrams or frames that found a worker's queue full.
    pub queue_dropped: u64,
    /// Datagrams from unknown senders.
    pub unknown_datagrams: u64,
    /// Datagrams of sessions that got too many, or checks from too many addresses.
    pub datagrams_refused: u64,
    /// Panics that workers have recovered from; each ended the viewers of one worker.
    pub worker_panics: u64,
    /// Panics that tasks which read the UDP port have recovered from.
    pub reader_panics: u64,
}

/// The media sent to all viewers of one worker, and the worker's state.
#[derive(Debug)]
pub(super) struct Totals {
    pub(super) packets: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) retransmitted: AtomicU64,
    pub(super) refused: AtomicU64,
    capped: AtomicU64,
    /// Panics it has recovered from.
    panics: AtomicU64,
    begun: Instant,
    /// Milliseconds from `begun` to its last turn.
    turn: AtomicU64,
}

impl Totals {
    pub(super) fn new() -> Self {
        Self {
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            retransmitted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            capped: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            begun: awake::now(),
            turn: AtomicU64::new(0),
        }
    }

    /// A viewer has asked for a keyframe; `heard` is false if it asks too often.
    pub(super) fn requested_keyframe(&self, heard: bool) {
        if !heard {
            self.capped.fetch_add(1, Relaxed);
        }
    }

    /// A process has sent this to a viewer on webrtcbin.
    pub(super) fn sent_by_worker(&self, sent: SenderFigures) {
        for (total, more) in [
            (&self.packets, sent.packets),
            (&self.bytes, sent.bytes),
            (&self.retransmitted, sent.retransmitted),
            (&self.refused, sent.refused),
            (&self.capped, sent.capped),
        ] {
            total.fetch_add(more, Relaxed);
        }
    }

    /// The worker has recovered from a panic.
    pub(super) fn panic(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// The worker takes a turn.
    pub(super) fn turn(&self, now: Instant) {
        let since = now.saturating_duration_since(self.begun).as_millis();
        self.turn
            .store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn add_to(&self, sum: Statistics) -> Statistics {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        Statistics {
            packets: sum.packets + load(&self.packets),
            bytes: sum.bytes + load(&self.bytes),
            retransmitted: sum.retransmitted + load(&self.retransmitted),
            retransmissions_refused: sum.retransmissions_refused + load(&self.refused),
            keyframe_requests_capped: sum.keyframe_requests_capped + load(&self.capped),
            worker_panics: sum.worker_panics + load(&self.panics),
            ..sum
        }
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.since_turn() > STUCK
    }

    pub(super) fn hangs(&self) -> bool {
        self.since_turn() > HANGING
    }

    fn since_turn(&self) -> Duration {
        let turn = Duration::from_millis(self.turn.load(Relaxed));
        awake::since(self.begun).saturating_sub(turn)
    }
}
