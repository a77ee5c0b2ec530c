//! A subscriber's share of a stream: a bounded queue that drops what does not fit.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{QueueGate, QueueVerdict, SharedStream};
use crate::{
    awake,
    media::{Frame, Kind},
};

/// Bytes that may wait for one subscriber: two of the largest cached GOPs.
const BYTES_MAX: usize = 16 << 20;
/// Frames that may wait for one subscriber: four of the longest cached GOPs.
const FRAMES_MAX: usize = 4800;
/// How long a frame may wait. A subscriber that is further behind continues at the next keyframe.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// How long a frame may wait that is held: an output may take half of this to finish a file, and the
/// other half to begin the next.
const HELD_WAIT_MAX: Duration = Duration::from_secs(10);

/// A frame on its way to a subscriber.
#[derive(Clone, Debug)]
pub struct StreamFrame {
    /// The frame.
    pub frame: Arc<Frame>,
    /// It does not continue the one before: it is the first one, frames are missing, or another
    /// publisher or layer has begun.
    pub discontinuous: bool,
}

/// A subscriber, as its stream sees it.
pub(super) struct Subscriber {
    pub(super) id: u64,
    pub(super) gate: QueueGate,
    queue: Arc<SubscriberQueue>,
}

#[derive(Debug, Default)]
struct SubscriberQueue {
    waiting: Mutex<Waiting>,
    ready: Notify,
    losses: Losses,
}

/// Counts the frames that one subscriber has lost.
#[derive(Clone, Debug, Default)]
pub struct Losses(Arc<AtomicU64>);

impl Losses {
    /// Frames lost because the subscriber did not keep up, or waited for a keyframe.
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn add(&self, frames: usize) {
        self.0.fetch_add(frames as u64, Relaxed);
    }
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<QueuedFrame>,
    bytes: usize,
    /// Frames have been dropped that had waited too long: what follows does not continue.
    broken: bool,
    /// The stream has ended.
    over: bool,
    /// See [`StreamSubscription::held`].
    held: bool,
}

#[derive(Debug)]
struct QueuedFrame {
    frame: StreamFrame,
    since: Instant,
}

impl SubscriberQueue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Whether the oldest frame has waited too long.
    fn is_late(&self, now: Instant) -> bool {
        let most = if self.held { HELD_WAIT_MAX } else { WAIT_MAX };
        self.frames
            .front()
            .is_some_and(|oldest| now.saturating_duration_since(oldest.since) > most)
    }

    fn is_full(&self, more: usize, now: Instant) -> bool {
        self.bytes + more > BYTES_MAX || self.frames.len() >= FRAMES_MAX || self.is_late(now)
    }

    fn push(&mut self, frame: StreamFrame, now: Instant) {
        self.bytes += frame.frame.data.len();
        self.frames.push_back(QueuedFrame { frame, since: now });
    }

    fn pop(&mut self, now: Instant, losses: &Losses) -> Option<StreamFrame> {
        if self.is_late(now) {
            losses.add(self.frames.len());
            self.frames.clear();
            self.bytes = 0;
            self.broken = true;
        }
        let QueuedFrame { frame, .. } = self.frames.pop_front()?;
        self.bytes -= frame.frame.data.len();
        Some(frame)
    }
}

impl Subscriber {
    pub(super) fn new(id: u64, kind: Kind) -> Self {
        Self {
            id,
            gate: QueueGate::new(kind),
            queue: Arc::default(),
        }
    }

    /// Queues a cached GOP, if there is one.
    pub(super) fn begin(&mut self, gop: &[Arc<Frame>], now: Instant) {
        let mut waiting = self.queue.waiting();
        for frame in gop {
            let frame = StreamFrame {
                frame: Arc::clone(frame),
                discontinuous: self.gate.pass(),
            };
            waiting.push(frame, now);
        }
    }

    /// Queues a frame, if it is of use and there is room. `starts`: a decoder can start with it.
    pub(super) fn offer(&mut self, frame: &Arc<Frame>, starts: bool, now: Instant) -> QueueVerdict {
        let mut waiting = self.queue.waiting();
        if std::mem::take(&mut waiting.broken) {
            self.gate.interrupt();
        }
        let full = waiting.is_full(frame.data.len(), now);
        let verdict = self.gate.judge(full, starts, now);
        let QueueVerdict::Pass { discontinuous } = verdict else {
            self.queue.losses.add(1);
            return verdict;
        };
        let frame = StreamFrame {
            frame: Arc::clone(frame),
            discontinuous,
        };
        waiting.push(frame, now);
        drop(waiting);
        self.queue.ready.notify_one();
        verdict
    }

