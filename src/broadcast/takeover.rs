//! Who may publish, and when a publisher counts as stale or gone. Pure: time comes in.

use std::time::{Duration, Instant};

use crate::peer::End;

/// The longest wait that a publisher's own gaps earn it. Consent checks are at most 5 s apart, and
/// audio's RTCP about as much.
const PATIENCE_MAX: Duration = Duration::from_secs(8);
/// Shorter gaps cannot be distinguished from the interval between two checks of a publisher.
const GAP_MIN: Duration = Duration::from_millis(500);

/// How long a publisher may take to start and may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From the answer to the connection. Default: 15 s.
    pub connect: Duration,
    /// From the connection to the first packet. Default: 10 s.
    pub media: Duration,
    /// Time without a sign of life after which another publisher may take over. Default: 2 s.
    pub stale: Duration,
    /// The same, without a packet, however alive the connection is. Default: never.
    pub silent: Option<Duration>,
    /// Time without a sign of life after which the session ends. Default: 10 s.
    pub ended: Duration,
}

/// What is known about whoever feeds a broadcast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pulse {
    /// When the answer was ready.
    pub(super) answered: Option<Instant>,
    /// When ICE and DTLS were up.
    pub(super) connected: Option<Instant>,
    /// When the last packet arrived.
    pub(super) last_packet: Option<Instant>,
    /// When its connection last gave another sign of life.
    pub(super) last_sign: Option<Instant>,
    /// The longest time between two signs of life, packets included.
    pub(super) longest_gap: Duration,
}

/// What a second publisher gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takeover {
    /// The present one is protected.
    Refuse,
    /// The present one is replaced.
    Replace,
}

impl Pulse {
    /// Decides on a second publisher, whose request arrived at `arrived`.
    ///
    /// Of several overlapping requests, exactly one wins. A publisher that has its answer but has
    /// not connected protects nothing: OBS disconnects silently if it rejects the answer.
    pub(super) fn takeover(&self, arrived: Instant, now: Instant, times: &Times) -> Takeover {
        let overlaps = self.answered.is_none_or(|answered| arrived <= answered);
        if overlaps || (self.connected.is_some() && !self.is_stale(now, times)) {
            Takeover::Refuse
        } else {
            Takeover::Replace
        }
    }

    /// Takes in what a check of the publisher has found: its last packet, and the last other sign
    /// of life.
    pub(super) fn looked(&mut self, last_packet: Option<Instant>, last_sign: Option<Instant>) {
        let before = self.alive();
        self.last_packet = last_packet;
        self.last_sign = last_sign;
        let Some((before, alive)) = before.zip(self.alive()) else {
            return;
        };
        let gap = alive.saturating_duration_since(before);
        if gap >= GAP_MIN {
            self.longest_gap = self.longest_gap.max(gap);
        }
    }

    /// When it last gave a sign of life. Without a packet, none counts: it has yet to begin.
    fn alive(&self) -> Option<Instant> {
        Some(self.last_packet?).max(self.last_sign)
    }

    /// How long it may give no sign of life: longer if it has been seen to leave longer gaps, such
    /// as a slide show without sound.
    fn patience(&self, times: &Times) -> Duration {
        let own = (self.longest_gap * 3 / 2).min(PATIENCE_MAX);
        times.stale.max(own.min(times.ended))
    }

    /// Whether a connected publisher has been silent for long enough to be replaced.
    pub(super) fn is_stale(&self, now: Instant, times: &Times) -> bool {
        let past = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        let dead = self
            .alive()
            .max(self.connected)
            .is_some_and(|since| past(since, self.patience(times)));
        let mute = self
            .last_packet
            .zip(times.silent)
            .is_some_and(|(since, limit)| past(since, limit));
        dead || mute
    }

