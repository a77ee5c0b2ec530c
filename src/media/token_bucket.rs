//! A token bucket: a long-term rate, with bursts.

use std::time::Instant;

/// A bucket that fills over time; taking empties it.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    per_second: f64,
    burst: f64,
    left: f64,
    at: Instant,
}

impl TokenBucket {
    /// A full bucket: `burst` can be taken at once, and `per_second` flows in.
    pub const fn new(per_second: f64, burst: f64, now: Instant) -> Self {
        Self {
            per_second,
            burst,
            left: burst,
            at: now,
        }
    }

    /// The inflow per second.
    pub const fn per_second(&self) -> f64 {
        self.per_second
    }

    /// The present level.
    pub fn left(&self, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.burst.min(self.left + seconds * self.per_second)
    }

    /// Whether everything taken has flowed in again.
    pub fn is_full(&self, now: Instant) -> bool {
        self.left(now) >= self.burst
    }

    /// Takes `amount`, if that much is left.
    pub fn take(&mut self, amount: f64, now: Instant) -> bool {
        let left = self.left(now);
        let taken = amount <= left;
        self.left = if taken { left - amount } else { left };
        self.at = self.at.max(now);
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let begin = Instant::now();
        let mut bucket = TokenBucket::new(20.0, 40.0, begin);
        assert_eq!((0..100).filter(|_| bucket.take(1.0, begin)).count(), 40);
        assert!(bucket.take(1.0, begin + Duration::from_millis(60)));
        assert!(!bucket.take(1.0, begin + Duration::from_millis(61)));
        let later = begin + Duration::from_secs(9);
        assert!(bucket.is_full(later));
        assert_eq!((0..100).filter(|_| bucket.take(1.0, later)).count(), 40);
    }

    #[test]
    fn an_empty_bucket_gives_nothing() {
        let begin = Instant::now();
        let mut bucket = TokenBucket::new(1.0, 10.0, begin);
        assert!(!bucket.take(11.0, begin));
        assert!(bucket.is_full(begin));
        assert!(bucket.take(10.0, begin) && !bucket.is_full(begin));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let earlier = Instant::now();
        let later = earlier + Duration::from_secs(10);
        let mut bucket = TokenBucket::new(1.0, 2.0, later);
        assert!(bucket.take(2.0, later));
        assert!(!bucket.take(1.0, earlier));
        assert!(!bucket.take(1.0, later));
    }
}