    /// The other end.
    pub(super) fn subscription(
        &self,
        stream: &Arc<SharedStream>,
        present: Option<Duration>,
    ) -> StreamSubscription {
        StreamSubscription {
            stream: Arc::downgrade(stream),
            id: self.id,
            queue: Arc::clone(&self.queue),
            present,
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.queue.waiting().over = true;
        self.queue.ready.notify_one();
    }
}

/// The frames of a stream from some moment on. Ends when it is dropped, or with the stream.
#[derive(Debug)]
pub struct StreamSubscription {
    stream: Weak<SharedStream>,
    id: u64,
    queue: Arc<SubscriberQueue>,
    present: Option<Duration>,
}

impl StreamSubscription {
    /// The next frame, when there is one. `None` once the stream has ended. Nothing is lost if the
    /// future is dropped.
    pub async fn next(&mut self) -> Option<StreamFrame> {
        loop {
            if let Some(frame) = self.try_next() {
                return Some(frame);
            }
            if self.queue.waiting().over {
                return None;
            }
            self.queue.ready.notified().await;
        }
    }

    /// The next frame, if there is one.
    pub fn try_next(&mut self) -> Option<StreamFrame> {
        self.queue.waiting().pop(awake::now(), &self.queue.losses)
    }

    /// The same for a pipeline that is yet to start: frames wait for longer.
    #[must_use]
    pub fn held(self) -> Self {
        self.queue.waiting().held = true;
        self
    }

    /// When the newest earlier frame was due: those up to it are only there to start from. `None`
    /// if there were none.
    pub const fn present(&self) -> Option<Duration> {
        self.present
    }

    /// Counts the frames that are lost.
    pub fn losses(&self) -> &Losses {
        &self.queue.losses
    }
}

impl Drop for StreamSubscription {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.upgrade() {
            stream.unsubscribe(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{media::KEYFRAME_PAUSE, stream::tests::video};

    fn subscriber() -> Subscriber {
        Subscriber::new(1, Kind::Video)
    }

    fn offer(
        subscriber: &mut Subscriber,
        bytes: usize,
        starts: bool,
        now: Instant,
    ) -> QueueVerdict {
        let frame = Arc::new(video(Duration::ZERO, bytes, starts));
        subscriber.offer(&frame, starts, now)
    }

    fn taken(subscriber: &Subscriber, now: Instant) -> Vec<bool> {
        let queue = &subscriber.queue;
        let frames = std::iter::from_fn(|| queue.waiting().pop(now, &queue.losses));
        frames.map(|frame| frame.discontinuous).collect()
    }

    fn dropped(subscriber: &Subscriber) -> u64 {
        subscriber.queue.losses.count()
    }

    #[test]
    fn a_full_queue_loses_frames_up_to_the_next_keyframe() {
        let (mut subscriber, now) = (subscriber(), Instant::now());
        assert_eq!(offer(&mut subscriber, 9, false, now), QueueVerdict::Ask);
        assert_eq!(
            offer(&mut subscriber, 9, false, now),
            QueueVerdict::Drop,
            "asked"
        );
        for _ in 0..3 {
            offer(&mut subscriber, 6 << 20, true, now);
        }
        assert_eq!(
            taken(&subscriber, now),
            [true, false],
            "the third is too much"
        );
        assert_eq!(offer(&mut subscriber, 9, false, now), QueueVerdict::Drop);
        let later = now + KEYFRAME_PAUSE;
        assert_eq!(offer(&mut subscriber, 9, false, later), QueueVerdict::Ask);
        offer(&mut subscriber, 9, true, later);
        offer(&mut subscriber, 9, false, later);
        assert_eq!(taken(&subscriber, later), [true, false]);
        assert_eq!(dropped(&subscriber), 5);
    }

    #[test]
    fn frames_that_have_waited_too_long_are_dropped() {
        let (mut subscriber, now) = (subscriber(), Instant::now());
        offer(&mut subscriber, 9, true, now);
        offer(&mut subscriber, 9, false, now);
        let late = now + WAIT_MAX + Duration::from_millis(1);
        assert_eq!(
            offer(&mut subscriber, 9, true, late),
            QueueVerdict::Drop,
            "nobody takes it"
        );
        assert!(taken(&subscriber, late).is_empty());
        assert_eq!(dropped(&subscriber), 3);
        assert_eq!(offer(&mut subscriber, 9, false, late), QueueVerdict::Ask);
        offer(&mut subscriber, 9, true, late);
        assert_eq!(taken(&subscriber, late), [true]);
    }

    #[test]
    fn held_frames_wait_until_a_pipeline_has_started() {
        let now = Instant::now();
        let mut subscriber = subscriber();
        subscriber.queue.waiting().held = true;
        for second in 0..10 {
            let at = now + Duration::from_secs(second);
            offer(&mut subscriber, 9, second == 0, at);
        }
        let started = now + HELD_WAIT_MAX;
        assert_eq!(taken(&subscriber, started).len(), 10);
        assert_eq!(dropped(&subscriber), 0);
        offer(&mut subscriber, 9, false, started);
        let late = started + HELD_WAIT_MAX + Duration::from_millis(1);
        assert!(taken(&subscriber, late).is_empty());
    }
}
