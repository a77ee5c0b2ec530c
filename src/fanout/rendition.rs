//! The way in: frames of one track, numbered and handed to every worker.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, AtomicU64, Ordering},
    mpsc::SyncSender,
};

use super::worker::Message;
use crate::media::{Frame, FrameSink, Kind};

/// One encoding of a track of a broadcast, as the fan-out sees it. Freed when dropped.
#[derive(Clone)]
pub struct Rendition {
    feed: Arc<Feed>,
}

struct Feed {
    key: u64,
    kind: Kind,
    workers: Vec<SyncSender<Message>>,
    /// Number of the next frame. A gap tells the workers that frames are missing.
    number: AtomicU64,
    /// Counts the sinks; only the newest may feed.
    generation: AtomicU64,
    queue_dropped: Arc<AtomicU64>,
}

impl Rendition {
    pub(super) fn new(
        key: u64,
        kind: Kind,
        workers: Vec<SyncSender<Message>>,
        queue_dropped: Arc<AtomicU64>,
    ) -> Self {
        let feed = Feed {
            key,
            kind,
            workers,
            number: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            queue_dropped,
        };
        Self {
            feed: Arc::new(feed),
        }
    }

    /// One that no worker carries.
    #[cfg(test)]
    pub(crate) fn unconnected(key: u64, kind: Kind) -> Self {
        Self::new(key, kind, Vec::new(), Arc::default())
    }

    /// Tells it from every other rendition of the server.
    pub(crate) fn key(&self) -> u64 {
        self.feed.key
    }

    /// The entry for a new publisher's frames. It takes over from the sink before, and lets the
    /// first keyframe through first.
    pub fn sink(&self) -> FrameSink {
        let generation = self.feed.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let feed: Weak<Feed> = Arc::downgrade(&self.feed);
        let started = AtomicBool::new(false);
        Arc::new(move |frame| {
            if let Some(feed) = feed.upgrade() {
                feed.push(generation, &started, frame);
            }
        })
    }
}

impl Feed {
    fn push(&self, generation: u64, started: &AtomicBool, frame: Frame) {
        let current = self.generation.load(Ordering::Acquire) == generation;
        if !current || frame.codec.kind() != self.kind || frame.ends.is_empty() {
            return;
        }
        if !started.load(Ordering::Relaxed) {
            if !frame.keyframe {
                return;
            }
            started.store(true, Ordering::Relaxed);
            // What the publisher before has sent does not go on.
            self.number.fetch_add(1, Ordering::Relaxed);
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let frame = Arc::new(frame);
        for worker in &self.workers {
            let frame = Arc::clone(&frame);
            let message = Message::Frame {
                rendition: self.key,
                number,
                frame,
            };
            if worker.try_send(message).is_err() {
                self.queue_dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        for worker in &self.workers {
            // A full queue leaves an unused entry behind on that worker: bounded by the number
            // of broadcasts that ended in that very moment.
            drop(worker.try_send(Message::Forget {
                rendition: self.key,
            }));
        }
    }
}
