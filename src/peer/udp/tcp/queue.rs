//! The queue of one TCP connection.
//!
//! Checks overtake media, and are taken while media is late: a line that is too slow for the
//! pictures is still one that its session has.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{
    super::{Sent, stun},
    framed,
};

/// Bytes of media that wait for a connection: the start of a broadcast with a high bit rate.
const MEDIA_BYTES_MAX: usize = 2 << 20;
/// The first of them take nothing of what all connections share: slow clients cost the others no
/// more than that.
const OWN_BYTES: usize = 64 << 10;
/// Bytes of checks that wait for a connection.
const CHECK_BYTES_MAX: usize = 8 << 10;
/// How long bytes wait before they are late and no more media is taken: pictures would be late, and
/// a later keyframe is better.
const LATE_AFTER: Duration = Duration::from_secs(1);
/// How long a connection may be late.
const LATE_MAX: Duration = Duration::from_secs(10);

/// The queue of one connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    queue: Mutex<SendQueue>,
    changed: Notify,
    /// State that all connections share.
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct SendQueue {
    checks: Line,
    media: Line,
    /// Since when the frames wait that the kernel is taking now.
    under_way: Option<Instant>,
    bound: bool,
    ended: bool,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Frames>,
    bytes: usize,
}

/// Frames that were sent at one moment.
#[derive(Debug)]
pub(super) struct Frames {
    pub(super) bytes: Vec<u8>,
    at: Instant,
    /// Their share of what all connections have, until they are sent.
    _room: Option<OwnedSemaphorePermit>,
}

impl Frames {
    /// How long they may still take; `None` if the connection has been late for too long.
    pub(super) fn time_left(&self, now: Instant) -> Option<Duration> {
        (self.at + LATE_AFTER + LATE_MAX).checked_duration_since(now)
    }
}

impl Line {
    fn push(&mut self, frames: Frames) {
        self.bytes += frames.bytes.len();
        self.waiting.push_back(frames);
    }

    fn pop(&mut self) -> Option<Frames> {
        let frames = self.waiting.pop_front()?;
        self.bytes -= frames.bytes.len();
        Some(frames)
    }
}

impl SendQueue {
    fn is_late(&self, now: Instant) -> bool {
        let first = self.media.waiting.front().map(|frames| frames.at);
        let mut since = self.under_way.into_iter().chain(first);
        since.any(|since| now.saturating_duration_since(since) >= LATE_AFTER)
    }
}

impl Outgoing {
    pub(super) fn new(room: Arc<Semaphore>) -> Self {
        Self {
            queue: Mutex::default(),
            changed: Notify::new(),
            room,
        }
    }

    /// Takes `data` as frames of `segment` bytes each (the last may be shorter). Never waits.
    pub(super) fn send(&self, data: &[u8], segment: usize, now: Instant) -> Sent {
        let bytes = framed(data, segment);
        let is_check = data.len() <= segment && stun::is_stun(data);
        let mut queue = self.queue();
        if queue.ended {
            return Sent::Failed;
        }
        let line = if is_check {
            &queue.checks
        } else {
            &queue.media
        };
        let length = line.bytes + bytes.len();
        let fits = if is_check {
            length <= CHECK_BYTES_MAX
        } else {
            length <= MEDIA_BYTES_MAX && !queue.is_late(now)
        };
        if !fits {
            return Sent::Full;
        }
        let room = if is_check || length <= OWN_BYTES {
            None
        } else {
            let Some(room) = self.reserve(bytes.len()) else {
                return Sent::Full;
            };
            Some(room)
        };
        let frames = Frames {
            bytes,
            at: now,
            _room: room,
        };
        if is_check {
            queue.checks.push(frames);
        } else {
            queue.media.push(frames);
        }
        drop(queue);
        self.changed.notify_one();
        Sent::Taken
    }

