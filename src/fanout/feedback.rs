//! What a viewer's RTCP asks for, and the reports it gets.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use str0m::rtp::rtcp::{Nack, Rtcp};

use super::{
    stream::write_source_description,
    viewer::{Context, KEYFRAME_PATIENCE, Track, Viewer, flush},
};
use crate::peer::Event;

/// Pause between two keyframe requests of one viewer.
pub(super) const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);

impl Viewer {
    pub(super) fn rtcp(&mut self, cx: &mut Context, rtcp: Rtcp) {
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
                self.ask_keyframe(cx.now);
            }
            _ => {}
        }
    }

    fn nack(&mut self, cx: &mut Context, nack: &Nack) {
        let (Some(sender), Some(remote)) = (&self.sender, self.session.remote()) else {
            return;
        };
        let ssrc = *nack.ssrc;
        let Some(track) = self
            .tracks
            .iter_mut()
            .find(|track| track.stream.identity.ssrc == ssrc)
        else {
            return;
        };
        for entry in nack.reports.iter() {
            let following = (0..16_u16).filter(|bit| entry.blp >> bit & 1 == 1);
            let lost = following.map(|bit| entry.pid.wrapping_add(bit + 1));
            for sequence in std::iter::once(entry.pid).chain(lost) {
                let before = cx.batch.bytes();
                if self.retransmission_bytes == 0 {
                    self.counters.refused.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                match track.stream.write_again(&mut cx.out(sender), sequence) {
                    Ok(true) => {
                        self.counters.retransmitted.fetch_add(1, Ordering::Relaxed);
                        let bytes = cx.batch.bytes() - before;
                        self.retransmission_bytes = self.retransmission_bytes.saturating_sub(bytes);
                    }
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "packet not repeated"),
                }
            }
        }
        flush(cx, &self.counters, remote, Ok(()));
    }

    pub(super) fn report(&mut self, cx: &mut Context) {
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

    pub(super) fn ask_keyframe(&mut self, now: Instant) {
        let soon = |at: Instant| now.saturating_duration_since(at) < KEYFRAME_INTERVAL;
        if !self.keyframe_asked.is_some_and(soon) {
            self.keyframe_asked = Some(now);
            self.counters
                .keyframe_requests
                .fetch_add(1, Ordering::Relaxed);
            self.tell(Event::KeyframeWanted);
        }
    }
}
