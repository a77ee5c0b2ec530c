//! RTP headers (RFC 3550 §5.1), which SRTP leaves in the clear, and loss counted from them.

/// What the benchmark reads of an RTP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The last packet of a frame, in video.
    pub(super) marker: bool,
    /// Payload type.
    pub(super) payload_type: u8,
    /// Sequence number.
    pub(super) sequence: u16,
}

impl Header {
    /// The header of an RTP packet; `None` for anything else (RTCP, STUN, DTLS: RFC 7983).
    pub(super) fn parse(datagram: &[u8]) -> Option<Self> {
        let [first, second, high, low, ..] = datagram else {
            return None;
        };
        let rtp = first >> 6 == 2 && !(192..=223).contains(second) && datagram.len() > 12;
        rtp.then(|| Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([*high, *low]),
        })
    }
}

/// Packets of one stream, received and missing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sequence {
    highest: Option<u16>,
    /// Packets received.
    pub(super) received: u64,
    /// Sequence numbers skipped and not come late.
    pub(super) missing: u64,
}

impl Sequence {
    /// Counts a packet.
    pub(super) fn push(&mut self, sequence: u16) {
        self.received += 1;
        let Some(highest) = self.highest.replace(sequence) else {
            return;
        };
        match sequence.wrapping_sub(highest) {
            0 => {} // a duplicate
            ahead @ 1..0x8000 => self.missing += u64::from(ahead - 1),
            _ => {
                // A late one fills a gap.
                self.highest = Some(highest);
                self.missing = self.missing.saturating_sub(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtp_is_told_from_rtcp_and_stun() {
        let mut packet = [0x80, 0xe0 | 0x60, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(
            Header::parse(&packet),
            Some(Header {
                marker: true,
                payload_type: 0x60,
                sequence: 0x1234
            })
        );
        packet[1] = 200;
        assert_eq!(Header::parse(&packet), None);
        packet[0] = 0;
        assert_eq!(Header::parse(&packet), None);
    }

    #[test]
    fn gaps_are_missing_until_they_are_filled() {
        let mut sequence = Sequence::default();
        for number in [65_534, 65_535, 2, 0, 3] {
            sequence.push(number);
        }
        assert_eq!((sequence.received, sequence.missing), (5, 1));
    }
}
