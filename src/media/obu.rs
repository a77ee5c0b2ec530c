//! The OBUs of AV1: in a temporal unit (AV1 bitstream specification §5.3), and what the RTP payload
//! format puts in front of them. The only reader of both.

use super::bits::Bits;

const SEQUENCE_HEADER: u8 = 1;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
/// The frame type of pictures that refer to no other.
const KEY_FRAME: u32 = 0;

/// One open bitstream unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Obu<'a> {
    obu_type: u8,
    body: &'a [u8],
}

/// The OBUs of a temporal unit in low-overhead format; ends early where it is malformed.
fn obus(mut bytes: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    std::iter::from_fn(move || {
        let (&header, mut rest) = bytes.split_first()?;
        let (has_extension, has_size) = (header & 4 != 0, header & 2 != 0);
        if has_extension {
            rest = rest.get(1..)?;
        }
        let size = if has_size {
            leb128(&mut rest)?
        } else {
            rest.len()
        };
        let (body, tail) = rest.split_at_checked(size)?;
        bytes = tail;
        Some(Obu {
            obu_type: header >> 3 & 0xf,
            body,
        })
    })
}

/// A number of up to 28 bits in little-endian base 128; no OBU is larger.
fn leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Whether a decoder can start with these OBUs, which may be the first ones of a temporal unit: they
/// have a sequence header. `None` if there is neither that nor a frame in them.
pub(super) fn has_sequence(bytes: &[u8]) -> Option<bool> {
    let mut types = obus(bytes).map(|obu| obu.obu_type);
    let telling =
        types.find(|obu_type| matches!(*obu_type, SEQUENCE_HEADER | FRAME_HEADER | FRAME))?;
    Some(telling == SEQUENCE_HEADER)
}

/// Whether a decoder can start with this temporal unit: it has a sequence header and, as the first
/// frame, a shown key frame. `None` if there is no frame in it.
pub(super) fn starts_here(temporal_unit: &[u8]) -> Option<bool> {
    let mut still_picture = None;
    for obu in obus(temporal_unit) {
        match obu.obu_type {
            SEQUENCE_HEADER => {
                let mut bits = Bits::plain(obu.body);
                bits.skip(4)?; // profile, still picture
                still_picture = Some(bits.one()? == 1); // reduced headers: nothing else in it
            }
            FRAME_HEADER | FRAME => {
                return Some(match still_picture {
                    None => false,
                    Some(true) => true,
                    Some(false) => is_shown_key_frame(obu.body)?,
                });
            }
            _ => {}
        }
    }
    None
}

fn is_shown_key_frame(header: &[u8]) -> Option<bool> {
    let mut bits = Bits::plain(header);
    let shows_another = bits.one()? == 1;
    Some(!shows_another && bits.take(2)? == KEY_FRAME && bits.one()? == 1)
}

/// Whether an RTP payload is the first of a coded video sequence: the N bit of its aggregation
/// header (AV1 RTP §4.4).
pub(super) fn begins_sequence(payload: &[u8]) -> bool {
    matches!(payload, [header, ..] if header & 8 != 0)
}

/// The body of the sequence header in an RTP payload that begins a coded video sequence (AV1 RTP
/// §4.4): it is the first OBU, or follows a temporal delimiter.
pub(super) fn sequence_in_payload(payload: &[u8]) -> Option<&[u8]> {
    let (&header, mut rest) = payload.split_first()?;
    let elements = header >> 4 & 3;
    if !begins_sequence(payload) {
        return None;
    }
    for index in 1..=2 {
        let element = if index == elements {
            rest
        } else {
            let length = leb128(&mut rest)?;
            let (element, tail) = rest.split_at_checked(length)?;
            rest = tail;
            element
        };
        let obu = obus(element).next()?;
        if obu.obu_type == SEQUENCE_HEADER {
            return Some(obu.body);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIMITER: &[u8] = &[0x12, 0];
    const SEQUENCE: &[u8] = &[0x0a, 2, 0, 0];

    fn unit(parts: &[&[u8]]) -> Option<bool> {
        starts_here(&parts.concat())
    }

    #[test]
    fn a_start_is_a_shown_key_frame_behind_a_sequence_header() {
        let frame = |first: u8| [0x32, 2, first, 0];
        let key = frame(0b0001_0000);
        assert_eq!(unit(&[DELIMITER, SEQUENCE, &key]), Some(true));
        assert_eq!(unit(&[DELIMITER, &key]), Some(false), "no sequence header");
        for other in [0b0011_0000, 0b0000_0000, 0b1000_0000] {
            let parts: [&[u8]; 3] = [DELIMITER, SEQUENCE, &frame(other)];
            assert_eq!(unit(&parts), Some(false), "{other:#b}");
        }
        // a frame header of its own, with an extension, and no size
        let header = [0b0001_1100, 0, 0b0001_0000];
        assert_eq!(unit(&[SEQUENCE, &header]), Some(true));
        let reduced = [0x0a, 1, 0b0001_1000];
        assert_eq!(
            unit(&[&reduced, &frame(0xff)]),
            Some(true),
            "a still picture"
        );
    }

    #[test]
    fn malformed_units_tell_nothing() {
        let whole = [DELIMITER, SEQUENCE, &[0x32, 1, 0b0001_0000]].concat();
        for length in 0..whole.len() {
            assert_eq!(starts_here(&whole[..length]), None, "{length}");
        }
        assert_eq!(starts_here(&[0x0a, 0xff, 0xff, 0xff, 0xff, 1]), None);
    }

    #[test]
    fn the_aggregation_header_tells_a_new_sequence() {
        assert!(begins_sequence(&[0x18, 0]));
        assert!(!begins_sequence(&[0x10, 0]) && !begins_sequence(&[]));
    }
}
