//! STUN messages, written and authenticated (RFC 8489).

use std::sync::LazyLock;

use str0m::{
    crypto::CryptoProvider,
    ice::{StunMessage, TransId},
};

use crate::peer::udp::stun::{self, Transaction};

/// Longest STUN message that is written here.
const MESSAGE_BYTES_MAX: usize = 512;
/// A peer-reflexive candidate's priority (RFC 8445 §5.1.2.1).
pub(crate) const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

static CRYPTO: LazyLock<CryptoProvider> = LazyLock::new(str0m::crypto::from_feature_flags);

/// The code that authenticates a message.
pub(crate) fn hmac(key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
    CRYPTO.sha1_hmac_provider.sha1_hmac(key, payloads)
}

/// A message's bytes, authenticated with this password.
#[expect(
    clippy::large_types_passed_by_value,
    reason = "writing a message consumes it"
)]
pub(crate) fn written(message: StunMessage<'_>, password: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let length = message.to_bytes(Some(password.as_bytes()), &mut bytes, hmac);
    bytes.truncate(length.ok()?);
    Some(bytes)
}

/// A new request's number, which nobody can guess: str0m's own come from a generator whose state can
/// be found out.
pub(crate) fn new_transaction() -> Option<(TransId, Transaction)> {
    let mut header = [0; 20];
    header[1] = 0x11; // An indication without attributes, only for its transaction id.
    header[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    getrandom::fill(&mut header[8..]).ok()?;
    let id = StunMessage::parse(&header).ok()?.trans_id();
    Some((id, stun::transaction(&header)?))
}
