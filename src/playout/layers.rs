//! Which layer of a simulcast picture to send to a viewer: choosing one, and switching to it.

use std::time::{Duration, Instant};

use tracing::Span;

use super::{
    Playout, RenditionCaches, Sink,
    selection::{Decision, Selection},
};
use crate::words::Listed;

/// How often a viewer's layer is reconsidered.
const CHOICE_INTERVAL: Duration = Duration::from_millis(250);
/// How often padding is sent while probing: small portions, so that it does not arrive in bursts.
const PADDING_INTERVAL: Duration = Duration::from_millis(25);
/// Steps of a train that measures the network: libwebrtc takes four for a measurement, and pictures
/// in between disturb a few.
const TRAIN_STEPS: u32 = 20;
/// Bytes of a step of a train, or a packet more: a receiver's measurement ignores packets of 200
/// bytes and less.
const TRAIN_BYTES: usize = 600;
/// Shortest time between two steps of a train, as a receiver measures in milliseconds.
const TRAIN_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Pause between two requests for the keyframe that a switch waits for: the first may be lost, and
/// browsers send no keyframe without one.
const TARGET_PAUSE: Duration = Duration::from_secs(2);

/// The layers of a simulcast track, as one viewer sees them.
pub(crate) struct LayerChoice {
    /// The keys of their renditions, in the order of the offer.
    renditions: Vec<u64>,
    selection: Selection,
    target: Option<SwitchTarget>,
    /// Padding under way, in bits per second.
    padding: u64,
    train: Option<Train>,
}

/// A train of packets under way.
struct Train {
    /// In bits per second.
    rate: u64,
    /// Steps to go.
    left: u32,
}

impl Train {
    /// The pause after a step of this many bytes.
    fn pause(&self, bytes: usize) -> Duration {
        let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8);
        let micros = bits.saturating_mul(1_000_000) / self.rate.max(1);
        Duration::from_micros(micros).clamp(TRAIN_INTERVAL_MIN, PADDING_INTERVAL)
    }
}

/// The layer to switch to at its next keyframe.
struct SwitchTarget {
    rendition: u64,
    /// When its keyframe was requested.
    asked: Instant,
}

/// The result of a choice.
enum Step {
    /// Carry on.
    Stay,
    /// Ask for a keyframe: the switch waits for one.
    Request,
    /// Switch to this rendition now, from its cache if that has a keyframe.
    Now(u64),
}

impl LayerChoice {
    /// The choice among these renditions; `None` without any. `measured` says whether the engine
    /// measures the capacity of the viewer's network.
    pub(crate) fn new(renditions: Vec<u64>, measured: bool, now: Instant) -> Option<Self> {
        if renditions.is_empty() {
            return None;
        }
        Some(Self {
            renditions,
            selection: Selection::new(measured, now),
            target: None,
            padding: 0,
            train: None,
        })
    }

    pub(super) fn renditions(&self) -> &[u64] {
        &self.renditions
    }

    /// The receiver's estimate of its bandwidth, in bits per second.
    pub(crate) fn estimated(&mut self, bits_per_second: u64, now: Instant) {
        self.selection.estimated(bits_per_second, now);
    }

    /// The fraction of packets that the receiver reports lost, in 1/256.
    pub(crate) fn lost(&mut self, fraction: u8) {
        self.selection.lost(fraction);
    }

    /// Whether this keyframe, just arrived, makes the switch to its rendition.
    pub(super) fn arrives(&mut self, rendition: u64) -> bool {
        self.target
            .take_if(|target| target.rendition == rendition)
            .is_some()
    }

    fn rates(&self, renditions: &RenditionCaches, now: Instant) -> Vec<u64> {
        let rate = |key| renditions.get(key).map_or(0, |cache| cache.meter.rate(now));
        self.renditions.iter().map(rate).collect()
    }

    pub(super) fn first(&mut self, renditions: &RenditionCaches, now: Instant) -> Option<u64> {
        let rates = self.rates(renditions, now);
        let layer = self.selection.first(&rates, now)?;
        self.renditions.get(layer).copied()
    }

