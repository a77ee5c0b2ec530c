//! Lends the tracks of this node's broadcasts to nodes whose viewers want them: each frame is sent
//! once, by subject; joining nodes get the frames since the keyframe, and missing frames are sent
//! again on request.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

use super::{
    ClusterShared,
    frames::{self, HEAD_BYTES},
    subject::{self, TrackName},
    want::Want,
};
use crate::{
    awake,
    media::{Frame, Kind},
    plan::Name,
    stream::StreamSubscription,
};

/// How long a track is sent after the last request for it.
pub(super) const LEASE: Duration = Duration::from_secs(3);
/// Requests that wait for the task of a track.
const REQUESTS_MAX: usize = 64;
/// How often to check leases.
const TICK: Duration = Duration::from_millis(500);
/// Bounds of what is kept to be sent again.
const FRAMES_MAX: usize = 1200;
const BYTES_MAX: usize = 16 << 20;
const TIME_MAX: Duration = Duration::from_secs(10);
/// Every frame of sound is a keyframe; this many are kept to fill gaps.
const AUDIO_FRAMES_MAX: usize = 100;

/// The tracks that this node lends.
#[derive(Default)]
pub(super) struct Taps {
    taps: Mutex<HashMap<TapKey, mpsc::Sender<TapRequest>>>,
}

/// A track in one claim to its broadcast.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TapKey {
    pub(super) broadcast: Name,
    pub(super) epoch: u64,
    pub(super) track: TrackName,
}

/// A node wants the track for another while.
struct TapRequest {
    /// Where to send the cached frames, and after which one; `None` if the node has all.
    again: Option<Again>,
    /// The first frame that is sent again.
    begins: oneshot::Sender<Option<u64>>,
}

struct Again {
    inbox: String,
    after: Option<u64>,
}

impl Taps {
    /// The task of a track. `open` starts it, if there is none.
    fn get(
        &self,
        key: &TapKey,
        open: impl FnOnce() -> Option<mpsc::Sender<TapRequest>>,
    ) -> Option<mpsc::Sender<TapRequest>> {
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        taps.retain(|_, sender| !sender.is_closed());
        if let Some(sender) = taps.get(key) {
            return Some(sender.clone());
        }
        let sender = open()?;
        taps.insert(key.clone(), sender.clone());
        Some(sender)
    }
}

/// Lends a track for another while, and sends again what a node lacks. `subscribe` opens it, if it
/// is not lent yet. Returns the first frame that is sent again.
pub(super) async fn lend(
    shared: &Arc<ClusterShared>,
    key: &TapKey,
    want: &Want,
    subscribe: impl FnOnce() -> Option<StreamSubscription>,
) -> Option<u64> {
    let sender = shared.taps.get(key, || {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let tap = Tap {
            subject: subject::frames(&key.broadcast, key.epoch, &key.track),
            kind: key.track.kind,
            shared: Arc::clone(shared),
            subscription: subscribe()?,
            requests,
            cache: Cache::new(awake::now()),
        };
        tracing::debug!(broadcast = %key.broadcast, track = %key.track, "lending a track");
        shared.spawn(tap.run());
        Some(sender)
    })?;
    let again = want.again.then(|| Again {
        inbox: format!("{}.{}", want.inbox, key.track),
        after: want.after,
    });
    let (begins, answer) = oneshot::channel();
    sender.send(TapRequest { again, begins }).await.ok()?;
    answer.await.ok().flatten()
}

/// One track that is lent.
struct Tap {
    subject: String,
    kind: Kind,
    shared: Arc<ClusterShared>,
    subscription: StreamSubscription,
    requests: mpsc::Receiver<TapRequest>,
    cache: Cache,
}

impl Tap {
    async fn run(mut self) {
        // Whoever asks gets the stream's cached frames.
        while let Some(next) = self.subscription.try_next() {
            self.cache.push(next.frame, self.kind);
        }
        let mut wanted = awake::now();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopping = self.shared.stopping.clone();
        loop {
            tokio::select! {
                next = self.subscription.next() => {
                    let Some(next) = next else { return };
                    let number = self.cache.push(Arc::clone(&next.frame), self.kind);
                    let subject = self.subject.clone();
                    self.send(&subject, number, &next.frame).await;
                }
                Some(request) = self.requests.recv() => {
                    wanted = awake::now();
                    self.answer(request).await;
                }
                _ = tick.tick() => if awake::since(wanted) >= LEASE {
                    return;
                },
                () = stopping.cancelled() => return,
            }
        }
    }

    async fn answer(&self, request: TapRequest) {
        let Some(Again { inbox, after }) = request.again else {
            // Err: the node is not waiting any more.
            let _ = request.begins.send(None);
            return;
        };
        let start = self.cache.start(after);
        let _ = request.begins.send(start);
        if let Some(start) = start {
            for (number, frame) in self.cache.from(start) {
                self.send(&inbox, number, frame).await;
            }
        }
    }

