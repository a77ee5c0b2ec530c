//! Reports limits that keep clients out to the operator: each at most once in a while.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::problem::Reason;
use crate::events::{EventBus, Happening};

/// Shortest time between two events about the same limit.
const INTERVAL: Duration = Duration::from_secs(10);
/// The types of problems that mean a limit.
const LIMITS: [&str; 4] = ["full", "overloaded", "too-many", "too-often"];

/// When each limit was last reported.
#[derive(Debug, Default)]
pub(super) struct LimitTells(Mutex<BTreeMap<&'static str, Instant>>);

impl LimitTells {
    /// Reports a refusal, if a limit is its reason.
    pub(super) fn note(&self, reason: &Reason, events: &EventBus) {
        if LIMITS.contains(&reason.kind) && self.is_due(reason.kind, Instant::now()) {
            events.tell(Happening::LimitHit {
                limit: reason.kind,
                broadcast: None,
                detail: Some(reason.detail.clone()),
            });
        }
    }

    fn is_due(&self, kind: &'static str, now: Instant) -> bool {
        // A poisoned lock is fine: nothing is ever left half-changed.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told
            .get(kind)
            .is_none_or(|last| now.saturating_duration_since(*last) >= INTERVAL);
        if is_due {
            told.insert(kind, now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_reported_once_in_a_while() {
        let tells = LimitTells::default();
        let now = Instant::now();
        assert!(tells.is_due("full", now));
        assert!(!tells.is_due("full", now + INTERVAL / 2));
        assert!(tells.is_due("too-many", now + INTERVAL / 2));
        assert!(tells.is_due("full", now + INTERVAL));
    }
}
