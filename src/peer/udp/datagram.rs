//! Datagrams on their way to sessions, and how many of each session's wait in the queue of its
//! receiver. Sessions share such queues: without this bound, a few that send as much as they may would
//! fill them for all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use super::AddressPair;
#[cfg(any(test, feature = "fuzz"))]
use crate::awake;

/// A datagram, and the addresses between which it travelled.
pub(crate) struct Datagram {
    pub(crate) ends: AddressPair,
    pub(crate) bytes: Vec<u8>,
    /// When the kernel got it, on the clock of `awake`.
    pub(crate) arrived: Instant,
    /// Its place in the receiver's queue; none in tests.
    #[expect(dead_code, reason = "dropping it frees the place")]
    pub(super) place: Option<QueuePlace>,
}

impl Datagram {
    /// One that counts nowhere.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn detached(ends: AddressPair, bytes: Vec<u8>) -> Self {
        Self {
            ends,
            bytes,
            arrived: awake::now(),
            place: None,
        }
    }
}

/// The datagrams of a session that have not been handled.
#[derive(Clone, Debug)]
pub(super) struct QueueShare {
    count: Arc<AtomicUsize>,
    max: usize,
}

/// A place in the queue, which becomes free when the datagram has been handled or dropped.
#[derive(Debug)]
pub(super) struct QueuePlace(Arc<AtomicUsize>);

impl QueueShare {
    pub(super) fn new(max: usize) -> Self {
        Self {
            count: Arc::default(),
            max,
        }
    }

    /// A place for one more, unless there are too many; `reserve` are allowed beyond that.
    pub(super) fn enter(&self, reserve: usize) -> Option<QueuePlace> {
        let before = self.count.fetch_add(1, Relaxed);
        let place = QueuePlace(Arc::clone(&self.count));
        (before < self.max.saturating_add(reserve)).then_some(place)
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_few_and_come_back() {
        let waiting = QueueShare::new(2);
        let places: Vec<_> = (0..5).filter_map(|_| waiting.enter(0)).collect();
        assert_eq!(places.len(), 2);
        let reserved: Vec<_> = (0..5).filter_map(|_| waiting.enter(1)).collect();
        assert_eq!(reserved.len(), 1);
        drop(places);
        assert!(waiting.enter(0).is_some());
        drop(reserved);
        assert_eq!(waiting.count.load(Relaxed), 0);
    }
}
