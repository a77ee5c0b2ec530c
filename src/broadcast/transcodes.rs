//! How many transcodes the server may run that nobody configured.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The automatic transcodes of all broadcasts. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct TranscodeBudget {
    max: usize,
    running: Arc<AtomicUsize>,
}

impl TranscodeBudget {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            running: Arc::default(),
        }
    }

    /// Transcodes that run now.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Whether one more may start.
    pub(super) fn has_room(&self) -> bool {
        self.running() < self.max
    }

    /// A place for one more, if there is room.
    pub(super) fn take(&self) -> Option<TranscodePermit> {
        let more = |running| (running < self.max).then_some(running + 1);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.running.fetch_update(set, get, more).ok()?;
        Some(TranscodePermit(Arc::clone(&self.running)))
    }
}

/// One running transcode. Dropping it makes room for another.
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
        assert_eq!(budget.running(), 1);
        assert!(budget.has_room() && budget.take().is_some());
    }
}
