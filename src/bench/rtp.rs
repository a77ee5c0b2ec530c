//! Loss, counted from the sequence numbers that SRTP leaves in the clear.

/// Packets of one stream, received and missing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sequence {
    highest: Option<u16>,
    /// Packets received.
    pub(super) received: u64,
    /// Sequence numbers skipped that have not arrived late.
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
    fn gaps_are_missing_until_they_are_filled() {
        let mut sequence = Sequence::default();
        for number in [65_534, 65_535, 2, 0, 3] {
            sequence.push(number);
        }
        assert_eq!((sequence.received, sequence.missing), (5, 1));
    }
}
