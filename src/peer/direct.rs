//! The direct engine: a str0m session (ICE-lite, DTLS, incoming RTCP) without its media.
//!
//! SDP is ours ([`super::sdp`]), the RTP way out is ours (`fanout`, [`super::srtp`]); str0m keeps
//! the connection. A session lives on one fan-out worker, which feeds it and asks it for output.

use std::{
    cell::RefCell,
    net::SocketAddr,
    sync::{Arc, LazyLock, OnceLock},
    time::{Duration, Instant},
};

use str0m::{
    Candidate, Event as RtcEvent, IceCreds, Input, Output, Rtc, RtcError,
    crypto::{
        CryptoError, CryptoProvider,
        dtls::{
            DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion,
            ProtocolVersion, SrtpProfile,
        },
    },
    net::{Protocol, Receive},
    rtp::{RawPacket, rtcp::Rtcp},
};

use super::{
    End, sdp, srtp,
    udp::{self, Port, Route, UFRAG_CHARS},
};

/// Addresses one session may use in its life; NAT rebinding and mobility need a handful.
const ADDRESSES_MAX: usize = 16;
/// Remote candidates one session may name.
const CANDIDATES_MAX: usize = 32;

/// What a session reports to the worker that drives it.
pub(crate) enum Report {
    /// ICE and DTLS are up: media may be encrypted with this.
    Connected(Box<srtp::Sender>),
    /// Decrypted RTCP from the peer.
    Rtcp(Box<Rtcp>),
    /// The peer said goodbye, or the session failed. Nothing follows.
    Closed(End),
}

/// One peer connection of the direct engine.
pub(crate) struct Session {
    rtc: Rtc,
    keys: KeySlot,
    port: Port,
    route: Route,
    ufrag: [u8; UFRAG_CHARS],
    /// Every address that has passed ICE's integrity check.
    addresses: Vec<SocketAddr>,
    /// Where media goes: the pair nominated last.
    remote: Option<SocketAddr>,
    /// When str0m wants to be called again.
    wake: Instant,
    /// When the peer last proved that it is there (RFC 7675).
    heard: Instant,
    candidates: usize,
}

impl Session {
    /// Takes the transport half of an offer and returns the session with its half of the answer.
    ///
    /// # Errors
    /// If the fingerprint cannot be checked, or the engine refuses the parameters.
    pub(crate) fn accept(
        offer: &sdp::Offer,
        port: &Port,
        route: Route,
        now: Instant,
    ) -> Result<(Self, sdp::Transport), sdp::Error> {
        let (hash, fingerprint) = &offer.fingerprint;
        if hash != "sha-256" {
            return Err(sdp::Error::Unsupported(format!(
                "certificate fingerprint uses {hash}: offer a sha-256 one"
            )));
        }
        let (ufrag, credentials) = local_credentials()?;
        let mut rtc = Rtc::builder()
            .set_crypto_provider(Arc::clone(&PROVIDER))
            .set_dtls_cert(CERTIFICATE.clone())
            .set_local_ice_credentials(credentials.clone())
            .set_ice_lite(true)
            .set_rtp_mode(true)
            .enable_raw_packets(true)
            .clear_codecs()
            .build(now);
        let keys = NEW_SLOT
            .take()
            .ok_or_else(|| refused("no DTLS instance was made"))?;
        for address in port.candidates() {
            rtc.add_local_candidate(Candidate::host(address, "udp").map_err(refused)?);
        }
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
        api.start_dtls(offer.setup != sdp::Setup::Active)
            .map_err(refused)?;
        port.register(ufrag, route);
        let mut session = Self {
            rtc,
            keys,
            port: port.clone(),
            route,
            ufrag,
            addresses: Vec::new(),
            remote: None,
            wake: now,
            heard: now,
            candidates: 0,
        };
        session.add_candidates(&offer.candidates);
        let transport = transport(credentials, fingerprint, port);
        Ok((session, transport))
    }

