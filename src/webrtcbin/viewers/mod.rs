//! Viewers on webrtcbin: packets are pushed into it, a whole frame at a time, and the engine does
//! the rest.
//!
//! Work that many viewers have in common is done once: a frame's packets are shared by all viewers
//! whose headers come out the same. After a join these are all with the same payload type, because
//! numbering follows the rendition. It saves memory more than time: the engine keeps what it may
//! have to send again (1.4 instead of 1.9 MB a viewer at 2.5 Mb/s), while encrypting and sending
//! takes most of the 30 us a packet.
//!
//! - `viewer`: one viewer.
//! - `numbering`: how packets are numbered, so that they can be shared.
//! - `sender`, `pads`, `retransmission`: its peer connection, and the pipeline around it.
//! - `outlet`: the path of packets into it.
//! - `setup`: what it needs, and what it reports.
//! - this file: all viewers of one process, and the renditions that they get.

mod numbering;
mod outlet;
mod pads;
mod retransmission;
mod sender;
mod setup;
#[cfg(test)]
pub(crate) mod testing;
mod viewer;

use std::{collections::HashMap, sync::Arc, time::Instant};

use self::numbering::Numbering;
pub(crate) use self::{
    numbering::ssrc,
    setup::{Feedback, OnFeedback},
    viewer::WebrtcbinViewer,
};
pub use self::{
    sender::SendingElement,
    setup::{SenderFigures, SenderSetup, SentTrack},
};
use crate::{
    media::Frame,
    playout::{Arrival, Backlog, GopLimits, RenditionCache, RenditionCaches, Target},
};

/// All viewers of one process.
#[derive(Default)]
pub(crate) struct WebrtcbinViewers {
    renditions: RenditionCaches,
    /// Number of the next frame of each rendition.
    next: HashMap<u64, u64>,
    viewers: HashMap<u64, Box<WebrtcbinViewer>>,
    numberings: HashMap<u64, Numbering>,
    /// Nothing is due for any viewer before this.
    wake: Option<Instant>,
}

impl WebrtcbinViewers {
    /// The frames of a rendition follow, the cached ones first.
    pub(crate) fn begin(&mut self, rendition: u64, backlog: Backlog, now: Instant) {
        let cache = RenditionCache::resumed(GopLimits::default(), now, backlog);
        self.renditions.insert(rendition, cache);
    }

    /// No more frames of this rendition follow.
    pub(crate) fn forget(&mut self, rendition: u64) {
        self.renditions.remove(&rendition);
        self.next.remove(&rendition);
    }

    pub(crate) fn join(&mut self, viewer: Box<WebrtcbinViewer>, now: Instant) {
        self.enter(viewer.key, &viewer.playout.renditions());
        self.viewers.insert(viewer.key, viewer);
        self.wake = Some(now);
    }

    /// Takes feedback from a viewer's connection.
    pub(crate) fn feedback(&mut self, key: u64, feedback: Feedback, now: Instant) {
        let Some(viewer) = self.viewers.get_mut(&key) else {
            return;
        };
        match feedback {
            // It is served at once.
            Feedback::Connected => self.wake = Some(now),
            Feedback::KeyframeWanted => {
                viewer.keyframe_wanted(&self.renditions, now);
                self.wake = earliest(self.wake, viewer.wake());
            }
        }
    }

    pub(crate) fn select(&mut self, key: u64, layer: Option<usize>, now: Instant) {
        if let Some(viewer) = self.viewers.get_mut(&key) {
            viewer.playout.select(layer, now);
            self.wake = Some(now);
        }
    }

    pub(crate) fn switch(&mut self, key: u64, to: Target, now: Instant) {
        let Some(mut viewer) = self.viewers.remove(&key) else {
            return;
        };
        self.leave(key, &viewer.playout.renditions());
        let kind = to.kind;
        viewer.playout.set_rendition(to, now);
        self.enter(key, &viewer.playout.renditions());
        viewer.playout.switch(kind, &self.renditions, now);
        self.viewers.insert(key, viewer);
        self.wake = Some(now);
    }

    /// A frame of a rendition has arrived; `gap` says that frames are missing before it.
    pub(crate) fn frame(&mut self, rendition: u64, gap: bool, frame: &Arc<Frame>, now: Instant) {
        let Some(cache) = self.renditions.get_mut(&rendition) else {
            return;
        };
        let next = self.next.entry(rendition).or_default();
        let number = *next + u64::from(gap);
        *next = number + 1;
        let arrival = Arrival {
            rendition,
            number,
            frame,
            continuity: cache.push(number, frame, now),
        };
        let Some(numbering) = self.numberings.get_mut(&rendition) else {
            return;
        };
        numbering.begin();
        let viewers = std::mem::take(&mut numbering.viewers);
        for key in &viewers {
            if let Some(viewer) = self.viewers.get_mut(key) {
                viewer.frame(numbering, &arrival, now);
                self.wake = earliest(self.wake, viewer.wake());
            }
        }
        numbering.viewers = viewers;
        numbering.end(frame.ends.len());
    }

    /// When [`WebrtcbinViewers::run_timers`] is due next.
    pub(crate) const fn wake(&self) -> Option<Instant> {
        self.wake
    }

    /// Does everything that is due by now.
    pub(crate) fn run_timers(&mut self, now: Instant) {
        if self.wake.is_none_or(|at| at > now) {
            return;
        }
        self.wake = None;
        for viewer in self.viewers.values_mut() {
            let due = viewer.wake().is_some_and(|at| at <= now);
            if due || !viewer.playout.has_started() {
                viewer.tick(&self.renditions, &self.numberings, now);
            }
            self.wake = earliest(self.wake, viewer.wake());
        }
    }

    pub(crate) fn remove(&mut self, key: u64) {
        if let Some(viewer) = self.viewers.remove(&key) {
            self.leave(key, &viewer.playout.renditions());
        }
    }

    fn enter(&mut self, key: u64, renditions: &[u64]) {
        for &rendition in renditions {
            self.numberings
                .entry(rendition)
                .or_insert_with(|| Numbering::new(rendition))
                .viewers
                .push(key);
        }
    }

    fn leave(&mut self, key: u64, renditions: &[u64]) {
        for rendition in renditions {
            if let Some(numbering) = self.numberings.get_mut(rendition) {
                numbering.viewers.retain(|other| *other != key);
                if numbering.viewers.is_empty() {
                    self.numberings.remove(rendition);
                }
            }
        }
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
