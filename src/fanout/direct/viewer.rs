//! One viewer on its worker: what it is sent, and what it asks for.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use str0m::IceCreds;
use tokio::sync::mpsc;

use super::{
    batch::{Batch, Out},
    retransmission::Retransmission,
    stream::Stream,
};
use crate::{
    fanout::{
        Totals,
        gop::{Continuity, Gop},
        layers::{Layers, Meter},
        switcher::Switcher,
        viewer::ViewerCounters,
    },
    media::{Codec, Frame, Kind},
    peer::{
        End, Event, sdp,
        session::{Report, Session},
        srtp,
        udp::Port,
    },
};

/// Time between sender reports (RFC 3550 §6.2 lets a session choose below 5 s).
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// How long a viewer that asked for a keyframe waits for the publisher's before it gets the
/// cached one again. OBS ignores requests.
pub(in crate::fanout) const KEYFRAME_PATIENCE: Duration = Duration::from_millis(300);
/// Time between two portions while catching up.
pub(in crate::fanout) const PACE_INTERVAL: Duration = Duration::from_millis(5);
/// Least and most bytes of one portion: 25 and 100 Mb/s. A receiver's socket buffer (Chromium
/// asks for 128 KiB, which holds about 60 packets) must hold one.
pub(in crate::fanout) const PACE_BYTES: std::ops::RangeInclusive<usize> = 16_000..=64_000;
/// Catching up is this much faster than the media.
pub(in crate::fanout) const PACE_FACTOR: usize = 8;
/// A frame with more payload bytes than this is sent in portions.
pub(in crate::fanout) const BURST_BYTES: usize = 64_000;
/// A cached frame is shown this much behind the live edge, so that the next live frame, early by
/// a little jitter, still lies behind it.
const EDGE_MARGIN: Duration = Duration::from_millis(10);
/// Times after which a viewer is given up.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the answer to ICE and DTLS being up. Default: 15 s.
    pub connect: Duration,
    /// Without any STUN or RTCP from the viewer. Default: 15 s; RFC 7675 §5.1 allows 30 s at most.
    pub consent: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            consent: Duration::from_secs(15),
        }
    }
}

/// What a worker keeps of one rendition.
pub(in crate::fanout) struct RenditionState {
    pub(in crate::fanout) gop: Gop,
    /// When the newest frame came.
    pub(in crate::fanout) newest_at: Instant,
    pub(in crate::fanout) viewers: Vec<u64>,
    pub(in crate::fanout) meter: Meter,
}

impl RenditionState {
    /// The timestamp of a frame that would come now, less a margin.
    pub(in crate::fanout) fn edge(&self, now: Instant) -> u64 {
        let Some(newest) = self.gop.newest() else {
            return 0;
        };
        let since = now.saturating_duration_since(self.newest_at);
        let clock = u64::from(newest.codec.clock_rate());
        let ticks = |time: Duration| {
            u64::try_from(time.as_micros())
                .unwrap_or(0)
                .saturating_mul(clock)
                / 1_000_000
        };
        (newest.timestamp + ticks(since)).saturating_sub(ticks(EDGE_MARGIN))
    }
}

/// What all viewers of a worker share while one of them is served.
pub(in crate::fanout) struct Context {
    pub(in crate::fanout) port: Port,
    pub(in crate::fanout) batch: Batch,
    pub(in crate::fanout) totals: Arc<Totals>,
    pub(in crate::fanout) timeouts: Timeouts,
    /// NTP time of running time zero.
    pub(in crate::fanout) epoch: Duration,
    pub(in crate::fanout) now: Instant,
}

impl Context {
    pub(in crate::fanout) fn out<'a>(&'a mut self, sender: &'a srtp::Sender) -> Out<'a> {
        Out {
            batch: &mut self.batch,
            sender,
            now: self.now,
        }
    }
}

/// One track as this viewer gets it.
pub(in crate::fanout) struct Track {
    pub(in crate::fanout) rendition: u64,
    pub(in crate::fanout) codec: Codec,
    pub(in crate::fanout) stream: Stream,
    pub(in crate::fanout) switcher: Switcher,
    /// The layers to choose from, if the track is simulcast.
    pub(in crate::fanout) layers: Option<Layers>,
}

