//! Sequence parameter sets of H.265 (§7.3.2.2).

use super::VideoFormat;
use crate::media::bits::Bits;

const CHROMA_420: u32 = 1;
const CHROMA_422: u32 = 2;
const CHROMA_444: u32 = 3;

/// The format in a unit, header included.
pub(super) fn sequence(unit: &[u8]) -> Option<VideoFormat> {
    let mut bits = Bits::of_unit(unit.get(2..)?);
    bits.skip(4)?; // id of the video parameter set
    let sub_layers = bits.take(3)?;
    bits.skip(1)?; // nesting
    let Tier { profile, level } = tier(&mut bits, sub_layers)?;
    bits.exp_golomb()?; // id
    let chroma = bits.exp_golomb()?;
    if chroma == CHROMA_444 {
        bits.skip(1)?; // separate_colour_plane
    }
    let (width, height) = (bits.exp_golomb()?, bits.exp_golomb()?);
    let mut cut = [0; 4];
    if bits.one()? == 1 {
        for edge in &mut cut {
            *edge = bits.exp_golomb()?;
        }
    }
    let across = if matches!(chroma, CHROMA_420 | CHROMA_422) {
        2
    } else {
        1
    };
    let down = if chroma == CHROMA_420 { 2 } else { 1 };
    let [left, right, top, bottom] = cut;
    let cut_across = left.checked_add(right)?.checked_mul(across)?;
    let cut_down = top.checked_add(bottom)?.checked_mul(down)?;
    bits.exp_golomb()?; // bit depths
    bits.exp_golomb()?;
    bits.exp_golomb()?; // log2_max_pic_order_cnt_lsb
    Some(VideoFormat {
        profile,
        level,
        width: width.checked_sub(cut_across)?,
        height: height.checked_sub(cut_down)?,
        reordered_max: reordered_max(&mut bits, sub_layers),
    })
}

/// What parameter sets say about the decoder that they need.
pub(in crate::media) struct Tier {
    profile: Option<&'static str>,
    level: Option<String>,
}

/// Reads `profile_tier_level` (§7.3.3) of a stream with this many layers above the first.
pub(in crate::media) fn tier(bits: &mut Bits<'_>, sub_layers: u32) -> Option<Tier> {
    bits.skip(3)?; // space and tier
    let profile_idc = bits.take(5)?;
    let compatible = bits.take(32)?;
    bits.skip(4)?; // progressive, interlaced, packed, whole frames
    let constraints = bits.take(9)?;
    bits.skip(35)?; // reserved
    let level_idc = bits.take(8)?;
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
    Some(Tier {
        profile: profile(profile_idc, compatible, constraints),
        level: level(level_idc),
    })
}

/// How far pictures are reordered, after the flag that says whether every layer has its own
/// numbers. The highest layer counts: it comes last.
pub(in crate::media) fn reordered_max(bits: &mut Bits<'_>, sub_layers: u32) -> Option<u32> {
    let each = bits.take(1)? == 1;
    let mut reordered = 0;
    for _ in 0..=if each { sub_layers } else { 0 } {
        bits.exp_golomb()?; // buffered pictures
        reordered = bits.exp_golomb()?;
        bits.exp_golomb()?; // latency
    }
    Some(reordered)
}

fn profile(profile_idc: u32, compatible: u32, constraints: u32) -> Option<&'static str> {
    let is = |number: u32| profile_idc == number || compatible & 0x8000_0000 >> number != 0;
    if is(1) {
        Some("main")
    } else if is(2) {
        Some("main-10")
    } else if is(3) {
        Some("main-still-picture")
    } else if is(4) {
        extended(constraints)
    } else {
        None
    }
}

/// The format range extensions (table A.2), by the constraints that they keep: bit depths of at most
/// 12, 10 and 8, chroma of at most 4:2:2 and 4:2:0, no chroma, intra pictures only.
const fn extended(constraints: u32) -> Option<&'static str> {
    Some(match constraints >> 2 {
        0b111_1110 => "monochrome",
        0b110_1110 => "monochrome-10",
        0b100_1110 => "monochrome-12",
        0b100_1100 => "main-12",
        0b110_1000 => "main-422-10",
        0b100_1000 => "main-422-12",
        0b111_0000 => "main-444",
        0b110_0000 => "main-444-10",
        0b100_0000 => "main-444-12",
        0b111_1101 => "main-intra",
        0b110_1101 => "main-10-intra",
        0b100_1101 => "main-12-intra",
        0b110_1001 => "main-422-10-intra",
        0b100_1001 => "main-422-12-intra",
        0b111_0001 => "main-444-intra",
        0b110_0001 => "main-444-10-intra",
        0b100_0001 => "main-444-12-intra",
        0b000_0001 => "main-444-16-intra",
        _ => return None,
    })
}

fn level(level_idc: u32) -> Option<String> {
    match (level_idc / 30, level_idc % 30) {
        (whole @ 1..=8, 0) => Some(whole.to_string()),
        (whole @ 2..=6, 3) => Some(format!("{whole}.1")),
        (whole @ 5..=6, 6) => Some(format!("{whole}.2")),
        _ => None,
    }
}
