//! The client at the other end of a session, without threads. Its SRTP keys are at hand, so it can
//! say anything.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use str0m::{
    Rtc,
    media::{Direction, MediaKind},
    net::Transmit,
};

use super::super::{
    keys::{CERTIFICATE, KeySlot, NEW_SLOT, PROVIDER},
    rtp_stream,
};
use crate::{
    media::rtp,
    peer::{
        srtp,
        udp::{self, Port},
    },
    testing::peer::Peer,
};

/// A handshake takes three turns; these are for clients that wait between their checks.
const TURNS: usize = 100;
/// Time added at every turn.
const TURN: Duration = Duration::from_millis(20);

/// A port of the server on the loopback address.
pub(crate) fn port() -> io::Result<Port> {
    Port::bind(&udp::Options {
        loopback: true,
        ..udp::Options::at(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0))
    })
}

pub(crate) struct Adversary {
    inner: Peer,
    keys: KeySlot,
    /// Where the server's datagrams arrive; the client's own need no network.
    socket: UdpSocket,
    pub(crate) address: SocketAddr,
    pub(crate) offer: String,
    sender: Option<srtp::Sender>,
    newest: u16,
}

impl Adversary {
    /// A client that publishes or watches a picture and sound.
    pub(crate) fn new(direction: Direction) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let config = Rtc::builder()
            .set_crypto_provider(Arc::clone(&PROVIDER))
            .set_dtls_cert(CERTIFICATE.clone())
            .set_rtp_mode(true);
        let kinds = [MediaKind::Video, MediaKind::Audio];
        let (inner, offer) = Peer::offering(&config, address, direction, &kinds)?;
        let keys = NEW_SLOT
            .take()
            .ok_or_else(|| io::Error::other("no DTLS instance was made"))?
            .keys;
        Ok(Self {
            inner,
            keys,
            socket,
            address,
            offer,
            sender: None,
            newest: 0,
        })
    }

    /// Takes the answer and connects. `deliver` hands a datagram to the server, and returns whether
    /// the session is connected there.
    pub(crate) fn connect(
        &mut self,
        now: &mut Instant,
        answer: &str,
        mut deliver: impl FnMut(Instant, SocketAddr, &[u8]) -> bool,
    ) -> io::Result<()> {
        self.inner.accept(answer)?;
        let mut connected = false;
        for _ in 0..TURNS {
            if connected && self.inner.rtc.is_connected() {
                break;
            }
            *now += TURN;
            self.inner.tick(*now)?;
            for datagram in self.output()? {
                connected = deliver(*now, self.address, &datagram);
                self.read(*now)?;
            }
        }
        let (Some(keys), true) = (self.keys.get(), connected) else {
            return Err(io::Error::other("no connection"));
        };
        let master = srtp::MasterKey::from_dtls(&keys.material, keys.profile, keys.client)
            .map_err(io::Error::other)?;
        self.sender = Some(srtp::Sender::new(&master).map_err(io::Error::other)?);
        Ok(())
    }

    /// A packet in which `MID` stands for the name of the picture's section, which is random.
    pub(crate) fn named(&self, packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        let mid = self
            .offer
            .lines()
            .find_map(|line| line.strip_prefix("a=mid:"));
        for at in 0..packet.len() {
            if let Some(name) = packet.get_mut(at..at + 3)
                && name == b"MID"
            {
                name.copy_from_slice(mid.unwrap_or("mid").as_bytes());
            }
        }
        packet
    }

    /// Encrypts an RTP packet, if it is long enough to be one.
    pub(crate) fn rtp(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let [_, _, q0, q1, _, _, _, _, s0, s1, s2, s3] = *packet.first_chunk::<12>()?;
        let length = rtp::payload_start(packet)?;
        let ssrc = u32::from_be_bytes([s0, s1, s2, s3]);
        let index = u64::from(u16::from_be_bytes([q0, q1]));
        let mut packet = packet.to_vec();
        self.sender
            .as_ref()?
            .protect_rtp(&mut packet, 0, length, srtp::PacketId { ssrc, index })
            .ok()?;
        Some(packet)
    }

    /// Encrypts RTCP, if it is long enough to be one packet.
    pub(crate) fn rtcp(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut packet = packet.to_vec();
        self.sender.as_mut()?.protect_rtcp(&mut packet).ok()?;
        Some(packet)
    }

    /// Receives what has arrived; returns the sequence number of these streams' newest packet.
    pub(crate) fn newest(&mut self, ssrcs: &[u32]) -> u16 {
        let mut buffer = [0; 2000];
        while let Ok((length, _)) = self.socket.recv_from(&mut buffer) {
            let datagram = buffer.get(..length).unwrap_or_default();
            if let ([_, _, q0, q1, ..], Some((_, ssrc))) = (datagram, rtp_stream(datagram))
                && ssrcs.first() == Some(&ssrc)
            {
                self.newest = u16::from_be_bytes([*q0, *q1]);
            }
        }
        self.newest
    }

    fn output(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut datagrams = Vec::new();
        let send = |datagram: &Transmit| {
            datagrams.push(datagram.contents.to_vec());
            Ok(())
        };
        self.inner.poll(send, |_| {})?;
        Ok(datagrams)
    }

    /// Receives what the server has sent.
    fn read(&mut self, now: Instant) -> io::Result<()> {
        let mut buffer = [0; 2000];
        while let Ok((length, sender)) = self.socket.recv_from(&mut buffer) {
            let datagram = buffer.get(..length).unwrap_or_default();
            self.inner.receive(now, sender, datagram)?;
        }
        Ok(())
    }
}
