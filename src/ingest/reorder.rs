//! Puts incoming packets back into order. Pure: time is an argument.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Packets that may wait behind a gap: a second of a 10 Mb/s stream.
const WAITING_MAX: usize = 1024;
/// A jump in sequence numbers larger than this is a new start, not a gap.
pub(super) const JUMP: u64 = 3000;

/// Holds packets behind a gap until the missing ones arrive or are too late. Packets in order pass
/// without delay.
pub(crate) struct Reorder<T> {
    latency: Duration,
    /// Sequence number to release next.
    next: Option<u64>,
    waiting: BTreeMap<u64, (Instant, T)>,
    /// Packets given up.
    pub(crate) lost: u64,
}

impl<T> Reorder<T> {
    /// Gives up a gap when the packet after it has waited for `latency`.
    pub(crate) const fn new(latency: Duration) -> Self {
        Self {
            latency,
            next: None,
            waiting: BTreeMap::new(),
            lost: 0,
        }
    }

    /// Takes a packet. Drops duplicates and packets that have been given up.
    pub(crate) fn push(&mut self, now: Instant, sequence: u64, packet: T) {
        let next = *self.next.get_or_insert(sequence);
        if sequence.abs_diff(next) > JUMP {
            self.waiting.clear();
            self.next = Some(sequence);
        } else if sequence < next {
            return;
        }
        self.waiting.entry(sequence).or_insert((now, packet));
    }

    /// The next packet in order, once it has arrived or the wait for it is over.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        let next = self.next?;
        let (&sequence, (came, _)) = self.waiting.first_key_value()?;
        let waited = now.saturating_duration_since(*came) >= self.latency;
        if sequence > next && !waited && self.waiting.len() <= WAITING_MAX {
            return None;
        }
        let (_, packet) = self.waiting.remove(&sequence)?;
        self.next = Some(sequence + 1);
        self.lost += sequence - next;
        Some(packet)
    }

    /// When the wait for the oldest gap is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting
            .first_key_value()
            .map(|(_, (came, _))| *came + self.latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATENCY: Duration = Duration::from_millis(200);

    fn pop_all(reorder: &mut Reorder<u64>, now: Instant) -> Vec<u64> {
        std::iter::from_fn(|| reorder.pop(now)).collect()
    }

    #[test]
    fn packets_in_order_pass_at_once() {
        let (mut reorder, now) = (Reorder::new(LATENCY), Instant::now());
        for sequence in 7..10 {
            reorder.push(now, sequence, sequence);
            assert_eq!(pop_all(&mut reorder, now), [sequence]);
        }
    }

    #[test]
    fn a_gap_is_waited_for_and_then_given_up() {
        let (mut reorder, now) = (Reorder::new(LATENCY), Instant::now());
        for sequence in [1, 3, 4] {
            reorder.push(now, sequence, sequence);
        }
        assert_eq!(pop_all(&mut reorder, now), [1]);
        reorder.push(now, 2, 2);
        assert_eq!(pop_all(&mut reorder, now), [2, 3, 4]);
        reorder.push(now, 6, 6);
        assert!(pop_all(&mut reorder, now).is_empty());
        assert_eq!(reorder.deadline(), Some(now + LATENCY));
        let later = now + LATENCY;
        assert_eq!(pop_all(&mut reorder, later), [6]);
        assert_eq!(reorder.lost, 1);
        reorder.push(later, 5, 5);
        assert!(pop_all(&mut reorder, later).is_empty(), "too late");
    }

    #[test]
    fn a_long_jump_is_a_new_start() {
        let (mut reorder, now) = (Reorder::new(LATENCY), Instant::now());
        reorder.push(now, 100_000, 1);
        assert_eq!(pop_all(&mut reorder, now), [1]);
        reorder.push(now, 50, 2);
        assert_eq!(pop_all(&mut reorder, now), [2]);
        assert_eq!(reorder.lost, 0);
    }

    #[test]
    fn the_queue_is_bounded() {
        let (mut reorder, now) = (Reorder::new(LATENCY), Instant::now());
        reorder.push(now, 0, 0);
        assert_eq!(pop_all(&mut reorder, now).len(), 1);
        for sequence in 2..2 + WAITING_MAX as u64 + 10 {
            reorder.push(now, sequence, sequence);
            pop_all(&mut reorder, now);
        }
        assert!(reorder.waiting.len() <= WAITING_MAX);
    }
}
