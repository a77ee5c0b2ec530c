//! Counters of one viewer.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

/// The media sent to one viewer.
#[derive(Debug, Default)]
pub(crate) struct ViewerCounters {
    pub(crate) packets: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) retransmitted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) keyframe_requests: AtomicU64,
    /// Requests of the viewer for keyframes that came too soon (webrtcbin).
    pub(crate) keyframe_requests_capped: AtomicU64,
    /// As in [`ViewerStatistics::loss`], in 256ths.
    pub(crate) loss: AtomicU8,
    /// In microseconds; 0 if unknown.
    pub(crate) round_trip: AtomicU32,
    /// The handle is gone, so the viewer is to go too.
    pub(crate) closed: AtomicBool,
    /// Whether an authentic check has arrived (direct engine).
    pub(crate) checked: AtomicBool,
    /// A text was lost because too many were waiting in the data channel (direct engine).
    pub(crate) channel_behind: AtomicBool,
}

impl ViewerCounters {
    pub(crate) fn statistics(&self) -> ViewerStatistics {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        ViewerStatistics {
            packets: load(&self.packets),
            bytes: load(&self.bytes),
            retransmitted: load(&self.retransmitted),
            retransmissions_refused: load(&self.refused),
            dropped: load(&self.dropped),
            keyframe_requests: load(&self.keyframe_requests),
            loss: f32::from(self.loss.load(Relaxed)) / 256.0,
            round_trip_ms: match self.round_trip.load(Relaxed) {
                0 => None,
                micros => Some(micros.div_ceil(1000)),
            },
        }
    }
}

/// One viewer's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, utoipa::ToSchema)]
pub struct ViewerStatistics {
    /// RTP packets sent.
    pub packets: u64,
    /// Bytes of these: encrypted on the direct engine, before encryption on webrtcbin.
    pub bytes: u64,
    /// Packets sent again on request.
    pub retransmitted: u64,
    /// Requests past the viewer's retransmission budget.
    pub retransmissions_refused: u64,
    /// Frames lost because the connection did not take them.
    pub dropped: u64,
    /// Keyframes this viewer has asked for.
    pub keyframe_requests: u64,
    /// The share of its video packets that were lost, from 0 to 1, by its last report (RFC 3550
    /// §6.4.1). Measured on the direct engine.
    pub loss: f32,
    /// The round trip to it in milliseconds, by its last report. Measured on the direct engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<u32>,
}
