//! Retransmission: each viewer's budget, and second copies on lossy links.

use std::{
    collections::VecDeque,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use str0m::rtp::rtcp::Nack;

use super::viewer::{Context, DirectViewer, flush};
use crate::fanout::budget::RetransmissionBudget;

/// From this loss on, in 256ths (1.5 %), as a receiver reports it (RFC 3550 §6.4.1), what is sent
/// again is sent twice: a receiver that loses it asks again only after 100 ms (Chromium), which
/// the picture does not wait for.
const LOSSY: u8 = 4;
/// How long after such a report.
const LOSSY_FOR: Duration = Duration::from_secs(10);
/// Time to the second copy, so that a short burst of losses does not hit both.
const SECOND_AFTER: Duration = Duration::from_millis(15);
/// The cost of a request for an unknown or expired packet, in bytes: looking for it takes about as
/// long as encrypting this many.
const UNKNOWN_COST: usize = 100;
/// Second copies waiting; what is lost beyond is sent once.
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

    fn again_later(&mut self, ssrc: u32, sequence: u16, now: Instant) {
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

impl DirectViewer {
    pub(super) fn nack(&mut self, cx: &mut Context, nack: &Nack) {
        for entry in nack.reports.iter() {
            let following = (0..16_u16).filter(|bit| entry.blp >> bit & 1 == 1);
            let lost = following.map(|bit| entry.pid.wrapping_add(bit + 1));
            for sequence in std::iter::once(entry.pid).chain(lost) {
                if self.send_again(cx, *nack.ssrc, sequence) {
                    self.retransmission
                        .again_later(*nack.ssrc, sequence, cx.now);
                }
            }
        }
        self.flush_again(cx);
    }

    /// Sends the second copies that are due.
    pub(super) fn send_seconds(&mut self, cx: &mut Context) {
        while let Some(second) = self.retransmission.seconds.front()
            && second.at <= cx.now
        {
            let (ssrc, sequence) = (second.ssrc, second.sequence);
            self.retransmission.seconds.pop_front();
            self.send_again(cx, ssrc, sequence);
        }
        self.flush_again(cx);
    }

    /// Returns false if the packet is unknown or has expired, or the viewer's budget is spent.
    fn send_again(&mut self, cx: &mut Context, ssrc: u32, sequence: u16) -> bool {
        let Some(sender) = &self.sender else {
            return false;
        };
        if self.retransmission.budget.is_spent() {
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
            cx.totals.refused.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let before = cx.batch.bytes();
        let mut tracks = self.playout.tracks.iter_mut();
        let track = tracks.find(|track| track.stream.identity.ssrc == ssrc);
        let written = match track {
            Some(track) => track.stream.write_again(&mut cx.out(sender), sequence),
            None => Ok(false),
        };
        match written {
            Ok(true) => {
                self.counters.retransmitted.fetch_add(1, Ordering::Relaxed);
                cx.totals.retransmitted.fetch_add(1, Ordering::Relaxed);
                let bytes = cx.batch.bytes() - before;
                self.retransmission.budget.spend(bytes);
                true
            }
            Ok(false) => {
                self.retransmission.budget.spend(UNKNOWN_COST);
                false
            }
            Err(error) => {
                let span = self.session.span();
                tracing::warn!(parent: span, %error, "packet not retransmitted");
                false
            }
        }
    }

    fn flush_again(&mut self, cx: &mut Context) {
        if let Some(remote) = self.session.remote() {
            flush(cx, &self.counters, remote);
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
}