pub(in crate::fanout) struct DirectViewer {
    pub(in crate::fanout) key: u64,
    pub(in crate::fanout) session: Session,
    pub(in crate::fanout) sender: Option<Box<srtp::Sender>>,
    /// At most one of each kind.
    pub(in crate::fanout) tracks: Vec<Track>,
    /// The one name of all the viewer's streams (RFC 3550 §6.5.1), as in the answer.
    pub(in crate::fanout) cname: String,
    events: mpsc::Sender<Event>,
    pub(in crate::fanout) counters: Arc<ViewerCounters>,
    joined: Instant,
    next_report: Option<Instant>,
    pub(in crate::fanout) next_portion: Option<Instant>,
    /// When the choice of layers is thought about.
    pub(in crate::fanout) next_selection: Option<Instant>,
    /// When to fall back to the cached keyframe.
    pub(in crate::fanout) replay_at: Option<Instant>,
    pub(in crate::fanout) keyframe_asked: Option<Instant>,
    pub(super) retransmission: Retransmission,
    reports: Vec<Report>,
    ended: Option<End>,
    /// When the worker's timer for this viewer goes off.
    pub(in crate::fanout) scheduled: Option<Instant>,
}

impl DirectViewer {
    pub(in crate::fanout) fn new(
        key: u64,
        session: Session,
        (tracks, cname): (Vec<Track>, String),
        (events, counters): (mpsc::Sender<Event>, Arc<ViewerCounters>),
        now: Instant,
    ) -> Self {
        Self {
            key,
            session,
            sender: None,
            tracks,
            cname,
            events,
            counters,
            joined: now,
            next_report: None,
            next_portion: None,
            next_selection: None,
            replay_at: None,
            keyframe_asked: None,
            retransmission: Retransmission::new(),
            reports: Vec::new(),
            ended: None,
            scheduled: None,
        }
    }

    /// Why the viewer is to be removed, if it is.
    pub(in crate::fanout) fn ended(&self) -> Option<End> {
        self.ended.or_else(|| {
            self.counters
                .closed
                .load(Ordering::Relaxed)
                .then_some(End::Deleted)
        })
    }

    pub(in crate::fanout) fn add_candidates(&mut self, candidates: &[SocketAddr]) {
        self.session.add_candidates(candidates);
    }

    pub(in crate::fanout) fn restart(
        &mut self,
        remote: IceCreds,
    ) -> Result<sdp::Transport, sdp::Error> {
        self.session.restart(remote)
    }

    /// A frame of the rendition of one of this viewer's tracks has come in.
    pub(in crate::fanout) fn frame(
        &mut self,
        cx: &mut Context,
        rendition: u64,
        (number, frame): (u64, &Arc<Frame>),
        continuity: Continuity,
    ) {
        let (Some(sender), Some(remote)) = (&self.sender, self.session.remote()) else {
            return;
        };
        let mut tracks = self.tracks.iter_mut();
        let taken = tracks.find_map(|it| it.takes(rendition, frame.keyframe).then_some(it));
        let Some(track) = taken else { return };
        if frame.codec != track.codec {
            // The publisher came back with another codec; the broadcast is about to close us.
            return;
        }
        if let Some(timestamp) = track.switcher.live(number, frame, continuity, BURST_BYTES) {
            if frame.keyframe && frame.codec.kind() == Kind::Video {
                self.replay_at = None;
            }
            let first = !track.stream.has_sent();
            let packets = 0..frame.ends.len();
            let written = track
                .stream
                .write(&mut cx.out(sender), (frame, packets), timestamp);
            if !self.flush(cx, remote, written) {
                self.fall_behind(cx.now, rendition);
            } else if first {
                self.next_report = Some(cx.now);
            }
        } else if track.switcher.is_replaying() {
            self.next_portion.get_or_insert(cx.now);
        } else {
            self.ask_keyframe(cx.now);
        }
    }

    /// A datagram from the viewer's peer.
    pub(in crate::fanout) fn datagram(
        &mut self,
        cx: &mut Context,
        renditions: &HashMap<u64, RenditionState>,
        source: SocketAddr,
        datagram: &[u8],
    ) {
        let mut reports = std::mem::take(&mut self.reports);
        self.session.receive(cx.now, source, datagram, &mut reports);
        self.handle(cx, renditions, &mut reports);
        self.reports = reports;
    }