    /// Why the session must end now, if it must.
    pub(super) fn overdue(&self, now: Instant, times: &Times) -> Option<End> {
        let past = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        if let Some(alive) = self.alive() {
            return past(alive, times.ended).then_some(End::Vanished);
        }
        match *self {
            Self { answered: None, .. } => None,
            Self {
                connected: Some(since),
                ..
            } => past(since, times.media).then_some(End::NoMedia),
            Self {
                answered: Some(since),
                ..
            } => past(since, times.connect).then_some(End::ConnectTimeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times {
        connect: Duration::from_secs(15),
        media: Duration::from_secs(10),
        stale: Duration::from_secs(2),
        silent: None,
        ended: Duration::from_secs(10),
    };

    struct Clock(Instant);

    impl Clock {
        fn at(&self, seconds: f64) -> Instant {
            self.0 + Duration::from_secs_f64(seconds)
        }
    }

    fn clock() -> Clock {
        Clock(Instant::now())
    }

    #[test]
    fn of_overlapping_requests_one_wins() {
        let clock = clock();
        let negotiating = Pulse::default();
        assert_eq!(
            negotiating.takeover(clock.at(0.0), clock.at(0.0), &TIMES),
            Takeover::Refuse
        );
        let answered = Pulse {
            answered: Some(clock.at(0.1)),
            ..negotiating
        };
        assert_eq!(
            answered.takeover(clock.at(0.05), clock.at(0.2), &TIMES),
            Takeover::Refuse
        );
        assert_eq!(
            answered.takeover(clock.at(0.15), clock.at(0.2), &TIMES),
            Takeover::Replace
        );
    }

    #[test]
    fn a_live_publisher_is_protected_and_a_stale_one_is_not() {
        let clock = clock();
        let live = Pulse {
            answered: Some(clock.at(0.0)),
            connected: Some(clock.at(0.5)),
            last_packet: Some(clock.at(7.0)),
            ..Pulse::default()
        };
        for (now, verdict) in [(8.9, Takeover::Refuse), (9.0, Takeover::Replace)] {
            assert_eq!(
                live.takeover(clock.at(now), clock.at(now), &TIMES),
                verdict,
                "{now}"
            );
        }
        assert_eq!(live.overdue(clock.at(16.9), &TIMES), None);
        assert_eq!(live.overdue(clock.at(17.0), &TIMES), Some(End::Vanished));
    }

    /// A publisher that sends at fixed intervals, and is checked.
    struct Watched {
        pulse: Pulse,
        clock: Clock,
        times: Times,
        seconds: f64,
        /// Times between two packets, and between two reports, in seconds.
        packets: Option<f64>,
        reports: Option<f64>,
    }

    impl Watched {
        fn new(packets: Option<f64>, reports: Option<f64>) -> Self {
            let clock = clock();
            Self {
                pulse: Pulse {
                    answered: Some(clock.at(0.0)),
                    connected: Some(clock.at(0.0)),
                    ..Pulse::default()
                },
                clock,
                times: TIMES,
                seconds: 0.0,
                packets,
                reports,
            }
        }

        /// Looks at it until then, four times a second. Returns when it was found stale, in seconds.
        fn until(&mut self, end: f64) -> Vec<f64> {
            let mut stale = Vec::new();
            while self.seconds < end {
                self.seconds += 0.25;
                let now = self.clock.at(self.seconds);
                let latest = |every: f64| self.clock.at((self.seconds / every).floor() * every);
                let packet = self.packets.map(latest).or(self.pulse.last_packet);
                let report = self.reports.map(latest).or(self.pulse.last_sign);
                self.pulse.looked(packet, report);
                if self.pulse.is_stale(now, &self.times) {
                    stale.push(self.seconds);
                }
            }
            stale
        }

        /// It stops sending. Returns how long after its last sign of life it is stale.
        fn crash(&mut self) -> f64 {
            (self.packets, self.reports) = (None, None);
            let last = self.pulse.alive().unwrap();
            let stale = self.until(self.seconds + 20.0)[0];
            (self.clock.at(stale) - last).as_secs_f64()
        }
    }

    #[test]
    fn a_slide_show_is_live_as_long_as_it_gives_signs_of_life() {
        let mut slides = Watched::new(Some(4.0), Some(1.0));
        assert_eq!(slides.until(60.0), [0.0; 0]);
        assert!((slides.crash() - 2.0).abs() < 0.01, "gaps of a second");
        // A picture that stands still for longer than `ended`.
        let mut still = Watched::new(Some(30.0), Some(5.0));
        still.until(60.0);
        let now = still.clock.at(still.seconds);
        assert_eq!(still.pulse.overdue(now, &TIMES), None);
        still.reports = None;
        still.until(69.75);
        let now = still.clock.at(still.seconds);
        assert_eq!(still.pulse.overdue(now, &TIMES), None);
        assert_eq!(
            still.pulse.overdue(still.clock.at(70.0), &TIMES),
            Some(End::Vanished)
        );
    }

    #[test]
    fn a_publisher_that_leaves_long_gaps_gets_a_longer_wait() {
        let mut slides = Watched::new(Some(4.0), None);
        let stale = slides.until(60.0);
        // Nothing is known of a gap until it has ended.
        assert!(stale.iter().all(|seconds| (2.0..4.0).contains(seconds)));
        assert!((slides.crash() - 6.0).abs() < 0.01);
    }

    #[test]
    fn a_publisher_that_has_crashed_is_stale_soon() {
        for reports in [None, Some(1.0), Some(5.0)] {
            let mut publisher = Watched::new(Some(1.0 / 30.0), reports);
            assert_eq!(publisher.until(60.0), [0.0; 0]);
            let wait = publisher.crash();
            assert!((2.0..2.25).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn no_publisher_earns_more_than_eight_seconds_or_outlasts_its_end() {
        let times = |stale, ended| Times {
            stale: Duration::from_secs_f64(stale),
            ended: Duration::from_secs_f64(ended),
            ..TIMES
        };
        for (gap, times, patience) in [
            (2.0, TIMES, 3.0),
            (1.0, TIMES, 2.0),
            (9.0, TIMES, 8.0),
            (4.0, times(2.0, 5.0), 5.0),
            (4.0, times(12.0, 5.0), 12.0),
        ] {
            let pulse = Pulse {
                longest_gap: Duration::from_secs_f64(gap),
                ..Pulse::default()
            };
            let patience = Duration::from_secs_f64(patience);
            assert_eq!(pulse.patience(&times), patience, "{gap} {times:?}");
        }
    }

    #[test]
    fn an_operator_may_want_packets() {
        let mut mute = Watched::new(Some(0.02), Some(1.0));
        mute.times.silent = Some(Duration::from_secs(5));
        assert_eq!(mute.until(10.0), [0.0; 0]);
        mute.packets = None;
        assert_eq!(mute.until(14.75), [0.0; 0]);
        assert_eq!(mute.until(15.0), [15.0]);
        mute.times.silent = None;
        assert_eq!(mute.until(60.0), [0.0; 0]);
    }

    #[test]
    fn signs_of_life_before_the_first_packet_protect_nothing() {
        let mut idle = Watched::new(None, Some(1.0));
        assert_eq!(idle.until(1.75), [0.0; 0]);
        assert_eq!(idle.until(2.0), [2.0]);
        assert_eq!(
            idle.pulse.overdue(idle.clock.at(10.0), &TIMES),
            Some(End::NoMedia)
        );
    }

    #[test]
    fn connected_without_media() {
        let clock = clock();
        let silent = Pulse {
            answered: Some(clock.at(0.0)),
            connected: Some(clock.at(1.0)),
            ..Pulse::default()
        };
        assert_eq!(
            silent.takeover(clock.at(2.0), clock.at(2.0), &TIMES),
            Takeover::Refuse
        );
        assert_eq!(
            silent.takeover(clock.at(3.0), clock.at(3.0), &TIMES),
            Takeover::Replace
        );
        assert_eq!(silent.overdue(clock.at(10.9), &TIMES), None);
        assert_eq!(silent.overdue(clock.at(11.0), &TIMES), Some(End::NoMedia));
    }

    #[test]
    fn never_connected() {
        let clock = clock();
        let silent = Pulse {
            answered: Some(clock.at(0.0)),
            ..Pulse::default()
        };
        assert_eq!(silent.overdue(clock.at(14.9), &TIMES), None);
        assert_eq!(
            silent.overdue(clock.at(15.0), &TIMES),
            Some(End::ConnectTimeout)
        );
    }
}
