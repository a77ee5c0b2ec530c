//! The traffic between nodes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The traffic between this node and others since the start.
#[derive(Debug, Default)]
pub struct ClusterCounters {
    pub(super) frames_sent: AtomicU64,
    pub(super) bytes_sent: AtomicU64,
    pub(super) frames_received: AtomicU64,
    pub(super) bytes_received: AtomicU64,
    pub(super) frames_lost: AtomicU64,
    pub(super) gaps_repaired: AtomicU64,
}

impl ClusterCounters {
    pub(super) fn sent_frame(&self) {
        self.frames_sent.fetch_add(1, Relaxed);
    }

    pub(super) fn sent_bytes(&self, bytes: usize) {
        self.bytes_sent.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn received_frame(&self) {
        self.frames_received.fetch_add(1, Relaxed);
    }

    pub(super) fn received_bytes(&self, bytes: usize) {
        self.bytes_received.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn gaps(&self, repaired: u64, lost: u64) {
        self.gaps_repaired.fetch_add(repaired, Relaxed);
        self.frames_lost.fetch_add(lost, Relaxed);
    }

    /// Every counter: its name, what it counts, and its value.
    pub fn all(&self) -> [(&'static str, &'static str, u64); 6] {
        let value = |counter: &AtomicU64| counter.load(Relaxed);
        [
            (
                "aerial_cluster_frames_sent_total",
                "Frames sent to other nodes.",
                value(&self.frames_sent),
            ),
            (
                "aerial_cluster_sent_bytes_total",
                "Bytes of frames sent to other nodes.",
                value(&self.bytes_sent),
            ),
            (
                "aerial_cluster_frames_received_total",
                "Frames received from other nodes.",
                value(&self.frames_received),
            ),
            (
                "aerial_cluster_received_bytes_total",
                "Bytes of frames received from other nodes.",
                value(&self.bytes_received),
            ),
            (
                "aerial_cluster_frames_lost_total",
                "Frames from other nodes that never arrived.",
                value(&self.frames_lost),
            ),
            (
                "aerial_cluster_gaps_repaired_total",
                "Repaired gaps in the frames from other nodes.",
                value(&self.gaps_repaired),
            ),
        ]
    }
}
