//! A publisher's session: one task that puts packets in order and makes frames of them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use str0m::{
    IceCreds,
    media::Rid,
    rtp::{RtpPacket, Ssrc},
};
use tokio::sync::{mpsc, oneshot};

use super::{channel::PublisherChannel, command::ReceptionCommand, counters::ReceptionCounters};
use crate::{
    awake,
    ingest::{
        Options, Reports, Statistics,
        assembler::{Assembler, Packet},
        reorder::Reorder,
        timeline::Timeline,
    },
    media::{Codec, Frame, FrameSink},
    peer::{
        ChannelEvent, End, Event,
        sdp::{self, Choice, Offer, Section},
        session::{EXTENSIONS, Incoming, PeerSession, Report},
        udp::{Datagram, DatagramLimits, DatagramRoute, Port},
    },
    pipeline,
};

/// Datagrams that may wait for the task: 300 ms of a 40 Mb/s stream.
const DATAGRAMS_MAX: usize = 1024;
/// Commands that may wait for the task.
const COMMANDS_MAX: usize = 32;

/// The destination of one stream's frames: of a track, or of one layer of a simulcast track.
#[derive(Clone)]
pub(super) struct StreamInput {
    /// The payload's codec.
    pub(super) codec: Codec,
    /// The layer's rid (RFC 8851); `None` without simulcast.
    pub(super) rid: Option<String>,
    /// Takes the frames.
    pub(super) frames: FrameSink,
}

/// One stream of a publisher.
struct Lane {
    codec: Codec,
    rid: Option<Rid>,
    outlet: LaneOutlet,
    assembler: Assembler,
    /// The SSRC that it comes from now.
    ssrc: Option<Ssrc>,
    /// The next packet is the first one from another SSRC.
    restarted: bool,
    reorder: Reorder<RtpPacket>,
    /// When the sender sent the latest report, by its own clock. str0m repeats it with every
    /// packet.
    reported: Option<SystemTime>,
}

/// Where the frames of a stream go.
struct LaneOutlet {
    frames: FrameSink,
    /// Whether the first one has been reported.
    announced: bool,
}

impl LaneOutlet {
    fn deliver(&mut self, frame: Frame, reports: &Reports) {
        let track = Event::Track(frame.codec.kind(), frame.codec);
        self.announced = self.announced || reports.events.try_send(track).is_ok();
        (self.frames)(frame);
    }
}

/// The handle of a [`Reception`]. Dropping it ends the session.
pub(super) struct ReceptionHandle {
    commands: mpsc::Sender<ReceptionCommand>,
    counters: Arc<ReceptionCounters>,
}

/// The task that runs a publisher's session.
pub(super) struct Reception {
    session: PeerSession,
    jitter: Duration,
    consent: Duration,
    /// The server's clock; frames' presentation times are on it.
    pub(super) running_time: fn() -> Duration,
    lanes: Vec<Lane>,
    datagrams: mpsc::Receiver<Datagram>,
    commands: mpsc::Receiver<ReceptionCommand>,
    reports: Reports,
    counters: Arc<ReceptionCounters>,
    timeline: Timeline,
    connected: bool,
    /// The session's time, which never goes back.
    latest: Instant,
}

