//! The budget of what webrtcbin sends again: it has none of its own.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use gst::prelude::*;
use gstreamer as gst;

use crate::peer::budget::Budget;

/// What a packet costs that is asked for: most are as large as they may be.
const PACKET_BYTES: usize = 1200;

/// What one viewer may have again, and how often it was refused that.
#[derive(Debug)]
pub(super) struct Again {
    budget: Mutex<Budget>,
    refused: AtomicU64,
}

impl Again {
    pub(super) const fn new() -> Self {
        Self {
            budget: Mutex::new(Budget::new()),
            refused: AtomicU64::new(0),
        }
    }

    /// So many bytes of media have been sent for the first time.
    pub(super) fn earn(&self, bytes: usize) {
        let budget = self.budget.lock();
        budget.unwrap_or_else(PoisonError::into_inner).earn(bytes);
    }

    /// Requests that were past the budget.
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
                .is_some_and(|it| it.name() == "GstRTPRetransmissionRequest");
            if request && !again.take() {
                // `Drop` would have GStreamer 1.22 free the event a second time.
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn take(&self) -> bool {
        let budget = self.budget.lock();
        let mut budget = budget.unwrap_or_else(PoisonError::into_inner);
        if budget.is_spent() {
            self.refused.fetch_add(1, Relaxed);
            return false;
        }
        budget.spend(PACKET_BYTES);
        true
    }
}