    /// Sends a frame, unless there is no connection: then it can be requested later.
    async fn send(&self, subject: &str, number: u64, frame: &Frame) {
        let connection = &self.shared.connection;
        if !connection.is_up() {
            return;
        }
        let sent = (self.shared.options.clock)();
        for message in frames::pack(number, sent, frame, connection.client.max_payload()) {
            let bytes = message.len() - HEAD_BYTES;
            if connection
                .client
                .publish(subject.to_owned(), message)
                .await
                .is_err()
            {
                return;
            }
            self.shared.counters.sent_bytes(bytes);
        }
        self.shared.counters.sent_frame();
    }
}

/// The newest frames of a track, numbered.
struct Cache {
    frames: VecDeque<Arc<Frame>>,
    /// Number of the first one.
    first: u64,
    bytes: usize,
    /// Number of the newest keyframe.
    keyframe: Option<u64>,
}

impl Cache {
    /// An empty cache. Numbers begin with the time, so that they go on where an earlier task of the
    /// same track has left off, or after that.
    fn new(now: Instant) -> Self {
        Self {
            frames: VecDeque::new(),
            first: micros(now),
            bytes: 0,
            keyframe: None,
        }
    }

    /// Takes the next frame; returns its number.
    fn push(&mut self, frame: Arc<Frame>, kind: Kind) -> u64 {
        let number = self.first + self.frames.len() as u64;
        if frame.keyframe {
            self.keyframe = Some(number);
        }
        self.bytes += frame.data.len();
        let newest = frame.pts;
        self.frames.push_back(frame);
        let frames_max = match kind {
            Kind::Video => FRAMES_MAX,
            Kind::Audio => AUDIO_FRAMES_MAX,
        };
        while self.frames.len() > frames_max
            || self.bytes > BYTES_MAX
            || self
                .frames
                .front()
                .is_some_and(|first| newest.saturating_sub(first.pts) > TIME_MAX)
        {
            let Some(dropped) = self.frames.pop_front() else {
                break;
            };
            self.bytes -= dropped.data.len();
            self.first += 1;
        }
        number
    }

    /// The first frame to send to a node that has everything up to `after`, or nothing.
    fn start(&self, after: Option<u64>) -> Option<u64> {
        let end = self.first + self.frames.len() as u64;
        match after {
            Some(after) if after + 1 >= self.first && after < end => Some(after + 1),
            _ => self.keyframe.filter(|keyframe| *keyframe >= self.first),
        }
    }

    fn from(&self, start: u64) -> impl Iterator<Item = (u64, &Arc<Frame>)> {
        let skipped = usize::try_from(start.saturating_sub(self.first)).unwrap_or(usize::MAX);
        (start..).zip(self.frames.iter().skip(skipped))
    }
}

/// Microseconds since some moment before the process began, the same for all tracks.
fn micros(now: Instant) -> u64 {
    static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let begin = *BEGIN.get_or_init(|| now);
    u64::try_from(now.saturating_duration_since(begin).as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::Codec;

    fn frame(number: u64, bytes: usize) -> Arc<Frame> {
        Arc::new(Frame {
            codec: Codec::H264,
            keyframe: number.is_multiple_of(10),
            pts: Duration::from_millis(number * 40),
            timestamp: number * 3600,
            data: Bytes::from(vec![1; bytes]),
            ends: vec![u32::try_from(bytes).unwrap()],
        })
    }

    fn cache(frames: u64, bytes: usize) -> Cache {
        let mut cache = Cache {
            first: 0,
            ..Cache::new(Instant::now())
        };
        for number in 0..frames {
            assert_eq!(cache.push(frame(number, bytes), Kind::Video), number);
        }
        cache
    }

    #[test]
    fn a_new_lease_gets_the_frames_since_the_keyframe() {
        let cache = cache(25, 100);
        let sent = |after| {
            let start = cache.start(after)?;
            Some(
                cache
                    .from(start)
                    .map(|(number, _)| number)
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(sent(None), Some((20..25).collect()));
        assert_eq!(sent(Some(13)), Some((14..25).collect()), "a gap");
        assert_eq!(sent(Some(24)), Some(vec![]));
        assert_eq!(sent(Some(25)), Some((20..25).collect()), "not from here");
        assert_eq!(Cache::new(Instant::now()).start(None), None);
    }

    #[test]
    fn kept_frames_are_bounded() {
        let by_time = cache(1000, 10);
        assert_eq!((by_time.first, by_time.frames.len()), (749, 251));
        assert_eq!(by_time.start(Some(700)), Some(990), "too long ago");
        let by_bytes = cache(20, 1 << 20);
        assert_eq!((by_bytes.first, by_bytes.bytes), (4, BYTES_MAX));
        let mut sound = Cache::new(Instant::now());
        for number in 0..500 {
            sound.push(frame(number, 10), Kind::Audio);
        }
        assert_eq!(sound.frames.len(), AUDIO_FRAMES_MAX);
    }
}
