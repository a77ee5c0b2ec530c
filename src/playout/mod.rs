//! What is sent to one viewer, and when: the same for viewers on both engines.
//!
//! A viewer joins at the cached keyframe and catches up faster than real time, in portions. Then it
//! gets frames as they arrive. It returns to the cached keyframe when it has fallen behind, or when
//! its decoder asks for a keyframe and the publisher does not send one. It may be switched to
//! another rendition, and chooses among the layers of a simulcast picture.
//!
//! Time is the argument `now`, and packets go out through a [`Sink`]: one for each engine.
//!
//! - `cache`, `gop`: the recent frames of a rendition.
//! - `sink`: the output.
//! - `track`, `target`: one track of a viewer, and which rendition it gets.
//! - `switcher`: which of its frames are sent, with which timestamps.
//! - `layers`, `selection`: which layer of a simulcast picture is sent.
//! - `requests`: how often keyframes are requested.
//! - `budget`: how much lost media is sent again.
//! - `statistics`: counters.

mod budget;
mod cache;
mod gop;
mod layers;
mod requests;
mod selection;
mod sink;
mod statistics;
mod switcher;
mod target;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod track;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tracing::Span;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use self::switcher::Switcher;
pub(crate) use self::{
    budget::RetransmissionBudget,
    cache::RenditionCache,
    gop::{Continuity, Gop},
    layers::LayerChoice,
    sink::{Delivery, Part, Sink},
    statistics::ViewerCounters,
    track::PlayoutTrack,
};
pub use self::{cache::Backlog, gop::GopLimits, statistics::ViewerStatistics, target::Target};
use self::{
    requests::{KEYFRAME_FRESH, KEYFRAME_PATIENCE, Refresh, RequestLimiter},
    track::CachePortion,
};
use crate::{
    media::{Frame, Kind},
    peer::Event,
};

/// Time between two portions while catching up.
const PACE_INTERVAL: Duration = Duration::from_millis(5);
/// A frame with more payload bytes than this is sent in portions.
const BURST_BYTES: usize = 64_000;

/// The renditions of a worker.
pub(crate) type RenditionCaches = HashMap<u64, RenditionCache>;

/// A frame that has arrived, and is in its rendition's cache.
pub(crate) struct Arrival<'a> {
    /// The key of its rendition.
    pub(crate) rendition: u64,
    pub(crate) number: u64,
    pub(crate) frame: &'a Arc<Frame>,
    pub(crate) continuity: Continuity,
}

/// What is sent to one viewer, and when.
pub(crate) struct Playout<S> {
    /// At most one of each kind.
    pub(crate) tracks: Vec<PlayoutTrack<S>>,
    events: mpsc::Sender<Event>,
    counters: Arc<ViewerCounters>,
    /// The session's span: workers serve many.
    span: Span,
    /// Whether the engine measures the capacity of the viewer's network.
    measured: bool,
    started: bool,
    next_portion: Option<Instant>,
    /// When the choice of layers is reconsidered.
    next_choice: Option<Instant>,
    refresh: Option<Refresh>,
    requests: RequestLimiter,
    /// For what the viewer causes without asking: it chooses other layers, or does not keep pace.
    caused: RequestLimiter,
}

impl<S> Playout<S> {
    pub(crate) const fn new(
        tracks: Vec<PlayoutTrack<S>>,
        measured: bool,
        events: mpsc::Sender<Event>,
        counters: Arc<ViewerCounters>,
        span: Span,
    ) -> Self {
        Self {
            tracks,
            events,
            counters,
            span,
            measured,
            started: false,
            next_portion: None,
            next_choice: None,
            refresh: None,
            requests: RequestLimiter::new(),
            caused: RequestLimiter::new(),
        }
    }

    /// Every rendition that may be sent to the viewer.
    pub(crate) fn renditions(&self) -> Vec<u64> {
        self.tracks
            .iter()
            .flat_map(|track| track.renditions().iter().copied())
            .collect()
    }

    /// Whether [`Playout::start`] has been called.
    pub(crate) const fn has_started(&self) -> bool {
        self.started
    }

