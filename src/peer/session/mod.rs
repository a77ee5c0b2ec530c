//! A peer connection on the direct engine, for both directions: a str0m session (DTLS, RTCP, and a
//! publisher's RTP).
//!
//! SDP is ours ([`super::sdp`]), and so are ICE ([`super::ice`]) and the RTP sent to viewers (`fanout`,
//! [`super::srtp`]); str0m maintains the connection. A session does nothing on its own: a fan-out worker (viewers) or
//! a task (publishers) gives it datagrams and time, and takes its reports.

mod channel;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod incoming;
mod keys;
mod output;
#[cfg(test)]
mod tests;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use str0m::{
    Candidate, IceCreds, Input, Rtc, RtcError,
    channel::ChannelId,
    media::Rid,
    net::{Protocol, Receive},
    rtp::{RtpPacket, rtcp::Rtcp},
};
use tracing::Span;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use self::incoming::rtp_stream;
pub(crate) use self::incoming::{EXTENSIONS, Incoming};
use self::{
    channel::{GateSlot, QUEUED_BYTES_MAX},
    keys::{CERTIFICATE, KeySlot, NEW_SLOT, PROVIDER},
};
use super::{
    End,
    ice::{LiteAgent, StunOutcome, refused},
    sdp, srtp,
    udp::{AddressPair, DatagramRoute, Port, stun},
};
use crate::{awake, media::Kind};

/// Jumbo frames are no longer than this; longer datagrams are dropped. str0m's DTLS panics at 30 000
/// bytes.
const DATAGRAM_BYTES_MAX: usize = 9216;
/// The two ends of the connection, as str0m sees them: for it the peer never moves (RFC 5737).
const STAND_IN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
const PEER_STAND_IN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 9);
/// Shortest time between two checks that str0m is shown; it misses them after 15 s.
const SHOW_INTERVAL: Duration = Duration::from_secs(1);

/// What a session reports to the worker that drives it.
pub(crate) enum Report {
    /// ICE and DTLS are up, and the peer receives where it says: media can be encrypted with this.
    Connected(Box<srtp::Sender>),
    /// Decrypted RTCP from the peer (viewers only).
    Rtcp(Box<Rtcp>),
    /// A decrypted RTP packet from the peer (publishers only), not yet in order.
    Rtp(Box<RtpPacket>),
    /// The peer has opened its data channel.
    ChannelOpened,
    /// A text has arrived on it.
    Text(String),
    /// The peer has closed it.
    ChannelClosed,
    /// The peer said goodbye, or the session failed. Nothing follows.
    Closed(End),
}

/// One peer connection of the direct engine.
pub(crate) struct PeerSession {
    rtc: Rtc,
    keys: KeySlot,
    /// Bounds what comes over the data channel.
    gate: GateSlot,
    /// The data channel, while it is open.
    channel: Option<ChannelId>,
    agent: LiteAgent,
    /// When str0m was last shown a check.
    shown: Option<Instant>,
    /// Until the peer's address is proven.
    connected: Option<Box<srtp::Sender>>,
    /// When str0m wants to be called again.
    wake: Instant,
    /// Set until the DTLS handshake begins: the timers of its flights run only once there is an
    /// address to send them to. True if the first flight is ours.
    dtls: Option<bool>,
    incoming: Incoming,
    /// Distinguishes the peer's packets from forged ones, once there are keys.
    verifier: Option<srtp::Verifier>,
    /// The span of its log lines.
    span: Span,
}

