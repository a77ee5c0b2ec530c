//! What a relay knows and decides, without a socket of its own.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Instant};

use super::{inside::Inside, signals::RelaySignals};
use crate::peer::{
    ice::{LiteAgent, StunOutcome},
    udp::{AddressPair, RemoteEnd, stun},
};

/// Datagrams that wait for the other side, in each direction: a flight of the DTLS handshake. The
/// oldest makes room.
const HELD_MAX: usize = 8;
/// Longer datagrams from the client are dropped, as on the direct engine: no peer sends them.
const DATAGRAM_BYTES_MAX: usize = 9216;

/// A relay's state, under the lock that the port's reader and the relay's task share. Nobody holds
/// it while sending to anywhere but the port.
pub(super) struct RelayState {
    pub(super) agent: LiteAgent,
    pub(super) inside: Inside,
    /// Where webrtcbin is.
    engine: SocketAddr,
    signals: Arc<RelaySignals>,
    /// Where the client's last packet came from.
    sender: Option<RemoteEnd>,
    /// For webrtcbin, until it listens.
    inwards: VecDeque<Vec<u8>>,
    /// For the client, until it has nominated an address.
    outwards: VecDeque<Vec<u8>>,
}

/// What to do with a client's datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inbound {
    /// Nothing.
    Done,
    /// The relay's task has something to do.
    Wake,
    /// Pass it on to webrtcbin.
    Forward,
}

impl RelayState {
    pub(super) const fn new(
        agent: LiteAgent,
        inside: Inside,
        engine: SocketAddr,
        signals: Arc<RelaySignals>,
    ) -> Self {
        Self {
            agent,
            inside,
            engine,
            signals,
            sender: None,
            inwards: VecDeque::new(),
            outwards: VecDeque::new(),
        }
    }

    /// Takes a datagram of the client's.
    pub(super) fn receive(&mut self, now: Instant, ends: AddressPair, datagram: &[u8]) -> Inbound {
        if stun::is_stun(datagram) {
            return match self.agent.stun(now, ends, datagram) {
                StunOutcome::Refused => Inbound::Done,
                StunOutcome::Checked { .. } => {
                    self.inside.begin(now);
                    Inbound::Wake
                }
                StunOutcome::Proven => Inbound::Wake,
            };
        }
        if datagram.len() > DATAGRAM_BYTES_MAX || is_bye_of_nobody(datagram) {
            return Inbound::Done;
        }
        // Authentic packets count as older than this one.
        self.settle(now);
        self.sender = Some(ends.remote);
        if self.inside.is_connected() {
            return Inbound::Forward;
        }
        hold(&mut self.inwards, datagram);
        Inbound::Done
    }

    /// Takes note of what webrtcbin has signalled.
    pub(super) fn settle(&mut self, now: Instant) {
        if self.signals.take_handshake_done() {
            self.agent.handshake_done(now);
        }
        if self.signals.take_authentic() {
            self.agent.hear(now, self.sender);
        }
    }

    /// Takes a STUN message of webrtcbin's; returns the reply.
    pub(super) fn check(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.inside.take(self.engine, message)
    }

    /// Where datagrams of webrtcbin's may be sent, `segment` bytes each (the last may be shorter).
    /// Before the client has nominated an address, a few wait here.
    pub(super) fn destination(
        &mut self,
        now: Instant,
        data: &[u8],
        segment: usize,
    ) -> Option<AddressPair> {
        self.settle(now);
        if self.agent.is_nominated() {
            return self.agent.destination(data.len());
        }
        for datagram in data.chunks(segment) {
            hold(&mut self.outwards, datagram);
        }
        None
    }

    /// The next datagram that has waited for the client's address.
    pub(super) fn next_outwards(&mut self) -> Option<Vec<u8>> {
        if !self.agent.is_nominated() {
            return None;
        }
        self.outwards.pop_front()
    }

    /// The next datagram that has waited for webrtcbin.
    pub(super) fn next_inwards(&mut self) -> Option<Vec<u8>> {
        if !self.inside.is_connected() {
            return None;
        }
        self.inwards.pop_front()
    }

    /// When something is due.
    pub(super) fn wake(&self) -> Option<Instant> {
        let (agent, inside) = (self.agent.wake(), self.inside.wake());
        agent.into_iter().chain(inside).min()
    }
}

/// An RTCP BYE without a source (RFC 3550 §6.6), which SRTCP leaves in the clear (RFC 3711 §3.4).
/// GStreamer's `srtpdec` takes the first of its sources before it has authenticated the packet.
fn is_bye_of_nobody(datagram: &[u8]) -> bool {
    matches!(datagram, [0x80 | 0xa0, 203, ..])
}

fn hold(held: &mut VecDeque<Vec<u8>>, datagram: &[u8]) {
    if held.len() == HELD_MAX {
        held.pop_front();
    }
    held.push_back(datagram.to_vec());
}
