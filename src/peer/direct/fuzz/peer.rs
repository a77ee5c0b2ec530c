//! The client at the other end of a session, without threads. Its SRTP keys are at hand, so that it
//! can say anything.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Input, Output, Rtc,
    change::{SdpAnswer, SdpPendingOffer},
    media::{Direction, MediaKind},
    net::{Protocol, Receive},
};

use super::super::{
    keys::{CERTIFICATE, KeySlot, NEW_SLOT, PROVIDER},
    rtp_stream,
};
use crate::peer::{
    srtp,
    udp::{self, Port},
};

/// A handshake is done after three turns; these are for clients that wait between their checks.
const TURNS: usize = 100;
/// How much later it is at every turn.
const TURN: Duration = Duration::from_millis(20);
/// RTP header without extensions, in bytes.
const RTP_HEADER: usize = 12;

/// A port of the server on the loopback address.
pub(crate) fn port() -> io::Result<Port> {
    Port::bind(&udp::Options {
        listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        public_addresses: Vec::new(),
        loopback: true,
    })
}

pub(crate) struct Peer {
    rtc: Rtc,
    keys: KeySlot,
    /// Where the server's datagrams come; its own do not need the network.
    socket: UdpSocket,
    pub(crate) address: SocketAddr,
    pub(crate) offer: String,
    pending: Option<SdpPendingOffer>,
    sender: Option<srtp::Sender>,
    newest: u16,
}

impl Peer {
    /// A client that publishes or watches a picture and sound.
    pub(crate) fn new(direction: Direction) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let mut rtc = Rtc::builder()
            .set_crypto_provider(Arc::clone(&PROVIDER))
            .set_dtls_cert(CERTIFICATE.clone())
            .set_rtp_mode(true)
            .build(Instant::now());
        let keys = NEW_SLOT
            .take()
            .ok_or_else(|| io::Error::other("no DTLS instance was made"))?;
        let host = Candidate::host(address, "udp").map_err(io::Error::other)?;
        rtc.add_local_candidate(host);
        let mut api = rtc.sdp_api();
        let video = api.add_media(MediaKind::Video, direction, None, None, None);
        let audio = api.add_media(MediaKind::Audio, direction, None, None, None);
        if video == audio {
            // str0m draws three characters at random.
            return Self::new(direction);
        }
        let (offer, pending) = api.apply().ok_or_else(|| io::Error::other("no offer"))?;
        Ok(Self {
            rtc,
            keys,
            socket,
            address,
            offer: offer.to_sdp_string(),
            pending: Some(pending),
            sender: None,
            newest: 0,
        })
    }

    /// Takes the answer and connects. `deliver` hands a datagram to the server, and says whether
    /// the session is connected there.
    pub(crate) fn connect(
        &mut self,
        now: &mut Instant,
        answer: &str,
        mut deliver: impl FnMut(Instant, SocketAddr, &[u8]) -> bool,
    ) -> io::Result<()> {
        let answer = SdpAnswer::from_sdp_string(answer).map_err(io::Error::other)?;
        if let Some(pending) = self.pending.take() {
            let api = self.rtc.sdp_api();
            api.accept_answer(pending, answer)
                .map_err(io::Error::other)?;
        }
        let mut connected = false;
        for _ in 0..TURNS {
            if connected && self.rtc.is_connected() {
                break;
            }
            *now += TURN;
            self.rtc
                .handle_input(Input::Timeout(*now))
                .map_err(io::Error::other)?;
            while let Some(datagram) = self.output()? {
                connected = deliver(*now, self.address, &datagram);
                self.read(*now)?;
            }
        }
        let keys = self.keys.get().filter(|_| connected);
        let keys = keys.ok_or_else(|| io::Error::other("no connection"))?;
        let master = srtp::MasterKey::from_dtls(&keys.material, keys.profile, keys.client)
            .map_err(io::Error::other)?;
        self.sender = Some(srtp::Sender::new(&master).map_err(io::Error::other)?);
        Ok(())
    }

    /// A packet in which `MID` stands for the name of the picture's section, which is random.
    pub(crate) fn named(&self, packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        let mid = self.offer.lines().find_map(|it| it.strip_prefix("a=mid:"));
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
        let (header, _) = packet.split_first_chunk::<RTP_HEADER>()?;
        let [first, _, q0, q1, _, _, _, _, s0, s1, s2, s3] = *header;
        let mut length = RTP_HEADER + 4 * usize::from(first & 0xf);
        if first & 0x10 != 0 {
            let [_, _, l0, l1] = packet.get(length..)?.first_chunk::<4>()?;
            length += 4 + 4 * usize::from(u16::from_be_bytes([*l0, *l1]));
        }
        let ssrc = u32::from_be_bytes([s0, s1, s2, s3]);
        let index = u64::from(u16::from_be_bytes([q0, q1]));
        let mut packet = packet.to_vec();
        let sender = self.sender.as_ref()?;
        sender
            .protect_rtp(&mut packet, 0, length, (ssrc, index))
            .ok()?;
        Some(packet)
    }

    /// Encrypts RTCP, if it is long enough to be one packet.
    pub(crate) fn rtcp(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut packet = packet.to_vec();
        self.sender.as_mut()?.protect_rtcp(&mut packet).ok()?;
        Some(packet)
    }

    /// Takes what has come; the sequence number of the newest packet of these streams.
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

    fn output(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            match self.rtc.poll_output().map_err(io::Error::other)? {
                Output::Timeout(_) => return Ok(None),
                Output::Transmit(datagram) => return Ok(Some(datagram.contents.to_vec())),
                Output::Event(_) => {}
            }
        }
    }

    /// Takes what the server has sent.
    fn read(&mut self, now: Instant) -> io::Result<()> {
        let mut buffer = [0; 2000];
        while let Ok((length, source)) = self.socket.recv_from(&mut buffer) {
            let datagram = buffer.get(..length).unwrap_or_default();
            let receive = Receive {
                proto: Protocol::Udp,
                source,
                destination: self.address,
                contents: datagram.try_into().map_err(io::Error::other)?,
            };
            self.rtc
                .handle_input(Input::Receive(now, receive))
                .map_err(io::Error::other)?;
        }
        Ok(())
    }
}
