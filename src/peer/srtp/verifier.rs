//! Whether an incoming packet is really the peer's.

use std::collections::HashMap;

use aws_lc_rs::{
    aead::{Aad, Nonce},
    constant_time::verify_slices_are_equal,
    hmac,
};

use super::{CM_TAG, Cipher, Error, MasterKey, RTCP_CLEAR, gcm_nonce};
use crate::media::rtp::{self, RtpHeader};

/// SSRCs from which one peer may send RTCP: one for each track it sends or receives, and a few
/// more.
const RTCP_SENDERS_MAX: usize = 16;
/// Says that an SRTCP packet is encrypted (RFC 3711 §3.4). DTLS-SRTP has no profile without.
const ENCRYPTED: u32 = 0x8000_0000;

/// Distinguishes the peer's packets from those forged in its name: RTCP, and the first packets of
/// new streams, before the engine makes room for them. The engine itself checks the others.
pub struct Verifier {
    rtp: Cipher,
    rtcp: Cipher,
    senders: HashMap<u32, Window>,
}

/// Which SRTCP packets of one SSRC have arrived (RFC 3711 §3.3.2).
#[derive(Debug, Default)]
struct Window {
    newest: u32,
    /// The newest, and those before it from the lowest bit on.
    came: u64,
}

impl Window {
    /// Notes a packet; false if it is a repeat, or too old to tell.
    fn admits(&mut self, index: u32) -> bool {
        let ahead = index.saturating_sub(self.newest);
        self.came = self.came.checked_shl(ahead).unwrap_or(0);
        self.newest += ahead;
        let bit = 1_u64.checked_shl(self.newest - index).unwrap_or(0);
        let fresh = bit & !self.came != 0;
        self.came |= bit;
        fresh
    }
}

impl Verifier {
    /// Derives the session keys. `master` is the peer's half.
    ///
    /// # Errors
    /// If the cryptographic library refuses a key.
    pub fn new(master: &MasterKey) -> Result<Self, Error> {
        Ok(Self {
            rtp: master.cipher([0, 1, 2])?,
            rtcp: master.cipher([3, 4, 5])?,
            senders: HashMap::new(),
        })
    }

    /// Whether the peer has encrypted this RTCP packet, and it is not a repeat.
    pub fn admits_rtcp(&mut self, packet: &[u8]) -> bool {
        let Some((ssrc, index)) = self.verify_rtcp(packet) else {
            return false;
        };
        let room = self.senders.len() < RTCP_SENDERS_MAX;
        if !room && !self.senders.contains_key(&ssrc) {
            return false;
        }
        self.senders.entry(ssrc).or_default().admits(index)
    }

    /// SSRC and index of an authentic SRTCP packet.
    fn verify_rtcp(&self, packet: &[u8]) -> Option<(u32, u32)> {
        let (head, _) = packet.split_first_chunk::<RTCP_CLEAR>()?;
        let [_, _, _, _, ssrc @ ..] = *head;
        let ssrc = u32::from_be_bytes(ssrc);
        let trailer = match &self.rtcp {
            // RFC 7714 §9.1: header, body, tag, trailer.
            Cipher::Gcm { key, salt } => {
                let (rest, trailer) = packet.split_last_chunk::<4>()?;
                let (_, body) = rest.split_first_chunk::<RTCP_CLEAR>()?;
                let index = u32::from_be_bytes(*trailer) & !ENCRYPTED;
                let nonce = Nonce::assume_unique_for_key(gcm_nonce(salt, ssrc, u64::from(index)));
                let mut aad = [0; RTCP_CLEAR + 4];
                let (clear, end) = aad.split_at_mut(RTCP_CLEAR);
                clear.copy_from_slice(head);
                end.copy_from_slice(trailer);
                let mut body = body.to_vec();
                key.open_in_place(nonce, Aad::from(aad), &mut body).ok()?;
                trailer
            }
            // RFC 3711 §3.4: header, body, trailer, tag.
            Cipher::Cm { authentication, .. } => {
                let (signed, tag) = packet.split_last_chunk::<CM_TAG>()?;
                let mac = hmac::sign(authentication, signed);
                verify_slices_are_equal(mac.as_ref().get(..CM_TAG)?, tag).ok()?;
                signed.get(RTCP_CLEAR..).and_then(<[u8]>::last_chunk::<4>)?
            }
        };
        let trailer = u32::from_be_bytes(*trailer);
        (trailer & ENCRYPTED != 0).then_some((ssrc, trailer & !ENCRYPTED))
    }

