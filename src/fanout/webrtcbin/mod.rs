//! Viewers on webrtcbin: the worker pushes packets into it, a whole frame at a time, and the engine
//! does the rest.
//!
//! Work that many viewers have in common is done once: a frame's packets are shared by all viewers
//! whose headers come out the same. After a join these are all with the same payload type, because
//! numbering follows the rendition. It saves memory more than time: the engine keeps what it may
//! have to send again (1.4 instead of 1.9 MB a viewer at 2.5 Mb/s), while encrypting and sending
//! takes most of the 30 us a packet.
//!
//! - `viewer`: one viewer on its worker.
//! - `numbering`: how packets are numbered, so that they can be shared.
//! - `handle`: the session's handle of a viewer, and how a viewer begins.
//! - `connection`, `options`, `pads`, `retransmission`: its peer connection, and the pipeline around it.
//! - `outlet`: the path of packets into it.
//! - this file: all such viewers of one worker.

mod connection;
mod handle;
mod numbering;
mod options;
mod outlet;
mod pads;
mod retransmission;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod viewer;

use std::{collections::HashMap, time::Instant};

use self::numbering::Numbering;
pub use self::{handle::WebrtcbinHandle, options::ConnectionOptions};
pub(super) use self::{options::Feedback, viewer::WebrtcbinViewer};
use super::direct::Context;
use crate::{
    peer::End,
    playout::{Arrival, RenditionCaches, Target},
};

/// All such viewers of one worker.
#[derive(Default)]
pub(super) struct WebrtcbinViewers {
    viewers: HashMap<u64, Box<WebrtcbinViewer>>,
    numberings: HashMap<u64, Numbering>,
    /// Nothing is due for any viewer before this.
    wake: Option<Instant>,
}

impl WebrtcbinViewers {
    pub(super) fn join(&mut self, viewer: Box<WebrtcbinViewer>, now: Instant) {
        self.enter(viewer.key, &viewer.playout.renditions());
        self.viewers.insert(viewer.key, viewer);
        self.wake = Some(now);
    }

    /// Takes feedback from a viewer's connection.
    pub(super) fn feedback(
        &mut self,
        cx: &Context,
        renditions: &RenditionCaches,
        key: u64,
        feedback: Feedback,
    ) {
        let Some(viewer) = self.viewers.get_mut(&key) else {
            return;
        };
        match feedback {
            // It is served at once.
            Feedback::Connected => self.wake = Some(cx.now),
            Feedback::KeyframeWanted => {
                let heard = viewer.playout.keyframe_wanted(renditions, cx.now);
                cx.totals.asked_for_keyframe(heard);
                self.wake = earliest(self.wake, viewer.wake());
            }
        }
    }

    pub(super) fn select(&mut self, key: u64, layer: Option<usize>, now: Instant) {
        if let Some(viewer) = self.viewers.get_mut(&key) {
            viewer.playout.select(layer, now);
            self.wake = Some(now);
        }
    }

    pub(super) fn switch(
        &mut self,
        key: u64,
        to: Target,
        renditions: &RenditionCaches,
        now: Instant,
    ) {
        let Some(mut viewer) = self.viewers.remove(&key) else {
            return;
        };
        self.leave(key, &viewer.playout.renditions());
        let kind = to.kind;
        viewer.playout.set_rendition(to, now);
        self.enter(key, &viewer.playout.renditions());
        viewer.playout.switch(kind, renditions, now);
        self.viewers.insert(key, viewer);
        self.wake = Some(now);
    }

    /// A frame of a rendition has arrived, and is in its cache.
    pub(super) fn frame(&mut self, cx: &Context, arrival: &Arrival<'_>) {
        let Some(numbering) = self.numberings.get_mut(&arrival.rendition) else {
            return;
        };
        numbering.begin();
        let viewers = std::mem::take(&mut numbering.viewers);
        for key in &viewers {
            if let Some(viewer) = self.viewers.get_mut(key) {
                viewer.frame(&cx.totals, numbering, arrival, cx.now);
                self.wake = earliest(self.wake, viewer.wake());
            }
        }
        numbering.viewers = viewers;
        numbering.end(arrival.frame.ends.len());
    }

    /// When [`WebrtcbinViewers::run_timers`] is due next.
    pub(super) const fn wake(&self) -> Option<Instant> {
        self.wake
    }

    /// Does everything that is due by now.
    pub(super) fn run_timers(&mut self, cx: &Context, renditions: &RenditionCaches) {
        if self.wake.is_none_or(|at| at > cx.now) {
            return;
        }
        self.wake = None;
        for viewer in self.viewers.values_mut() {
            let due = viewer.wake().is_some_and(|at| at <= cx.now);
            if due || !viewer.playout.has_started() {
                viewer.tick(&cx.totals, renditions, &self.numberings, cx.now);
            }
            self.wake = earliest(self.wake, viewer.wake());
        }
    }

    pub(super) fn remove(&mut self, key: u64) {
        if let Some(viewer) = self.viewers.remove(&key) {
            self.leave(key, &viewer.playout.renditions());
        }
    }

    /// Tells the sessions of all viewers that these are over, and forgets them.
    pub(super) fn close_all(&mut self, why: End) {
        for (_, viewer) in self.viewers.drain() {
            viewer.close(why);
        }
        self.numberings.clear();
        self.wake = None;
    }

    fn enter(&mut self, key: u64, renditions: &[u64]) {
        for &rendition in renditions {
            let numbering = self.numberings.entry(rendition);
            let numbering = numbering.or_insert_with(|| Numbering::new(rendition));
            numbering.viewers.push(key);
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
