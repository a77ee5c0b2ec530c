//! Retransmission: each viewer's budget, and second copies on lossy links.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::playout::RetransmissionBudget;

/// From this loss on, in 256ths (1.5 %), as a receiver reports it (RFC 3550 §6.4.1),
/// retransmissions are sent twice: a receiver that loses one asks again only after 100 ms
/// (Chromium), too late for the picture.
const LOSSY: u8 = 4;
/// How long this lasts after such a report.
const LOSSY_FOR: Duration = Duration::from_secs(10);
/// Time to the second copy, so that a short burst of losses does not hit both.
const SECOND_AFTER: Duration = Duration::from_millis(15);
/// The cost of a request for an unknown or expired packet, in bytes: looking for it takes about as
/// long as encrypting this many.
const UNKNOWN_COST: usize = 100;
/// Second copies waiting; packets beyond these are sent once.
const SECONDS_MAX: usize = 128;

/// One viewer's remaining retransmission budget.
pub(super) struct Retransmission {
    budget: RetransmissionBudget,
    lossy_until: Option<Instant>,
    seconds: VecDeque<Second>,
}

/// A packet to be sent for the second time.
struct Second {
    at: Instant,
    ssrc: u32,
    sequence: u16,
}

impl Retransmission {
    pub(super) const fn new() -> Self {
        Self {
            budget: RetransmissionBudget::new(),
            lossy_until: None,
            seconds: VecDeque::new(),
        }
    }

    /// `bytes` of media have been sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.budget.earn(bytes);
    }

    /// The receiver reports a loss of `fraction` 256ths.
    pub(super) fn lost(&mut self, fraction: u8, now: Instant) {
        if fraction >= LOSSY {
            self.lossy_until = Some(now + LOSSY_FOR);
        }
    }

    /// When the next second copy is due.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.seconds.front().map(|second| second.at)
    }

    /// Whether nothing can be sent again for now.
    pub(super) fn is_spent(&self) -> bool {
        self.budget.is_spent()
    }

    /// `bytes` have been sent again.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.budget.spend(bytes);
    }

    /// A request named a packet that is unknown or has expired.
    pub(super) fn unknown(&mut self) {
        self.budget.spend(UNKNOWN_COST);
    }

    /// The next second copy that is due: SSRC and sequence number.
    pub(super) fn due(&mut self, now: Instant) -> Option<(u32, u16)> {
        if self.seconds.front()?.at > now {
            return None;
        }
        let second = self.seconds.pop_front()?;
        Some((second.ssrc, second.sequence))
    }

    /// A packet was sent again; on a lossy link a second copy follows.
    pub(super) fn again_later(&mut self, ssrc: u32, sequence: u16, now: Instant) {
        let lossy = self.lossy_until.is_some_and(|until| now < until);
        if lossy && self.seconds.len() < SECONDS_MAX {
            self.seconds.push_back(Second {
                at: now + SECOND_AFTER,
                ssrc,
                sequence,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_copies_are_for_links_that_lose() {
        let mut retransmission = Retransmission::new();
        let now = Instant::now();
        retransmission.lost(LOSSY - 1, now);
        retransmission.again_later(1, 7, now);
        assert_eq!(retransmission.wake(), None);
        retransmission.lost(LOSSY, now);
        retransmission.again_later(1, 7, now);
        assert_eq!(retransmission.wake(), Some(now + SECOND_AFTER));
        let later = now + LOSSY_FOR;
        retransmission.seconds.clear();
        retransmission.again_later(1, 8, later);
        assert_eq!(retransmission.wake(), None, "the link is good again");
    }

    #[test]
    fn second_copies_are_bounded() {
        let mut retransmission = Retransmission::new();
        let now = Instant::now();
        retransmission.lost(255, now);
        for sequence in 0..1000 {
            retransmission.again_later(1, sequence, now);
        }
        assert_eq!(retransmission.seconds.len(), SECONDS_MAX);
    }

    #[test]
    fn requests_for_unknown_packets_use_up_the_budget() {
        let mut retransmission = Retransmission::new();
        let mut ask = |most: usize, sent: usize| {
            retransmission.sent(sent);
            let asked = std::iter::from_fn(|| {
                let admitted = !retransmission.is_spent();
                admitted.then(|| retransmission.unknown())
            });
            asked.take(most).count()
        };
        let at_first = ask(10_000, 0);
        assert!((1..1000).contains(&at_first), "{at_first}");
        assert_eq!(ask(10_000, 0), 0, "spent");
        // Half of what is sent may be asked for again.
        assert_eq!(ask(10_000, 2 * 7 * UNKNOWN_COST), 7);
    }
}