    /// The viewer is connected: begins at the cached keyframes.
    pub(crate) fn start(&mut self, renditions: &RenditionCaches, now: Instant) {
        self.started = true;
        for track in &mut self.tracks {
            track.choose_first(renditions, now);
            if track.layers.is_some() {
                self.next_choice = Some(now);
            }
            if let Some(rendition) = renditions.get(&track.rendition) {
                track.switcher.replay_from_keyframe(&rendition.gop);
            }
        }
        self.next_portion = Some(now);
        let mut pictures = self.tracks.iter().filter(|track| track.is_video());
        if pictures.any(|track| track.switcher.is_waiting()) {
            self.request_keyframe(now);
        }
    }

    /// Takes a frame of one of the viewer's renditions.
    pub(crate) fn frame<K: Sink<Stream = S>>(
        &mut self,
        sink: &mut K,
        arrival: &Arrival<'_>,
        now: Instant,
    ) {
        if !self.started {
            return;
        }
        let &Arrival {
            rendition,
            number,
            frame,
            continuity,
        } = arrival;
        let mut tracks = self.tracks.iter_mut();
        let Some(track) = tracks.find_map(|track| {
            let taken = track.takes(rendition, frame.keyframe);
            taken.then_some(track)
        }) else {
            return;
        };
        if frame.codec != track.codec {
            // The publisher came back with another codec: the broadcast is about to close us.
            return;
        }
        if track.is_video() {
            if frame.keyframe {
                self.refresh = None;
            } else if let Some(refresh) = &mut self.refresh {
                refresh.live = true;
            }
        }
        if let Some(timestamp) = track.switcher.live(number, frame, continuity, BURST_BYTES) {
            let part = Part {
                rendition,
                frame,
                packets: 0..frame.ends.len(),
                timestamp,
                cached: None,
            };
            let written = sink.write(&mut track.stream, &part);
            let sent = sink.flush();
            if written == Delivery::Behind || sent == Delivery::Behind {
                self.fall_behind(rendition, now);
            }
        } else if track.switcher.is_replaying() {
            self.next_portion.get_or_insert(now);
        } else {
            self.request_keyframe(now);
        }
    }

    /// The viewer's decoder asks for a keyframe (PLI or FIR). Returns false, and does nothing, if
    /// it asks too often.
    pub(crate) fn keyframe_wanted(&mut self, renditions: &RenditionCaches, now: Instant) -> bool {
        let mut pictures = self.tracks.iter().filter(|track| track.is_video());
        let Some(track) = pictures.next() else {
            return true;
        };
        if track.switcher.is_replaying() {
            // One is on its way.
            return true;
        }
        let rendition = renditions.get(&track.rendition);
        let age = rendition.and_then(|rendition| rendition.keyframe_age(now));
        if !self.requests.admits_peer(now) {
            return false;
        }
        self.counters.keyframe_requests.fetch_add(1, Relaxed);
        let fresh = age.is_some_and(|age| age <= KEYFRAME_FRESH);
        let patience = if fresh {
            Duration::ZERO
        } else {
            self.tell(Event::KeyframeWanted);
            KEYFRAME_PATIENCE
        };
        self.refresh.get_or_insert(Refresh {
            due: now + patience,
            live: false,
        });
        true
    }

    /// Switches a track to another rendition of the same codec, from one of its keyframes on. Call
    /// [`Playout::switch`] next, when the renditions know of this.
    pub(crate) fn set_rendition(&mut self, to: Target, now: Instant) {
        let measured = self.measured;
        if let Some(track) = self.track_of(to.kind) {
            track.rendition = to.rendition;
            track.layers = LayerChoice::new(to.layers, measured, now);
        }
    }

    /// Begins with the rendition that [`Playout::set_rendition`] has set.
    pub(crate) fn switch(&mut self, kind: Kind, renditions: &RenditionCaches, now: Instant) {
        if !self.started {
            return;
        }
        let Some(track) = self.track_of(kind) else {
            return;
        };
        track.choose_first(renditions, now);
        track
            .switcher
            .switch(renditions.get(&track.rendition).map(|cache| &cache.gop));
        let (layers, waiting) = (track.layers.is_some(), track.switcher.is_waiting());
        if layers {
            self.next_choice = Some(now);
        }
        if kind == Kind::Video {
            self.refresh = None;
            if waiting {
                self.request_keyframe(now);
            }
        }
        if !waiting {
            self.next_portion = Some(now);
        }
    }

