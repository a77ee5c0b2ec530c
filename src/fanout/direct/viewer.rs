//! One viewer on its worker: its session, and where its playout sends packets.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use str0m::IceCreds;
use tokio::sync::mpsc;
use tracing::Span;

use super::{
    context::{Context, Timeouts, flush},
    retransmission::Retransmission,
    stream::Stream,
};
use crate::{
    fanout::reports::ViewerReports,
    peer::{
        ChannelEvent, End, Event, sdp,
        session::{PeerSession, Report},
        srtp,
        udp::{AddressPair, Datagram},
    },
    playout::{
        Arrival, Delivery, Part, Playout, PlayoutTrack, RenditionCaches, Sink, ViewerCounters,
    },
};

/// Time between sender reports (RFC 3550 §6.2 lets a session choose below 5 s).
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// A viewer that has given no sign of life for this long gets no media before its next one: what a
/// vanished neighbour is sent waits for address resolution, in the buffer that all viewers share. A
/// client that is still there checks at least every 6 s (RFC 7675 §5.1).
const AWAY: Duration = Duration::from_secs(7);

pub(in crate::fanout) struct DirectViewer {
    pub(in crate::fanout) key: u64,
    pub(super) session: PeerSession,
    pub(super) sender: Option<Box<srtp::Sender>>,
    pub(in crate::fanout) playout: Playout<Stream>,
    /// The one name of all the viewer's streams (RFC 3550 §6.5.1), as in the answer.
    pub(super) cname: String,
    events: mpsc::Sender<Event>,
    channel: Option<mpsc::Sender<ChannelEvent>>,
    pub(super) counters: Arc<ViewerCounters>,
    joined: Instant,
    next_report: Option<Instant>,
    pub(super) retransmission: Retransmission,
    reports: Vec<Report>,
    /// It has missed frames, see [`AWAY`].
    away: bool,
    ended: Option<End>,
    /// The session's span.
    pub(super) span: Span,
    /// When the worker's timer for this viewer fires.
    pub(in crate::fanout) scheduled: Option<Instant>,
}

/// The parts of a new viewer.
pub(in crate::fanout) struct Joining {
    pub(in crate::fanout) key: u64,
    pub(in crate::fanout) session: PeerSession,
    pub(in crate::fanout) tracks: Vec<PlayoutTrack<Stream>>,
    /// See [`DirectViewer::cname`].
    pub(in crate::fanout) cname: String,
    pub(in crate::fanout) reports: ViewerReports,
    pub(in crate::fanout) counters: Arc<ViewerCounters>,
}

impl DirectViewer {
    pub(in crate::fanout) fn new(joining: Joining, now: Instant) -> Self {
        let Joining {
            key,
            session,
            tracks,
            cname,
            reports: ViewerReports { events, channel },
            counters,
        } = joining;
        let span = session.span().clone();
        Self {
            key,
            session,
            sender: None,
            playout: Playout::new(
                tracks,
                true,
                events.clone(),
                Arc::clone(&counters),
                span.clone(),
            ),
            cname,
            events,
            channel,
            counters,
            joined: now,
            next_report: None,
            retransmission: Retransmission::new(),
            reports: Vec::new(),
            away: false,
            ended: None,
            span,
            scheduled: None,
        }
    }

    /// Why to remove the viewer, if so.
    pub(in crate::fanout) fn ended(&self) -> Option<End> {
        let dropped = || self.counters.closed.load(Relaxed).then_some(End::Deleted);
        self.ended.or_else(dropped)
    }

    pub(in crate::fanout) fn restart(
        &mut self,
        remote: IceCreds,
    ) -> Result<sdp::Transport, sdp::Error> {
        self.session.restart(remote)
    }

    /// A frame of one of the viewer's renditions has arrived.
    pub(in crate::fanout) fn frame(&mut self, cx: &mut Context, arrival: &Arrival<'_>) {
        let now = cx.now;
        if self.is_away(now) {
            return;
        }
        if let Some((playout, mut sink)) = self.split(cx) {
            playout.frame(&mut sink, arrival, now);
        }
    }

    /// A datagram from the viewer's peer.
    pub(in crate::fanout) fn datagram(
        &mut self,
        cx: &mut Context,
        renditions: &RenditionCaches,
        datagram: &Datagram,
    ) {
        let mut reports = self.take_reports();
        let Datagram { ends, bytes, .. } = datagram;
        self.session.receive(cx.now, *ends, bytes, &mut reports);
        if self.sender.is_none() && self.session.is_checked() {
            self.counters.checked.store(true, Relaxed);
        }
        self.report_back(cx, renditions, reports);
        if self.away && self.session.silence(cx.now) < AWAY {
            self.away = false;
            self.playout.start(renditions, cx.now);
        }
    }

    /// Does everything that is due by now.
    pub(in crate::fanout) fn tick(&mut self, cx: &mut Context, renditions: &RenditionCaches) {
        let now = cx.now;
        if self.session.wake() <= now {
            let mut reports = self.take_reports();
            self.session.tick(now, &mut reports);
            self.report_back(cx, renditions, reports);
        }
        let connecting = self.sender.is_none();
        let silent = || self.session.silence(now) >= cx.timeouts.consent;
        if connecting && now >= self.joined + cx.timeouts.connect {
            self.end(End::ConnectTimeout);
        } else if !connecting && (silent() || !self.session.has_consent(now)) {
            self.end(End::Vanished);
        }
        if self.retransmission.wake().is_some_and(|at| at <= now) {
            self.send_seconds(cx);
        }
        if !self.is_away(now)
            && let Some((playout, mut sink)) = self.split(cx)
        {
            playout.tick(&mut sink, renditions, now);
        }
        if self.next_report.is_some_and(|at| at <= now) {
            self.next_report = Some(now + REPORT_INTERVAL);
            self.report(cx);
        }
    }

