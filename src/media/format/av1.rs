//! Sequence headers of AV1 (bitstream specification §5.5).

use super::VideoFormat;
use crate::media::{bits::Bits, obu};

/// The format in an RTP payload that begins a coded video sequence.
pub(super) fn in_payload(payload: &[u8]) -> Option<VideoFormat> {
    sequence(obu::sequence_in_payload(payload)?)
}

/// The format in the body of a sequence header.
fn sequence(body: &[u8]) -> Option<VideoFormat> {
    let mut bits = Bits::plain(body);
    let profile = match bits.take(3)? {
        0 => "main",
        1 => "high",
        2 => "professional",
        _ => return None,
    };
    bits.skip(1)?; // still picture
    if bits.one()? == 1 {
        bits.skip(5)?; // reduced header: only a level
    } else {
        operating_points(&mut bits)?;
    }
    let (across, down) = (bits.take(4)? + 1, bits.take(4)? + 1);
    Some(VideoFormat {
        profile: Some(profile),
        width: bits.take(across)? + 1,
        height: bits.take(down)? + 1,
        ..VideoFormat::default()
    })
}

fn operating_points(bits: &mut Bits<'_>) -> Option<()> {
    /// Levels from here on have tiers.
    const LEVEL_4: u32 = 8;
    let mut delay_bits = None;
    if bits.one()? == 1 {
        bits.skip(64)?; // units of time
        if bits.one()? == 1 {
            bits.exp_golomb()?; // ticks a picture
        }
        if bits.one()? == 1 {
            delay_bits = Some(bits.take(5)? + 1);
            bits.skip(42)?;
        }
    }
    let delays = bits.one()? == 1;
    for _ in 0..=bits.take(5)? {
        bits.skip(12)?;
        if bits.take(5)? >= LEVEL_4 {
            bits.skip(1)?;
        }
        if let Some(length) = delay_bits
            && bits.one()? == 1
        {
            bits.skip(2 * length + 1)?;
        }
        if delays && bits.one()? == 1 {
            bits.skip(4)?;
        }
    }
    Some(())
}
