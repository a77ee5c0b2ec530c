//! A viewer of a simulcast track: measuring the layers, choosing one, probing for a better one.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    direct::{Context, DirectViewer, RenditionState, Track, flush},
    selection::{Decision, Selection},
    tracks::Target,
};
use crate::media::Kind;

/// How often a viewer's layer is thought about.
const INTERVAL: Duration = Duration::from_millis(250);
/// How often padding is sent while probing: small portions, so that they are no burst.
const PADDING_INTERVAL: Duration = Duration::from_millis(25);
/// Over how long the rate of a layer is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// A layer without a frame for this long is off.
const OFF: Duration = Duration::from_secs(2);

/// The layers of a simulcast track, as one viewer sees them.
pub(super) struct Layers {
    /// The renditions, in the order of the offer.
    pub(super) renditions: Vec<u64>,
    pub(super) selection: Selection,
    /// The rendition whose next keyframe is switched to.
    pub(super) target: Option<u64>,
    /// Padding under way, in bits per second.
    padding: u64,
}

impl Layers {
    pub(super) fn new(renditions: Vec<u64>, now: Instant) -> Self {
        Self {
            renditions,
            selection: Selection::new(now),
            target: None,
            padding: 0,
        }
    }

    fn rates(&self, renditions: &HashMap<u64, RenditionState>, now: Instant) -> Vec<u64> {
        let rate = |key| {
            renditions
                .get(key)
                .map_or(0, |rendition| rendition.meter.rate(now))
        };
        self.renditions.iter().map(rate).collect()
    }
}

/// Measures the bit rate of a rendition.
pub(super) struct Meter {
    bytes: u64,
    since: Instant,
    rate: u64,
    last: Option<Instant>,
}

impl Meter {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            bytes: 0,
            since: now,
            rate: 0,
            last: None,
        }
    }

    pub(super) fn count(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
        self.last = Some(now);
        let time = now.duration_since(self.since);
        if time >= WINDOW {
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
            let rate = self.bytes * 8 * 1000 / millis;
            // Keyframes make the rate jump from window to window: take the mean of the last few.
            self.rate = if self.rate == 0 {
                rate
            } else {
                (self.rate * 3 + rate) / 4
            };
            (self.bytes, self.since) = (0, now);
        }
    }

    /// Bits per second; 0 if nothing comes. Before the first window is over it is a guess.
    pub(super) fn rate(&self, now: Instant) -> u64 {
        match self.last {
            Some(last) if now.duration_since(last) < OFF => self.rate.max(1),
            _ => 0,
        }
    }
}

impl Track {
    /// Whether frames of this rendition matter, and if a keyframe makes the switch to it.
    pub(super) fn takes(&mut self, rendition: u64, keyframe: bool) -> bool {
        if self.rendition == rendition {
            return true;
        }
        let Some(layers) = self
            .layers
            .as_mut()
            .filter(|it| it.target == Some(rendition))
        else {
            return false;
        };
        if keyframe {
            layers.target = None;
            self.rendition = rendition;
            self.switcher.wait();
        }
        keyframe
    }

    /// Takes the layer to begin with.
    pub(super) fn choose_first(&mut self, renditions: &HashMap<u64, RenditionState>, now: Instant) {
        let Some(layers) = &self.layers else { return };
        let rates = layers.rates(renditions, now);
        if let Some(first) = layers.selection.first(&rates)
            && let Some(rendition) = layers.renditions.get(first)
        {
            self.rendition = *rendition;
        }
    }
}

impl DirectViewer {
    /// Every rendition the viewer may be sent.
    pub(super) fn renditions(&self) -> Vec<u64> {
        let of = |track: &Track| match &track.layers {
            Some(layers) => layers.renditions.clone(),
            None => vec![track.rendition],
        };
        self.tracks.iter().flat_map(of).collect()
    }

    /// Makes the track of this kind take another rendition. [`DirectViewer::switch_rendition`] follows.
    pub(super) fn set_rendition(&mut self, kind: Kind, to: Target, now: Instant) {
        let mut tracks = self.tracks.iter_mut();
        if let Some(track) = tracks.find(|track| track.codec.kind() == kind) {
            track.rendition = to.rendition;
            let simulcast = !to.layers.is_empty();
            track.layers = simulcast.then(|| Layers::new(to.layers, now));
        }
    }

