//! RTP headers (RFC 3550 §5.1): the only reader and the only writer.

use std::ops::Range;

/// Length of the fixed part of a header, in bytes.
pub const FIXED_BYTES: usize = 12;
/// Largest RTP packet that the server makes, in bytes, including the fixed part of the header. Leaves
/// room for header extensions, the SRTP tag, UDP and IP within an Ethernet frame, and for common
/// tunnels.
pub const PACKET_BYTES_MAX: usize = 1200;
/// Largest payload of such a packet.
pub const PAYLOAD_BYTES_MAX: usize = PACKET_BYTES_MAX - FIXED_BYTES;
/// This many bytes of any packet show where its payload begins: the fixed part, 15 contributing
/// sources, and the first word of an extension.
pub const PREFIX_BYTES_MAX: usize = FIXED_BYTES + 15 * 4 + 4;

const VERSION: u8 = 2 << 6;
const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const SOURCES: u8 = 0x0f;
const MARKER: u8 = 0x80;
/// One-byte header extension elements follow (RFC 8285 §4.2).
const ONE_BYTE_ELEMENTS: [u8; 2] = [0xbe, 0xde];

/// The fields of the fixed part that differ from packet to packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// Marker bit: the last packet of a video frame.
    pub marker: bool,
    /// Payload type, below 128.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in units of the payload type's clock rate.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

impl RtpHeader {
    /// The header of an RTP packet, encrypted or not. `None` for anything else that may arrive on
    /// the same port: RTCP (RFC 5761 §4), STUN and DTLS (RFC 7983).
    pub fn read(packet: &[u8]) -> Option<Self> {
        let [flags, kind, q0, q1, t0, t1, t2, t3, s0, s1, s2, s3] =
            *packet.first_chunk::<FIXED_BYTES>()?;
        let rtcp = (192..=223).contains(&kind);
        if flags >> 6 != VERSION >> 6 || rtcp {
            return None;
        }
        Some(Self {
            marker: kind & MARKER != 0,
            payload_type: kind & !MARKER,
            sequence: u16::from_be_bytes([q0, q1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
        })
    }

    /// Appends the header to `out`, with `elements` as its extension: one-byte header extension
    /// elements, padded to whole words; empty for none. Returns the header's length.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, elements: &[u8]) -> usize {
        let start = out.len();
        let extension = if elements.is_empty() { 0 } else { EXTENSION };
        let kind = self.payload_type & !MARKER | u8::from(self.marker) << 7;
        let [q0, q1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [s0, s1, s2, s3] = self.ssrc.to_be_bytes();
        out.extend_from_slice(&[
            VERSION | extension,
            kind,
            q0,
            q1,
            t0,
            t1,
            t2,
            t3,
            s0,
            s1,
            s2,
            s3,
        ]);
        if !elements.is_empty() {
            let words = elements.len().div_ceil(4);
            out.extend_from_slice(&ONE_BYTE_ELEMENTS);
            out.extend_from_slice(&u16::try_from(words).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(elements);
            out.resize(start + FIXED_BYTES + 4 + 4 * words, 0);
        }
        out.len() - start
    }
}

/// Where the payload of a packet begins, after contributing sources and extension. `prefix` is the
/// packet, or its first [`PREFIX_BYTES_MAX`] bytes; the result may lie beyond its end. `None` if
/// the header is cut short.
pub fn payload_start(prefix: &[u8]) -> Option<usize> {
    let &flags = prefix.first()?;
    let start = FIXED_BYTES + 4 * usize::from(flags & SOURCES);
    if flags & EXTENSION == 0 {
        return Some(start);
    }
    let [_, _, high, low] = *prefix.get(start..)?.first_chunk::<4>()?;
    Some(start + 4 + 4 * usize::from(u16::from_be_bytes([high, low])))
}

/// Where the payload of a whole packet lies, without padding. Empty if there is only padding;
/// `None` if header or padding are longer than the packet. Not for encrypted packets: their
/// padding is encrypted with the payload.
pub fn payload(packet: &[u8]) -> Option<Range<usize>> {
    let start = payload_start(packet)?;
    let padding = match packet {
        [flags, .., last] if flags & PADDING != 0 => usize::from(*last).max(1),
        _ => 0,
    };
    let end = packet.len().checked_sub(padding)?;
    (start <= end).then_some(start..end)
}

/// The low bits of a packet index: its sequence number.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low bits are what is wanted"
)]
pub(crate) const fn low16(value: u64) -> u16 {
    value as u16
}

/// The low bits of a timestamp, as sent.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low bits are what is wanted"
)]
pub(crate) const fn low32(value: u64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: RtpHeader = RtpHeader {
        marker: true,
        payload_type: 96,
        sequence: 0x1234,
        timestamp: 0x0102_0304,
        ssrc: 0x0506_0708,
    };

    #[test]
    fn a_header_is_read_as_it_was_written() {
        for (elements, length) in [(&[][..], 12), (&[0x10, 7], 20), (&[0x32, 1, 2, 3], 20)] {
            let mut packet = vec![9; 3];
            assert_eq!(HEADER.write(&mut packet, elements), length);
            packet.extend([1, 2, 3]);
            let packet = &packet[3..];
            assert_eq!(RtpHeader::read(packet), Some(HEADER));
            assert_eq!(payload(packet), Some(length..length + 3));
        }
    }

    #[test]
    fn rtcp_stun_and_dtls_are_no_rtp() {
        let mut packet = [0x80, 0xe0, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert!(RtpHeader::read(&packet).is_some());
        assert_eq!(RtpHeader::read(&packet[..11]), None);
        packet[1] = 200;
        assert_eq!(RtpHeader::read(&packet), None);
        packet[1] = 0xe0;
        for first in [0, 22, 0x40, 0xc0] {
            packet[0] = first;
            assert_eq!(RtpHeader::read(&packet), None);
        }
    }

    #[test]
    fn the_payload_lies_between_extension_and_padding() {
        // one contributing source, one word of extension, two bytes of padding
        let head = [0xb1, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2];
        let packet = [&head[..], &[0xbe, 0xde, 0, 1, 0x10, 0x30, 0, 0, 5, 6, 0, 2]].concat();
        assert_eq!(payload(&packet), Some(24..26));
        assert_eq!(
            payload_start(&packet[..20]),
            Some(24),
            "the rest of it is not needed"
        );
        for length in 0..24 {
            assert_eq!(payload(&packet[..length]), None, "{length}");
        }
        let longest = [&[0x9f; 72][..], &[0, 0, 0xff, 0xff]].concat();
        assert_eq!(longest.len(), PREFIX_BYTES_MAX);
        assert_eq!(payload_start(&longest), Some(76 + 4 * 0xffff));
    }

    #[test]
    fn padding_may_be_all_there_is() {
        let header = [0xa0, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1];
        let padded = |padding: &[u8]| payload(&[&header, padding].concat());
        assert_eq!(padded(&[0, 0, 0, 4]), Some(12..12));
        assert_eq!(padded(&[0, 0, 0, 5]), None);
        assert_eq!(
            padded(&[7, 0]),
            Some(12..13),
            "a padding of nothing counts itself"
        );
    }
}
