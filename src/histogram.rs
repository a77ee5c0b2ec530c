//! A histogram of durations: counts per class, without locks.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper ends of the classes, in seconds. One more class takes what is longer.
const ENDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Counts times.
#[derive(Debug, Default)]
pub struct TimeHistogram {
    classes: [AtomicU64; ENDS.len()],
    longer: AtomicU64,
    microseconds: AtomicU64,
}

/// The counts.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeDistribution {
    /// Upper ends in seconds, and how many times were no longer.
    pub up_to: Vec<(f64, u64)>,
    /// All times.
    pub count: u64,
    /// Their sum, in seconds.
    pub seconds: f64,
}

impl TimeHistogram {
    /// Counts a time.
    pub fn note(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let mut classes = self.classes.iter().zip(ENDS);
        let class = classes.find(|(_, end)| seconds <= *end);
        class
            .map_or(&self.longer, |(class, _)| class)
            .fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// The counts so far.
    pub fn read(&self) -> TimeDistribution {
        let mut count = 0;
        let up_to = self.classes.iter().zip(ENDS).map(|(class, end)| {
            count += class.load(Ordering::Relaxed);
            (end, count)
        });
        let up_to = up_to.collect();
        let time = Duration::from_micros(self.microseconds.load(Ordering::Relaxed));
        TimeDistribution {
            up_to,
            count: count + self.longer.load(Ordering::Relaxed),
            seconds: time.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_every_class_that_they_fit_into() {
        let histogram = TimeHistogram::default();
        for milliseconds in [5, 10, 11, 700, 31_000] {
            histogram.note(Duration::from_millis(milliseconds));
        }
        let read = histogram.read();
        let counts: Vec<_> = read.up_to.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4]);
        assert_eq!(read.count, 5);
        assert!((read.seconds - 31.726).abs() < 1e-6, "{}", read.seconds);
    }
}
