//! Whether a decoder must reorder pictures: B-frames, judged by the bits.
//!
//! Times would show it too, but those of a publisher's first frames are corrected as its clock
//! becomes known, and jump back then.

use super::{
    Codec,
    bits::Bits,
    nal::{Separation, UnitKind},
};

/// Whether this frame says that frames arrive in another order than they are shown in. H.264: its
/// first slice is a B slice (§7.3.3). H.265, where B slices are used without that: the video
/// parameter set says so (§7.3.2.1), which precedes every keyframe.
pub fn is_reordered(codec: Codec, separation: Separation, frame: &[u8]) -> bool {
    let mut units = separation.units(frame);
    match codec {
        Codec::H264 => units.find_map(h264).unwrap_or(false),
        Codec::H265 => units.find_map(h265).unwrap_or(false),
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus => false,
    }
}

/// `None` if the unit is not a slice.
fn h264(unit: &[u8]) -> Option<bool> {
    const B_SLICE: u32 = 1;
    match UnitKind::of(Codec::H264, unit) {
        UnitKind::Slice => {
            let mut bits = Bits::of_unit(unit.get(1..)?);
            bits.exp_golomb()?; // first_mb_in_slice
            Some(bits.exp_golomb()? % 5 == B_SLICE)
        }
        UnitKind::StartingSlice => Some(false),
        _ => None,
    }
}

/// `None` if the unit is not a video parameter set.
fn h265(unit: &[u8]) -> Option<bool> {
    if UnitKind::of(Codec::H265, unit) != UnitKind::VideoParameters {
        return None;
    }
    let mut bits = Bits::of_unit(unit.get(2..)?);
    bits.skip(12)?; // id, two flags, layers
    let sub_layers = bits.take(3)?;
    bits.skip(1 + 16 + 88 + 8)?; // nesting, reserved, profile, level
    if sub_layers > 0 {
        let mut present = Vec::new();
        for _ in 0..8 {
            let (profile, level) = (bits.take(1)?, bits.take(1)?);
            present.push(profile * 88 + level * 8);
        }
        for length in present.into_iter().take(usize::try_from(sub_layers).ok()?) {
            bits.skip(length)?;
        }
    }
    let each = bits.take(1)? == 1;
    // The highest layer counts: it comes last.
    let mut reordered = 0;
    for _ in 0..=if each { sub_layers } else { 0 } {
        bits.exp_golomb()?; // buffered pictures
        reordered = bits.exp_golomb()?;
        bits.exp_golomb()?; // latency
    }
    Some(reordered > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slice_types_of_h264() {
        let reordered = |units: &[&[u8]]| {
            let coded = units.iter().flat_map(|unit| [&[0, 0, 1], *unit].concat());
            let frame: Vec<u8> = coded.collect();
            is_reordered(Codec::H264, Separation::StartCodes, &frame)
        };
        // first_mb 0: 1; slice_type 5 (P): 00110, 6 (B): 00111, 1 (B): 010
        assert!(!reordered(&[&[0x67, 1], &[0x41, 0b1001_1000, 0]]));
        assert!(reordered(&[&[0x09, 0], &[0x01, 0b1001_1100, 0]]));
        assert!(reordered(&[&[0x01, 0b1010_0000, 0]]));
        assert!(!reordered(&[&[0x65, 0b1010_0000, 0]]), "a keyframe");
        assert!(!reordered(&[&[0x01], &[]]));
    }
}
