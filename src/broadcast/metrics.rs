//! What the metrics need besides the status of broadcasts.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Broadcasts, status::BroadcastCounters};
use crate::{ingest::Statistics, peer::sdp::Role, plan::Name};

/// What one publisher has sent, as last read from its connection.
#[derive(Debug, Default)]
pub(super) struct ReceivedCounters {
    packets: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
}

impl ReceivedCounters {
    pub(super) fn set(&self, received: &Statistics) {
        self.packets.store(received.packets, Ordering::Relaxed);
        self.bytes.store(received.bytes, Ordering::Relaxed);
        self.lost.store(received.lost, Ordering::Relaxed);
    }
}

/// What the publisher of a broadcast has sent.
#[derive(Clone, Debug)]
pub struct PublisherTotals {
    /// The broadcast.
    pub broadcast: Name,
    /// Whether its connection is up.
    pub connected: bool,
    /// RTP packets.
    pub packets: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Packets that never arrived.
    pub lost: u64,
}

impl Broadcasts {
    /// What has happened so far.
    pub fn counters(&self) -> &BroadcastCounters {
        &self.shared.counters
    }

    /// Automatic transcodes that run now, or are promised to a viewer that is about to connect.
    pub fn transcodes(&self) -> usize {
        self.shared.transcodes.taken()
    }

    /// What the current publishers have sent.
    pub fn publishers(&self) -> Vec<PublisherTotals> {
        self.shared
            .directory()
            .sessions
            .values()
            .filter(|session| session.role == Role::Publisher)
            .map(|session| PublisherTotals {
                broadcast: session.broadcast.clone(),
                connected: session.is_connected(),
                packets: session.received.packets.load(Ordering::Relaxed),
                bytes: session.received.bytes.load(Ordering::Relaxed),
                lost: session.received.lost.load(Ordering::Relaxed),
            })
            .collect()
    }
}
