//! SRTP and SRTCP encryption for sending (RFC 3711, RFC 7714), keyed by DTLS (RFC 5764).
//!
//! Only the sending half lives here: it is the hot path. Incoming packets are decrypted by the
//! engine that owns the session; before that, [`Verifier`] checks the first packets of a stream.
//! One [`Sender`] belongs to one session; two senders must never use the same SSRC under one key,
//! as that would repeat nonces.

mod verifier;

use aws_lc_rs::{
    aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey},
    hmac,
};
use zeroize::Zeroizing;

pub use self::verifier::Verifier;

/// Length of an AEAD tag in bytes (RFC 7714 §13).
const GCM_TAG: usize = 16;
/// Length of an HMAC-SHA1-80 tag in bytes (RFC 3711 §4.2.1).
const CM_TAG: usize = 10;
/// Length of the RTCP header that stays unencrypted, in bytes (RFC 3711 §3.4).
const RTCP_CLEAR: usize = 8;

/// The protection profiles offered in DTLS (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// `AEAD_AES_128_GCM`
    Aes128Gcm,
    /// `AEAD_AES_256_GCM`
    Aes256Gcm,
    /// `AES128_CM_HMAC_SHA1_80`
    Aes128CmSha1,
}

impl Profile {
    const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes128CmSha1 => 16,
            Self::Aes256Gcm => 32,
        }
    }

    const fn salt_len(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 12,
            Self::Aes128CmSha1 => 14,
        }
    }

    /// Bytes that encryption adds to an RTP packet.
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => GCM_TAG,
            Self::Aes128CmSha1 => CM_TAG,
        }
    }
}