impl Reception {
    /// Answers a publisher's offer. Returns the handle, the task to spawn, and the SDP answer.
    ///
    /// # Errors
    /// If the offer cannot be served.
    pub(super) fn accept(
        offer: &Offer,
        port: &Port,
        options: &Options,
        inputs: Vec<StreamInput>,
        reports: Reports,
    ) -> Result<(ReceptionHandle, Self, String), sdp::Error> {
        let choices = offer.choose_publish()?;
        let (queue, datagrams) = mpsc::channel(DATAGRAMS_MAX);
        let route = DatagramRoute::new(
            port.next_session(),
            DatagramLimits::PUBLISHER,
            move |datagram| queue.try_send(datagram).is_ok(),
        );
        let incoming = Incoming::new(offer, &choices);
        let (mut session, transport) = PeerSession::accept(offer, port, route, incoming)?;
        let channel = if reports.channel.is_some() {
            offer.channel()
        } else {
            None
        };
        if channel.is_some() {
            session.allow_channel(awake::now());
        }
        let transport = sdp::Transport {
            extensions_used: EXTENSIONS,
            feedback_used: &["transport-cc"],
            ..transport
        };
        let sections: Vec<Section> = choices
            .into_iter()
            .zip(&offer.media)
            .enumerate()
            .map(|(at, (choice, media))| match choice {
                _ if channel == Some(at) => Section::Channel,
                Choice::Receive(format) => Section::Receive {
                    format,
                    rids: media.rids.clone(),
                },
                Choice::Inactive => Section::Inactive,
                Choice::Rejected => Section::Rejected,
            })
            .collect();
        let answer = sdp::viewer_answer(offer, &sections, &transport);
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let counters = Arc::new(ReceptionCounters::new(awake::now()));
        let task = Self {
            session,
            jitter: options.jitter,
            consent: options.consent,
            running_time: pipeline::running_time,
            timeline: Timeline::new(inputs.iter().map(|input| input.codec.clock_rate())),
            lanes: inputs
                .into_iter()
                .map(|input| Lane::new(input, options.jitter))
                .collect(),
            datagrams,
            commands,
            reports,
            counters: Arc::clone(&counters),
            connected: false,
            latest: awake::now(),
        };
        Ok((
            ReceptionHandle {
                commands: sender,
                counters,
            },
            task,
            answer,
        ))
    }
}

impl ReceptionHandle {
    /// Asks for a keyframe now (PLI).
    pub(super) fn request_keyframe(&self) {
        self.tell(ReceptionCommand::Keyframe);
    }

    /// Asks for at most this many bit/s (REMB).
    pub(super) fn request_bitrate(&self, bitrate: u64) {
        self.tell(ReceptionCommand::Bitrate(bitrate));
    }

    /// The publisher's data channel.
    pub(super) fn channel(&self) -> PublisherChannel {
        PublisherChannel::new(self.commands.clone(), Arc::clone(&self.counters))
    }

