//! How many transcodes the server may run that nobody configured.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The automatic transcodes of all broadcasts. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct TranscodeBudget {
    max: Arc<AtomicUsize>,
    taken: Arc<AtomicUsize>,
}

impl TranscodeBudget {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max: Arc::new(AtomicUsize::new(max)),
            taken: Arc::default(),
        }
    }

    /// Changes how many there may be. Those that run go on.
    pub(super) fn set_max(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Transcodes that run now, or are promised to somebody.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether one more may start.
    pub(super) fn has_room(&self) -> bool {
        self.taken() < self.max()
    }

    /// A place for one more, if there is room.
    pub(super) fn take(&self) -> Option<TranscodePermit> {
        let max = self.max();
        let more = |taken| (taken < max).then_some(taken + 1);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.taken.fetch_update(set, get, more).ok()?;
        Some(TranscodePermit(Arc::clone(&self.taken)))
    }
}

/// The place of one transcode. Dropping it makes room for another.
#[derive(Debug)]
pub(super) struct TranscodePermit(Arc<AtomicUsize>);

impl Drop for TranscodePermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let budget = TranscodeBudget::new(2);
        let first = budget.take();
        let second = budget.take();
        assert!(first.is_some() && second.is_some());
        assert!(!budget.has_room() && budget.take().is_none());
        drop(first);
        assert_eq!(budget.taken(), 1);
        budget.set_max(1);
        assert!(!budget.has_room() && budget.take().is_none());
        budget.set_max(2);
        assert!(budget.has_room() && budget.take().is_some());
    }
}