    /// When [`DirectViewer::tick`] is due next.
    pub(in crate::fanout) fn wake(&self, timeouts: &Timeouts) -> Instant {
        // Once connected, reports go out every second, and liveness is checked with them.
        let deadline = match self.sender {
            None => Some(self.joined + timeouts.connect),
            Some(_) => None,
        };
        // Nothing can be sent without an address; the first one comes with a datagram.
        let playout = match self.session.nominated() {
            Some(_) if !self.away => self.playout.wake(),
            _ => None,
        };
        let wakes = [
            deadline,
            self.next_report,
            playout,
            self.retransmission.wake(),
        ];
        wakes
            .into_iter()
            .flatten()
            .fold(self.session.wake(), Instant::min)
    }

    /// Closes the connection and tells its session.
    pub(in crate::fanout) fn close(mut self, cx: &mut Context, why: End) {
        self.say_goodbye(cx);
        if why != End::PeerClosed && why != End::Vanished {
            self.session.close(cx.now);
        }
        if self.events.try_send(Event::Closed(why)).is_err() {
            tracing::debug!(parent: &self.span, "close event lost: the session is gone");
        }
    }

    /// For what the session reports meanwhile; [`DirectViewer::report_back`] gives it back.
    pub(super) fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// Handles what the session has reported.
    pub(super) fn report_back(
        &mut self,
        cx: &mut Context,
        renditions: &RenditionCaches,
        mut reports: Vec<Report>,
    ) {
        self.handle(cx, renditions, &mut reports);
        self.reports = reports;
    }

    /// Whether the viewer gets no media for now.
    fn is_away(&mut self, now: Instant) -> bool {
        self.away |= self.sender.is_some() && self.session.silence(now) >= AWAY;
        self.away
    }

    fn handle(
        &mut self,
        cx: &mut Context,
        renditions: &RenditionCaches,
        reports: &mut Vec<Report>,
    ) {
        for report in reports.drain(..) {
            match report {
                Report::Connected(sender) => {
                    self.sender = Some(sender);
                    if self.events.try_send(Event::Connected).is_err() {
                        tracing::debug!(parent: &self.span, "event lost: the session is behind");
                    }
                    self.playout.start(renditions, cx.now);
                    self.next_report = Some(cx.now + REPORT_INTERVAL);
                }
                Report::Rtcp(rtcp) => self.rtcp(cx, renditions, *rtcp),
                Report::Rtp(_) => {}
                Report::ChannelOpened => self.converse(ChannelEvent::Opened),
                Report::Text(text) => self.converse(ChannelEvent::Text(text)),
                Report::ChannelClosed => self.converse(ChannelEvent::Closed),
                Report::Closed(why) => self.end(why),
            }
        }
    }

    /// Passes on what comes over the data channel. A peer that sends more than its session reads
    /// loses it.
    fn converse(&self, event: ChannelEvent) {
        let told = self.channel.as_ref().map(|channel| channel.try_send(event));
        if told.is_some_and(|told| told.is_err()) {
            tracing::debug!(parent: &self.span, "event of the data channel lost");
        }
    }

    /// The playout and its sink; `None` before the viewer is connected.
    fn split<'a>(
        &'a mut self,
        cx: &'a mut Context,
    ) -> Option<(&'a mut Playout<Stream>, DirectSink<'a>)> {
        let sink = DirectSink {
            cx,
            sender: self.sender.as_deref()?,
            ends: self.session.nominated_mut()?,
            counters: &self.counters,
            span: &self.span,
            retransmission: &mut self.retransmission,
            next_report: &mut self.next_report,
        };
        Some((&mut self.playout, sink))
    }

    fn end(&mut self, why: End) {
        self.ended.get_or_insert(why);
    }
}

/// The output to one viewer: encryption, and one segmented send for everything written.
pub(in crate::fanout) struct DirectSink<'a> {
    pub(super) cx: &'a mut Context,
    pub(super) sender: &'a srtp::Sender,
    pub(super) ends: &'a mut AddressPair,
    pub(super) counters: &'a ViewerCounters,
    pub(super) span: &'a Span,
    pub(super) retransmission: &'a mut Retransmission,
    /// A report follows the first packet of a stream: players use it to synchronise.
    pub(super) next_report: &'a mut Option<Instant>,
}

impl Sink for DirectSink<'_> {
    type Stream = Stream;

    fn write(&mut self, stream: &mut Stream, part: &Part<'_>) -> Delivery {
        if !stream.has_sent() {
            *self.next_report = Some(self.cx.now);
        }
        let written = stream.write(&mut self.cx.out(self.sender), part);
        match written {
            Ok(()) => Delivery::Sent,
            Err(error) => {
                tracing::warn!(parent: self.span, %error, "frame not encrypted");
                Delivery::Refused
            }
        }
    }

    fn flush(&mut self) -> Delivery {
        self.retransmission.sent(self.cx.batch.bytes());
        if flush(self.cx, self.counters, self.ends) {
            Delivery::Sent
        } else {
            Delivery::Behind
        }
    }

    fn pad(&mut self, stream: &mut Stream, bytes: usize) -> usize {
        let written = stream.write_padding(&mut self.cx.out(self.sender), bytes);
        if let Err(error) = written {
            tracing::warn!(parent: self.span, %error, "padding not encrypted");
        }
        let bytes = self.cx.batch.bytes();
        flush(self.cx, self.counters, self.ends);
        bytes
    }
}