    /// Restarts ICE (RFC 9725 §4.3.3): new credentials on both sides. Media goes on over the old
    /// pair until the peer has nominated a new one (RFC 8445 §9).
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn restart(&mut self, remote: IceCreds) -> Result<sdp::Transport, sdp::Error> {
        let (ufrag, local) = local_credentials()?;
        let old = std::mem::replace(&mut self.ufrag, ufrag);
        self.port.unregister(old, [], self.route);
        self.port.register(ufrag, self.route);
        let mut api = self.rtc.direct_api();
        api.set_local_ice_credentials(local.clone());
        api.set_remote_ice_credentials(remote);
        let fingerprint = api.local_dtls_fingerprint().bytes.clone();
        // The peer starts over, and so does its allowance.
        self.candidates = 0;
        Ok(transport(local, fingerprint, &self.port))
    }

    /// Adds remote candidates; what is more than the session may name is ignored.
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
        source: SocketAddr,
        datagram: &[u8],
        reports: &mut Vec<Report>,
    ) {
        let Some(destination) = self.port.local(source) else {
            return;
        };
        // What str0m cannot read at all it would only count; garbage stops here.
        let Ok(contents) = datagram.try_into() else {
            return;
        };
        let nominated = udp::stun_nominates(datagram);
        let input = Input::Receive(
            now,
            Receive {
                proto: Protocol::Udp,
                source,
                destination,
                contents,
            },
        );
        let result = self.rtc.handle_input(input);
        self.finish(now, result, Some((source, nominated)), reports);
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, now: Instant, reports: &mut Vec<Report>) {
        let result = self.rtc.handle_input(Input::Timeout(now));
        self.finish(now, result, None, reports);
    }

    /// Says goodbye with a DTLS `close_notify` (RFC 9725 §4.2: the peer learns at once).
    pub(crate) fn close(&mut self, now: Instant) {
        if let Err(error) = self.rtc.close() {
            tracing::debug!(%error, "no close_notify");
        }
        self.poll(now, None, &mut Vec::new());
    }

    /// When [`Session::tick`] is due.
    pub(crate) const fn wake(&self) -> Instant {
        self.wake
    }

    /// Where media goes, once ICE has nominated a pair.
    pub(crate) const fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// How long the peer has shown no sign of life.
    pub(crate) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    fn finish(
        &mut self,
        now: Instant,
        result: Result<(), RtcError>,
        from: Option<(SocketAddr, bool)>,
        reports: &mut Vec<Report>,
    ) {
        match result {
            Ok(()) => self.poll(now, from, reports),
            Err(error) => {
                tracing::debug!(%error, "session failed");
                reports.push(Report::Closed(End::Failed));
            }
        }
    }

    fn poll(&mut self, now: Instant, from: Option<(SocketAddr, bool)>, reports: &mut Vec<Report>) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    self.wake = at;
                    break;
                }
                Ok(Output::Transmit(datagram)) => {
                    if let Some((source, nominated)) = from
                        && source == datagram.destination
                        && udp::is_stun_success(&datagram.contents)
                    {
                        self.heard = now;
                        self.checked(source, nominated);
                    }
                    let len = datagram.contents.len();
                    self.port
                        .send(datagram.destination, &datagram.contents, len);
                }
                Ok(Output::Event(event)) => self.event(now, event, reports),
                Err(error) => {
                    tracing::debug!(%error, "session failed");
                    reports.push(Report::Closed(End::Failed));
                    return;
                }
            }
        }
        if !self.rtc.is_alive() {
            reports.push(Report::Closed(End::PeerClosed));
        }
    }

    /// A connectivity check from `source` was authentic. An ICE-lite agent sends to the pair that
    /// the controlling peer nominated last (RFC 8445 §8.2).
    fn checked(&mut self, source: SocketAddr, nominated: bool) {
        if !self.addresses.contains(&source) {
            if self.addresses.len() == ADDRESSES_MAX {
                return;
            }
            self.addresses.push(source);
            self.port.bind_address(source, self.route);
        }
        if nominated {
            self.remote = Some(source);
        }
    }

    fn event(&mut self, now: Instant, event: RtcEvent, reports: &mut Vec<Report>) {
        match event {
            RtcEvent::Connected => reports.push(match self.sender() {
                Some(sender) => Report::Connected(Box::new(sender)),
                None => Report::Closed(End::Failed),
            }),
            RtcEvent::RawPacket(packet) => {
                if let RawPacket::RtcpRx(rtcp) = *packet {
                    self.heard = now;
                    reports.push(Report::Rtcp(Box::new(rtcp)));
                }
            }
            _ => {}
        }
    }

    fn sender(&self) -> Option<srtp::Sender> {
        let exported = self.keys.get()?;
        let key = srtp::MasterKey::from_dtls(&exported.material, exported.profile, exported.client);
        key.and_then(|key| srtp::Sender::new(&key))
            .inspect_err(|error| tracing::warn!(%error, "no SRTP keys"))
            .ok()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.port
            .unregister(self.ufrag, self.addresses.drain(..), self.route);
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

/// The DTLS keys of one session, once the handshake is done.
type KeySlot = Arc<OnceLock<Exported>>;

#[derive(Debug)]
struct Exported {
    material: Vec<u8>,
    profile: srtp::Profile,
    client: bool,
}

thread_local! {
    /// How [`KeyTap`] hands the slot of the instance just made to [`Session::accept`], which made
    /// it on this same thread.
    static NEW_SLOT: RefCell<Option<KeySlot>> = const { RefCell::new(None) };
}

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let stock = str0m::crypto::from_feature_flags();
    // str0m wants a reference that lives as long as the process; this one does.
    let dtls_provider: &'static KeyTap = Box::leak(Box::new(KeyTap(stock.dtls_provider)));
    Arc::new(CryptoProvider {
        dtls_provider,
        ..stock
    })
});

