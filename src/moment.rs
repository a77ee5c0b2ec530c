//! A moment that some threads note and others read.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// When something last happened.
#[derive(Debug)]
pub(crate) struct Moment {
    begin: Instant,
    /// Nanoseconds from `begin`; 0 before it has happened.
    nanos: AtomicU64,
}

impl Moment {
    /// Counts from `begin`; nothing has happened yet.
    pub(crate) const fn never(begin: Instant) -> Self {
        Self {
            begin,
            nanos: AtomicU64::new(0),
        }
    }

    /// Notes that it happened at this time. An earlier time than the latest changes nothing.
    pub(crate) fn note(&self, at: Instant) {
        let nanos = at.saturating_duration_since(self.begin).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.nanos.fetch_max(nanos, Relaxed);
    }

    /// When it last happened.
    pub(crate) fn latest(&self) -> Option<Instant> {
        let nanos = self.nanos.load(Relaxed);
        (nanos != 0).then(|| self.begin + Duration::from_nanos(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_time_counts() {
        let begin = Instant::now();
        let moment = Moment::never(begin);
        assert_eq!(moment.latest(), None);
        let [early, late] = [3, 5].map(|seconds| begin + Duration::from_secs(seconds));
        moment.note(late);
        moment.note(early);
        assert_eq!(moment.latest(), Some(late));
    }
}
