//! From the origin's clock to this node's. Pure: time comes in.
//!
//! A frame says when it was sent, on the clock of its `pts`. The least difference between its
//! arrival here and that moment is the offset between the clocks plus the shortest way. The offset
//! is that of the first frames; it follows slowly if the clocks drift apart.

use std::time::Duration;

use crate::media::Frame;

/// The least difference of the newest two such windows counts.
const WINDOW: Duration = Duration::from_secs(5);
/// Smaller differences are jitter.
const DRIFT_MIN: i128 = 10_000_000;
/// How fast the offset follows: one millisecond a second.
const SLEW: i128 = 1000;

/// The offset between an origin's clock and this node's.
#[derive(Debug, Default)]
pub(super) struct ClockOffset {
    /// In nanoseconds.
    offset: Option<i128>,
    least: [Option<i128>; 2],
    /// Since when there has been a new window.
    window: Duration,
    /// When the offset last followed.
    followed: Duration,
}

impl ClockOffset {
    /// Moves a frame that was `sent` then, and arrives `now`, onto this node's clock.
    pub(super) fn apply(&mut self, mut frame: Frame, sent: Duration, now: Duration) -> Frame {
        let offset = self.note(sent, now);
        let pts = nanoseconds(frame.pts) + offset;
        let ticks = offset * i128::from(frame.codec.clock_rate()) / 1_000_000_000;
        frame.pts = Duration::from_nanos(u64::try_from(pts.max(0)).unwrap_or(u64::MAX));
        let timestamp = i128::from(frame.timestamp) + ticks;
        frame.timestamp = u64::try_from(timestamp.max(0)).unwrap_or(u64::MAX);
        frame
    }

    fn note(&mut self, sent: Duration, now: Duration) -> i128 {
        let difference = nanoseconds(now) - nanoseconds(sent);
        let [newest, before] = &mut self.least;
        if now.saturating_sub(self.window) >= WINDOW {
            self.window = now;
            *before = newest.take();
        }
        *newest = Some(newest.map_or(difference, |least| least.min(difference)));
        let least = before.map_or(difference, |before| before.min(difference));
        let least = newest.map_or(least, |newest| newest.min(least));
        let Some(offset) = &mut self.offset else {
            self.offset = Some(difference);
            self.followed = now;
            return difference;
        };
        let gap = least - *offset;
        let room = nanoseconds(now.saturating_sub(self.followed)) / SLEW;
        self.followed = now;
        if gap.abs() > DRIFT_MIN {
            *offset += gap.clamp(-room, room);
        }
        *offset
    }
}

fn nanoseconds(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::Codec;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn frame(pts: u64) -> Frame {
        Frame {
            codec: Codec::H264,
            keyframe: true,
            pts: millis(pts),
            timestamp: pts * 90,
            data: Bytes::from_static(&[1]),
            ends: vec![1],
        }
    }

    #[test]
    fn frames_keep_their_distances_whatever_their_way_takes() {
        let mut clock = ClockOffset::default();
        let mut moved = Vec::new();
        for number in 0..100 {
            let (sent, jitter) = (5000 + number * 33, number * 7 % 9);
            let frame = clock.apply(
                frame(sent),
                millis(sent),
                millis(100 + number * 33 + jitter),
            );
            moved.push((frame.pts, frame.timestamp));
        }
        let expected = (0..100).map(|number| (millis(100 + number * 33), (100 + number * 33) * 90));
        assert_eq!(moved, expected.collect::<Vec<_>>());
    }

    #[test]
    fn retransmissions_do_not_disturb_the_clock() {
        let mut clock = ClockOffset::default();
        let cached = clock.apply(frame(3000), millis(5000), millis(100));
        assert_eq!(
            cached.pts,
            Duration::ZERO,
            "it was due before this node began"
        );
        let live = clock.apply(frame(5010), millis(5010), millis(110));
        assert_eq!(live.pts, millis(110));
    }

    #[test]
    fn drift_is_followed_slowly() {
        let mut clock = ClockOffset::default();
        let mut before = clock.apply(frame(0), millis(0), millis(0)).pts;
        for tick in 1..60_000 {
            // Half a millisecond a second too fast.
            let (sent, now) = (tick * 10, Duration::from_micros(tick * 10_005));
            let pts = clock.apply(frame(sent), millis(sent), now).pts;
            let step = pts.saturating_sub(before);
            assert!(
                step >= millis(10) && step <= Duration::from_micros(10_011),
                "{step:?}"
            );
            before = pts;
            assert!(now.abs_diff(pts) < millis(16), "{now:?} {pts:?}");
        }
    }
}
