//! How often a keyframe is requested.

use std::time::{Duration, Instant};

/// How often whatever waits for a keyframe requests one again.
pub const KEYFRAME_PAUSE: Duration = Duration::from_secs(1);

/// Limits the rate of keyframe requests. The first one is always due.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyframeRequestLimit {
    last: Option<Instant>,
}

impl KeyframeRequestLimit {
    /// Whether a keyframe may be requested now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.saturating_duration_since(last) >= KEYFRAME_PAUSE)
    }

    /// A keyframe is being requested.
    pub const fn note(&mut self, now: Instant) {
        self.last = Some(now);
    }

    /// Whether to request a keyframe now; the caller then does so.
    pub fn admits(&mut self, now: Instant) -> bool {
        let due = self.is_due(now);
        if due {
            self.note(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_per_pause() {
        let (mut requests, begin) = (KeyframeRequestLimit::default(), Instant::now());
        assert!(requests.admits(begin), "the first one");
        assert!(!requests.admits(begin + KEYFRAME_PAUSE / 2));
        let next = begin + KEYFRAME_PAUSE;
        assert!(requests.admits(next), "a refusal does not count");
        assert!(!requests.admits(next));
    }
}
