//! One track of a viewer: which frames it takes, and what it sends from the cache.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use super::{
    PACE_INTERVAL, RenditionCaches,
    cache::RenditionCache,
    gop::Gop,
    layers::LayerChoice,
    sink::{Delivery, Part, Sink},
    switcher::Switcher,
};
use crate::media::{Codec, Kind};

/// Least and most bytes of one portion: 25 and 100 Mb/s. A receiver's socket buffer (Chromium
/// asks for 128 KiB, which holds about 60 packets) must hold one.
const PACE_BYTES: RangeInclusive<usize> = 16_000..=64_000;
/// Catching up is this many times faster than real time.
const PACE_FACTOR: usize = 8;

/// A portion of cached frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct CachePortion {
    pub(super) now: Instant,
    /// The time that it is to last.
    pub(super) time: Duration,
}

/// One track, as sent to the viewer.
pub(crate) struct PlayoutTrack<S> {
    /// The key of the rendition being sent.
    pub(crate) rendition: u64,
    pub(crate) codec: Codec,
    pub(crate) stream: S,
    pub(super) switcher: Switcher,
    /// The layers to choose from, if the track is simulcast.
    pub(crate) layers: Option<LayerChoice>,
}

impl<S> PlayoutTrack<S> {
    pub(crate) fn new(
        rendition: u64,
        codec: Codec,
        stream: S,
        layers: Option<LayerChoice>,
    ) -> Self {
        Self {
            rendition,
            codec,
            stream,
            switcher: Switcher::new(),
            layers,
        }
    }

    pub(super) const fn is_video(&self) -> bool {
        matches!(self.codec.kind(), Kind::Video)
    }

    /// Every rendition whose frames it may take.
    pub(super) fn renditions(&self) -> &[u64] {
        match &self.layers {
            Some(layers) => layers.renditions(),
            None => std::slice::from_ref(&self.rendition),
        }
    }

    /// Whether a frame is for this track. A keyframe of the layer to switch to makes the switch.
    pub(super) fn takes(&mut self, rendition: u64, keyframe: bool) -> bool {
        if self.rendition == rendition {
            return true;
        }
        let Some(layers) = &mut self.layers else {
            return false;
        };
        if !keyframe || !layers.arrives(rendition) {
            return false;
        }
        self.rendition = rendition;
        self.switcher.wait();
        true
    }
    /// Takes the layer to begin with.
    pub(super) fn choose_first(&mut self, renditions: &RenditionCaches, now: Instant) {
        let Some(layers) = &mut self.layers else {
            return;
        };
        if let Some(first) = layers.first(renditions, now) {
            self.rendition = first;
        }
    }

    /// Writes about one portion of cached frames.
    pub(super) fn write_cached<K: Sink<Stream = S>>(
        &mut self,
        sink: &mut K,
        rendition: &RenditionCache,
        portion: CachePortion,
    ) -> Delivery {
        let mut left = portion_bytes(&rendition.gop, portion.time);
        let mut edge = rendition.edge(portion.now);
        while left > 0
            && let Some(cursor) = self.switcher.replay(&rendition.gop, edge)
        {
            if cursor.frame.codec != self.codec {
                cursor.packet = cursor.frame.ends.len();
                continue;
            }
            let mut end = cursor.packet;
            for packet in cursor.frame.ranges().skip(cursor.packet) {
                if left == 0 {
                    break;
                }
                left = left.saturating_sub(packet.len());
                end += 1;
            }
            let part = Part {
                rendition: self.rendition,
                frame: &cursor.frame,
                packets: cursor.packet..end,
                timestamp: cursor.timestamp,
                cached: Some(&rendition.gop),
            };
            let written = sink.write(&mut self.stream, &part);
            cursor.packet = end;
            if written != Delivery::Sent {
                return written;
            }
            edge += 1;
        }
        Delivery::Sent
    }
}

/// Payload bytes of a portion that is to last so long.
fn portion_bytes(gop: &Gop, time: Duration) -> usize {
    let micros = |time: Duration| usize::try_from(time.as_micros()).unwrap_or(usize::MAX);
    let interval = micros(PACE_INTERVAL);
    let rate = gop.bytes_per_second().unwrap_or(0) * PACE_FACTOR;
    let portion = rate * interval / 1_000_000;
    let portion = portion.clamp(*PACE_BYTES.start(), *PACE_BYTES.end());
    // A viewer that joins late makes up for it, as far as the receiver's buffer allows.
    let late = portion.saturating_mul(micros(time)) / interval;
    late.min(*PACE_BYTES.end())
}
