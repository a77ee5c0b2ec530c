//! Whether a client shows up: from the moment its answer has been written, and again from each of
//! its PATCH requests, its first connectivity check is due within a time limit.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::awake;

/// How often to check for a client that has not shown up yet.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// When a client last gave a sign of life over HTTP. Copies belong to the same client.
#[derive(Clone, Debug, Default)]
pub(super) struct Attendance {
    last: Arc<Mutex<Option<Instant>>>,
}

impl Attendance {
    /// Notes a sign of life.
    pub(super) fn note(&self, now: Instant) {
        *self.last() = Some(now);
    }

    /// Whether the last sign of life is this long ago; never before the first.
    pub(super) fn is_missed(&self, limit: Duration, now: Instant) -> bool {
        let past = |last| now.saturating_duration_since(last) >= limit;
        self.last().is_some_and(past)
    }

    fn last(&self) -> MutexGuard<'_, Option<Instant>> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer on its way to the client. Dropping the last copy notes that it has been written, or
/// that nobody waits for it any more.
#[derive(Clone, Debug)]
pub struct AnswerDelivery {
    _guard: Arc<DeliveryGuard>,
}

#[derive(Debug)]
struct DeliveryGuard(Attendance);

impl AnswerDelivery {
    pub(super) fn new(attendance: &Attendance) -> Self {
        Self {
            _guard: Arc::new(DeliveryGuard(attendance.clone())),
        }
    }
}

impl Drop for DeliveryGuard {
    fn drop(&mut self) {
        self.0.note(awake::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(3);
    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_client_is_awaited_from_its_last_sign_of_life_on() {
        let (attendance, begin) = (Attendance::default(), Instant::now());
        let missed =
            |seconds| attendance.is_missed(LIMIT, begin + Duration::from_secs_f64(seconds));
        assert!(!missed(3600.0));
        attendance.note(begin);
        assert!(!missed(2.9) && missed(3.0));
        // A PATCH.
        attendance.note(begin + Duration::from_secs(2));
        assert!(!missed(4.9) && missed(5.0));
    }

    #[test]
    fn nobody_is_awaited_while_the_answer_is_being_written() {
        let attendance = Attendance::default();
        let delivery = AnswerDelivery::new(&attendance);
        let copy = delivery.clone();
        drop(delivery);
        assert!(!attendance.is_missed(LIMIT, awake::now() + HOUR));
        drop(copy);
        assert!(!attendance.is_missed(HOUR, awake::now()));
        assert!(attendance.is_missed(LIMIT, awake::now() + LIMIT));
    }
}
