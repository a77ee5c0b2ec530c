//! What a worker keeps of one rendition.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::gop::{Continuity, Gop, GopLimits};
use crate::media::Frame;

/// A cached frame is shown this much behind the live edge, so that the next live frame, early by a
/// little jitter, still comes after it.
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
}

impl RenditionCache {
    pub(crate) const fn new(limits: GopLimits, now: Instant) -> Self {
        Self {
            gop: Gop::new(limits),
            viewers: Vec::new(),
            meter: Meter::new(now),
            newest_at: now,
            keyframe_at: None,
        }
    }

    /// Takes the next frame. A jump in `number` says that frames are missing.
    pub(crate) fn push(&mut self, number: u64, frame: &Arc<Frame>, now: Instant) -> Continuity {
        self.newest_at = now;
        if frame.keyframe {
            self.keyframe_at = Some(now);
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
}

impl Meter {
    const fn new(now: Instant) -> Self {
        Self {
            bytes: 0,
            since: now,
            rate: 0,
            last: None,
        }
    }

    fn count(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
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
        assert_eq!(meter.rate(now + METER_OFF), 0);
    }
}
