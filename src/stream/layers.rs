//! Which layer of a simulcast picture subscribers get: the best that arrives.
//!
//! The layers of one publisher all feed one stream, and one of them writes. The others are only
//! measured. The switch happens at a keyframe of the new layer: up when a better one has begun,
//! down when the current one has ended.

use std::time::{Duration, Instant};

use super::writer::FrameFacts;
use crate::media::{KeyframeRequestLimit, format::VideoFormat};

/// A layer without a frame for this long has ended.
const OFF: Duration = Duration::from_secs(1);
/// Window over which a layer's bit rate is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// Of two layers of the same size, one is better only at this percentage of the other's bit rate,
/// because rates vary.
const BETTER_PERCENT: u64 = 150;

/// What to do with a frame of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LayerVerdict {
    /// Its layer is the current one.
    Pass,
    /// Its layer becomes the current one.
    Switch,
    /// Its layer is better, but a decoder cannot start here.
    KeyframeWanted,
    Ignore,
}

/// A frame of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerFrame {
    /// The number of the layer's writer.
    pub(super) writer: u64,
    pub(super) bytes: usize,
    pub(super) keyframe: bool,
}

/// The layers of one publisher's picture.
pub(super) struct SimulcastLayers {
    pub(super) group: u64,
    all: Vec<SimulcastLayer>,
    requests: KeyframeRequestLimit,
}

/// One layer.
pub(super) struct SimulcastLayer {
    writer: u64,
    pub(super) format: Option<VideoFormat>,
    /// Whether there are B-frames.
    pub(super) reordered: bool,
    last: Option<Instant>,
    bytes: u64,
    since: Option<Instant>,
    /// Bits per second; `None` until the first window is over.
    rate: Option<u64>,
}

impl SimulcastLayers {
    pub(super) fn new(group: u64) -> Self {
        Self {
            group,
            all: Vec::new(),
            requests: KeyframeRequestLimit::default(),
        }
    }

    pub(super) fn add(&mut self, writer: u64) {
        self.all.push(SimulcastLayer {
            writer,
            format: None,
            reordered: false,
            last: None,
            bytes: 0,
            since: None,
            rate: None,
        });
    }

    pub(super) fn layer(&mut self, writer: u64) -> Option<&mut SimulcastLayer> {
        self.all.iter_mut().find(|layer| layer.writer == writer)
    }

    /// What to do with a frame, while the layer of the writer `present` is the current one.
    pub(super) fn look(&mut self, present: u64, frame: LayerFrame, now: Instant) -> LayerVerdict {
        let LayerFrame {
            writer,
            bytes,
            keyframe,
        } = frame;
        let Some(layer) = self.layer(writer) else {
            return LayerVerdict::Ignore;
        };
        layer.measure(bytes, now);
        if writer == present {
            return LayerVerdict::Pass;
        }
        let of = |number| self.all.iter().find(|layer| layer.writer == number);
        let better = match (of(writer), of(present)) {
            (Some(new), Some(present)) => new.is_better(present, now),
            (new, _) => new.is_some(),
        };
        if !better {
            return LayerVerdict::Ignore;
        }
        if keyframe {
            self.requests = KeyframeRequestLimit::default();
            return LayerVerdict::Switch;
        }
        if self.requests.admits(now) {
            LayerVerdict::KeyframeWanted
        } else {
            LayerVerdict::Ignore
        }
    }
}

impl SimulcastLayer {
    /// Notes what a frame says about the layer.
    pub(super) fn note(&mut self, facts: &FrameFacts) {
        self.reordered |= facts.reordered;
        if facts.format.is_some() {
            self.format.clone_from(&facts.format);
        }
    }

    fn measure(&mut self, bytes: usize, now: Instant) {
        self.last = Some(now);
        let since = *self.since.get_or_insert(now);
        let time = now.saturating_duration_since(since);
        if time >= WINDOW {
            let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
            self.rate = Some(self.bytes * 8000 / millis);
            (self.bytes, self.since) = (0, Some(now));
        }
        self.bytes += bytes as u64;
    }

    fn is_off(&self, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.saturating_duration_since(last) >= OFF)
    }

    /// Pixels per picture, if its headers have arrived.
    fn size(&self) -> Option<u64> {
        self.format.as_ref().map(VideoFormat::pixels)
    }

    fn is_better(&self, other: &Self, now: Instant) -> bool {
        if other.is_off(now) {
            return true;
        }
        match (self.size(), other.size()) {
            (Some(size), Some(other)) if size != other => size > other,
            _ => self.rate.zip(other.rate).is_some_and(|(rate, other)| {
                rate.saturating_mul(100) > other.saturating_mul(BETTER_PERCENT)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(writer: u64, bytes: usize, keyframe: bool) -> LayerFrame {
        LayerFrame {
            writer,
            bytes,
            keyframe,
        }
    }

    /// Layers 1 and 2, of these heights.
    fn layers(heights: [Option<u32>; 2]) -> SimulcastLayers {
        let mut layers = SimulcastLayers::new(0);
        for (writer, height) in (1..).zip(heights) {
            layers.add(writer);
            layers.layer(writer).unwrap().format = height.map(|height| VideoFormat {
                width: 2 * height,
                height,
                ..VideoFormat::default()
            });
        }
        layers
    }

    #[test]
    fn the_larger_one_is_taken_at_its_keyframe_and_left_when_it_ends() {
        let mut layers = layers([Some(180), Some(720)]);
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let (small, large) = (1, 2);
        assert_eq!(
            layers.look(small, frame(small, 9, true), at(0)),
            LayerVerdict::Pass
        );
        let wanted = layers.look(small, frame(large, 9, false), at(0));
        assert_eq!(wanted, LayerVerdict::KeyframeWanted);
        assert_eq!(
            layers.look(small, frame(large, 9, false), at(30)),
            LayerVerdict::Ignore
        );
        assert_eq!(
            layers.look(small, frame(large, 9, true), at(60)),
            LayerVerdict::Switch
        );
        assert_eq!(
            layers.look(large, frame(small, 9, true), at(90)),
            LayerVerdict::Ignore
        );
        assert_eq!(
            layers.look(large, frame(large, 9, false), at(120)),
            LayerVerdict::Pass
        );
        let wanted = layers.look(large, frame(small, 9, false), at(1130));
        assert_eq!(wanted, LayerVerdict::KeyframeWanted);
        assert_eq!(
            layers.look(large, frame(small, 9, true), at(1160)),
            LayerVerdict::Switch
        );
        assert_eq!(
            layers.look(small, frame(3, 9, true), at(1190)),
            LayerVerdict::Ignore
        );
    }

    #[test]
    fn of_one_size_the_one_of_a_higher_rate_is_taken() {
        for heights in [[None, None], [Some(180), Some(180)]] {
            let mut layers = layers(heights);
            let begin = Instant::now();
            let mut verdicts = Vec::new();
            for number in 0..60 {
                let now = begin + Duration::from_millis(33) * number;
                layers.look(1, frame(1, 1000, false), now);
                verdicts.push(layers.look(1, frame(2, 1600, number % 15 == 0), now));
            }
            let switch = verdicts
                .iter()
                .position(|verdict| *verdict == LayerVerdict::Switch);
            assert_eq!(switch, Some(45), "measured for a second first");
        }
    }
}
