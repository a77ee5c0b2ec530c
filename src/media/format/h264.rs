//! Sequence parameter sets of H.264 (§7.3.2.1).

use super::VideoFormat;
use crate::media::bits::Bits;

/// Profiles whose parameter sets say how colours are coded.
const WITH_CHROMA: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// `chroma_format_idc` of 4:2:0, and of profiles that do not say.
const CHROMA_420: u32 = 1;
const CHROMA_444: u32 = 3;
/// Longest lists in a parameter set, by the standard.
const POC_CYCLE_MAX: u32 = 255;
const CPB_MAX: u32 = 32;
/// Pictures are coded in blocks of this many pixels.
const BLOCK: u32 = 16;

/// The format in a unit, header included.
pub(super) fn sequence(unit: &[u8]) -> Option<VideoFormat> {
    let &[_, profile_idc, constraints, level_idc, ref rest @ ..] = unit else {
        return None;
    };
    let mut bits = Bits::of_unit(rest);
    bits.exp_golomb()?; // id
    let chroma = chroma(&mut bits, profile_idc.into())?;
    bits.exp_golomb()?; // log2_max_frame_num
    picture_order(&mut bits)?;
    bits.exp_golomb()?; // max_num_ref_frames
    bits.skip(1)?; // gaps in frame_num
    let blocks_across = bits.exp_golomb()?.checked_add(1)?;
    let blocks_down = bits.exp_golomb()?.checked_add(1)?;
    let whole_frames = bits.one()?;
    if whole_frames == 0 {
        bits.skip(1)?; // mb_adaptive_frame_field
    }
    bits.skip(1)?; // direct_8x8_inference
    // Units in which the edges are cut off (table 6-1).
    let across = if matches!(chroma, 1 | 2) { 2 } else { 1 };
    let down = if chroma == CHROMA_420 { 2 } else { 1 } * (2 - whole_frames);
    let width = blocks_across.checked_mul(BLOCK)?;
    let height = blocks_down.checked_mul(BLOCK * (2 - whole_frames))?;
    let mut cut = [0; 4];
    if bits.one()? == 1 {
        for edge in &mut cut {
            *edge = bits.exp_golomb()?;
        }
    }
    let [left, right, top, bottom] = cut;
    let cut_across = left.checked_add(right)?.checked_mul(across)?;
    let cut_down = top.checked_add(bottom)?.checked_mul(down)?;
    Some(VideoFormat {
        profile: profile(profile_idc, constraints),
        level: level(level_idc, constraints),
        width: width.checked_sub(cut_across)?,
        height: height.checked_sub(cut_down)?,
        reordered_max: reordered_max(&mut bits),
    })
}

/// Reads `chroma_format_idc` and what follows it.
fn chroma(bits: &mut Bits<'_>, profile_idc: u32) -> Option<u32> {
    if !WITH_CHROMA.contains(&profile_idc) {
        return Some(CHROMA_420);
    }
    let chroma = bits.exp_golomb()?;
    if chroma == CHROMA_444 {
        bits.skip(1)?; // separate_colour_plane
    }
    bits.exp_golomb()?; // bit depths
    bits.exp_golomb()?;
    bits.skip(1)?; // transform bypass
    if bits.one()? == 1 {
        for list in 0..if chroma == CHROMA_444 { 12 } else { 8 } {
            if bits.one()? == 1 {
                scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(chroma)
}

/// §7.3.2.1.1.1.
fn scaling_list(bits: &mut Bits<'_>, size: u32) -> Option<()> {
    let (mut last, mut next) = (8, 8);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.signed_exp_golomb()?).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

fn picture_order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.exp_golomb()? {
        0 => bits.exp_golomb().map(drop), // log2_max_pic_order_cnt_lsb
        1 => {
            bits.skip(1)?;
            bits.exp_golomb()?;
            bits.exp_golomb()?;
            let cycle = bits.exp_golomb()?;
            if cycle > POC_CYCLE_MAX {
                return None;
            }
            (0..cycle).try_for_each(|_| bits.exp_golomb().map(drop))
        }
        _ => Some(()),
    }
}

/// `max_num_reorder_frames` at the end of the usability information (§E.1.1).
fn reordered_max(bits: &mut Bits<'_>) -> Option<u32> {
    const EXTENDED_RATIO: u32 = 255;
    if bits.one()? == 0 {
        return None;
    }
    if bits.one()? == 1 && bits.take(8)? == EXTENDED_RATIO {
        bits.skip(32)?;
    }
    if bits.one()? == 1 {
        bits.skip(1)?; // overscan
    }
    if bits.one()? == 1 {
        bits.skip(4)?; // video format and range
        if bits.one()? == 1 {
            bits.skip(24)?; // colours
        }
    }
    if bits.one()? == 1 {
        bits.exp_golomb()?; // places of chroma samples
        bits.exp_golomb()?;
    }
    if bits.one()? == 1 {
        bits.skip(65)?; // time
    }
    let nal = bits.one()? == 1;
    if nal {
        decoder_buffer(bits)?;
    }
    let vcl = bits.one()? == 1;
    if vcl {
        decoder_buffer(bits)?;
    }
    if nal || vcl {
        bits.skip(1)?; // low delay
    }
    bits.skip(1)?; // pic_struct
    if bits.one()? == 0 {
        return None;
    }
    bits.skip(1)?; // motion vectors over the edges
    for _ in 0..4 {
        bits.exp_golomb()?; // bytes, bits, and the lengths of motion vectors
    }
    bits.exp_golomb()
}

/// §E.1.2.
fn decoder_buffer(bits: &mut Bits<'_>) -> Option<()> {
    let count = bits.exp_golomb()?.checked_add(1)?;
    if count > CPB_MAX {
        return None;
    }
    bits.skip(8)?;
    for _ in 0..count {
        bits.exp_golomb()?;
        bits.exp_golomb()?;
        bits.skip(1)?;
    }
    bits.skip(20)
}

fn profile(profile_idc: u8, constraints: u8) -> Option<&'static str> {
    let set = |index: u8| constraints & 0x80 >> index != 0;
    Some(match profile_idc {
        66 if set(1) => "constrained-baseline",
        66 => "baseline",
        77 => "main",
        88 => "extended",
        100 if set(4) && set(5) => "constrained-high",
        100 if set(4) => "progressive-high",
        100 => "high",
        110 if set(3) => "high-10-intra",
        110 if set(4) => "progressive-high-10",
        110 => "high-10",
        122 if set(3) => "high-4:2:2-intra",
        122 => "high-4:2:2",
        244 if set(3) => "high-4:4:4-intra",
        244 => "high-4:4:4",
        44 => "cavlc-4:4:4-intra",
        118 => "multiview-high",
        128 => "stereo-high",
        83 if set(5) => "scalable-constrained-baseline",
        83 => "scalable-baseline",
        86 if set(3) => "scalable-high-intra",
        86 if set(5) => "scalable-constrained-high",
        86 => "scalable-high",
        _ => return None,
    })
}

fn level(level_idc: u8, constraints: u8) -> Option<String> {
    let intra = constraints & 0x10 != 0;
    match (level_idc / 10, level_idc % 10) {
        (0, 9) => Some("1b".to_owned()),
        (1, 1) if intra => Some("1b".to_owned()),
        (whole @ 1..=9, 0) => Some(whole.to_string()),
        (whole @ 1, tenths @ 1..=3) | (whole @ 2..=6, tenths @ 1..=2) => {
            Some(format!("{whole}.{tenths}"))
        }
        _ => None,
    }
}
