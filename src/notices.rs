//! Log lines that anyone can cause: a few are written, the rest counted.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::media::TokenBucket;

/// Lines about single requests at once, and per second in the long run.
const REQUESTS_BURST: f64 = 50.0;
const REQUESTS_PER_SECOND: f64 = 5.0;

/// How many lines of one kind may still be written.
pub(crate) struct Notices(Mutex<Inner>);

struct Inner {
    lines: TokenBucket,
    left_out: u64,
}

impl Notices {
    /// For lines about single requests.
    pub(crate) fn of_requests() -> Self {
        Self::new(REQUESTS_PER_SECOND, REQUESTS_BURST)
    }

    /// Allows `burst` lines at once, and `per_second` in the long run.
    pub(crate) fn new(per_second: f64, burst: f64) -> Self {
        Self(Mutex::new(Inner {
            lines: TokenBucket::new(per_second, burst, Instant::now()),
            left_out: 0,
        }))
    }

    /// Whether a line may be written now, and how many have been left out since the last.
    pub(crate) fn line(&self) -> Option<u64> {
        self.line_at(Instant::now())
    }

    fn line_at(&self, now: Instant) -> Option<u64> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.lines.take(1.0, now) {
            Some(std::mem::take(&mut inner.left_out))
        } else {
            inner.left_out = inner.left_out.saturating_add(1);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines_are_few_and_the_rest_is_counted() {
        let (notices, now) = (Notices::of_requests(), Instant::now());
        let written = (0..1000).filter_map(|_| notices.line_at(now));
        assert_eq!(written.collect::<Vec<_>>(), [0; 50]);
        let later = now + Duration::from_millis(250);
        assert_eq!(notices.line_at(later), Some(950));
        assert_eq!(notices.line_at(later), None);
    }
}
