//! Recovery points: where a decoder can start although no keyframe is there.
//!
//! An encoder with periodic intra refresh makes one keyframe and then renews a part of each
//! picture. It says by a message where such a round begins (H.264 §D.2.8, H.265 §D.3.8): a decoder
//! that starts there has whole pictures when the round is over. Browsers do not start there, other
//! decoders do.

use super::{
    Codec,
    bits::Bits,
    nal::{self, Payload, Separation, UnitKind},
};

/// The payload type of the message.
const RECOVERY_POINT: u32 = 6;
/// In payload types and sizes, says that another byte belongs to the number.
const MORE: u32 = 0xff;

/// Whether there is a recovery point in front of the first slice of this frame.
pub fn is_recovery_point(codec: Codec, separation: Separation, frame: &[u8]) -> bool {
    if nal::header_bytes(codec) == 0 {
        return false;
    }
    for unit in separation.units(frame) {
        match UnitKind::of(codec, unit) {
            UnitKind::Supplement if has_recovery_point(codec, unit) => return true,
            kind if kind.is_slice() => return false,
            _ => {}
        }
    }
    false
}

/// Whether there is a recovery point in front of the first slice of the frame that these RTP payloads
/// carry.
pub fn in_payloads<'a>(codec: Codec, payloads: impl Iterator<Item = &'a [u8]>) -> bool {
    for payload in payloads {
        let Payload::Units(units) = Payload::read(codec, payload) else {
            return false;
        };
        for unit in units.filter_map(|range| payload.get(range)) {
            match UnitKind::of(codec, unit) {
                UnitKind::Supplement if has_recovery_point(codec, unit) => return true,
                kind if kind.is_slice() => return false,
                _ => {}
            }
        }
    }
    false
}

/// Whether supplemental information has the message.
fn has_recovery_point(codec: Codec, unit: &[u8]) -> bool {
    let Some(body) = unit.get(nal::header_bytes(codec)..) else {
        return false;
    };
    let mut bits = Bits::of_unit(body);
    while let Some(payload_type) = number(&mut bits) {
        if payload_type == RECOVERY_POINT {
            return true;
        }
        let skipped = number(&mut bits).and_then(|size| bits.skip(size.saturating_mul(8)));
        if skipped.is_none() {
            return false;
        }
    }
    false
}

/// A payload's type or size.
fn number(bits: &mut Bits<'_>) -> Option<u32> {
    let mut number: u32 = 0;
    loop {
        let byte = bits.take(8)?;
        number = number.checked_add(byte)?;
        if byte != MORE {
            return Some(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_points_are_found_among_other_messages() {
        let found = |codec, units: &[&[u8]]| {
            let frame: Vec<u8> = units
                .iter()
                .flat_map(|unit| [&[0, 0, 1], *unit].concat())
                .collect();
            is_recovery_point(codec, Separation::StartCodes, &frame)
        };
        let slice: &[u8] = &[0x41, 0x9a];
        assert!(found(Codec::H264, &[&[6, 6, 1, 0xc4, 0x80], slice]));
        let behind_another: &[u8] = &[6, 5, 2, 6, 6, 6, 1, 0xc4, 0x80];
        assert!(found(Codec::H264, &[&[0x67, 1], behind_another, slice]));
        assert!(!found(Codec::H264, &[&[6, 5, 2, 6, 6, 0x80], slice]));
        assert!(!found(Codec::H264, &[slice, &[6, 6, 1, 0xc4, 0x80]]));
        assert!(!found(Codec::H264, &[&[6, 0xff], &[6]]));
        assert!(found(Codec::H265, &[&[0x4e, 1, 6, 1, 0xd0, 0x80], &[2, 1]]));
        let payloads = |payloads: &[&[u8]]| in_payloads(Codec::H264, payloads.iter().copied());
        assert!(payloads(&[&[0x67, 1], &[6, 6, 1, 0xc4, 0x80], slice]));
        assert!(payloads(&[&[0x78, 0, 5, 6, 6, 1, 0xc4, 0x80], slice]));
        assert!(!payloads(&[&[0x7c, 0x81, 0], &[6, 6, 1, 0xc4, 0x80]]));
        assert!(!found(Codec::Vp8, &[&[6, 6, 1, 0xc4, 0x80], slice]));
    }
}