    /// Whether the peer has encrypted this RTP packet, at the beginning of a stream: its rollover
    /// counter is still zero (RFC 3711 §3.3.1).
    pub fn is_authentic(&self, packet: &[u8]) -> bool {
        self.verify(packet).is_some()
    }

    fn verify(&self, packet: &[u8]) -> Option<()> {
        let header = RtpHeader::read(packet)?;
        match &self.rtp {
            Cipher::Gcm { key, salt } => {
                let (head, body) = packet.split_at_checked(rtp::payload_start(packet)?)?;
                let nonce = gcm_nonce(salt, header.ssrc, u64::from(header.sequence));
                let nonce = Nonce::assume_unique_for_key(nonce);
                let mut body = body.to_vec();
                key.open_in_place(nonce, Aad::from(head), &mut body)
                    .ok()
                    .map(|_| ())
            }
            Cipher::Cm { authentication, .. } => {
                let (signed, tag) = packet.split_last_chunk::<CM_TAG>()?;
                let mut mac = hmac::Context::with_key(authentication);
                mac.update(signed);
                mac.update(&[0; 4]);
                verify_slices_are_equal(mac.sign().as_ref().get(..CM_TAG)?, tag).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::srtp::{PacketId, Profile, Sender};

    #[test]
    fn rtcp_of_the_peer_is_admitted_once() {
        for profile in [Profile::Aes128Gcm, Profile::Aes128CmSha1] {
            let material: Vec<u8> = (0..88).collect();
            let master = MasterKey::from_dtls(&material, profile, true).unwrap();
            let mut verifier = Verifier::new(&master).unwrap();
            let mut sender = Sender::new(&master).unwrap();
            let mut sent = Vec::new();
            for _ in 0..100 {
                let mut packet = vec![0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
                sender.protect_rtcp(&mut packet).unwrap();
                sent.push(packet);
            }
            for at in 0..sent[0].len() {
                let mut forged = sent[0].clone();
                forged[at] ^= 1;
                assert!(!verifier.admits_rtcp(&forged), "{at}");
                assert!(!verifier.admits_rtcp(&sent[0][..at]), "{at}");
            }
            for (packet, fresh) in [(0, true), (0, false), (3, true), (1, true), (1, false)] {
                assert_eq!(verifier.admits_rtcp(&sent[packet]), fresh, "{packet}");
            }
            assert!(verifier.admits_rtcp(&sent[99]));
            assert!(!verifier.admits_rtcp(&sent[2]), "too old to know");
            assert!(verifier.admits_rtcp(&sent[98]) && !verifier.admits_rtcp(&sent[99]));
        }
    }

    #[test]
    fn only_whole_packets_of_the_peer_are_authentic() {
        for profile in [
            Profile::Aes128Gcm,
            Profile::Aes256Gcm,
            Profile::Aes128CmSha1,
        ] {
            let material: Vec<u8> = (0..88).collect();
            let master = MasterKey::from_dtls(&material, profile, true).unwrap();
            let verifier = Verifier::new(&master).unwrap();
            let sender = Sender::new(&master).unwrap();
            // With an extension of one word.
            let header = [
                0x90, 96, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 0x10, 48, 0, 0,
            ];
            let mut packet = [&header[..], &[7; 50]].concat();
            let id = PacketId {
                ssrc: 2,
                index: 0x1234,
            };
            sender
                .protect_rtp(&mut packet, 0, header.len(), id)
                .unwrap();
            assert!(verifier.is_authentic(&packet));
            for at in 0..packet.len() {
                let mut forged = packet.clone();
                forged[at] ^= 1;
                assert!(!verifier.is_authentic(&forged), "{at}");
                assert!(!verifier.is_authentic(&packet[..at]), "{at}");
            }
            let other = MasterKey::from_dtls(&material, profile, false).unwrap();
            assert!(!Verifier::new(&other).unwrap().is_authentic(&packet));
        }
    }
}
