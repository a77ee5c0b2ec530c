//! What a viewer's RTCP asks for, and the reports it gets.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use str0m::rtp::rtcp::Rtcp;

use super::{
    stream::write_source_description,
    viewer::{Context, DirectViewer, KEYFRAME_PATIENCE, Track},
};
use crate::peer::Event;

/// Pause between two keyframe requests of one viewer.
pub(in crate::fanout) const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);

impl DirectViewer {
    pub(in crate::fanout) fn rtcp(&mut self, cx: &mut Context, rtcp: Rtcp) {
        match rtcp {
            Rtcp::Nack(nack) => self.nack(cx, &nack),
            Rtcp::Remb(remb) => {
                let bits = Duration::try_from_secs_f32(remb.bitrate).map_or(0, |it| it.as_secs());
                for layers in self.tracks.iter_mut().filter_map(|it| it.layers.as_mut()) {
                    layers.selection.estimated(bits, cx.now);
                }
            }
            Rtcp::ReceiverReport(report) => {
                for block in report.reports.iter() {
                    self.retransmission.lost(block.fraction_lost, cx.now);
                    let of_block = |it: &&mut Track| it.stream.identity.ssrc == *block.ssrc;
                    let track = self.tracks.iter_mut().find(of_block);
                    if let Some(layers) = track.and_then(|it| it.layers.as_mut()) {
                        layers.selection.lost(block.fraction_lost);
                    }
                }
            }
            Rtcp::Pli(_) | Rtcp::Fir(_) => {
                let replaying = self
                    .tracks
                    .iter()
                    .any(|track| track.switcher.is_replaying());
                if !replaying {
                    self.replay_at.get_or_insert(cx.now + KEYFRAME_PATIENCE);
                }
                if !self.ask_keyframe(cx.now) {
                    cx.totals.capped.fetch_add(1, Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }

    pub(in crate::fanout) fn report(&mut self, cx: &mut Context) {
        let (Some(sender), Some(remote)) = (&mut self.sender, self.session.remote()) else {
            return;
        };
        for track in self.tracks.iter().filter(|track| track.stream.has_sent()) {
            let mut report = Vec::with_capacity(80);
            track.stream.write_report(&mut report, cx.epoch, cx.now);
            write_source_description(&mut report, track.stream.identity.ssrc, &self.cname);
            match sender.protect_rtcp(&mut report) {
                Ok(()) => {
                    cx.port.send(remote, &report, report.len());
                }
                Err(error) => tracing::warn!(%error, "no sender report"),
            }
        }
    }

    /// Returns false if it is too soon after the last time.
    pub(in crate::fanout) fn ask_keyframe(&mut self, now: Instant) -> bool {
        let soon = |at: Instant| now.saturating_duration_since(at) < KEYFRAME_INTERVAL;
        if self.keyframe_asked.is_some_and(soon) {
            return false;
        }
        self.keyframe_asked = Some(now);
        self.counters
            .keyframe_requests
            .fetch_add(1, Ordering::Relaxed);
        self.tell(Event::KeyframeWanted);
        true
    }
}
