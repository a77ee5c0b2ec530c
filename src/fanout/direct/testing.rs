//! The direct engine's output, without a session, for the playout's tests.

use std::{
    net::UdpSocket,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use super::{
    context::{Context, Timeouts},
    retransmission::Retransmission,
    stream::{Identity, Stream},
    viewer::DirectSink,
};
use crate::{
    fanout::statistics::Totals,
    media::Kind,
    peer::{
        srtp::{MasterKey, Profile, Sender},
        udp::{self, AddressPair, Port},
    },
    playout::{
        Arrival, Playout, RenditionCaches, ViewerCounters,
        testing::{Taken, TestEngine},
    },
};

/// How long a packet may take over loopback.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct DirectEngine {
    cx: Context,
    sender: Sender,
    receiver: UdpSocket,
    /// Packets received so far.
    received: u64,
    ends: AddressPair,
    counters: ViewerCounters,
    span: tracing::Span,
    retransmission: Retransmission,
    next_report: Option<Instant>,
    taken: Vec<Taken>,
}

impl DirectEngine {
    fn sink(&mut self, now: Instant) -> DirectSink<'_> {
        self.cx.now = now;
        DirectSink {
            cx: &mut self.cx,
            sender: &self.sender,
            ends: &mut self.ends,
            counters: &self.counters,
            span: &self.span,
            retransmission: &mut self.retransmission,
            next_report: &mut self.next_report,
        }
    }
}

impl DirectEngine {
    /// Receives everything sent. Loopback, too, may take a moment.
    fn receive(&mut self) {
        let tag = Profile::Aes128Gcm.rtp_overhead();
        let mut buffer = [0; 2000];
        while self.received < self.counters.packets.load(Relaxed) {
            let len = self.receiver.recv(&mut buffer).unwrap();
            self.received += 1;
            let packet = &buffer[..len - tag];
            let kind = |ssrc| if ssrc == 2 { Kind::Video } else { Kind::Audio };
            self.taken.push(Taken::read(packet, kind));
        }
    }
}

impl TestEngine for DirectEngine {
    type Stream = Stream;

    fn new() -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let port = Port::bind(&udp::Options {
            loopback: true,
            ..udp::Options::at(listen)
        });
        let receiver = UdpSocket::bind(listen).unwrap();
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        let material: Vec<u8> = (0..88).collect();
        let key = MasterKey::from_dtls(&material, Profile::Aes128Gcm, true).unwrap();
        let totals = Totals::new().into();
        Self {
            cx: Context::new(port.unwrap(), totals, Timeouts::default()),
            sender: Sender::new(&key).unwrap(),
            ends: receiver.local_addr().unwrap().into(),
            receiver,
            received: 0,
            counters: ViewerCounters::default(),
            span: tracing::Span::none(),
            retransmission: Retransmission::new(),
            next_report: None,
            taken: Vec::new(),
        }
    }

    fn stream(&self, kind: Kind, _rendition: u64) -> Stream {
        let identity = Identity {
            ssrc: 1 + u32::from(kind == Kind::Video),
            pt: 96,
            rtx: None,
            send_time: None,
        };
        Stream::new(kind, identity, 0)
    }

    fn frame(&mut self, playout: &mut Playout<Stream>, arrival: &Arrival<'_>, now: Instant) {
        playout.frame(&mut self.sink(now), arrival, now);
        self.receive();
    }

    fn tick(&mut self, playout: &mut Playout<Stream>, renditions: &RenditionCaches, now: Instant) {
        playout.tick(&mut self.sink(now), renditions, now);
        self.receive();
    }

    fn taken(&mut self) -> Vec<Taken> {
        std::mem::take(&mut self.taken)
    }
}
