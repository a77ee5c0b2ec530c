//! A peer connection on the direct engine, for both directions: a str0m session (ICE-lite, DTLS,
//! RTCP, and a publisher's RTP).
//!
//! SDP is ours ([`super::sdp`]), and so is the RTP sent to viewers (`fanout`, [`super::srtp`]);
//! str0m maintains the connection. A session does nothing on its own: a fan-out worker (viewers) or
//! a task (publishers) gives it datagrams and time, and takes its reports.

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod incoming;
mod keys;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event as RtcEvent, IceCreds, Input, Output, Rtc, RtcError,
    media::Rid,
    net::{Protocol, Receive},
    rtp::{RawPacket, RtpPacket, rtcp::Rtcp},
};
use tracing::Span;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use self::incoming::rtp_stream;
pub(crate) use self::incoming::{EXTENSIONS, Incoming};
use self::keys::{CERTIFICATE, Exported, KeySlot, NEW_SLOT, PROVIDER};
use super::{
    End, sdp, srtp,
    udp::{self, AddressPair, DatagramRoute, Port, UFRAG_CHARS},
};
use crate::media::Kind;

/// Addresses one session may use in its life; NAT rebinding and mobility need a handful.
const ADDRESSES_MAX: usize = 16;
/// Jumbo frames are no longer than this; longer datagrams are dropped. str0m's DTLS panics at 30 000
/// bytes.
const DATAGRAM_BYTES_MAX: usize = 9216;
/// Remote candidates one session may name.
const CANDIDATES_MAX: usize = 32;

/// What a session reports to the worker that drives it.
pub(crate) enum Report {
    /// ICE and DTLS are up: media can be encrypted with this.
    Connected(Box<srtp::Sender>),
    /// Decrypted RTCP from the peer (viewers only).
    Rtcp(Box<Rtcp>),
    /// A decrypted RTP packet from the peer (publishers only), not yet in order.
    Rtp(Box<RtpPacket>),
    /// The peer said goodbye, or the session failed. Nothing follows.
    Closed(End),
}

/// Where a datagram came from, and whether it nominates that pair.
#[derive(Clone, Copy)]
struct CheckedFrom {
    ends: AddressPair,
    nominated: bool,
}

