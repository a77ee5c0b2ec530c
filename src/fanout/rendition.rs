//! The input: frames of one track, numbered and handed to every worker.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use super::{message::Message, place::WorkerHandle};
use crate::media::{Codec, Frame, FrameSink, Kind, opus};

/// One encoding of a track of a broadcast, as the fan-out sees it. Freed when dropped.
#[derive(Clone)]
pub struct Rendition {
    input: Arc<Input>,
}

struct Input {
    key: u64,
    kind: Kind,
    workers: Arc<[WorkerHandle]>,
    /// Number of the next frame. A gap tells the workers that frames are missing.
    number: AtomicU64,
    /// Counts the sinks; frames of older sinks are ignored.
    generation: AtomicU64,
    queue_dropped: Arc<AtomicU64>,
    /// Whether the current sink has brought sound in stereo.
    stereo: AtomicBool,
}

impl Rendition {
    pub(super) fn new(
        key: u64,
        kind: Kind,
        workers: Arc<[WorkerHandle]>,
        queue_dropped: Arc<AtomicU64>,
    ) -> Self {
        let input = Input {
            key,
            kind,
            workers,
            number: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            queue_dropped,
            stereo: AtomicBool::new(false),
        };
        Self {
            input: Arc::new(input),
        }
    }

    /// One that no worker carries.
    #[cfg(test)]
    pub(crate) fn unconnected(key: u64, kind: Kind) -> Self {
        Self::new(key, kind, Arc::from([]), Arc::default())
    }

    /// Identifies it among all renditions of the server.
    pub(crate) fn key(&self) -> u64 {
        self.input.key
    }

    /// Whether its frames so far are sound in stereo.
    pub(super) fn is_stereo(&self) -> bool {
        self.input.stereo.load(Ordering::Relaxed)
    }

    /// The entry for a new publisher's frames. It replaces the previous sink, and lets nothing
    /// through before the first keyframe.
    pub fn sink(&self) -> FrameSink {
        let generation = self.input.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let input: Weak<Input> = Arc::downgrade(&self.input);
        let started = AtomicBool::new(false);
        Arc::new(move |frame| {
            if let Some(input) = input.upgrade() {
                input.push(generation, &started, frame);
            }
        })
    }
}

impl Input {
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
            // The previous publisher's frames do not continue.
            self.number.fetch_add(1, Ordering::Relaxed);
            self.stereo.store(false, Ordering::Relaxed);
        }
        if frame.codec == Codec::Opus && opus::is_stereo(&frame.data) {
            self.stereo.store(true, Ordering::Relaxed);
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (frame, at) = (Arc::new(frame), Instant::now());
        for worker in &*self.workers {
            let frame = Arc::clone(&frame);
            let message = Message::Frame {
                rendition: self.key,
                number,
                frame,
                at,
            };
            if !worker.tell(message) {
                self.queue_dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        for worker in &*self.workers {
            // A full queue leaves an unused entry on that worker: at most one for each broadcast
            // that ends at that very moment.
            worker.tell(Message::Forget {
                rendition: self.key,
            });
        }
    }
}