    /// Decides while the viewer gets `present`. `span` belongs to the viewer's session.
    fn decide(
        &mut self,
        present: u64,
        renditions: &RenditionCaches,
        now: Instant,
        span: &Span,
    ) -> Step {
        let rates = self.rates(renditions, now);
        let rate = |key: u64| {
            renditions
                .get(&key)
                .map_or(0, |cache| cache.meter.rate(now))
        };
        let current = self.renditions.iter().position(|key| *key == present);
        self.padding = 0;
        match self.selection.decide(current.unwrap_or(0), &rates, now) {
            Decision::Stay => {}
            Decision::Probe(bits) => self.padding = bits,
            Decision::Train(rate) => {
                self.train = Some(Train {
                    rate,
                    left: TRAIN_STEPS,
                });
            }
            Decision::Switch(layer) => {
                let Some(&to) = self.renditions.get(layer) else {
                    return Step::Stay;
                };
                if to == present {
                    self.target = None;
                    return Step::Stay;
                }
                tracing::debug!(parent: span, layer, rates = %Listed(&rates), "layer chosen");
                // Down at once, from the cache, which is small; likewise if the present one has
                // ended.
                if rate(present) == 0 || rate(to) < rate(present) {
                    return Step::Now(to);
                }
                if self.aim(to, now) {
                    return Step::Request;
                }
            }
        }
        self.remind(rate, now)
    }

    /// The next step of a train under way, if there is one.
    fn step(&mut self) -> Option<&Train> {
        let train = self.train.as_mut()?;
        if train.left == 0 {
            self.train = None;
            return None;
        }
        train.left -= 1;
        self.train.as_ref()
    }

    /// Waits for a keyframe of this rendition. Returns false if it is waiting for one already.
    fn aim(&mut self, rendition: u64, now: Instant) -> bool {
        if let Some(target) = &self.target
            && target.rendition == rendition
        {
            return false;
        }
        self.target = Some(SwitchTarget {
            rendition,
            asked: now,
        });
        true
    }

    /// Asks again for a keyframe that is overdue; gives it up if its layer has ended.
    fn remind(&mut self, rate: impl Fn(u64) -> u64, now: Instant) -> Step {
        self.target.take_if(|target| rate(target.rendition) == 0);
        if let Some(target) = &mut self.target
            && now.saturating_duration_since(target.asked) >= TARGET_PAUSE
        {
            target.asked = now;
            return Step::Request;
        }
        Step::Stay
    }
}

impl<S> Playout<S> {
    /// The viewer wants this layer of its picture (its index), or (`None`) the server's choice.
    pub(crate) fn select(&mut self, layer: Option<usize>, now: Instant) {
        for layers in self
            .tracks
            .iter_mut()
            .filter_map(|track| track.layers.as_mut())
        {
            layers.selection.wanted = layer;
            self.next_choice = Some(now);
        }
    }

    /// Decides on the layer of each track, and sends what measures the network for a better one.
    pub(super) fn choose_layers<K: Sink<Stream = S>>(
        &mut self,
        sink: &mut K,
        renditions: &RenditionCaches,
        now: Instant,
    ) {
        self.next_choice = None;
        let mut request = false;
        for track in &mut self.tracks {
            let Some(layers) = &mut track.layers else {
                continue;
            };
            if track.switcher.is_replaying() {
                // A train would drown in it, and an estimate does not know of it yet.
                self.next_choice = Some(now + PADDING_INTERVAL);
                continue;
            }
            if let Some(train) = layers.step() {
                let sent = sink.pad(&mut track.stream, TRAIN_BYTES);
                self.next_choice = Some(now + train.pause(sent));
                continue;
            }
            match layers.decide(track.rendition, renditions, now, &self.span) {
                Step::Stay => {}
                Step::Request => request = true,
                Step::Now(to) => {
                    let cached = renditions.get(&to);
                    if cached.is_some_and(|cache| track.switcher.replay_from_keyframe(&cache.gop)) {
                        track.rendition = to;
                        layers.target = None;
                        self.next_portion = Some(now);
                    } else {
                        request |= layers.aim(to, now);
                    }
                }
            }
            let interval = if layers.train.is_some() {
                TRAIN_INTERVAL_MIN
            } else if layers.padding > 0 {
                PADDING_INTERVAL
            } else {
                CHOICE_INTERVAL
            };
            self.next_choice = Some(now + interval);
            let millis = u64::try_from(PADDING_INTERVAL.as_millis()).unwrap_or(0);
            let bytes = usize::try_from(layers.padding * millis / 8000).unwrap_or(0);
            if bytes > 0 {
                sink.pad(&mut track.stream, bytes);
            }
        }
        if request {
            self.request_caused_keyframe(now);
        }
    }
}
