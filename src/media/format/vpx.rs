//! Headers of VP8 and VP9 frames.

use super::VideoFormat;
use crate::media::{bits::Bits, vp8::Vp8Descriptor, vp9::Vp9Descriptor};

/// The beginning of a VP8 frame after the payload descriptor (RFC 7741 §4.2). `None` if the payload
/// begins no frame.
pub(super) fn vp8_frame(payload: &[u8]) -> Option<&[u8]> {
    let descriptor = Vp8Descriptor::read(payload)?;
    if !descriptor.begins_frame() {
        return None;
    }
    payload.get(descriptor.bytes..)
}

/// The format in a VP8 key frame (RFC 6386 §9.1).
pub(super) fn vp8(frame: &[u8]) -> Option<VideoFormat> {
    const START: [u8; 3] = [0x9d, 0x01, 0x2a];
    const SIZE: u16 = 0x3fff;
    let &[tag, _, _, s0, s1, s2, w0, w1, h0, h1, ..] = frame else {
        return None;
    };
    if tag & 1 != 0 || [s0, s1, s2] != START {
        return None;
    }
    Some(VideoFormat {
        profile: number(tag >> 1 & 7),
        width: u32::from(u16::from_le_bytes([w0, w1]) & SIZE),
        height: u32::from(u16::from_le_bytes([h0, h1]) & SIZE),
        ..VideoFormat::default()
    })
}

/// The beginning of a VP9 frame after the payload descriptor (RFC 9628 §4.2). `None` if the payload
/// begins no frame.
pub(super) fn vp9_frame(payload: &[u8]) -> Option<&[u8]> {
    let descriptor = Vp9Descriptor::read(payload)?;
    if !descriptor.begins {
        return None;
    }
    payload.get(descriptor.bytes..)
}

/// The format in a VP9 key frame (bitstream specification §6.2).
pub(super) fn vp9(frame: &[u8]) -> Option<VideoFormat> {
    const MARKER: u32 = 2;
    const SYNC: u32 = 0x49_8342;
    const RGB: u32 = 7;
    let mut bits = Bits::plain(frame);
    let marker = bits.take(2)?;
    let profile = bits.one()? | bits.one()? << 1;
    if profile == 3 {
        bits.skip(1)?;
    }
    let (existing, inter) = (bits.one()?, bits.one()?);
    bits.skip(2)?; // shown, error resilient
    if marker != MARKER || existing == 1 || inter == 1 || bits.take(24)? != SYNC {
        return None;
    }
    if profile >= 2 {
        bits.skip(1)?; // bit depth
    }
    let odd = profile & 1 == 1;
    if bits.take(3)? == RGB {
        bits.skip(u32::from(odd))?;
    } else {
        bits.skip(if odd { 4 } else { 1 })?; // range, subsampling
    }
    Some(VideoFormat {
        profile: number(u8::try_from(profile).ok()?),
        width: bits.take(16)? + 1,
        height: bits.take(16)? + 1,
        ..VideoFormat::default()
    })
}

const fn number(profile: u8) -> Option<&'static str> {
    Some(match profile {
        0 => "0",
        1 => "1",
        2 => "2",
        3 => "3",
        _ => return None,
    })
}
