//! Which layer of a simulcast picture a fed viewer gets: the one it asks for, else the best.

use std::{collections::HashMap, time::Instant};

use super::viewer::{Track, WebrtcbinViewer};
use crate::{
    fanout::{direct::RenditionState, tracks::Target},
    media::Kind,
};

/// The layers of a track; none if it is not simulcast.
#[derive(Debug)]
pub(super) struct Layers {
    renditions: Vec<u64>,
    /// The one that the viewer asks for.
    wanted: Option<usize>,
    /// The rendition to go over to at its next keyframe.
    target: Option<u64>,
}

impl Layers {
    pub(super) const fn new(renditions: Vec<u64>) -> Self {
        Self {
            renditions,
            wanted: None,
            target: None,
        }
    }

    /// The rendition that the viewer should get of those that the publisher sends.
    fn best(&self, renditions: &HashMap<u64, RenditionState>, now: Instant) -> Option<u64> {
        let rate = |key: &u64| renditions.get(key).map_or(0, |it| it.meter.rate(now));
        let wanted = self.wanted.and_then(|at| self.renditions.get(at));
        if let Some(wanted) = wanted.filter(|key| rate(key) > 0) {
            return Some(*wanted);
        }
        let sent = self.renditions.iter().filter(|key| rate(key) > 0);
        sent.max_by_key(|key| rate(key)).copied()
    }
}

impl Track {
    /// All renditions whose frames it may take.
    pub(super) fn renditions(&self) -> Vec<u64> {
        if self.layers.renditions.is_empty() {
            vec![self.rendition]
        } else {
            self.layers.renditions.clone()
        }
    }

    /// Whether frames of this rendition are for this track. A keyframe of the target layer makes
    /// the track go over to it.
    pub(super) fn takes(&mut self, rendition: u64, keyframe: bool) -> bool {
        if self.rendition == rendition {
            return true;
        }
        let goes_over = keyframe && self.layers.target == Some(rendition);
        if goes_over {
            self.layers.target = None;
            self.rendition = rendition;
            self.switcher.wait();
        }
        goes_over
    }

    /// Chooses the layer to begin with.
    pub(super) fn choose_first(&mut self, renditions: &HashMap<u64, RenditionState>, now: Instant) {
        if let Some(best) = self.layers.best(renditions, now) {
            self.rendition = best;
        }
    }
}

impl WebrtcbinViewer {
    /// Makes the track of this kind take another rendition. [`WebrtcbinViewer::switch_rendition`] follows.
    pub(super) fn set_rendition(&mut self, kind: Kind, to: Target) {
        let mut tracks = self.tracks.iter_mut();
        if let Some(track) = tracks.find(|track| track.kind() == kind) {
            track.rendition = to.rendition;
            track.layers = Layers::new(to.layers);
        }
    }

    /// Begins with the rendition that has been set, at a keyframe.
    pub(super) fn switch_rendition(
        &mut self,
        kind: Kind,
        now: Instant,
        renditions: &HashMap<u64, RenditionState>,
    ) {
        if !self.has_started() {
            return;
        }
        let mut tracks = self.tracks.iter_mut();
        let Some(track) = tracks.find(|track| track.kind() == kind) else {
            return;
        };
        track.choose_first(renditions, now);
        let gop = renditions.get(&track.rendition).map(|it| &it.gop);
        track.switcher.switch_rendition(gop);
        if track.switcher.is_waiting() {
            self.ask_keyframe(now);
        } else {
            self.next_portion = Some(now);
        }
    }

    /// The viewer asks for a layer of its picture, or leaves the choice to the server.
    pub(super) fn select(&mut self, layer: Option<usize>, now: Instant) {
        for track in &mut self.tracks {
            track.layers.wanted = layer;
        }
        self.next_look = now;
    }

    /// Goes over to better layers than the present ones: at once if the present one has ended or
    /// a smaller one is wanted, which the cache has; else at the next keyframe.
    pub(super) fn choose_layers(
        &mut self,
        now: Instant,
        renditions: &HashMap<u64, RenditionState>,
    ) {
        let (mut replays, mut asks) = (false, false);
        let rate = |key: u64| renditions.get(&key).map_or(0, |it| it.meter.rate(now));
        for track in &mut self.tracks {
            let Some(best) = track.layers.best(renditions, now) else {
                continue;
            };
            if best == track.rendition {
                track.layers.target = None;
                continue;
            }
            let present = rate(track.rendition);
            let at_once = present == 0 || rate(best) < present;
            let cached = renditions.get(&best).filter(|_| at_once);
            if cached.is_some_and(|it| track.switcher.replay_from_keyframe(&it.gop)) {
                track.rendition = best;
                track.layers.target = None;
                replays = true;
            } else {
                asks |= track.layers.target.replace(best) != Some(best);
            }
        }
        if replays {
            self.next_portion = Some(now);
        }
        if asks {
            self.ask_keyframe(now);
        }
    }
}
