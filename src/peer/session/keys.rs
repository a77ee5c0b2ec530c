//! DTLS for the direct engine: one certificate, and the SRTP keys it exports.

use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, LazyLock, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use str0m::crypto::{
    CryptoError, CryptoProvider,
    dtls::{
        DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion,
        ProtocolVersion, SrtpProfile,
    },
};

use zeroize::Zeroizing;

use super::channel::GateSlot;
use crate::peer::srtp;

/// State that a new DTLS instance shares with its session.
pub(super) struct NewInstance {
    pub(super) keys: KeySlot,
    pub(super) gate: GateSlot,
}

/// The DTLS keys of one session, once the handshake is done.
pub(super) type KeySlot = Arc<OnceLock<Exported>>;

pub(super) struct Exported {
    /// Overwritten when it is dropped.
    pub(super) material: Zeroizing<Vec<u8>>,
    pub(super) profile: srtp::Profile,
    pub(super) client: bool,
}

/// Without the keys.
impl fmt::Debug for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exported(..)")
    }
}

thread_local! {
    /// How [`KeyTap`] hands what is of the new instance to `PeerSession::accept`, which created it
    /// on this same thread.
    pub(super) static NEW_SLOT: RefCell<Option<NewInstance>> = const { RefCell::new(None) };
}

pub(super) static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let stock = str0m::crypto::from_feature_flags();
    // str0m wants a reference that lives as long as the process; this one does.
    let dtls_provider: &'static KeyTap = Box::leak(Box::new(KeyTap(stock.dtls_provider)));
    Arc::new(CryptoProvider {
        dtls_provider,
        ..stock
    })
});

/// One self-signed certificate for the life of the process: peers check its fingerprint only.
pub(super) static CERTIFICATE: LazyLock<DtlsCert> = LazyLock::new(|| {
    #[expect(
        clippy::expect_used,
        reason = "OpenSSL makes an ECDSA certificate or cannot run"
    )]
    PROVIDER
        .dtls_provider
        .generate_certificate()
        .expect("OpenSSL generates certificates")
});

/// A DTLS provider that delegates to the stock one and keeps a copy of the exported keys, so that
/// the media hot path can encrypt on its own.
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
        let gate = GateSlot::default();
        NEW_SLOT.replace(Some(NewInstance {
            keys: Arc::clone(&keys),
            gate: Arc::clone(&gate),
        }));
        Ok(Box::new(TappedInstance {
            inner,
            keys,
            gate,
            look: now,
            failed: false,
        }))
    }
}

/// How often to make OpenSSL check whether a flight of the handshake may be lost. It repeats one
/// after a second, then after two, and so on (RFC 6347 §4.2.4.1).
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The stock instance forgets its timer when asked for output twice, and does nothing when it is
/// due: a lost flight would stay lost. This one keeps time itself.
#[derive(Debug)]
struct TappedInstance {
    inner: Box<dyn DtlsInstance>,
    keys: KeySlot,
    /// Set if the answer negotiates a data channel.
    gate: GateSlot,
    /// When OpenSSL is to check next, during the handshake.
    look: Instant,
    /// The stock instance panics at datagrams after a failed handshake.
    failed: bool,
}

/// Fewest bytes of an encrypted record: nonce and tag of AES-GCM (RFC 5288 §3), which all peers use.
const ENCRYPTED_MIN: usize = 24;

/// Whether a datagram has an encrypted record that is too short to be authentic. Anybody can forge
/// one, but OpenSSL 3.0.19 treats it as a fatal error: it never reads from the session again, and
/// the stock instance panics once 30 kB are waiting.
fn has_stunted_record(datagram: &[u8]) -> bool {
    let mut rest = datagram;
    // RFC 6347 §4.1: type, version, epoch, sequence number, length. Epoch 0 is not encrypted.
    while let Some((header, body)) = rest.split_first_chunk::<13>() {
        let [_, _, _, e0, e1, _, _, _, _, _, _, l0, l1] = *header;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        if [e0, e1] != [0, 0] && length < ENCRYPTED_MIN {
            return true;
        }
        rest = body.get(length..).unwrap_or_default();
    }
    false
}

impl TappedInstance {
    fn is_handshaking(&self) -> bool {
        self.keys.get().is_none()
    }

    /// Whether str0m gets a packet of SCTP, which it would otherwise accept on every connection, and
    /// keep state for.
    fn admits(&self, packet: &[u8]) -> bool {
        let gate = self.gate.get().map(|gate| gate.lock());
        gate.is_some_and(|gate| gate.unwrap_or_else(PoisonError::into_inner).admits(packet))
    }

    fn take(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        if self.failed {
            return Ok(());
        }
        let taken = self.inner.handle_packet(packet);
        self.failed = taken.is_err();
        taken
    }
}

impl DtlsInstance for TappedInstance {
    fn set_active(&mut self, active: bool) {
        self.inner.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        if has_stunted_record(packet) {
            return Ok(());
        }
        self.take(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let client = self.inner.is_active();
        let output = self.inner.poll_output(buffer);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output
            && let Some(profile) = known_profile(*profile)
        {
            let exported = Exported {
                material: Zeroizing::new(material.to_vec()),
                profile,
                client,
            };
            // A second export would be a renegotiation, which DTLS-SRTP does not have.
            drop(self.keys.set(exported));
        }
        match output {
            DtlsOutput::Timeout(at) if self.is_handshaking() => {
                DtlsOutput::Timeout(at.min(self.look))
            }
            // str0m ignores an empty packet.
            DtlsOutput::ApplicationData(packet) if !self.admits(packet) => {
                DtlsOutput::ApplicationData(&[])
            }
            output => output,
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        if self.is_handshaking() && now >= self.look {
            self.take(&[])?;
            self.look = now + LOOK_EVERY;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn record(epoch: u8, length: u8) -> Vec<u8> {
        let header = [23, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 9, 0, length];
        [&header[..], &vec![7; usize::from(length)]].concat()
    }

    #[test]
    fn keys_are_not_shown() {
        let keys = KeySlot::default();
        let exported = Exported {
            material: Zeroizing::new(vec![0xab; 4]),
            profile: srtp::Profile::Aes128Gcm,
            client: true,
        };
        assert!(keys.set(exported).is_ok());
        assert_eq!(format!("{keys:?}"), "OnceLock(Exported(..))");
    }

    #[test]
    fn encrypted_records_without_room_for_a_tag_are_found() {
        for (datagram, stunted) in [
            (record(1, 23), true),
            (record(1, 0), true),
            (record(1, 24), false),
            (record(0, 2), false),
            ([record(0, 12), record(1, 40)].concat(), false),
            ([record(1, 40), record(2, 2)].concat(), true),
            (record(1, 23)[..12].to_vec(), false),
            (Vec::new(), false),
        ] {
            assert_eq!(has_stunted_record(&datagram), stunted, "{datagram:?}");
        }
    }
}
