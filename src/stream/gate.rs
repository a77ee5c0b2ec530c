//! What a queue takes: after a loss, video only from the next frame on at which a decoder can start.

use std::time::Instant;

use crate::media::{KeyframeRequestLimit, Kind};

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueVerdict {
    /// Queue it.
    Pass {
        /// It does not continue the one before.
        discontinuous: bool,
    },
    /// It is lost.
    Drop,
    /// It is lost: request a keyframe.
    Ask,
}

/// In front of a queue that drops what does not fit.
#[derive(Debug)]
pub struct QueueGate {
    kind: Kind,
    /// Whether it waits for a keyframe.
    waiting: bool,
    discontinuous: bool,
    requests: KeyframeRequestLimit,
}

impl QueueGate {
    /// The gate of a queue that nothing has passed yet.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            waiting: kind == Kind::Video,
            discontinuous: true,
            requests: KeyframeRequestLimit::default(),
        }
    }

    /// The next frame does not continue the stream.
    pub fn interrupt(&mut self) {
        self.waiting = self.kind == Kind::Video;
        self.discontinuous = true;
    }

    /// What to do with a frame. `full`: there is no room for it. `starts`: a decoder can start with
    /// it.
    pub fn judge(&mut self, full: bool, starts: bool, now: Instant) -> QueueVerdict {
        if full {
            self.interrupt();
            return QueueVerdict::Drop; // a keyframe now would be lost too
        }
        if !self.waiting || starts {
            return QueueVerdict::Pass {
                discontinuous: self.pass(),
            };
        }
        if self.requests.admits(now) {
            QueueVerdict::Ask
        } else {
            QueueVerdict::Drop
        }
    }

    /// Lets a frame pass. Whether it does not continue the one before.
    pub(super) const fn pass(&mut self) -> bool {
        self.waiting = false;
        std::mem::replace(&mut self.discontinuous, false)
    }

    /// A keyframe is being requested.
    pub(super) const fn note_request(&mut self, now: Instant) {
        self.requests.note(now);
    }
}
