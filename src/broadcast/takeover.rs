//! Who may publish, and when a publisher counts as stale or gone. Pure: time comes in.

use std::time::{Duration, Instant};

use crate::peer::End;

/// How long a publisher may take to start and may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From the answer to the connection. Default: 15 s.
    pub connect: Duration,
    /// From the connection to the first packet. Default: 10 s.
    pub media: Duration,
    /// Silence after which another publisher may take over. Default: 2 s.
    pub stale: Duration,
    /// Silence after which the session ends. Default: 10 s.
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

    /// Whether a connected publisher has been silent for long enough to be replaced.
    pub(super) fn is_stale(&self, now: Instant, times: &Times) -> bool {
        self.last_packet
            .max(self.connected)
            .is_some_and(|last| now.saturating_duration_since(last) >= times.stale)
    }

    /// Why the session must end now, if it must.
    pub(super) fn overdue(&self, now: Instant, times: &Times) -> Option<End> {
        let past = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        match *self {
            Self { answered: None, .. } => None,
            Self {
                last_packet: Some(last),
                ..
            } => past(last, times.ended).then_some(End::Vanished),
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

    #[test]
    fn connected_without_media() {
        let clock = clock();
        let silent = Pulse {
            answered: Some(clock.at(0.0)),
            connected: Some(clock.at(1.0)),
            last_packet: None,
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
