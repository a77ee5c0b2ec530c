//! What the threads of webrtcbin tell a relay, without waiting and without a lock.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::Notify;

/// What a relay learns from webrtcbin: it cannot read the encrypted packets itself.
#[derive(Debug, Default)]
pub(crate) struct RelaySignals {
    handshake_done: AtomicBool,
    authentic: AtomicBool,
    /// Wakes the relay's task.
    pub(super) changed: Notify,
}

impl RelaySignals {
    /// The DTLS handshake is done. Call it before any media is sent.
    pub(crate) fn handshake_done(&self) {
        self.handshake_done.store(true, Relaxed);
        self.changed.notify_one();
    }

    /// A packet of the client's was authentic.
    pub(crate) fn authentic(&self) {
        self.authentic.store(true, Relaxed);
    }

    /// Whether the handshake is done; true once.
    pub(super) fn take_handshake_done(&self) -> bool {
        self.handshake_done.load(Relaxed) && self.handshake_done.swap(false, Relaxed)
    }

    /// Whether authentic packets have arrived since the last call.
    pub(super) fn take_authentic(&self) -> bool {
        self.authentic.load(Relaxed) && self.authentic.swap(false, Relaxed)
    }
}
