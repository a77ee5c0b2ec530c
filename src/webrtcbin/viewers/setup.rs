//! The setup of a viewer's webrtcbin, and its reports.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use crate::{
    media::Codec,
    playout::{Target, ViewerCounters},
};

/// The setup of a viewer's webrtcbin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SenderSetup {
    /// The offer, reduced to the sections that send, from the relay in place of the client.
    pub offer: String,
    /// Names the viewer's streams in RTCP (RFC 3550 §6.5.1), as in the answer.
    pub cname: String,
    /// One track for each section.
    pub tracks: Vec<SentTrack>,
}

/// A track that is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SentTrack {
    /// Its codec.
    pub codec: Codec,
    /// Its payload type.
    pub pt: u8,
    /// Its SSRC, as in the answer.
    pub ssrc: u32,
    /// Where its frames come from.
    pub target: Target,
}

/// The media sent to a viewer so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderFigures {
    /// RTP packets.
    pub packets: u64,
    /// Their bytes, before encryption.
    pub bytes: u64,
    /// Packets sent again on request.
    pub retransmitted: u64,
    /// Requests past the viewer's retransmission budget.
    pub refused: u64,
    /// Frames lost because the connection did not take them.
    pub dropped: u64,
    /// Keyframes that it has asked for.
    pub keyframe_requests: u64,
    /// Such requests that came too soon after the previous one.
    pub capped: u64,
    /// Authentic packets of RTCP from it.
    pub reports: u64,
}

impl SenderFigures {
    /// From the counts of the playout.
    pub(crate) fn new(counters: &ViewerCounters) -> Self {
        let counted = counters.statistics();
        Self {
            packets: counted.packets,
            bytes: counted.bytes,
            dropped: counted.dropped,
            keyframe_requests: counted.keyframe_requests,
            capped: counters.keyframe_requests_capped.load(Relaxed),
            ..Self::default()
        }
    }

    /// The media sent since these figures.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(before.packets),
            bytes: self.bytes.saturating_sub(before.bytes),
            retransmitted: self.retransmitted.saturating_sub(before.retransmitted),
            refused: self.refused.saturating_sub(before.refused),
            dropped: self.dropped.saturating_sub(before.dropped),
            keyframe_requests: self
                .keyframe_requests
                .saturating_sub(before.keyframe_requests),
            capped: self.capped.saturating_sub(before.capped),
            reports: self.reports.saturating_sub(before.reports),
        }
    }
}

/// Reports of a connection to the playout, on threads that must not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feedback {
    /// The outlet is open.
    Connected,
    /// The viewer's decoder needs a keyframe (PLI or FIR).
    KeyframeWanted,
}

/// Where a connection reports it.
pub(crate) type OnFeedback = Arc<dyn Fn(Feedback) + Send + Sync>;