    /// Begins with the rendition that has been set, at a keyframe.
    pub(super) fn switch_rendition(
        &mut self,
        kind: Kind,
        now: Instant,
        renditions: &HashMap<u64, RenditionState>,
    ) {
        if self.sender.is_none() {
            return; // not connected: it has not begun
        }
        let mut tracks = self.tracks.iter_mut();
        let Some(track) = tracks.find(|track| track.codec.kind() == kind) else {
            return;
        };
        track.choose_first(renditions, now);
        let gop = renditions.get(&track.rendition).map(|it| &it.gop);
        track.switcher.switch_rendition(gop);
        let (layers, waiting) = (track.layers.is_some(), track.switcher.is_waiting());
        if layers {
            self.next_selection = Some(now);
        }
        if waiting {
            self.ask_keyframe(now);
        } else {
            self.next_portion = Some(now);
        }
    }

    /// The viewer wants this layer of its picture, or (`None`) the server's choice.
    pub(super) fn select(&mut self, layer: Option<usize>, now: Instant) {
        for layers in self
            .tracks
            .iter_mut()
            .filter_map(|track| track.layers.as_mut())
        {
            layers.selection.wanted = layer;
            self.next_selection = Some(now);
        }
    }

    /// Decides about the layer of each track, and pads if a better one is probed for.
    pub(super) fn select_layers(
        &mut self,
        cx: &mut Context,
        renditions: &HashMap<u64, RenditionState>,
    ) {
        self.next_selection = None;
        let (mut replay, mut ask) = (false, false);
        for track in &mut self.tracks {
            let Some(layers) = &mut track.layers else {
                continue;
            };
            let rates = layers.rates(renditions, cx.now);
            let current = layers
                .renditions
                .iter()
                .position(|it| *it == track.rendition);
            let decision = layers
                .selection
                .decide(current.unwrap_or(0), &rates, cx.now);
            layers.padding = 0;
            match decision {
                Decision::Stay => {}
                Decision::Probe(bits) => layers.padding = bits,
                Decision::Switch(layer) => {
                    let Some(&target) = layers.renditions.get(layer) else {
                        continue;
                    };
                    let down = rates.get(layer) < current.and_then(|at| rates.get(at));
                    let cached = renditions.get(&target).filter(|_| down);
                    // Down at once, from the cache: it is small. Up at the next keyframe.
                    if cached.is_some_and(|it| track.switcher.replay_from_keyframe(&it.gop)) {
                        track.rendition = target;
                        layers.target = None;
                        replay = true;
                    } else {
                        ask |= layers.target.replace(target) != Some(target);
                    }
                    tracing::debug!(viewer = self.key, layer, ?rates, "layer chosen");
                }
            }
            let interval = if layers.padding > 0 {
                PADDING_INTERVAL
            } else {
                INTERVAL
            };
            self.next_selection = Some(cx.now + interval);
        }
        if replay {
            self.next_portion = Some(cx.now);
        }
        if ask {
            self.ask_keyframe(cx.now);
        }
        self.pad(cx);
    }

    /// Sends a portion of padding: packets sent before, again.
    fn pad(&mut self, cx: &mut Context) {
        let (Some(sender), Some(remote)) = (&self.sender, self.session.remote()) else {
            return;
        };
        for track in &mut self.tracks {
            let bits = track.layers.as_ref().map_or(0, |layers| layers.padding);
            let millis = u64::try_from(PADDING_INTERVAL.as_millis()).unwrap_or(0);
            let bytes = usize::try_from(bits * millis / 8000).unwrap_or(0);
            if bytes > 0 {
                let written = track.stream.write_padding(&mut cx.out(sender), bytes);
                flush(cx, &self.counters, remote, written);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_measured_and_ends() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        assert_eq!(meter.rate(start), 0);
        for frame in 0..60_u32 {
            meter.count(5_000, start + Duration::from_millis(33) * frame);
        }
        let now = start + Duration::from_secs(2);
        let rate = meter.rate(now);
        assert!(rate.abs_diff(1_200_000) < 60_000, "{rate}");
        assert_eq!(meter.rate(now + OFF), 0);
    }
}
