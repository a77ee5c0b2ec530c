//! Whether a publisher keeps to its bit rate. Pure: time and counts come in.

use std::time::{Duration, Instant};

use crate::ingest::Statistics;

/// The time over which the bit rate is measured.
const WINDOW: Duration = Duration::from_secs(1);
/// After this many windows in a row above the limit the session ends: congestion control reacts to
/// a request for less within a second or two.
const WINDOWS_MAX: u32 = 5;
/// Above the limit by this factor, each window counts as three.
const FLOOD_FACTOR: u64 = 4;
/// Overhead of a packet besides its payload, in bytes: headers of RTP, SRTP, UDP and IP.
const PACKET_BYTES: u64 = 60;
/// The part of the limit that a publisher is asked to send, in hundredths: rates vary around their
/// target.
const ASKED_PERCENT: u64 = 90;

/// Measures a publisher's bit rate.
#[derive(Debug)]
pub(super) struct BitrateWatch {
    /// In bit/s.
    max: u64,
    /// The present window's begin, and the bits received until then.
    since: Instant,
    before: u64,
    /// Windows in a row above the limit.
    over: u32,
}

/// What to do about a publisher's bit rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Fine,
    /// Ask for this bit rate.
    AskFor(u64),
    /// It does not listen: end the session. The rate in bit/s is for the log.
    TooFast(u64),
}

impl BitrateWatch {
    /// `max` is in bit/s.
    pub(super) fn new(max: u64, now: Instant) -> Self {
        Self {
            max,
            since: now,
            before: 0,
            over: 0,
        }
    }

    /// Looks at what has been received so far.
    pub(super) fn look(&mut self, now: Instant, received: &Statistics) -> Pace {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < WINDOW {
            return Pace::Fine;
        }
        let headers = received.packets.saturating_mul(PACKET_BYTES);
        let bits = received.bytes.saturating_add(headers).saturating_mul(8);
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        let rate = bits.saturating_sub(self.before).saturating_mul(1000) / millis;
        (self.since, self.before) = (now, bits);
        if rate <= self.max {
            self.over = 0;
            return Pace::Fine;
        }
        let flood = rate > self.max.saturating_mul(FLOOD_FACTOR);
        self.over += if flood { 3 } else { 1 };
        if self.over >= WINDOWS_MAX {
            return Pace::TooFast(rate);
        }
        Pace::AskFor(self.max / 100 * ASKED_PERCENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u64 = 1_000_000;

    /// The verdict of each second in which this many kilobytes arrive, in packets of 1000 bytes.
    fn seconds(kilobytes: &[u64]) -> Vec<Pace> {
        let begin = Instant::now();
        let mut watch = BitrateWatch::new(MAX, begin);
        let mut received = Statistics::default();
        let look = |(second, kilobytes): (u64, &u64)| {
            received.packets += kilobytes;
            received.bytes += kilobytes * 1000;
            let middle = begin + Duration::from_millis(second * 1000 - 500);
            assert_eq!(watch.look(middle, &received), Pace::Fine);
            watch.look(begin + Duration::from_secs(second), &received)
        };
        (1..).zip(kilobytes).map(look).collect()
    }

    #[test]
    fn a_publisher_above_the_limit_is_asked_and_then_ended() {
        let ask = Pace::AskFor(900_000);
        let paces = seconds(&[118, 117, 119, 120, 121, 122, 123]);
        assert_eq!(
            paces[..2],
            [ask, Pace::Fine],
            "117 kB and their headers fit"
        );
        assert_eq!(paces[2..6], [ask; 4]);
        assert_eq!(paces[6], Pace::TooFast(123 * 1060 * 8));
    }

    #[test]
    fn a_flood_ends_sooner() {
        let paces = seconds(&[500, 500]);
        assert_eq!(paces[0], Pace::AskFor(900_000));
        assert!(matches!(paces[1], Pace::TooFast(_)), "{paces:?}");
    }

    #[test]
    fn tiny_packets_count_with_their_headers() {
        let begin = Instant::now();
        let mut watch = BitrateWatch::new(MAX, begin);
        let received = Statistics {
            packets: 3000,
            bytes: 3000,
            ..Statistics::default()
        };
        assert_eq!(watch.look(begin + WINDOW, &received), Pace::AskFor(900_000));
    }
}