/// Errors of malformed keys or packets.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("srtp: {0}")]
pub struct Error(&'static str);

/// The master key and salt of one direction of one session.
#[derive(Clone)]
pub struct MasterKey {
    profile: Profile,
    key: Zeroizing<Vec<u8>>,
    salt: Zeroizing<[u8; 14]>,
}

impl MasterKey {
    /// Takes the sending side's half of the keying material exported by DTLS.
    ///
    /// `client` says whether the sender was the DTLS client. The layout is client key, server
    /// key, client salt, server salt (RFC 5764 §4.2).
    ///
    /// # Errors
    /// If the material is shorter than the profile requires.
    pub fn from_dtls(material: &[u8], profile: Profile, client: bool) -> Result<Self, Error> {
        let (key_len, salt_len) = (profile.key_len(), profile.salt_len());
        let short = Error("keying material is too short");
        let (keys, salts) = material.split_at_checked(2 * key_len).ok_or(short)?;
        let half = usize::from(!client);
        let key = keys.chunks_exact(key_len).nth(half);
        let salt = salts.chunks_exact(salt_len).nth(half);
        let (Some(key), Some(salt)) = (key, salt) else {
            return Err(Error("keying material is too short"));
        };
        // RFC 7714 §11: the 96-bit salt is zero-extended to 112 bits for the key derivation.
        let mut padded = Zeroizing::new([0; 14]);
        for (to, from) in padded.iter_mut().zip(salt) {
            *to = *from;
        }
        Ok(Self {
            profile,
            key: Zeroizing::new(key.to_vec()),
            salt: padded,
        })
    }

    /// The key derivation of RFC 3711 §4.3 with a key derivation rate of zero.
    fn derive<const N: usize>(&self, label: u8) -> Result<Zeroizing<[u8; N]>, Error> {
        let failed = |_| Error("key derivation failed");
        let algorithm = if self.key.len() == 16 {
            &AES_128
        } else {
            &AES_256
        };
        let key = UnboundCipherKey::new(algorithm, &self.key).map_err(failed)?;
        let key = EncryptingKey::ctr(key).map_err(failed)?;
        let [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13] = *self.salt;
        let iv = [
            s0,
            s1,
            s2,
            s3,
            s4,
            s5,
            s6,
            s7 ^ label,
            s8,
            s9,
            s10,
            s11,
            s12,
            s13,
            0,
            0,
        ];
        let mut out = Zeroizing::new([0; N]);
        key.less_safe_encrypt(&mut *out, EncryptionContext::Iv128(iv.into()))
            .map_err(failed)?;
        Ok(out)
    }

    fn cipher(&self, labels: [u8; 3]) -> Result<Cipher, Error> {
        let [encryption, authentication, salting] = labels;
        let failed = |_| Error("key has the wrong length");
        Ok(match self.profile {
            Profile::Aes128Gcm => {
                let key = UnboundKey::new(&AES_128_GCM, &*self.derive::<16>(encryption)?);
                Cipher::Gcm {
                    key: Box::new(LessSafeKey::new(key.map_err(failed)?)),
                    salt: self.derive(salting)?,
                }
            }
            Profile::Aes256Gcm => {
                let key = UnboundKey::new(&AES_256_GCM, &*self.derive::<32>(encryption)?);
                Cipher::Gcm {
                    key: Box::new(LessSafeKey::new(key.map_err(failed)?)),
                    salt: self.derive(salting)?,
                }
            }
            Profile::Aes128CmSha1 => {
                let key = UnboundCipherKey::new(&AES_128, &*self.derive::<16>(encryption)?);
                Cipher::Cm {
                    key: Box::new(EncryptingKey::ctr(key.map_err(failed)?).map_err(failed)?),
                    salt: self.derive(salting)?,
                    authentication: Box::new(hmac::Key::new(
                        hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                        &*self.derive::<20>(authentication)?,
                    )),
                }
            }
        })
    }
}

enum Cipher {
    Gcm {
        key: Box<LessSafeKey>,
        salt: Zeroizing<[u8; 12]>,
    },
    Cm {
        key: Box<EncryptingKey>,
        salt: Zeroizing<[u8; 14]>,
        authentication: Box<hmac::Key>,
    },
}

/// What a packet's encryption depends on besides its bytes (RFC 3711 §3.3.1).
#[derive(Clone, Copy, Debug)]
pub struct PacketId {
    /// The SSRC in its header.
    pub ssrc: u32,
    /// 48 bits: rollover counter and sequence number.
    pub index: u64,
}

/// Encrypts one session's packets.
pub struct Sender {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
    /// The next SRTCP index, 31 bits (RFC 3711 §3.4).
    rtcp_index: u32,
}

impl Sender {
    /// Derives the session keys.
    ///
    /// # Errors
    /// If the cryptographic library refuses a key.
    pub fn new(master: &MasterKey) -> Result<Self, Error> {
        Ok(Self {
            profile: master.profile,
            rtp: master.cipher([0, 1, 2])?,
            rtcp: master.cipher([3, 4, 5])?,
            rtcp_index: 0,
        })
    }

    /// The negotiated profile.
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// Encrypts the RTP packet that begins at `start` of `buffer` and reaches to its end, in
    /// place, and appends the tag. `header` is its header length in bytes.
    ///
    /// # Errors
    /// If `start` and `header` do not lie within the buffer.
    pub fn protect_rtp(
        &self,
        buffer: &mut Vec<u8>,
        start: usize,
        header: usize,
        id: PacketId,
    ) -> Result<(), Error> {
        let PacketId { ssrc, index } = id;
        let packet = buffer.get_mut(start..).ok_or(Error("no packet"))?;
        let (head, body) = packet
            .split_at_mut_checked(header)
            .ok_or(Error("no header"))?;
        match &self.rtp {
            Cipher::Gcm { key, salt } => {
                let tag = gcm_seal(key, gcm_nonce(salt, ssrc, index), head, body)?;
                buffer.extend_from_slice(&tag);
            }
            Cipher::Cm {
                key,
                salt,
                authentication,
            } => {
                cm_encrypt(key, cm_iv(salt, ssrc, index), body)?;
                let mut mac = hmac::Context::with_key(authentication);
                mac.update(packet);
                let [_, _, r0, r1, r2, r3, ..] = index.to_be_bytes();
                mac.update(&[r0, r1, r2, r3]);
                buffer.extend(mac.sign().as_ref().iter().take(CM_TAG));
            }
        }
        Ok(())
    }

    /// Encrypts the compound RTCP packet in `buffer` in place, and appends index and tag.
    ///
    /// # Errors
    /// If the buffer is shorter than an RTCP header with an SSRC.
    pub fn protect_rtcp(&mut self, buffer: &mut Vec<u8>) -> Result<(), Error> {
        let index = self.rtcp_index;
        self.rtcp_index = (index + 1) & 0x7fff_ffff;
        // The E flag says that the packet is encrypted.
        let trailer = (index | 0x8000_0000).to_be_bytes();
        let (head, body) = buffer
            .split_at_mut_checked(RTCP_CLEAR)
            .ok_or(Error("RTCP packet is too short"))?;
        let ssrc = match *head {
            [_, _, _, _, a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
            _ => return Err(Error("RTCP packet is too short")),
        };
        match &self.rtcp {
            Cipher::Gcm { key, salt } => {
                // RFC 7714 §9.2: the associated data is the unencrypted header and the trailer.
                let mut aad = [0; RTCP_CLEAR + 4];
                for (to, from) in aad.iter_mut().zip(head.iter().chain(&trailer)) {
                    *to = *from;
                }
                let tag = gcm_seal(key, gcm_nonce(salt, ssrc, u64::from(index)), &aad, body)?;
                buffer.extend_from_slice(&tag);
                buffer.extend_from_slice(&trailer);
            }
            Cipher::Cm {
                key,
                salt,
                authentication,
            } => {
                cm_encrypt(key, cm_iv(salt, ssrc, u64::from(index)), body)?;
                buffer.extend_from_slice(&trailer);
                let tag = hmac::sign(authentication, buffer);
                buffer.extend(tag.as_ref().iter().take(CM_TAG));
            }
        }
        Ok(())
    }
}

/// RFC 7714 §8.1 (SRTP) and §9.1 (SRTCP): zero, SSRC and packet index, xor the salt.
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    let value = (u128::from(ssrc) << 48) | u128::from(index & 0xffff_ffff_ffff);
    let salt = salt
        .iter()
        .fold(0_u128, |all, byte| (all << 8) | u128::from(*byte));
    let [_, _, _, _, nonce @ ..] = (value ^ salt).to_be_bytes();
    nonce
}

/// RFC 3711 §4.1.1: `(salt << 16) xor (ssrc << 64) xor (index << 16)`.
fn cm_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let salt = salt
        .iter()
        .fold(0_u128, |all, byte| (all << 8) | u128::from(*byte));
    ((salt << 16) ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16)).to_be_bytes()
}