    /// Restarts ICE with the peer's new credentials and returns the server's (RFC 9725 §4.3.3).
    ///
    /// # Errors
    /// If the session has ended.
    pub(super) async fn restart(
        &self,
        ufrag: &str,
        pwd: &str,
    ) -> Result<sdp::Transport, sdp::Error> {
        let gone = || sdp::Error::Unsupported("the session has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        let credentials = IceCreds {
            ufrag: ufrag.to_owned(),
            pass: pwd.to_owned(),
        };
        self.commands
            .try_send(ReceptionCommand::Restart(credentials, reply))
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Ends the session with a `close_notify`; [`Event::Closed`] follows with this reason.
    pub(super) async fn close(&self, why: End) {
        if self
            .commands
            .send(ReceptionCommand::Close(why))
            .await
            .is_err()
        {
            tracing::debug!("the session had ended already");
        }
    }

    /// Whether the publisher has sent an authentic check.
    pub(super) fn is_checked(&self) -> bool {
        self.counters.checked.load(Ordering::Relaxed)
    }

    /// The media received so far.
    pub(super) fn statistics(&self) -> Statistics {
        Statistics {
            packets: self.counters.packets.load(Ordering::Relaxed),
            bytes: self.counters.bytes.load(Ordering::Relaxed),
            lost: self.counters.lost.load(Ordering::Relaxed),
            last_packet: self.counters.last_packet.latest(),
            last_sign: self.counters.last_sign.latest(),
        }
    }

    fn tell(&self, command: ReceptionCommand) {
        if self.commands.try_send(command).is_err() {
            tracing::debug!("command lost: the queue is full");
        }
    }
}

impl Reception {
    /// Runs the session to its end; [`Event::Closed`] is the last thing it reports.
    pub(super) async fn run(mut self) {
        let mut reports = Vec::new();
        let why = loop {
            if let Some(why) = self.handle(&mut reports) {
                self.tell(Event::Closed(why));
                return;
            }
            if let Some(why) = self.overdue() {
                break why;
            }
            let rest = self.wake().saturating_duration_since(awake::now());
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(ReceptionCommand::Close(why)) => break why,
                    Some(command) => self.command(command, &mut reports),
                    None => break End::Deleted,
                },
                // Those that wait came before now.
                datagram = self.datagrams.recv() => {
                    let Some(datagram) = datagram else { break End::Failed };
                    self.receive(&datagram, &mut reports);
                }
                () = tokio::time::sleep(rest) => {
                    self.latest = self.latest.max(awake::now());
                    self.session.tick(self.latest, &mut reports);
                }
            }
        };
        self.session.close(awake::now());
        self.tell(Event::Closed(why));
    }

    /// Takes a datagram when it arrived, and not when its turn came: the publisher's congestion control
    /// would take the wait for one of the network.
    fn receive(&mut self, datagram: &Datagram, reports: &mut Vec<Report>) {
        self.latest = self.latest.max(datagram.arrived);
        let now = self.latest;
        if self.session.wake() <= now {
            self.session.tick(now, reports);
        }
        let Datagram { ends, bytes, .. } = datagram;
        self.session.receive(now, *ends, bytes, reports);
    }

    /// Takes the session's reports; returns why it has ended, if it has.
    fn handle(&mut self, reports: &mut Vec<Report>) -> Option<End> {
        if !self.connected && self.session.is_checked() {
            self.counters.checked.store(true, Ordering::Relaxed);
        }
        for report in reports.drain(..) {
            match report {
                Report::Connected(_) => {
                    self.connected = true;
                    self.tell(Event::Connected);
                }
                Report::Rtp(packet) => self.packet(*packet),
                Report::Rtcp(_) => {}
                Report::ChannelOpened => self.reports.converse(ChannelEvent::Opened),
                Report::Text(text) => self.reports.converse(ChannelEvent::Text(text)),
                Report::ChannelClosed => self.reports.converse(ChannelEvent::Closed),
                Report::Closed(why) => return Some(why),
            }
        }
        if self.connected {
            self.counters.last_sign.note(self.session.heard());
        }
        self.release();
        None
    }

    /// Takes a datagram, or lets time pass, without a runtime.
    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn step(
        &mut self,
        now: Instant,
        datagram: Option<(std::net::SocketAddr, &[u8])>,
    ) -> Option<End> {
        let mut reports = Vec::new();
        match datagram {
            Some((sender, data)) => self.session.receive(now, sender.into(), data, &mut reports),
            None => self.session.tick(now, &mut reports),
        }
        self.handle(&mut reports)
    }

    #[cfg(any(test, feature = "fuzz"))]
    pub(super) const fn is_connected(&self) -> bool {
        self.connected
    }

    fn command(&mut self, command: ReceptionCommand, reports: &mut Vec<Report>) {
        match command {
            ReceptionCommand::Text(text) => {
                if !self.session.say(self.latest, &text.text, reports) {
                    self.counters.channel_behind.store(true, Ordering::Relaxed);
                }
            }
            ReceptionCommand::Keyframe => self.session.request_keyframe(self.latest),
            ReceptionCommand::Bitrate(bitrate) => {
                self.session.request_bitrate(self.latest, bitrate);
            }
            ReceptionCommand::Restart(credentials, reply) => {
                // An error means that the caller has given up.
                drop(reply.send(self.session.restart(credentials)));
            }
            ReceptionCommand::Close(_) => {}
        }
    }

    fn wake(&self) -> Instant {
        // Signs of life are checked at every wake-up.
        let deadline = awake::now() + self.consent / 10;
        self.lanes
            .iter()
            .flat_map(Lane::deadlines)
            .chain([self.session.wake()])
            .fold(deadline, Instant::min)
    }

    /// The broadcast limits the time to connect.
    fn overdue(&self) -> Option<End> {
        let silent = self.session.silence(awake::now()) >= self.consent;
        (self.connected && silent).then_some(End::Vanished)
    }

    /// Takes a packet from the peer.
    fn packet(&mut self, packet: RtpPacket) {
        self.counters.packets.fetch_add(1, Ordering::Relaxed);
        self.counters
            .bytes
            .fetch_add(packet.payload.len() as u64, Ordering::Relaxed);
        self.counters.last_packet.note(awake::now());
        let Some((kind, rid)) = self.session.stream_of(&packet) else {
            return;
        };
        let of_packet = |lane: &Lane| lane.codec.kind() == kind && lane.rid == rid;
        let Some(at) = self.lanes.iter().position(of_packet) else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(at) else {
            return;
        };
        let ssrc = packet.header.ssrc;
        if lane.ssrc.replace(ssrc).is_some_and(|before| before != ssrc) {
            // Sequence numbers, timestamps and reports are unrelated to the previous ones.
            tracing::info!(%kind, "the publisher continues under another SSRC");
            lane.restart(self.jitter);
            self.timeline.restart(at);
        }
        if let Some(info) = packet.last_sender_info
            && lane.reported.replace(info.ntp_time) != Some(info.ntp_time)
        {
            let sender_time = info.ntp_time.duration_since(SystemTime::UNIX_EPOCH);
            let timestamp = extend(packet.time.numer(), info.rtp_time.numer());
            let arrival = (self.running_time)();
            self.timeline
                .report(at, timestamp, sender_time.unwrap_or_default(), arrival);
        }
        lane.reorder.push(awake::now(), *packet.seq_no, packet);
    }

    /// Makes frames of the packets that are now in order.
    fn release(&mut self) {
        let (now, arrival) = (awake::now(), (self.running_time)());
        for (at, lane) in self.lanes.iter_mut().enumerate() {
            while let Some(packet) = lane.reorder.pop(now) {
                let packet = Packet {
                    pts: self.timeline.due(at, packet.time.numer(), arrival),
                    sequence: *packet.seq_no,
                    timestamp: packet.header.timestamp,
                    marker: packet.header.marker,
                    restart: std::mem::take(&mut lane.restarted),
                    payload: packet.payload,
                };
                lane.assemble(now, packet, &self.reports);
            }
            lane.tick(now, &self.reports);
        }
        let lost = self.lanes.iter().map(|lane| lane.reorder.lost).sum();
        self.counters.lost.store(lost, Ordering::Relaxed);
    }

    fn tell(&self, event: Event) {
        if self.reports.events.try_send(event).is_err() {
            tracing::debug!("event lost: the queue is full");
        }
    }
}