/// One self-signed certificate for the life of the process: peers check its fingerprint only.
static CERTIFICATE: LazyLock<DtlsCert> = LazyLock::new(|| {
    #[expect(
        clippy::expect_used,
        reason = "OpenSSL makes an ECDSA certificate or cannot run"
    )]
    PROVIDER
        .dtls_provider
        .generate_certificate()
        .expect("OpenSSL generates certificates")
});

/// A DTLS provider that delegates to the stock one and keeps a copy of the exported keys, so
/// that the media hot path can encrypt by itself.
#[derive(Debug)]
struct KeyTap(&'static dyn DtlsProvider);

impl DtlsProvider for KeyTap {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self.0.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let inner = self.0.new_dtls(certificate, now, version, mtu)?;
        let keys = KeySlot::default();
        NEW_SLOT.replace(Some(Arc::clone(&keys)));
        Ok(Box::new(TappedInstance { inner, keys }))
    }
}

#[derive(Debug)]
struct TappedInstance {
    inner: Box<dyn DtlsInstance>,
    keys: KeySlot,
}

impl DtlsInstance for TappedInstance {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let client = self.inner.is_active();
        let output = self.inner.poll_output(buffer);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output
            && let Some(profile) = known_profile(*profile)
        {
            let exported = Exported {
                material: material.to_vec(),
                profile,
                client,
            };
            // A second export would be a renegotiation, which DTLS-SRTP does not have.
            drop(self.keys.set(exported));
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.inner.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<(), DtlsImplError> {
        self.inner.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.inner.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.inner.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.inner.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.inner.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.inner.close()
    }
}

fn known_profile(profile: SrtpProfile) -> Option<srtp::Profile> {
    match profile {
        SrtpProfile::AEAD_AES_128_GCM => Some(srtp::Profile::Aes128Gcm),
        SrtpProfile::AEAD_AES_256_GCM => Some(srtp::Profile::Aes256Gcm),
        SrtpProfile::AES128_CM_SHA1_80 => Some(srtp::Profile::Aes128CmSha1),
        _ => None,
    }
}