fn gcm_seal(
    key: &LessSafeKey,
    nonce: [u8; 12],
    aad: &[u8],
    body: &mut [u8],
) -> Result<[u8; GCM_TAG], Error> {
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body)
        .map_err(|_| Error("sealing failed"))?;
    tag.as_ref()
        .try_into()
        .map_err(|_| Error("tag has the wrong length"))
}

fn cm_encrypt(key: &EncryptingKey, iv: [u8; 16], body: &mut [u8]) -> Result<(), Error> {
    key.less_safe_encrypt(body, EncryptionContext::Iv128(iv.into()))
        .map(|_| ())
        .map_err(|_| Error("encryption failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(text.get(i..i + 2).unwrap(), 16).unwrap())
            .collect()
    }

    /// RFC 3711 appendix B.3.
    #[test]
    fn derives_the_keys_of_rfc_3711() {
        let master = MasterKey {
            profile: Profile::Aes128CmSha1,
            key: hex("E1F97A0D3E018BE0D64FA32C06DE4139").into(),
            salt: Zeroizing::new(hex("0EC675AD498AFEEBB6960B3AABE6").try_into().unwrap()),
        };
        assert_eq!(
            master.derive::<16>(0).unwrap()[..],
            hex("C61E7A93744F39EE10734AFE3FF7A087")
        );
        assert_eq!(
            master.derive::<14>(2).unwrap()[..],
            hex("30CBBC08863D8C85D49DB34A9AE1")
        );
        assert_eq!(
            master.derive::<20>(1).unwrap()[..],
            hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4")
        );
    }

    /// RFC 7714 §16.1.1.
    #[test]
    fn seals_the_packet_of_rfc_7714() {
        let salt: [u8; 12] = hex("517569642070726f2071756f").try_into().unwrap();
        let key = LessSafeKey::new(
            UnboundKey::new(&AES_128_GCM, &hex("000102030405060708090a0b0c0d0e0f")).unwrap(),
        );
        let nonce = gcm_nonce(&salt, 0x5501_a0b2, 0xf17b);
        assert_eq!(nonce[..], hex("51753c6580c2726f20718414"));
        let mut body = b"Gallia est omnis divisa in partes tres".to_vec();
        let tag = gcm_seal(&key, nonce, &hex("8040f17b8041f8d35501a0b2"), &mut body).unwrap();
        assert_eq!(
            body,
            hex("f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833")
        );
        assert_eq!(tag[..], hex("899d7f27beb16a9152cf765ee4390cce"));
    }

    /// RFC 3711 appendix B.2: the first keystream block of the counter mode.
    #[test]
    fn counter_mode_starts_as_in_rfc_3711() {
        let key =
            UnboundCipherKey::new(&AES_128, &hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let key = EncryptingKey::ctr(key).unwrap();
        let salt: [u8; 14] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
        let mut body = [0; 16];
        cm_encrypt(&key, cm_iv(&salt, 0, 0), &mut body).unwrap();
        assert_eq!(body[..], hex("E03EAD0935C95E80E166B16DD92B4EB4"));
    }

    #[test]
    fn halves_of_the_dtls_material_differ_by_role() {
        let material: Vec<u8> = (0..60).collect();
        let client = MasterKey::from_dtls(&material, Profile::Aes128CmSha1, true).unwrap();
        let server = MasterKey::from_dtls(&material, Profile::Aes128CmSha1, false).unwrap();
        assert_eq!((client.key[0], client.salt[0]), (0, 32));
        assert_eq!((server.key[0], server.salt[0]), (16, 46));
        assert!(MasterKey::from_dtls(&material, Profile::Aes256Gcm, true).is_err());
    }
}
