//! The channel to a worker, and a viewer's place on it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::TrySendError,
    },
    thread::Thread,
};

use super::{message::Message, queue::QueueSenders, statistics::Totals};
use crate::playout::Target;

/// The channel to one worker.
#[derive(Clone)]
pub(super) struct WorkerHandle {
    queues: QueueSenders,
    thread: Thread,
    viewers: Arc<AtomicUsize>,
    pub(super) totals: Arc<Totals>,
}

impl WorkerHandle {
    /// `thread` runs the worker.
    pub(super) fn new(queues: QueueSenders, thread: Thread, totals: Arc<Totals>) -> Self {
        Self {
            queues,
            thread,
            viewers: Arc::default(),
            totals,
        }
    }

    /// Returns false, and drops the message, if the worker is overloaded.
    pub(super) fn tell(&self, message: Message) -> bool {
        let told = self.queues.of(&message).try_send(message).is_ok();
        self.thread.unpark();
        told
    }

    /// Makes the worker end. Returns false if its queue is full.
    pub(super) fn stop(&self) -> bool {
        let stop = Message::Stop;
        let told = self.queues.of(&stop).try_send(stop);
        self.thread.unpark();
        !matches!(told, Err(TrySendError::Full(_)))
    }

    /// How many viewers have a place on it.
    pub(super) fn viewers(&self) -> usize {
        self.viewers.load(Relaxed)
    }
}

/// A viewer's place on a worker; given up when dropped.
pub(super) struct WorkerPlace {
    pub(super) key: u64,
    pub(super) worker: WorkerHandle,
}

impl WorkerPlace {
    pub(super) fn new(key: u64, worker: &WorkerHandle) -> Self {
        worker.viewers.fetch_add(1, Relaxed);
        Self {
            key,
            worker: worker.clone(),
        }
    }

    /// Gives the viewer this layer of its picture, or leaves the choice to the server. If the
    /// worker is overloaded, nothing changes.
    pub(super) fn select(&self, layer: Option<usize>) {
        self.worker.tell(Message::Select {
            viewer: self.key,
            layer,
        });
    }

    /// Sends the viewer another rendition of a track. Returns false if the worker is
    /// overloaded: then nothing has changed.
    pub(super) fn switch(&self, to: Target) -> bool {
        self.worker.tell(Message::Switch {
            viewer: self.key,
            to,
        })
    }
}

impl Drop for WorkerPlace {
    fn drop(&mut self) {
        self.worker.viewers.fetch_sub(1, Relaxed);
    }
}
