//! The processes that serve the viewers of one broadcast, and the renditions that each gets.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crate::{
    fanout::{Fanout, error::Error, message::Message, place::WorkerPlace},
    worker::{PeerWorkers, WorkerViewers},
};

/// Starts processes for the viewers of one broadcast, when they come: one, unless there are more
/// viewers than it has room for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ViewerWorkers {
    peers: PeerWorkers,
    /// The broadcast.
    name: Arc<str>,
    running: Arc<tokio::sync::Mutex<Vec<Weak<Served>>>>,
}

impl ViewerWorkers {
    /// For the broadcast of this name.
    pub fn new(peers: PeerWorkers, name: &str) -> Self {
        Self {
            peers,
            name: name.into(),
            running: Arc::default(),
        }
    }

    /// The same for another broadcast.
    #[must_use]
    pub fn of(&self, name: &str) -> Self {
        Self::new(self.peers.clone(), name)
    }

    /// A process with room for a viewer; starts one if there is none. Concurrent callers wait for
    /// the same one.
    pub(super) async fn with_room(&self, fanout: &Fanout) -> Result<Arc<Served>, Error> {
        let mut running = self.running.lock().await;
        running.retain(|served| served.strong_count() > 0);
        let room = self.peers.viewers_max();
        let mut upgraded = running
            .iter()
            .filter(|served| served.strong_count() < room)
            .filter_map(Weak::upgrade);
        if let Some(served) = upgraded.find(|served| !served.worker.is_over()) {
            return Ok(served);
        }
        let span = tracing::error_span!(parent: None, "viewers", name = %self.name);
        let name = format!("viewers-{}", self.name);
        let started = self
            .peers
            .serve_viewers(&name, &span)
            .await
            .map_err(|error| {
                let passing = error.is_passing();
                Error::without_worker(error, passing)
            });
        let served = Arc::new(Served {
            worker: Arc::new(started?),
            place: fanout.place()?,
            renditions: Mutex::default(),
        });
        running.push(Arc::downgrade(&served));
        Ok(served)
    }
}

/// A process, and the renditions that it gets.
pub(super) struct Served {
    pub(super) worker: Arc<WorkerViewers>,
    /// On the thread that passes the renditions on.
    pub(super) place: WorkerPlace,
    renditions: Mutex<BTreeMap<u64, PassedRendition>>,
}

/// A rendition that the process gets.
struct PassedRendition {
    /// Its key on the way.
    track: u16,
    /// How many viewers may be sent it.
    viewers: usize,
}

impl Served {
    /// Makes sure that the process gets these renditions. Returns false if the thread is overloaded:
    /// then nothing has changed.
    pub(super) fn enter(&self, renditions: &[u64]) -> bool {
        for (at, &rendition) in renditions.iter().enumerate() {
            if !self.enter_one(rendition) {
                self.leave(renditions.get(..at).unwrap_or_default());
                return false;
            }
        }
        true
    }

    fn enter_one(&self, rendition: u64) -> bool {
        let mut renditions = self.renditions();
        if let Some(passed) = renditions.get_mut(&rendition) {
            passed.viewers += 1;
            return true;
        }
        let is_free = |track: &u16| renditions.values().all(|passed| passed.track != *track);
        let Some(track) = (0..=u16::MAX).find(is_free) else {
            return false;
        };
        let feed = self.worker.feed(track);
        let told = self.place.worker.tell(Message::Feed { rendition, feed });
        if told {
            renditions.insert(rendition, PassedRendition { track, viewers: 1 });
        }
        told
    }

    /// A viewer is no longer sent these renditions.
    pub(super) fn leave(&self, left: &[u64]) {
        let mut renditions = self.renditions();
        for rendition in left {
            if let Some(passed) = renditions.get_mut(rendition) {
                passed.viewers = passed.viewers.saturating_sub(1);
            }
        }
        // Retries those that an overloaded thread did not stop passing on.
        renditions
            .retain(|&rendition, passed| passed.viewers > 0 || !self.end(rendition, passed.track));
    }

    fn end(&self, rendition: u64, track: u16) -> bool {
        let feed = self.worker.feed(track);
        self.place.worker.tell(Message::Unfeed { rendition, feed })
    }

    fn renditions(&self) -> MutexGuard<'_, BTreeMap<u64, PassedRendition>> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.renditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        for (&rendition, passed) in &*self.renditions() {
            // A process that is gone gets no more frames: passing on ends with the next one.
            self.end(rendition, passed.track);
        }
    }
}
