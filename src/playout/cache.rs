//! The recent frames of one rendition, as a worker keeps them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::gop::{Continuity, Gop, GopLimits};
use crate::media::Frame;

/// Cached frames are placed this long before the live edge, so that the next live frame, early by a
/// little jitter, still comes after them.
const EDGE_MARGIN: Duration = Duration::from_millis(10);
/// Window over which the bit rate is measured.
const METER_WINDOW: Duration = Duration::from_secs(1);
/// A rendition without a frame for this long has no bit rate.
const METER_OFF: Duration = Duration::from_secs(2);

/// The cached group of pictures of a rendition, its viewers, and when its frames came.
pub(crate) struct RenditionCache {
    pub(crate) gop: Gop,
    /// Viewers on the direct engine.
    pub(crate) viewers: Vec<u64>,
    pub(crate) meter: Meter,
    /// When the newest frame came.
    newest_at: Instant,
    /// When the newest keyframe came.
    keyframe_at: Option<Instant>,
    /// How much older the first keyframe is than its arrival.
    first_age: Duration,
}

/// Facts that a cache cannot learn from frames that arrive all at once, out of another cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// How long ago the cached keyframe came.
    keyframe_age: Duration,
    /// Bits per second; 0 if nothing comes.
    rate: u64,
    /// Bytes of the cached frames.
    bytes: u64,
}

impl RenditionCache {
    pub(crate) const fn new(limits: GopLimits, now: Instant) -> Self {
        Self {
            gop: Gop::new(limits),
            viewers: Vec::new(),
            meter: Meter::new(now),
            newest_at: now,
            keyframe_at: None,
            first_age: Duration::ZERO,
        }
    }

    /// One whose first frames come out of another cache.
    pub(crate) fn resumed(limits: GopLimits, now: Instant, backlog: Backlog) -> Self {
        Self {
            meter: Meter {
                rate: backlog.rate,
                uncounted: backlog.bytes,
                ..Meter::new(now)
            },
            first_age: backlog.keyframe_age,
            ..Self::new(limits, now)
        }
    }

    /// The facts for another cache that gets all cached frames now.
    pub(crate) fn backlog(&self, now: Instant) -> Backlog {
        Backlog {
            keyframe_age: self.keyframe_age(now).unwrap_or_default(),
            rate: self.meter.rate(now),
            bytes: self.gop.bytes() as u64,
        }
    }

    /// Takes the next frame. A jump in `number` says that frames are missing.
    pub(crate) fn push(&mut self, number: u64, frame: &Arc<Frame>, now: Instant) -> Continuity {
        self.newest_at = now;
        if frame.keyframe {
            // None: longer ago than the clock reaches.
            self.keyframe_at = now.checked_sub(std::mem::take(&mut self.first_age));
        }
        self.meter.count(frame.data.len(), now);
        self.gop.push(number, Arc::clone(frame))
    }

    /// The timestamp of a frame that would come now, less a margin.
    pub(crate) fn edge(&self, now: Instant) -> u64 {
        let Some(newest) = self.gop.newest() else {
            return 0;
        };
        let clock = u64::from(newest.codec.clock_rate());
        let ticks = |time: Duration| {
            u64::try_from(time.as_micros())
                .unwrap_or(0)
                .saturating_mul(clock)
                / 1_000_000
        };
        let since = now.saturating_duration_since(self.newest_at);
        (newest.timestamp + ticks(since)).saturating_sub(ticks(EDGE_MARGIN))
    }

    /// How long ago the cached keyframe came, if there is one.
    pub(crate) fn keyframe_age(&self, now: Instant) -> Option<Duration> {
        self.gop.keyframe()?;
        self.keyframe_at.map(|at| now.saturating_duration_since(at))
    }
}

/// Measures the bit rate of a rendition.
pub(crate) struct Meter {
    bytes: u64,
    since: Instant,
    rate: u64,
    last: Option<Instant>,
    /// Bytes that count for nothing: they come all at once.
    uncounted: u64,
}

impl Meter {
    const fn new(now: Instant) -> Self {
        Self {
            bytes: 0,
            since: now,
            rate: 0,
            last: None,
            uncounted: 0,
        }
    }

    fn count(&mut self, bytes: usize, now: Instant) {
        let bytes = bytes as u64;
        let counted = bytes.saturating_sub(self.uncounted);
        self.uncounted = self.uncounted.saturating_sub(bytes);
        self.bytes += counted;
        self.last = Some(now);
        let time = now.duration_since(self.since);
        if time < METER_WINDOW {
            return;
        }
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

    /// Bits per second; 0 if nothing comes. A guess until the first window is over.
    pub(crate) fn rate(&self, now: Instant) -> u64 {
        match self.last {
            Some(last) if now.duration_since(last) < METER_OFF => self.rate.max(1),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::gop::tests::frame, *};

    #[test]
    fn frames_out_of_another_cache_are_as_old_and_as_many_as_there() {
        let start = Instant::now();
        let mut cache = RenditionCache::new(GopLimits::default(), start);
        for number in 0..120_u32 {
            let at = start + Duration::from_millis(33) * number;
            cache.push(
                number.into(),
                &frame(33 * u64::from(number), number % 60 == 0, 5000),
                at,
            );
        }
        let now = start + Duration::from_secs(4);
        let mut copy = RenditionCache::resumed(GopLimits::default(), now, cache.backlog(now));
        for number in 60..120 {
            copy.push(number - 60, cache.gop.at(number).unwrap().1, now);
        }
        assert_eq!(copy.keyframe_age(now), cache.keyframe_age(now));
        let later = now + METER_WINDOW;
        copy.push(60, &frame(0, true, 150_000), later);
        let rate = copy.meter.rate(later);
        assert!(rate.abs_diff(1_200_000) < 60_000, "{rate}");
        assert_eq!(copy.keyframe_age(later), Some(Duration::ZERO));
    }

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
        assert_eq!(meter.rate(now + METER_OFF), 0);
    }
}