impl PeerSession {
    /// Takes the transport half of an offer and returns the session with its half of the answer.
    ///
    /// # Errors
    /// If the fingerprint cannot be checked, or the engine refuses the parameters.
    pub(crate) fn accept(
        offer: &sdp::Offer,
        port: &Port,
        route: DatagramRoute,
        incoming: Incoming,
    ) -> Result<(Self, sdp::Transport), sdp::Error> {
        let now = awake::now();
        let (hash, fingerprint) = &offer.fingerprint;
        if hash != "sha-256" {
            return Err(sdp::Error::Unsupported(format!(
                "certificate fingerprint uses {hash}: offer a sha-256 one"
            )));
        }
        let remote = IceCreds {
            ufrag: offer.ice_ufrag.clone(),
            pass: offer.ice_pwd.clone(),
        };
        let mut agent = LiteAgent::register(remote.clone(), port, route, now)?;
        if incoming.is_empty() {
            agent.require_consent();
        }
        let config = Rtc::builder()
            .set_crypto_provider(Arc::clone(&PROVIDER))
            .set_dtls_cert(CERTIFICATE.clone())
            .set_local_ice_credentials(agent.local())
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .enable_raw_packets(incoming.is_empty())
            .set_sctp_max_buffered_amount(QUEUED_BYTES_MAX)
            .clear_codecs();
        let mut rtc = incoming.configure(config).build(now);
        let instance = NEW_SLOT
            .take()
            .ok_or_else(|| refused("no DTLS instance was made"))?;
        rtc.add_local_candidate(Candidate::host(STAND_IN, "udp").map_err(refused)?);
        incoming.declare(&mut rtc);
        let mut api = rtc.direct_api();
        api.set_remote_ice_credentials(remote);
        api.set_remote_fingerprint(str0m::crypto::Fingerprint {
            hash_func: hash.clone(),
            bytes: fingerprint.clone(),
        });
        let transport = agent.transport(api.local_dtls_fingerprint().bytes.clone());
        let session = Self {
            rtc,
            keys: instance.keys,
            gate: instance.gate,
            channel: None,
            agent,
            shown: None,
            connected: None,
            wake: now,
            dtls: Some(offer.setup != sdp::Setup::Active),
            incoming,
            verifier: None,
            span: Span::current(),
        };
        Ok((session, transport))
    }

    /// Restarts ICE (RFC 9725 §4.3.3): new credentials on both sides. Media continues over the old
    /// pair until the peer has nominated a new one (RFC 8445 §9).
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn restart(&mut self, remote: IceCreds) -> Result<sdp::Transport, sdp::Error> {
        self.agent.restart(remote.clone(), awake::now())?;
        let mut api = self.rtc.direct_api();
        api.set_local_ice_credentials(self.agent.local());
        api.set_remote_ice_credentials(remote);
        Ok(self
            .agent
            .transport(api.local_dtls_fingerprint().bytes.clone()))
    }

