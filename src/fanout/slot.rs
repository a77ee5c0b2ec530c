//! The channel to a worker, and a viewer's place on it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
    mpsc::{SyncSender, TrySendError},
};

use super::{message::Message, statistics::Totals, target::Target};

/// The channel to one worker.
#[derive(Clone)]
pub(super) struct WorkerHandle {
    queue: SyncSender<Message>,
    viewers: Arc<AtomicUsize>,
    pub(super) totals: Arc<Totals>,
}

impl WorkerHandle {
    pub(super) fn new(queue: SyncSender<Message>, totals: Arc<Totals>) -> Self {
        Self {
            queue,
            viewers: Arc::default(),
            totals,
        }
    }

    /// Returns false, and drops the message, if the worker is overloaded.
    pub(super) fn tell(&self, message: Message) -> bool {
        self.queue.try_send(message).is_ok()
    }

    /// Makes the worker end. Returns false if its queue is full.
    pub(super) fn stop(&self) -> bool {
        !matches!(
            self.queue.try_send(Message::Stop),
            Err(TrySendError::Full(_))
        )
    }

    /// How many viewers have a place on it.
    pub(super) fn viewers(&self) -> usize {
        self.viewers.load(Relaxed)
    }
}

/// A viewer's place on a worker; given up when dropped.
pub(super) struct ViewerSlot {
    pub(super) key: u64,
    pub(super) worker: WorkerHandle,
}

impl ViewerSlot {
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

impl Drop for ViewerSlot {
    fn drop(&mut self) {
        self.worker.viewers.fetch_sub(1, Relaxed);
    }
}