    /// When [`Playout::tick`] is due next.
    pub(crate) fn wake(&self) -> Option<Instant> {
        let refresh = self.refresh.as_ref().and_then(Refresh::wake);
        [self.next_portion, self.next_choice, refresh]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does everything that is due by now.
    pub(crate) fn tick<K: Sink<Stream = S>>(
        &mut self,
        sink: &mut K,
        renditions: &RenditionCaches,
        now: Instant,
    ) {
        let is_due = |at: Instant| at <= now;
        let refresh = self.refresh.as_ref().and_then(Refresh::wake);
        if refresh.is_some_and(is_due) {
            self.refresh = None;
            self.replay(renditions, now);
        }
        if self.next_portion.is_some_and(is_due) {
            self.portion(sink, renditions, now);
        }
        if self.next_choice.is_some_and(is_due) {
            self.choose_layers(sink, renditions, now);
        }
    }

    /// Sends the pictures since the cached keyframe again.
    fn replay(&mut self, renditions: &RenditionCaches, now: Instant) {
        for track in self.tracks.iter_mut().filter(|track| track.is_video()) {
            if let Some(rendition) = renditions.get(&track.rendition)
                && track.switcher.replay_from_keyframe(&rendition.gop)
            {
                self.next_portion = Some(now);
            }
        }
    }

    /// Sends the next portion of cached frames: a larger one if it is late.
    fn portion<K: Sink<Stream = S>>(
        &mut self,
        sink: &mut K,
        renditions: &RenditionCaches,
        now: Instant,
    ) {
        let due = self.next_portion.take().unwrap_or(now);
        let time = PACE_INTERVAL + now.saturating_duration_since(due);
        let mut behind = None;
        for track in &mut self.tracks {
            let Some(rendition) = renditions.get(&track.rendition) else {
                continue;
            };
            let written = track.write_cached(sink, rendition, CachePortion { now, time });
            let sent = sink.flush();
            if written == Delivery::Behind || sent == Delivery::Behind {
                behind = Some(track.rendition);
                break;
            }
        }
        if let Some(rendition) = behind {
            self.fall_behind(rendition, now);
        }
        let mut tracks = self.tracks.iter();
        if tracks.any(|track| track.switcher.is_replaying()) {
            self.next_portion = Some(now + PACE_INTERVAL);
        }
    }

    /// Frames of this rendition were not taken: later ones are useless before a keyframe.
    fn fall_behind(&mut self, rendition: u64, now: Instant) {
        self.counters.dropped.fetch_add(1, Relaxed);
        let mut pictures = self.tracks.iter_mut().filter(|track| track.is_video());
        // Sound continues with its next frame; pictures need not be sent again for it.
        if let Some(track) = pictures.find(|track| track.rendition == rendition) {
            track.switcher.wait();
            self.refresh = Some(Refresh {
                due: now + KEYFRAME_PATIENCE,
                live: false,
            });
            self.request_caused_keyframe(now);
        }
    }

    fn track_of(&mut self, kind: Kind) -> Option<&mut PlayoutTrack<S>> {
        let mut tracks = self.tracks.iter_mut();
        tracks.find(|track| track.codec.kind() == kind)
    }

    /// Asks for a keyframe unprompted, unless that has just been done.
    fn request_keyframe(&mut self, now: Instant) {
        if self.requests.admits_own(now) {
            self.counters.keyframe_requests.fetch_add(1, Relaxed);
            self.tell(Event::KeyframeWanted);
        }
    }

    /// The same for what the viewer may cause again and again: less and less often.
    fn request_caused_keyframe(&mut self, now: Instant) {
        if self.caused.admits_peer(now) {
            self.request_keyframe(now);
        }
    }

    fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            tracing::debug!(parent: &self.span, "event lost: the session is behind");
        }
    }
}
