//! A client's SRTP keys, so that it can misbehave in ways that str0m would not.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use aerial::for_tests::{MasterKey, Profile, Sender};
use str0m::crypto::{
    CryptoError, CryptoProvider,
    dtls::{
        DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion,
        ProtocolVersion, SrtpProfile,
    },
};

/// The keying material of a session, once it exists.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys(Arc<OnceLock<(Vec<u8>, SrtpProfile, bool)>>);

impl Keys {
    /// str0m's own cryptography with a tap.
    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        let stock = str0m::crypto::from_feature_flags();
        let tap = Tap(stock.dtls_provider, self.clone());
        // str0m wants a `'static` reference; tests are short-lived.
        let dtls_provider: &'static Tap = Box::leak(Box::new(tap));
        Arc::new(CryptoProvider {
            dtls_provider,
            ..stock
        })
    }

    pub(crate) fn profile(&self) -> Option<SrtpProfile> {
        self.0.get().map(|(_, profile, _)| *profile)
    }

    /// Encrypts packets alongside str0m's own. Give it SSRCs of its own.
    pub(crate) fn sender(&self) -> Option<Sender> {
        let (material, profile, client) = self.0.get()?;
        let profile = match *profile {
            SrtpProfile::AEAD_AES_256_GCM => Profile::Aes256Gcm,
            SrtpProfile::AEAD_AES_128_GCM => Profile::Aes128Gcm,
            _ => Profile::Aes128CmSha1,
        };
        let master = MasterKey::from_dtls(material, profile, *client).unwrap();
        Some(Sender::new(&master).unwrap())
    }
}

#[derive(Debug)]
struct Tap(&'static dyn DtlsProvider, Keys);

impl DtlsProvider for Tap {
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
        let instance = self.0.new_dtls(certificate, now, version, mtu)?;
        Ok(Box::new(Tapped(instance, self.1.clone())))
    }
}

#[derive(Debug)]
struct Tapped(Box<dyn DtlsInstance>, Keys);

impl DtlsInstance for Tapped {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let client = self.0.is_active();
        let output = self.0.poll_output(buffer);
        if let DtlsOutput::KeyingMaterial(material, profile) = &output {
            let _ = self.1.0.set((material.to_vec(), *profile, client));
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<(), DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}