    fn reserve(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room)
            .try_acquire_many_owned(u32::try_from(bytes).ok()?)
            .ok()
    }

    /// The next frames to send; `None` after the last.
    pub(super) async fn next(&self) -> Option<Frames> {
        loop {
            {
                let mut queue = self.queue();
                let next = queue.checks.pop().or_else(|| queue.media.pop());
                queue.under_way = next.as_ref().map(|frames| frames.at);
                if next.is_some() || queue.ended {
                    return next;
                }
            }
            self.changed.notified().await;
        }
    }

    /// A session has the connection.
    pub(super) fn bind(&self) {
        self.queue().bound = true;
    }

    pub(super) fn is_bound(&self) -> bool {
        self.queue().bound
    }

    /// The connection ends once everything is sent.
    pub(super) fn end(&self) {
        self.queue().ended = true;
        self.changed.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, SendQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;

    const CHECK: [u8; 20] = [0; 20];

    fn outgoing() -> Outgoing {
        Outgoing::new(Arc::new(Semaphore::new(4 * MEDIA_BYTES_MAX)))
    }

    fn next(outgoing: &Outgoing) -> Option<Vec<u8>> {
        block_on(outgoing.next()).map(|frames| frames.bytes)
    }

    #[test]
    fn a_queue_takes_no_more_bytes_than_it_has_room_for() {
        let (outgoing, now) = (outgoing(), Instant::now());
        let data = vec![9; 60_000];
        let taken = (0..100).take_while(|_| outgoing.send(&data, 1200, now) == Sent::Taken);
        assert_eq!(taken.count(), MEDIA_BYTES_MAX / (60_000 + 50 * 2));
        assert_eq!(outgoing.send(&data, 1200, now), Sent::Full);
    }

    #[test]
    fn a_queue_takes_no_media_while_its_oldest_bytes_are_late() {
        let (outgoing, now) = (outgoing(), Instant::now());
        let late = now + LATE_AFTER;
        assert_eq!(outgoing.send(&[9], 1, now), Sent::Taken);
        assert_eq!(outgoing.send(&[10], 1, late), Sent::Full);
        // The kernel is slow to take them.
        assert_eq!(next(&outgoing), Some(vec![0, 1, 9]));
        assert_eq!(outgoing.send(&[11], 1, late), Sent::Full);
        outgoing.end();
        assert_eq!(next(&outgoing), None, "the kernel has them");
        assert_eq!(outgoing.send(&[12], 1, now), Sent::Failed);
    }

    #[test]
    fn checks_overtake_late_media() {
        let (outgoing, now) = (outgoing(), Instant::now());
        let late = now + LATE_AFTER;
        assert_eq!(outgoing.send(&[9; 30], 10, now), Sent::Taken);
        assert_eq!(outgoing.send(&[9; 30], 10, now), Sent::Taken);
        let checks = (0..10_000).take_while(|_| outgoing.send(&CHECK, 20, late) == Sent::Taken);
        assert_eq!(checks.count(), CHECK_BYTES_MAX / (CHECK.len() + 2));
        assert_eq!(next(&outgoing), Some(framed(&CHECK, 20)));
        // A check in flight does not show that media is on time.
        assert_eq!(outgoing.send(&[9], 1, late), Sent::Full);
        while next(&outgoing) == Some(framed(&CHECK, 20)) {}
        assert_eq!(next(&outgoing), Some(framed(&[9; 30], 10)));
    }

    #[test]
    fn all_connections_share_one_budget_beyond_their_first_bytes() {
        let room = Arc::new(Semaphore::new(MEDIA_BYTES_MAX));
        let now = Instant::now();
        let data = vec![9; 60_000];
        let fill = |outgoing: &Outgoing| {
            (0..100)
                .take_while(|_| outgoing.send(&data, 1200, now) == Sent::Taken)
                .count()
        };
        let greedy: Vec<_> = (0..2).map(|_| Outgoing::new(Arc::clone(&room))).collect();
        let taken = greedy.iter().map(fill).sum::<usize>();
        let all = (MEDIA_BYTES_MAX + 2 * OWN_BYTES) / data.len();
        assert!((all - 2..=all).contains(&taken), "{taken}");
        let modest = Outgoing::new(Arc::clone(&room));
        assert_eq!(fill(&modest), 1);
        assert_eq!(modest.send(&CHECK, 20, now), Sent::Taken);
        // Sent and dropped frames make room.
        drop(greedy);
        assert_eq!(room.available_permits(), MEDIA_BYTES_MAX);
        assert!(fill(&modest) > 1);
    }
}
