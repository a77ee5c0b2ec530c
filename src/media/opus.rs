//! What an Opus packet says about itself (RFC 6716).

/// Whether a packet is coded in stereo: the bit of its first byte (§3.1).
pub(crate) fn is_stereo(packet: &[u8]) -> bool {
    const STEREO: u8 = 1 << 2;
    packet.first().is_some_and(|toc| toc & STEREO != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells() {
        // 20 ms of CELT in full band, in mono and in stereo.
        assert!(!is_stereo(&[0b1111_1000, 1]));
        assert!(is_stereo(&[0b1111_1100, 1]));
        assert!(!is_stereo(&[]));
    }
}
