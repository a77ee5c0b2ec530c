//! Keyframes of an input: when to ask for one, and whether it makes them often enough. Pure: time
//! comes in.

use std::time::{Duration, Instant};

/// Shortest time between two requests to an input, or to the encoders of a pipeline.
pub(super) const REQUEST_INTERVAL: Duration = Duration::from_millis(500);
/// An input that refreshes its picture gradually makes keyframes only on request: they are
/// requested after this long.
const GRADUAL_GOP_MAX: Duration = Duration::from_secs(2);
/// How long an input may take to answer a keyframe request.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far apart keyframes may be. `configured` is the operator's choice.
pub(super) fn gop_max(configured: Duration, gradual: bool) -> Duration {
    if gradual {
        configured.min(GRADUAL_GOP_MAX)
    } else {
        configured
    }
}

/// Keyframe requests: at most one per [`REQUEST_INTERVAL`] is passed on. Further ones are merged
/// into one at the end of the interval.
#[derive(Debug, Default)]
pub(super) struct KeyframeRequests {
    wanted: bool,
    asked: Option<Instant>,
}

impl KeyframeRequests {
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Drops the request: there is nobody to ask.
    pub(super) fn forget(&mut self) {
        self.wanted = false;
    }

    /// Whether to ask now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let recent = self
            .asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < REQUEST_INTERVAL);
        if !self.wanted || recent {
            return false;
        }
        self.wanted = false;
        self.asked = Some(now);
        true
    }
}

/// Watches whether an input makes keyframes often enough, or at least when asked. Otherwise viewers
/// that join would have to wait.
#[derive(Debug, Default)]
pub(super) struct KeyframeWatch {
    asked: Option<Instant>,
    sparse: bool,
}

impl KeyframeWatch {
    /// Whether keyframes are too far apart. Once true, it stays true for as long as the input
    /// lasts.
    pub(super) fn is_sparse(&self) -> bool {
        self.sparse
    }

    /// Returns whether to ask the input for a keyframe.
    pub(super) fn look(
        &mut self,
        now: Instant,
        keyframe_at: Option<Instant>,
        gop_max: Duration,
    ) -> bool {
        let Some(keyframe_at) = keyframe_at else {
            return false;
        };
        if self.sparse {
            return false;
        }
        if now.saturating_duration_since(keyframe_at) < gop_max {
            self.asked = None;
            return false;
        }
        let Some(asked) = self.asked else {
            self.asked = Some(now);
            return true;
        };
        self.sparse = now.saturating_duration_since(asked) >= PATIENCE;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_input_that_does_not_answer_has_sparse_keyframes() {
        let (begin, gop_max) = (Instant::now(), Duration::from_secs(10));
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut watch = KeyframeWatch::default();
        assert!(!watch.look(at(100), None, gop_max), "nothing there");
        assert!(!watch.look(at(9), Some(begin), gop_max));
        assert!(watch.look(at(10), Some(begin), gop_max), "ask");
        assert!(!watch.look(at(11), Some(begin), gop_max) && !watch.is_sparse());
        assert!(!watch.look(at(12), Some(at(11)), gop_max) && !watch.is_sparse());
        assert!(watch.look(at(21), Some(at(11)), gop_max), "ask again");
        assert!(!watch.look(at(23), Some(at(11)), gop_max) && watch.is_sparse());
    }

    #[test]
    fn requests_within_the_interval_become_one() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut requests = KeyframeRequests::default();
        assert!(!requests.take(at(0)), "none is wanted");
        requests.want();
        assert!(requests.take(at(0)));
        requests.want();
        requests.want();
        assert!(!requests.take(at(499)));
        assert!(requests.take(at(500)));
        assert!(!requests.take(at(2000)));
    }
}
