//! A viewer's need for a keyframe: how often it may ask, and when the cached one must suffice.

use std::time::{Duration, Instant};

/// Shortest pause between two keyframe requests for one viewer.
pub(super) const REQUEST_PAUSE: Duration = Duration::from_millis(500);
/// Longest pause between successive requests from a viewer's peer.
const REQUEST_PAUSE_MAX: Duration = Duration::from_secs(8);
/// A peer that has been quiet for this long starts over with the shortest pause.
const QUIET: Duration = Duration::from_secs(20);
/// How long a viewer that needs a keyframe waits for the publisher's before it gets the cached one
/// again. OBS ignores requests.
pub(super) const KEYFRAME_PATIENCE: Duration = Duration::from_millis(300);
/// A cached keyframe of at most this age answers a request on its own, so that all viewers of a
/// broadcast together make its publisher send no more than one keyframe in this time.
pub(super) const KEYFRAME_FRESH: Duration = Duration::from_secs(2);

/// Limits one viewer's keyframe requests.
#[derive(Debug)]
pub(super) struct RequestLimiter {
    last: Option<Instant>,
    /// The pause that the peer must keep after `last`.
    pause: Duration,
}

impl RequestLimiter {
    pub(super) const fn new() -> Self {
        Self {
            last: None,
            pause: REQUEST_PAUSE,
        }
    }

    /// Whether the playout itself may ask now, having nothing to send without a keyframe.
    pub(super) fn admits_own(&mut self, now: Instant) -> bool {
        let since = self.last.map(|last| now.saturating_duration_since(last));
        if since.is_some_and(|since| since < REQUEST_PAUSE) {
            return false;
        }
        self.last = Some(now);
        true
    }

    /// Whether the peer's request (PLI or FIR), or one that it causes, counts. Each one that does
    /// doubles the next pause, until the peer has been quiet for a while.
    pub(super) fn admits_peer(&mut self, now: Instant) -> bool {
        let Some(last) = self.last else {
            self.last = Some(now);
            return true;
        };
        let since = now.saturating_duration_since(last);
        if since < self.pause {
            return false;
        }
        self.pause = if since < QUIET {
            (self.pause * 2).min(REQUEST_PAUSE_MAX)
        } else {
            REQUEST_PAUSE
        };
        self.last = Some(now);
        true
    }
}

/// A keyframe owed to a viewer: the publisher's next, or else the cached one again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refresh {
    /// When the cached keyframe must suffice.
    pub(super) due: Instant,
    /// A frame has arrived since. Without a live feed there is nothing to catch up with: the last
    /// picture stays.
    pub(super) live: bool,
}

impl Refresh {
    /// When to return to the cached keyframe, if known.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.live.then_some(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_goes_on_asking_is_heard_less_and_less() {
        let start = Instant::now();
        let mut limiter = RequestLimiter::new();
        let heard: Vec<_> = (0..600)
            .map(|tenth| start + Duration::from_millis(100) * tenth)
            .filter(|at| limiter.admits_peer(*at))
            .collect();
        let gaps: Vec<_> = heard.windows(2).map(|two| two[1] - two[0]).collect();
        let seconds = [0.5, 1.0, 2.0, 4.0, 8.0, 8.0].map(Duration::from_secs_f32);
        assert_eq!(gaps[..6], seconds);
        // After a quiet time it starts over.
        let later = start + Duration::from_mins(5);
        assert!(limiter.admits_peer(later));
        assert!(limiter.admits_peer(later + REQUEST_PAUSE));
    }

    #[test]
    fn the_playout_itself_keeps_to_the_shortest_pause() {
        let now = Instant::now();
        let mut limiter = RequestLimiter::new();
        for round in 0..20 {
            let at = now + REQUEST_PAUSE * round;
            assert!(limiter.admits_own(at));
            assert!(!limiter.admits_own(at + REQUEST_PAUSE / 2));
        }
    }
}