    /// Takes one datagram.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        ends: AddressPair,
        datagram: &[u8],
        reports: &mut Vec<Report>,
    ) {
        if stun::is_stun(datagram) {
            self.stun(now, ends, datagram, reports);
            return;
        }
        if datagram.len() > DATAGRAM_BYTES_MAX || !self.admits(datagram) {
            return;
        }
        if is_rtcp(datagram) && !self.incoming.is_empty() {
            // Of a publisher, as its RTP: wherever it comes from.
            self.agent.hear_from_anywhere(now);
        }
        self.note_time(now);
        let shown = self.show(now, datagram);
        self.finish(now, shown, Some(ends.remote), reports);
    }

    /// Gives str0m a datagram.
    fn show(&mut self, now: Instant, datagram: &[u8]) -> Result<(), RtcError> {
        // str0m would only count what it cannot read.
        let Ok(contents) = datagram.try_into() else {
            return Ok(());
        };
        let received = Receive {
            proto: Protocol::Udp,
            source: PEER_STAND_IN,
            destination: STAND_IN,
            contents,
        };
        self.rtc.handle_input(Input::Receive(now, received))
    }

    fn stun(
        &mut self,
        now: Instant,
        ends: AddressPair,
        datagram: &[u8],
        reports: &mut Vec<Report>,
    ) {
        let shown = match self.agent.stun(now, ends, datagram) {
            StunOutcome::Refused => return,
            StunOutcome::Checked { nominates } => self.checked(now, nominates, datagram),
            StunOutcome::Proven => Ok(()),
        };
        self.finish(now, shown, Some(ends.remote), reports);
    }

    /// Shows an authentic check to str0m if that needs to see one.
    fn checked(&mut self, now: Instant, nominates: bool, datagram: &[u8]) -> Result<(), RtcError> {
        let due = |shown: Instant| now.saturating_duration_since(shown) >= SHOW_INTERVAL;
        if nominates && self.shown.is_none_or(due) {
            self.shown = Some(now);
            self.show(now, datagram)?;
        }
        match self.dtls.take_if(|first| nominates || !*first) {
            Some(first) => self.rtc.direct_api().start_dtls(first),
            None => Ok(()),
        }
    }

    /// Whether to pass a datagram to str0m. SRTCP and new streams must be encrypted by the peer: str0m
    /// would log each forged packet and allocate state for each forged stream.
    fn admits(&mut self, datagram: &[u8]) -> bool {
        let verifier = self.verifier.as_mut();
        match datagram {
            _ if is_rtcp(datagram) => {
                verifier.is_some_and(|verifier| verifier.admits_rtcp(datagram))
            }
            [128..192, ..] => self.incoming.admits(&mut self.rtc, datagram, |packet| {
                verifier.is_some_and(|verifier| verifier.is_authentic(packet))
            }),
            _ => true,
        }
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now: Instant, reports: &mut Vec<Report>) {
        self.agent.send_check(now);
        let result = self.rtc.handle_input(Input::Timeout(now));
        self.finish(now, result, None, reports);
    }

    /// The span of its log lines: the one in which it was made.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Says goodbye with a DTLS `close_notify` (RFC 9725 §4.2: the peer learns at once).
    pub(crate) fn close(&mut self, now: Instant) {
        if let Err(error) = self.rtc.close() {
            tracing::debug!(parent: &self.span, %error, "no close_notify");
        }
        self.poll(now, None, &mut Vec::new());
    }

    /// Asks the peer for a keyframe of every video stream it sends.
    pub(crate) fn request_keyframe(&mut self, now: Instant) {
        self.incoming.request_keyframe(&mut self.rtc);
        self.poll(now, None, &mut Vec::new());
    }

    /// Asks the peer to send at most this many bit/s.
    pub(crate) fn request_bitrate(&mut self, now: Instant, bitrate: u64) {
        self.incoming.request_bitrate(&mut self.rtc, bitrate);
        self.poll(now, None, &mut Vec::new());
    }

    /// Which of a publisher's streams a packet belongs to: its kind, and the rid of its layer.
    pub(crate) fn stream_of(&mut self, packet: &RtpPacket) -> Option<(Kind, Option<Rid>)> {
        let kind = self.incoming.kind_of(*packet.header.payload_type)?;
        let mut api = self.rtc.direct_api();
        let rid = api
            .stream_rx(&packet.header.ssrc)
            .and_then(|stream| stream.rid());
        Some((kind, rid))
    }

    /// When [`PeerSession::tick`] is due.
    pub(crate) fn wake(&self) -> Instant {
        let check = self.agent.wake();
        check.map_or(self.wake, |check| check.min(self.wake))
    }

    /// Where media goes: the pair that the peer nominated last, once the peer has proven that it
    /// receives there.
    pub(crate) fn nominated(&self) -> Option<AddressPair> {
        self.agent.proven()
    }

    /// The same, to send to: a local address that the machine has lost is taken out.
    pub(crate) fn nominated_mut(&mut self) -> Option<&mut AddressPair> {
        self.agent.proven_mut()
    }

    /// Whether the peer has sent an authentic check.
    pub(crate) fn is_checked(&self) -> bool {
        self.agent.is_checked()
    }

    /// Whether media may still be sent to where it goes (RFC 7675 §5.1).
    pub(crate) fn has_consent(&self, now: Instant) -> bool {
        self.agent.has_consent(now)
    }

    /// When the peer last gave a sign of life.
    pub(crate) const fn heard(&self) -> Instant {
        self.agent.heard()
    }

    /// How long the peer has given no sign of life.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.agent.heard())
    }
}

/// Whether a datagram is RTCP (RFC 7983 §7, RFC 5761 §4).
const fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..192, 192..224, ..])
}