    /// Whatever is due by now.
    pub(in crate::fanout) fn tick(
        &mut self,
        cx: &mut Context,
        renditions: &HashMap<u64, RenditionState>,
    ) {
        if self.session.wake() <= cx.now {
            let mut reports = std::mem::take(&mut self.reports);
            self.session.tick(cx.now, &mut reports);
            self.handle(cx, renditions, &mut reports);
            self.reports = reports;
        }
        let connecting = self.sender.is_none();
        if connecting && cx.now >= self.joined + cx.timeouts.connect {
            self.end(End::ConnectTimeout);
        } else if !connecting && self.session.silence(cx.now) >= cx.timeouts.consent {
            self.end(End::Vanished);
        }
        if self.replay_at.is_some_and(|at| at <= cx.now) {
            self.replay_at = None;
            self.replay(cx.now, renditions);
        }
        if self.retransmission.wake().is_some_and(|at| at <= cx.now) {
            self.send_seconds(cx);
        }
        if self.next_portion.is_some_and(|at| at <= cx.now) {
            self.portion(cx, renditions);
        }
        if self.next_selection.is_some_and(|at| at <= cx.now) {
            self.select_layers(cx, renditions);
        }
        if self.next_report.is_some_and(|at| at <= cx.now) {
            self.next_report = Some(cx.now + REPORT_INTERVAL);
            self.report(cx);
            if self.tracks.iter().any(|track| track.switcher.is_waiting()) {
                self.ask_keyframe(cx.now);
            }
        }
    }

    /// When [`DirectViewer::tick`] is due next.
    pub(in crate::fanout) fn wake(&self, timeouts: &Timeouts) -> Instant {
        // Once connected, reports come every second, and with them a look at the signs of life.
        let deadline = self
            .sender
            .is_none()
            .then(|| self.joined + timeouts.connect);
        [
            deadline,
            self.next_report,
            self.next_portion,
            self.next_selection,
            self.replay_at,
            self.retransmission.wake(),
        ]
        .into_iter()
        .flatten()
        .fold(self.session.wake(), Instant::min)
    }

    /// Closes the connection and tells its owner.
    pub(in crate::fanout) fn close(mut self, cx: &mut Context, why: End) {
        if let (Some(sender), Some(remote)) = (&mut self.sender, self.session.remote()) {
            let mut goodbye = Vec::new();
            for track in &self.tracks {
                // RFC 3550 §6.6: a compound packet with BYE.
                track.stream.write_report(&mut goodbye, cx.epoch, cx.now);
                goodbye.extend_from_slice(&[0x81, 203, 0, 1]);
                goodbye.extend_from_slice(&track.stream.identity.ssrc.to_be_bytes());
            }
            if !goodbye.is_empty() && sender.protect_rtcp(&mut goodbye).is_ok() {
                cx.port.send(remote, &goodbye, goodbye.len());
            }
        }
        if why != End::PeerClosed && why != End::Vanished {
            self.session.close(cx.now);
        }
        if self.events.try_send(Event::Closed(why)).is_err() {
            tracing::debug!("nobody listens to the end of this viewer");
        }
    }

    fn handle(
        &mut self,
        cx: &mut Context,
        renditions: &HashMap<u64, RenditionState>,
        reports: &mut Vec<Report>,
    ) {
        for report in reports.drain(..) {
            match report {
                Report::Connected(sender) => {
                    self.sender = Some(sender);
                    self.tell(Event::Connected);
                    self.start(cx.now, renditions);
                }
                Report::Rtcp(rtcp) => self.rtcp(cx, *rtcp),
                Report::Rtp(_) => {}
                Report::Closed(why) => self.end(why),
            }
        }
    }

    fn start(&mut self, now: Instant, renditions: &HashMap<u64, RenditionState>) {
        for track in &mut self.tracks {
            track.choose_first(renditions, now);
            if track.layers.is_some() {
                self.next_selection = Some(now);
            }
            if let Some(rendition) = renditions.get(&track.rendition) {
                track.switcher = Switcher::start(&rendition.gop);
            }
        }
        self.next_portion = Some(now);
        self.next_report = Some(now + REPORT_INTERVAL);
        if self.tracks.iter().any(|track| track.switcher.is_waiting()) {
            self.ask_keyframe(now);
        }
    }

