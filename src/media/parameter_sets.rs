//! The numbers of parameter sets, by which pictures and other sets refer to them.

use super::{
    Codec,
    bits::Bits,
    format,
    nal::{self, UnitKind},
};

/// The number of a parameter set; `None` if the unit is none, or is cut short.
pub fn number(codec: Codec, unit: &[u8]) -> Option<u32> {
    let mut bits = Bits::of_unit(unit.get(nal::header_bytes(codec)..)?);
    match (UnitKind::of(codec, unit), codec) {
        (UnitKind::PictureParameters, _) => bits.exp_golomb(),
        (UnitKind::SequenceParameters, Codec::H264) => {
            bits.skip(8 + 8 + 8)?; // profile, constraints, level
            bits.exp_golomb()
        }
        (UnitKind::SequenceParameters, _) => {
            bits.skip(4)?; // number of the video parameter set
            let sub_layers = bits.take(3)?;
            bits.skip(1)?; // nesting
            format::h265::tier(&mut bits, sub_layers)?;
            bits.exp_golomb()
        }
        (UnitKind::VideoParameters, _) => bits.take(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_h264() {
        let of = |unit: &[u8]| number(Codec::H264, unit);
        assert_eq!(of(&[0x67, 66, 0xc0, 31, 0b1000_0000]), Some(0));
        assert_eq!(of(&[0x67, 66, 0xc0, 31, 0b0110_0000]), Some(2));
        assert_eq!(of(&[0x68, 0b0010_0000]), Some(3));
        assert_eq!(of(&[0x67, 66, 0xc0]), None, "cut short");
        assert_eq!(of(&[0x65, 0x88]), None, "a slice");
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn numbers_of_h265() {
        let of = |unit: &[u8]| number(Codec::H265, unit);
        assert_eq!(of(&[0x40, 1, 0x3c]), Some(3));
        assert_eq!(of(&[0x44, 1, 0b0100_0000]), Some(1));
        let profile = [1; 12];
        let plain = [&[0x42, 1, 0x01][..], &profile, &[0b0110_0000]].concat();
        assert_eq!(of(&plain), Some(2));
        // two more sub-layers, one with a level of its own
        let flags = [0b0100_0000, 0];
        let layered = [&[0x42, 1, 0x05][..], &profile, &flags, &[93, 0b0100_0000]].concat();
        assert_eq!(of(&layered), Some(1));
        assert_eq!(of(&layered[..15]), None, "cut short");
    }
}
