//! One RTP packet on the wire.

use super::batch::Batch;
use crate::{
    media::rtp::{RtpHeader, low16},
    peer::srtp::{self, Sender},
};

/// The fields of an RTP packet apart from its payload (RFC 3550 §5.1).
pub(super) struct PacketHead {
    pub(super) marker: bool,
    pub(super) pt: u8,
    /// 48-bit packet index; its low 16 bits are the sequence number.
    pub(super) index: u64,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// A one-byte header extension element of four bytes in all (RFC 8285 §4.2).
    pub(super) extension: Option<[u8; 4]>,
}

impl PacketHead {
    /// Appends the packet with this head and payload, encrypted.
    pub(super) fn write_packet(
        &self,
        batch: &mut Batch,
        sender: &Sender,
        payload: &[&[u8]],
    ) -> Result<(), srtp::Error> {
        let start = batch.begin();
        let out = &mut batch.bytes;
        let header = RtpHeader {
            marker: self.marker,
            payload_type: self.pt,
            sequence: low16(self.index),
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let elements = self.extension.as_ref().map_or(&[][..], |element| element);
        let header_bytes = header.write(out, elements);
        for part in payload {
            out.extend_from_slice(part);
        }
        let id = srtp::PacketId {
            ssrc: self.ssrc,
            index: self.index,
        };
        sender.protect_rtp(out, start, header_bytes, id)?;
        batch.end();
        Ok(())
    }
}