    /// Starts the cached group of pictures again.
    fn replay(&mut self, now: Instant, renditions: &HashMap<u64, RenditionState>) {
        for track in &mut self.tracks {
            if let Some(rendition) = renditions.get(&track.rendition)
                && track.codec != Codec::Opus
                && track.switcher.replay_from_keyframe(&rendition.gop)
            {
                self.next_portion = Some(now);
            }
        }
    }

    /// Sends the next portion of cached frames.
    fn portion(&mut self, cx: &mut Context, renditions: &HashMap<u64, RenditionState>) {
        self.next_portion = None;
        let (Some(sender), Some(remote)) = (&self.sender, self.session.remote()) else {
            return;
        };
        for at in 0..self.tracks.len() {
            let Some(track) = self.tracks.get_mut(at) else {
                continue;
            };
            let Some(rendition) = renditions.get(&track.rendition) else {
                continue;
            };
            let rate = rendition.gop.bytes_per_second().unwrap_or(0) * PACE_FACTOR;
            let portion = rate * usize::try_from(PACE_INTERVAL.as_millis()).unwrap_or(1) / 1000;
            let mut left = portion.clamp(*PACE_BYTES.start(), *PACE_BYTES.end());
            let mut edge = rendition.edge(cx.now);
            let mut written = Ok(());
            while left > 0
                && written.is_ok()
                && let Some(cursor) = track.switcher.replay(&rendition.gop, edge)
            {
                if cursor.frame.codec != track.codec {
                    cursor.packet = cursor.frame.ends.len();
                    continue;
                }
                if !track.stream.has_sent() {
                    self.next_report = Some(cx.now);
                }
                let packets = cursor.frame.ranges().skip(cursor.packet);
                let mut end = cursor.packet;
                for packet in packets {
                    if left == 0 {
                        break;
                    }
                    left = left.saturating_sub(packet.len());
                    end += 1;
                }
                let part = (&cursor.frame, cursor.packet..end);
                cursor.packet = end;
                written = track
                    .stream
                    .write(&mut cx.out(sender), part, cursor.timestamp);
                edge += 1;
            }
            if track.switcher.is_replaying() {
                self.next_portion = Some(cx.now + PACE_INTERVAL);
            }
            let rendition = track.rendition;
            let bytes = cx.batch.bytes();
            if !flush(cx, &self.counters, remote, written) {
                self.fall_behind(cx.now, rendition);
                return;
            }
            self.retransmission.sent(bytes);
        }
    }

    fn flush(
        &mut self,
        cx: &mut Context,
        remote: SocketAddr,
        written: Result<(), srtp::Error>,
    ) -> bool {
        self.retransmission.sent(cx.batch.bytes());
        flush(cx, &self.counters, remote, written)
    }

    /// The kernel did not take a frame: what follows is of no use before a keyframe.
    fn fall_behind(&mut self, now: Instant, rendition: u64) {
        self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        for track in &mut self.tracks {
            if track.rendition == rendition && track.codec != Codec::Opus {
                track.switcher.wait();
            }
        }
        self.replay_at = Some(now + KEYFRAME_PATIENCE);
        self.ask_keyframe(now);
    }

    pub(in crate::fanout) fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            tracing::debug!("viewer's owner is behind; an event is lost");
        }
    }

    fn end(&mut self, why: End) {
        self.ended.get_or_insert(why);
    }
}

/// Sends what has been written. Returns false if the kernel did not take all of it.
pub(in crate::fanout) fn flush(
    cx: &mut Context,
    counters: &ViewerCounters,
    remote: SocketAddr,
    written: Result<(), srtp::Error>,
) -> bool {
    if let Err(error) = written {
        tracing::warn!(%error, "frame not encrypted");
    }
    let (packets, bytes) = (cx.batch.len() as u64, cx.batch.bytes() as u64);
    let Context {
        port,
        batch,
        totals,
        ..
    } = cx;
    let sent = batch.flush(port.segments_max(), |data, segment| {
        port.send(remote, data, segment)
    });
    if sent {
        counters.packets.fetch_add(packets, Ordering::Relaxed);
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
        totals.packets.fetch_add(packets, Ordering::Relaxed);
        totals.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
    sent
}
