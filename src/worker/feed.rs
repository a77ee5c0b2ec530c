//! The frames of one rendition on their way to a worker that serves viewers.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    monotonic,
    note::ToWorker,
    queue::{FrameFate, Outbox, OutgoingFrame},
    shared::tell,
};
use crate::{media::Frame, playout::Backlog};

/// Where the frames of one rendition enter a worker. Nothing here waits: what does not fit is
/// dropped, up to the next keyframe.
#[derive(Clone)]
pub struct FrameFeed {
    pub(super) outbox: Arc<Outbox>,
    /// The rendition's key on the way.
    pub(super) track: u16,
    /// Frames that were queued for the worker, of all renditions.
    pub(super) queued: Arc<AtomicU64>,
}

impl fmt::Debug for FrameFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FrameFeed").field(&self.track).finish()
    }
}

impl FrameFeed {
    /// The frames of this rendition follow, the cached ones first.
    pub fn begin(&self, rendition: u64, backlog: Backlog) {
        let begin = ToWorker::BeginRendition {
            track: self.track,
            rendition,
            backlog,
        };
        tell(&self.outbox, &begin);
    }

    /// The next frame; `gap` says that frames are missing before it. Returns false if the worker is
    /// gone.
    pub fn push(&self, frame: &Arc<Frame>, gap: bool) -> bool {
        let outgoing = OutgoingFrame {
            track: self.track,
            gap,
            frame: Arc::clone(frame),
        };
        if self.outbox.frame(outgoing, monotonic()) == FrameFate::Queued {
            self.queued.fetch_add(1, Relaxed);
            return true;
        }
        !self.outbox.is_closed()
    }

    /// No more frames follow.
    pub fn end(&self) {
        self.outbox.end_track(self.track);
        tell(&self.outbox, &ToWorker::EndRendition { track: self.track });
    }

    /// Whether both lead to the same place.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.outbox, &other.outbox) && self.track == other.track
    }
}