/// One peer connection of the direct engine.
pub(crate) struct PeerSession {
    rtc: Rtc,
    keys: KeySlot,
    port: Port,
    route: DatagramRoute,
    ufrag: [u8; UFRAG_CHARS],
    /// Every address that has passed ICE's integrity check, and where its latest check arrived.
    addresses: Vec<AddressPair>,
    /// Where media goes: the latest nominated pair.
    nominated: Option<AddressPair>,
    /// When str0m wants to be called again.
    wake: Instant,
    /// When the peer last gave a sign of life (RFC 7675).
    heard: Instant,
    /// Set until the DTLS handshake begins: the timers of its flights run only once there is an
    /// address to send them to. True if the first flight is ours.
    dtls: Option<bool>,
    candidates: usize,
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
        let now = Instant::now();
        let (hash, fingerprint) = &offer.fingerprint;
        if hash != "sha-256" {
            return Err(sdp::Error::Unsupported(format!(
                "certificate fingerprint uses {hash}: offer a sha-256 one"
            )));
        }
        let (ufrag, credentials) = local_credentials()?;
        let config = Rtc::builder()
            .set_crypto_provider(Arc::clone(&PROVIDER))
            .set_dtls_cert(CERTIFICATE.clone())
            .set_local_ice_credentials(credentials.clone())
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .enable_raw_packets(incoming.is_empty())
            .clear_codecs();
        let mut rtc = incoming.configure(config).build(now);
        let keys = NEW_SLOT
            .take()
            .ok_or_else(|| refused("no DTLS instance was made"))?;
        for address in port.locals() {
            rtc.add_local_candidate(Candidate::host(address, "udp").map_err(refused)?);
        }
        incoming.declare(&mut rtc);
        let mut api = rtc.direct_api();
        api.set_remote_ice_credentials(IceCreds {
            ufrag: offer.ice_ufrag.clone(),
            pass: offer.ice_pwd.clone(),
        });
        api.set_remote_fingerprint(str0m::crypto::Fingerprint {
            hash_func: hash.clone(),
            bytes: fingerprint.clone(),
        });
        let fingerprint = api.local_dtls_fingerprint().bytes.clone();
        port.register(ufrag, route.clone());
        let mut session = Self {
            rtc,
            keys,
            port: port.clone(),
            route,
            ufrag,
            addresses: Vec::new(),
            nominated: None,
            wake: now,
            heard: now,
            dtls: Some(offer.setup != sdp::Setup::Active),
            candidates: 0,
            incoming,
            verifier: None,
            span: Span::current(),
        };
        session.add_candidates(&offer.candidates);
        let transport = transport(credentials, fingerprint, port);
        Ok((session, transport))
    }

    /// Restarts ICE (RFC 9725 §4.3.3): new credentials on both sides. Media continues over the old
    /// pair until the peer has nominated a new one (RFC 8445 §9).
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn restart(&mut self, remote: IceCreds) -> Result<sdp::Transport, sdp::Error> {
        let (ufrag, local) = local_credentials()?;
        let old = std::mem::replace(&mut self.ufrag, ufrag);
        self.port.unregister(old, [], self.route.session());
        self.port.register(ufrag, self.route.clone());
        let mut api = self.rtc.direct_api();
        api.set_local_ice_credentials(local.clone());
        api.set_remote_ice_credentials(remote);
        let fingerprint = api.local_dtls_fingerprint().bytes.clone();
        // The peer starts over, with a new allowance.
        self.candidates = 0;
        Ok(transport(local, fingerprint, &self.port))
    }

    /// Adds remote candidates; ignores those beyond the session's limit.
    pub(crate) fn add_candidates(&mut self, candidates: &[SocketAddr]) {
        for address in candidates {
            if self.candidates == CANDIDATES_MAX {
                return;
            }
            self.candidates += 1;
            if let Ok(candidate) = Candidate::host(*address, "udp") {
                self.rtc.add_remote_candidate(candidate);
            }
        }
    }

    /// Takes one datagram.
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        ends: AddressPair,
        datagram: &[u8],
        reports: &mut Vec<Report>,
    ) {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return;
        }
        // str0m would only count what it cannot read.
        let Ok(contents) = datagram.try_into() else {
            return;
        };
        if !self.admits(datagram) {
            return;
        }
        let nominated = udp::stun_nominates(datagram);
        let input = Input::Receive(
            now,
            Receive {
                proto: Protocol::Udp,
                source: ends.remote,
                destination: self.port.local(ends.remote),
                contents,
            },
        );
        let result = self.rtc.handle_input(input);
        self.finish(now, result, Some(CheckedFrom { ends, nominated }), reports);
    }

    /// Whether to pass a datagram to str0m. SRTCP and new streams must be encrypted by the peer: str0m
    /// would log each forged packet and allocate state for each forged stream.
    fn admits(&mut self, datagram: &[u8]) -> bool {
        let verifier = self.verifier.as_mut();
        match datagram {
            // RFC 7983 §7, RFC 5761 §4.
            [128..192, 192..224, ..] => {
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
    pub(crate) const fn wake(&self) -> Instant {
        self.wake
    }

    /// Where media goes, once ICE has nominated a pair.
    pub(crate) const fn nominated(&self) -> Option<AddressPair> {
        self.nominated
    }

    /// The same, to send to: a local address that the machine has lost is taken out.
    pub(crate) const fn nominated_mut(&mut self) -> Option<&mut AddressPair> {
        self.nominated.as_mut()
    }

    /// How long the peer has given no sign of life.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    fn finish(
        &mut self,
        now: Instant,
        result: Result<(), RtcError>,
        from: Option<CheckedFrom>,
        reports: &mut Vec<Report>,
    ) {
        match result {
            Ok(()) => self.poll(now, from, reports),
            Err(error) => {
                tracing::debug!(parent: &self.span, %error, "session failed");
                reports.push(Report::Closed(End::Failed));
            }
        }
    }

    fn poll(&mut self, now: Instant, from: Option<CheckedFrom>, reports: &mut Vec<Report>) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.wake = at;
                    break;
                }
                Ok(Output::Transmit(datagram)) => {
                    let answered = from.filter(|from| from.ends.remote == datagram.destination);
                    if let Some(from) = answered
                        && udp::is_stun_success(&datagram.contents)
                    {
                        self.heard = now;
                        self.checked(from);
                    }
                    let mut ends = match answered {
                        Some(from) => from.ends,
                        None => self.ends_to(datagram.destination),
                    };
                    let len = datagram.contents.len();
                    self.port.send(&mut ends, &datagram.contents, len);
                }
                Ok(Output::Event(event)) => self.event(now, event, reports),
                Err(error) => {
                    tracing::debug!(parent: &self.span, %error, "session failed");
                    reports.push(Report::Closed(End::Failed));
                    return;
                }
            }
        }
        if !self.rtc.is_alive() {
            reports.push(Report::Closed(End::PeerClosed));
        }
    }

    /// The pair for a datagram to `remote`: it leaves from where the peer's checks arrive.
    fn ends_to(&self, remote: SocketAddr) -> AddressPair {
        let known = self.nominated.iter().chain(&self.addresses);
        let mut known = known.filter(|ends| ends.remote == remote);
        known.next().copied().unwrap_or_else(|| remote.into())
    }

    /// Notes an authentic connectivity check. An ICE-lite agent sends to the pair that the
    /// controlling peer nominated last (RFC 8445 §8.2).
    fn checked(&mut self, from: CheckedFrom) {
        let CheckedFrom { ends, nominated } = from;
        let mut known = self.addresses.iter_mut();
        if let Some(known) = known.find(|known| known.remote == ends.remote) {
            known.local = ends.local;
        } else {
            if self.addresses.len() == ADDRESSES_MAX {
                return;
            }
            self.addresses.push(ends);
            self.port.bind_address(ends.remote, self.route.clone());
        }
        if nominated {
            self.nominated = Some(ends);
        }
        if let Some(first) = self.dtls.take_if(|first| nominated || !*first)
            && let Err(error) = self.rtc.direct_api().start_dtls(first)
        {
            // The session ends when its time to connect is over.
            tracing::debug!(parent: &self.span, %error, "no DTLS handshake");
        }
    }

    fn event(&mut self, now: Instant, event: RtcEvent, reports: &mut Vec<Report>) {
        match event {
            RtcEvent::Connected => reports.push(match self.keys() {
                Some((sender, verifier)) => {
                    self.verifier = Some(verifier);
                    Report::Connected(Box::new(sender))
                }
                None => Report::Closed(End::Failed),
            }),
            RtcEvent::RtpPacket(packet) => {
                self.heard = now;
                reports.push(Report::Rtp(Box::new(packet)));
            }
            RtcEvent::RawPacket(packet) => {
                if let RawPacket::RtcpRx(rtcp) = *packet {
                    self.heard = now;
                    reports.push(Report::Rtcp(Box::new(rtcp)));
                }
            }
            _ => {}
        }
    }

    /// The sender that encrypts for the peer, and the verifier of its packets.
    fn keys(&self) -> Option<(srtp::Sender, srtp::Verifier)> {
        let Exported {
            material,
            profile,
            client,
        } = self.keys.get()?;
        let key = |client| srtp::MasterKey::from_dtls(material, *profile, client);
        let sender = key(*client).and_then(|key| srtp::Sender::new(&key));
        let verifier = key(!client).and_then(|key| srtp::Verifier::new(&key));
        sender
            .and_then(|sender| Ok((sender, verifier?)))
            .inspect_err(|error| tracing::warn!(parent: &self.span, %error, "no SRTP keys"))
            .ok()
    }
}