impl Lane {
    fn new(input: StreamInput, jitter: Duration) -> Self {
        Self {
            codec: input.codec,
            rid: input.rid.map(|rid| Rid::from(rid.as_str())),
            outlet: LaneOutlet {
                frames: input.frames,
                announced: false,
            },
            assembler: Assembler::new(input.codec),
            ssrc: None,
            restarted: true,
            reorder: Reorder::new(jitter),
            reported: None,
        }
    }

    /// When something that waits here has waited long enough.
    fn deadlines(&self) -> impl Iterator<Item = Instant> {
        [self.reorder.deadline(), self.assembler.deadline()]
            .into_iter()
            .flatten()
    }

    /// Takes a packet, the next one in order.
    fn assemble(&mut self, now: Instant, packet: Packet, reports: &Reports) {
        let (outlet, assembler) = (&mut self.outlet, &mut self.assembler);
        assembler.push(now, packet, |frame| outlet.deliver(frame, reports));
        if assembler.takes_keyframe_request() {
            reports.keyframe_wanted.notify_one();
        }
    }

    fn tick(&mut self, now: Instant, reports: &Reports) {
        let (outlet, assembler) = (&mut self.outlet, &mut self.assembler);
        assembler.tick(now, |frame| outlet.deliver(frame, reports));
    }

    /// Forgets the packets of the previous SSRC. Losses stay counted.
    fn restart(&mut self, jitter: Duration) {
        let lost = self.reorder.lost;
        self.reorder = Reorder::new(jitter);
        self.reorder.lost = lost;
        self.reported = None;
        self.restarted = true;
    }
}

/// The 64-bit timestamp with these low 32 bits that is nearest to `near`.
fn extend(near: u64, low: u64) -> u64 {
    let apart = (low.wrapping_sub(near) << 32).cast_signed() >> 32;
    near.saturating_add_signed(apart)
}
