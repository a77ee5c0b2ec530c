//! The retransmission budget for webrtcbin, which has none of its own.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use gst::prelude::*;
use gstreamer as gst;

use crate::{media::Kind, playout::RetransmissionBudget};

/// The cost of a requested packet before any has been sent.
const PACKET_BYTES: usize = 1200;

/// One viewer's remaining retransmission budget, and how many requests were refused.
#[derive(Debug)]
pub(super) struct RetransmissionGuard {
    budget: Mutex<RetransmissionBudget>,
    /// Bytes of a packet, on average: the cost of a requested one, whose size is unknown.
    packet_bytes: AtomicUsize,
    refused: AtomicU64,
}

impl RetransmissionGuard {
    pub(super) const fn new() -> Self {
        Self {
            budget: Mutex::new(RetransmissionBudget::new()),
            packet_bytes: AtomicUsize::new(PACKET_BYTES),
            refused: AtomicU64::new(0),
        }
    }

    /// `bytes` of media, in this many packets, have been sent for the first time. Only pictures are
    /// retransmitted.
    pub(super) fn earn(&self, kind: Kind, bytes: usize, packets: usize) {
        self.budget
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .earn(bytes);
        if kind == Kind::Video {
            let mean = (7 * self.packet_bytes.load(Relaxed) + bytes / packets.max(1)) / 8;
            self.packet_bytes.store(mean, Relaxed);
        }
    }

    /// Requests past the budget.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Lets requests reach `rtprtxsend` only while the budget lasts.
    pub(super) fn guard(self: &Arc<Self>, sender: &gst::Element) {
        let Some(pad) = sender.static_pad("src") else {
            return;
        };
        let again = Arc::clone(self);
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            let request = info
                .event()
                .and_then(|event| event.structure())
                .is_some_and(|event| event.name() == "GstRTPRetransmissionRequest");
            if request && !again.take() {
                // `Drop` would have GStreamer 1.22 free the event a second time.
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn take(&self) -> bool {
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        if budget.is_spent() {
            self.refused.fetch_add(1, Relaxed);
            return false;
        }
        budget.spend(self.packet_bytes.load(Relaxed));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_comes_again_as_was_earned_and_no_more() {
        let again = RetransmissionGuard::new();
        while again.take() {}
        assert_eq!(again.refused(), 1);
        for _ in 0..100 {
            again.earn(Kind::Video, 4000, 10);
        }
        // 200 kB for packets of 400 bytes, and one more when the rest is less than that.
        let taken = std::iter::from_fn(|| again.take().then_some(())).count();
        assert!((490..=501).contains(&taken), "{taken}");
        assert_eq!(again.refused(), 2);
    }
}
