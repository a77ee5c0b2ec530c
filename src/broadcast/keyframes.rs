//! Keyframes of an input: when to ask for one, and whether it makes them often enough. Pure: time
//! comes in.

use std::time::{Duration, Instant};

use crate::media::TokenBucket;

/// Shortest time between two requests to an input, or to the encoders of a pipeline.
pub(super) const REQUEST_INTERVAL: Duration = Duration::from_millis(500);
/// Requests to an input that may follow each other at the shortest interval: viewers who come or go
/// to another layer together.
const REQUESTS_AT_ONCE: f64 = 4.0;
/// Requests to an input in the long run: whatever viewers do, keyframes take no more of its bit rate
/// than those of an ordinary publisher do.
const REQUESTS_PER_SECOND: f64 = 0.5;
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

/// Keyframe requests to an input: at most one per [`REQUEST_INTERVAL`] is passed on, and in the long
/// run [`REQUESTS_PER_SECOND`]. Further ones are merged into one, as soon as that is due.
#[derive(Debug, Default)]
pub(super) struct KeyframeRequests {
    wanted: bool,
    /// The operator wants it, whatever viewers have used up.
    forced: bool,
    asked: Option<Instant>,
    /// Made by the first request.
    budget: Option<TokenBucket>,
}

impl KeyframeRequests {
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// The operator wants one.
    pub(super) fn force(&mut self) {
        self.wanted = true;
        self.forced = true;
    }

    /// Drops the request: there is nobody to ask.
    pub(super) fn forget(&mut self) {
        self.wanted = false;
        self.forced = false;
    }

    /// Whether to ask now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let recent = self
            .asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < REQUEST_INTERVAL);
        if !self.wanted || recent {
            return false;
        }
        let full = || TokenBucket::new(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE, now);
        let within = self.budget.get_or_insert_with(full).take(1.0, now);
        if !within && !self.forced {
            return false;
        }
        self.forget();
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

    #[test]
    fn whatever_is_wanted_an_input_is_asked_every_other_second_in_the_long_run() {
        let begin = Instant::now();
        let mut requests = KeyframeRequests::default();
        let asked: Vec<_> = (0..6000)
            .map(|hundredth| begin + Duration::from_millis(10) * hundredth)
            .filter(|at| {
                requests.want();
                requests.take(*at)
            })
            .collect();
        let gaps: Vec<_> = asked.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(gaps.iter().all(|gap| *gap >= REQUEST_INTERVAL), "{gaps:?}");
        assert!((33..=34).contains(&asked.len()), "{}", asked.len());
        let slow = Duration::from_millis(1990);
        assert!(gaps.iter().skip(5).all(|gap| *gap >= slow));
        // The operator's own requests keep to the shortest interval only.
        let last = *asked.last().unwrap();
        for number in 1..10 {
            requests.force();
            assert!(requests.take(last + REQUEST_INTERVAL * number));
        }
        // After a quiet time, several may follow each other again.
        let later = begin + Duration::from_mins(2);
        let soon = (0..8).filter(|number| {
            requests.want();
            requests.take(later + REQUEST_INTERVAL * *number)
        });
        assert_eq!(soon.count(), 5);
    }
}
