//! Single bits and the variable-length numbers of video headers.

/// Reads bits, the highest of each byte first.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Whether to skip the bytes that keep start codes out of a NAL unit (H.264 §7.4.1).
    escaped: bool,
    /// Zero bytes in front of the current one.
    zeros: u32,
    /// Bits already read of the current byte.
    bit: u32,
}

impl<'a> Bits<'a> {
    /// The bits of these bytes as they are.
    pub(super) const fn plain(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            escaped: false,
            zeros: 0,
            bit: 0,
        }
    }

    /// The bits of a NAL unit after its header.
    pub(super) const fn of_unit(bytes: &'a [u8]) -> Self {
        Self {
            escaped: true,
            ..Self::plain(bytes)
        }
    }

    pub(super) fn one(&mut self) -> Option<u32> {
        if self.escaped && self.bit == 0 && self.zeros >= 2 && *self.bytes.first()? == 3 {
            self.bytes = self.bytes.get(1..)?;
            self.zeros = 0;
        }
        let byte = *self.bytes.first()?;
        let value = u32::from(byte) >> (7 - self.bit) & 1;
        self.bit += 1;
        if self.bit == 8 {
            self.bit = 0;
            self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
            self.bytes = self.bytes.get(1..)?;
        }
        Some(value)
    }

    /// A number of up to 32 bits.
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | self.one()?))
    }

    pub(super) fn skip(&mut self, count: u32) -> Option<()> {
        (0..count).try_for_each(|_| self.one().map(drop))
    }

    /// An unsigned Exp-Golomb code (H.264 §9.1).
    pub(super) fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.one()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None; // larger than 32 bits
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }

    /// A signed Exp-Golomb code (H.264 §9.1.1).
    pub(super) fn signed_exp_golomb(&mut self) -> Option<i64> {
        let code = i64::from(self.exp_golomb()?);
        Some(if code % 2 == 0 {
            -code / 2
        } else {
            (code + 1) / 2
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_prevent_start_codes_are_left_out() {
        let bytes = [0, 0, 3, 1, 0x80];
        let mut bits = Bits::of_unit(&bytes);
        assert_eq!(bits.take(24), Some(1));
        assert_eq!(bits.one(), Some(1));
        assert_eq!(Bits::plain(&bytes).take(24), Some(3));
    }

    #[test]
    fn exp_golomb_codes_are_read_and_bounded() {
        let mut bits = Bits::plain(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let read: Vec<_> = (0..5).filter_map(|_| bits.exp_golomb()).collect();
        assert_eq!(read, [0, 1, 2, 3, 4]);
        assert_eq!(Bits::plain(&[0; 8]).exp_golomb(), None);
        let largest = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Bits::plain(&largest).exp_golomb(), Some(u32::MAX - 1));
        let mut bits = Bits::plain(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let signed: Vec<_> = (0..5).filter_map(|_| bits.signed_exp_golomb()).collect();
        assert_eq!(signed, [0, 1, -1, 2, -2]);
        assert_eq!(Bits::plain(&[]).exp_golomb(), None);
    }
}
