//! A viewer's RTCP requests, and the reports sent to it.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use str0m::rtp::rtcp::{Nack, ReceptionReport, Rtcp};

use super::{
    context::{Context, flush},
    viewer::DirectViewer,
};
use crate::{
    fanout::rtp::{write_goodbye, write_source_description},
    media::Kind,
    playout::RenditionCaches,
};

impl DirectViewer {
    pub(super) fn rtcp(&mut self, cx: &mut Context, renditions: &RenditionCaches, rtcp: Rtcp) {
        match rtcp {
            Rtcp::Nack(nack) => self.nack(cx, &nack),
            Rtcp::Remb(remb) => {
                let bits =
                    Duration::try_from_secs_f32(remb.bitrate).map_or(0, |bits| bits.as_secs());
                for layers in self
                    .playout
                    .tracks
                    .iter_mut()
                    .filter_map(|track| track.layers.as_mut())
                {
                    layers.estimated(bits, cx.now);
                }
            }
            Rtcp::ReceiverReport(report) => self.received(cx, report.reports.iter()),
            // A peer that may send, too, puts them here (RFC 3550 §6.4).
            Rtcp::SenderReport(report) => self.received(cx, report.reports.iter()),
            Rtcp::Pli(_) | Rtcp::Fir(_) => {
                let heard = self.playout.keyframe_wanted(renditions, cx.now);
                cx.totals.requested_keyframe(heard);
            }
            _ => {}
        }
    }

    /// Takes what the peer reports about the streams that it receives.
    fn received<'a>(&mut self, cx: &Context, reports: impl Iterator<Item = &'a ReceptionReport>) {
        for report in reports {
            self.retransmission.lost(report.fraction_lost, cx.now);
            let mut tracks = self.playout.tracks.iter_mut();
            let track = tracks.find(|track| track.stream.identity.ssrc == *report.ssrc);
            let Some(track) = track else { continue };
            if track.codec.kind() == Kind::Video {
                self.counters.loss.store(report.fraction_lost, Relaxed);
            }
            if let Some(trip) = track.stream.round_trip(cx.now, report) {
                let micros = u32::try_from(trip.as_micros()).unwrap_or(u32::MAX);
                self.counters.round_trip.store(micros.max(1), Relaxed);
            }
            if let Some(layers) = &mut track.layers {
                layers.lost(report.fraction_lost);
            }
        }
    }

    /// Sends a report of each stream.
    pub(super) fn report(&mut self, cx: &Context) {
        let (Some(sender), Some(ends)) = (&mut self.sender, self.session.nominated_mut()) else {
            return;
        };
        let span = &self.span;
        for track in self
            .playout
            .tracks
            .iter_mut()
            .filter(|track| track.stream.has_sent())
        {
            let mut report = Vec::with_capacity(80);
            track.stream.write_report(&mut report, cx.epoch, cx.now);
            write_source_description(&mut report, track.stream.identity.ssrc, &self.cname);
            match sender.protect_rtcp(&mut report) {
                Ok(()) => {
                    cx.port.send(ends, &report, report.len());
                }
                Err(error) => {
                    tracing::warn!(parent: span, %error, "sender report not encrypted");
                }
            }
        }
    }

    /// Says BYE for all streams (RFC 3550 §6.6: in a compound packet, after a report).
    pub(super) fn say_goodbye(&mut self, cx: &Context) {
        let (Some(sender), Some(ends)) = (&mut self.sender, self.session.nominated_mut()) else {
            return;
        };
        let mut goodbye = Vec::new();
        for track in &mut self.playout.tracks {
            track.stream.write_report(&mut goodbye, cx.epoch, cx.now);
            write_goodbye(&mut goodbye, track.stream.identity.ssrc);
        }
        if !goodbye.is_empty() && sender.protect_rtcp(&mut goodbye).is_ok() {
            cx.port.send(ends, &goodbye, goodbye.len());
        }
    }

    fn nack(&mut self, cx: &mut Context, nack: &Nack) {
        for entry in nack.reports.iter() {
            let lost = (0..16_u16)
                .filter(|bit| entry.blp >> bit & 1 == 1)
                .map(|bit| entry.pid.wrapping_add(bit + 1));
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
        while let Some((ssrc, sequence)) = self.retransmission.due(cx.now) {
            self.send_again(cx, ssrc, sequence);
        }
        self.flush_again(cx);
    }

    /// Returns false if the packet is unknown or has expired, or the viewer's budget is spent.
    fn send_again(&mut self, cx: &mut Context, ssrc: u32, sequence: u16) -> bool {
        let Some(sender) = &self.sender else {
            return false;
        };
        if self.retransmission.is_spent() {
            self.counters.refused.fetch_add(1, Relaxed);
            cx.totals.refused.fetch_add(1, Relaxed);
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
                self.counters.retransmitted.fetch_add(1, Relaxed);
                cx.totals.retransmitted.fetch_add(1, Relaxed);
                self.retransmission.spend(cx.batch.bytes() - before);
                true
            }
            Ok(false) => {
                self.retransmission.unknown();
                false
            }
            Err(error) => {
                tracing::warn!(parent: &self.span, %error, "packet not retransmitted");
                false
            }
        }
    }

    fn flush_again(&mut self, cx: &mut Context) {
        if let Some(ends) = self.session.nominated_mut() {
            flush(cx, &self.counters, ends);
        }
    }
}
