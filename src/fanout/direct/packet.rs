//! One RTP packet on the wire.

use super::batch::Batch;
use crate::{
    fanout::rtp::low16,
    peer::srtp::{self, Sender},
};

/// Length of the fixed RTP header in bytes.
pub(super) const HEADER: usize = 12;
/// Length of the header extension with the time of sending, in bytes (RFC 8285 §4.2).
const EXTENSION: usize = 8;

/// An RTP header (RFC 3550 §5.1).
pub(super) struct Header {
    pub(super) marker_and_pt: u8,
    /// 48-bit packet index; its low 16 bits are the sequence number.
    pub(super) index: u64,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    /// A one-byte header extension element of four bytes in all (RFC 8285 §4.2).
    pub(super) extension: Option<[u8; 4]>,
}

impl Header {
    /// Appends the packet with this header and payload, encrypted.
    pub(super) fn write_packet(
        &self,
        batch: &mut Batch,
        sender: &Sender,
        payload: &[&[u8]],
    ) -> Result<(), srtp::Error> {
        let start = batch.begin();
        let out = &mut batch.bytes;
        let flags = 0x80 | u8::from(self.extension.is_some()) << 4;
        out.extend_from_slice(&[flags, self.marker_and_pt]);
        out.extend_from_slice(&low16(self.index).to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        let mut header = HEADER;
        if let Some(element) = self.extension {
            out.extend_from_slice(&[0xbe, 0xde, 0, 1]);
            out.extend_from_slice(&element);
            header += EXTENSION;
        }
        for part in payload {
            out.extend_from_slice(part);
        }
        sender.protect_rtp(out, start, header, (self.ssrc, self.index))?;
        batch.end();
        Ok(())
    }
}
