//! Viewers whose connection is an engine of its own (webrtcbin): the worker feeds it packets, a
//! whole frame at a time, and the engine does the rest.
//!
//! They see what the switcher lets them see, like all others. What is common to many of them is
//! made once: a frame's packets are shared by all whose headers come out the same, which after a
//! join is everybody with the same payload type, because numbering follows the rendition.
//! That saves memory more than time: the engine keeps what it may have to send again (1.4 instead of
//! 1.9 MB a viewer at 2.5 Mb/s), while encrypting and sending takes most of the 30 us a packet.
//!
//! - `viewer`: one viewer on its worker: what is pushed, and when.
//! - `layers`: which layer of a simulcast picture it gets.
//! - `handle`: the viewer as its session holds it, and how it begins.
//! - `connection`, `pads`, `retransmission`: its peer connection, and the pipeline around it.
//! - `outlet`: packets on their way into it.
//! - this file: all such viewers of one worker.

mod connection;
mod handle;
mod layers;
mod outlet;
mod pads;
mod retransmission;
#[cfg(test)]
mod tests;
mod viewer;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Instant,
};

pub use self::{connection::ConnectionOptions, handle::WebrtcbinHandle};
use self::{
    connection::Feedback,
    outlet::{Packets, RunHeader},
    viewer::WebrtcbinViewer,
};
use super::{
    direct::{Context, RenditionState},
    gop::{Continuity, Gop},
    tracks::Target,
};
use crate::media::{Frame, Kind};

/// Variants of one frame that are kept for others to share.
const SHARED_MAX: usize = 16;

/// What a worker is told about these viewers.
pub(super) enum Message {
    /// A new viewer; it may not be connected yet.
    Join(Box<WebrtcbinViewer>),
    /// A viewer's connection says something.
    Feedback(u64, Feedback),
    /// A viewer shall get this layer, or the best.
    Select(u64, Option<usize>),
    /// A viewer shall get another rendition of a track.
    Switch(u64, Kind, Target),
    /// A viewer goes.
    Leave(u64),
}

/// All such viewers of one worker.
#[derive(Default)]
pub(super) struct WebrtcbinViewers {
    viewers: HashMap<u64, WebrtcbinViewer>,
    numberings: HashMap<u64, Numbering>,
    /// No viewer wants anything before this.
    wake: Option<Instant>,
}

/// The numbers of a rendition's packets as its viewers see them, and the packets to share.
struct Numbering {
    /// Number of the next packet.
    next: u64,
    viewers: Vec<u64>,
    /// Packets of the newest frame.
    shared: Vec<(RunHeader, Packets)>,
}

impl Numbering {
    fn new(rendition: u64) -> Self {
        Self {
            // Far from zero, because cached packets are counted backwards.
            next: (1 << 48) + (mix(rendition) >> 48),
            viewers: Vec::new(),
            shared: Vec::new(),
        }
    }

    /// Number of the first packet in the cache, if all of it is still to be sent.
    fn of_cache(&self, gop: &Gop) -> u64 {
        let first = gop.keyframe().unwrap_or(gop.end());
        let packets: usize = (first..gop.end())
            .filter_map(|number| gop.at(number))
            .map(|(_, frame)| frame.ends.len())
            .sum();
        self.next - packets as u64
    }

    /// The packets of the newest frame with these headers.
    fn packets(&mut self, header: RunHeader, make: impl FnOnce() -> Packets) -> Packets {
        if let Some((_, packets)) = self.shared.iter().find(|(of, _)| *of == header) {
            return packets.clone();
        }
        let packets = make();
        if self.shared.len() < SHARED_MAX {
            self.shared.push((header, packets.clone()));
        }
        packets
    }
}

impl WebrtcbinViewers {
    pub(super) fn handle(
        &mut self,
        cx: &Context,
        renditions: &HashMap<u64, RenditionState>,
        message: Message,
    ) {
        match message {
            Message::Join(fed) => {
                self.enter(fed.key, &fed.renditions());
                self.wake = Some(cx.now);
                self.viewers.insert(fed.key, *fed);
            }
            Message::Feedback(key, heard) => {
                if let Some(fed) = self.viewers.get_mut(&key) {
                    match heard {
                        Feedback::Connected => self.wake = Some(cx.now),
                        Feedback::KeyframeWanted => fed.keyframe_wanted(cx),
                    }
                    self.wake = earliest(self.wake, Some(fed.wake()));
                }
            }
            Message::Select(key, layer) => {
                if let Some(fed) = self.viewers.get_mut(&key) {
                    fed.select(layer, cx.now);
                    self.wake = Some(cx.now);
                }
            }
            Message::Switch(key, kind, to) => {
                let Some(mut fed) = self.viewers.remove(&key) else {
                    return;
                };
                self.leave(key, &fed.renditions());
                fed.set_rendition(kind, to);
                self.enter(key, &fed.renditions());
                fed.switch_rendition(kind, cx.now, renditions);
                self.viewers.insert(key, fed);
                self.wake = Some(cx.now);
            }
            Message::Leave(key) => self.remove(key),
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

    /// A frame of a rendition has come in, and is in its cache.
    pub(super) fn frame(
        &mut self,
        cx: &Context,
        rendition: u64,
        (number, frame): (u64, &Arc<Frame>),
        continuity: Continuity,
    ) {
        let Some(numbering) = self.numberings.get_mut(&rendition) else {
            return;
        };
        numbering.shared.clear();
        let viewers = std::mem::take(&mut numbering.viewers);
        for key in &viewers {
            if let Some(fed) = self.viewers.get_mut(key) {
                fed.frame(cx, (rendition, numbering), (number, frame), continuity);
                self.wake = earliest(self.wake, Some(fed.wake()));
            }
        }
        numbering.viewers = viewers;
        numbering.next += frame.ends.len() as u64;
    }

    /// When [`WebrtcbinViewers::run_timers`] is due next.
    pub(super) const fn wake(&self) -> Option<Instant> {
        self.wake
    }

    /// Does whatever is due by now.
    pub(super) fn run_timers(&mut self, cx: &Context, renditions: &HashMap<u64, RenditionState>) {
        if self.wake.is_none_or(|at| at > cx.now) {
            return;
        }
        self.wake = None;
        for fed in self.viewers.values_mut() {
            if fed.wake() <= cx.now || !fed.has_started() {
                fed.tick(cx, renditions, &self.numberings);
            }
            self.wake = earliest(self.wake, Some(fed.wake()));
        }
    }

    fn remove(&mut self, key: u64) {
        if let Some(fed) = self.viewers.remove(&key) {
            self.leave(key, &fed.renditions());
        }
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

/// The SSRC of a rendition towards all viewers: each has a session of its own, with its own keys.
fn ssrc(rendition: u64, kind: Kind) -> u32 {
    // The lowest bit tells the kinds apart, the next keeps it from being zero.
    let random = (mix(rendition) >> 32) as u32 & !3 | 2;
    random | u32::from(kind == Kind::Video)
}

/// What is added to all timestamps of a rendition, so that they tell nothing (RFC 3550 §5.1).
fn timestamp_offset(rendition: u64) -> u32 {
    (mix(!rendition) >> 32) as u32
}

/// Different numbers in each process, the same for the same key.
fn mix(key: u64) -> u64 {
    static SALT: OnceLock<u64> = OnceLock::new();
    let salt = *SALT.get_or_init(|| getrandom::u64().unwrap_or(0x9e37_79b9_7f4a_7c15));
    // The finalizer of splitmix64.
    let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt;
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