impl Drop for PeerSession {
    fn drop(&mut self) {
        let addresses = self.addresses.drain(..).map(|ends| ends.remote);
        self.port
            .unregister(self.ufrag, addresses, self.route.session());
    }
}

fn local_credentials() -> Result<([u8; UFRAG_CHARS], IceCreds), sdp::Error> {
    let ufrag = random_ice_chars::<UFRAG_CHARS>()?;
    // RFC 8445 §5.3 asks for at least 128 random bits: 24 characters carry 144.
    let pass = text(&random_ice_chars::<24>()?);
    Ok((
        ufrag,
        IceCreds {
            ufrag: text(&ufrag),
            pass,
        },
    ))
}

fn transport(local: IceCreds, fingerprint: Vec<u8>, port: &Port) -> sdp::Transport {
    sdp::Transport {
        ice_ufrag: local.ufrag,
        ice_pwd: local.pass,
        ice_lite: true,
        fingerprint,
        candidates: port.candidates(),
        extensions_used: &[],
        feedback_used: &[],
    }
}

fn refused(error: impl std::fmt::Display) -> sdp::Error {
    sdp::Error::Unsupported(format!(
        "the offer's transport parameters are unusable: {error}"
    ))
}

/// Characters allowed in ICE credentials (RFC 8839 §5.4): 64, so six random bits each.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn random_ice_chars<const N: usize>() -> Result<[u8; N], sdp::Error> {
    let mut random = [0; N];
    getrandom::fill(&mut random).map_err(refused)?;
    Ok(random.map(|byte| {
        ICE_CHARS
            .get(usize::from(byte & 63))
            .copied()
            .unwrap_or(b'A')
    }))
}

fn text(chars: &[u8]) -> String {
    String::from_utf8_lossy(chars).into_owned()
}
