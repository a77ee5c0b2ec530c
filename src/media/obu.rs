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

impl<'a> Obu<'a> {
    /// The unit that begins here, as far as it is there, and what follows it; `None` if its header
    /// is cut short.
    fn read(bytes: &'a [u8]) -> Option<(Self, &'a [u8], usize)> {
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
        let obu_type = header >> 3 & 0xf;
        let (body, tail) = rest.split_at(size.min(rest.len()));
        Some((Self { obu_type, body }, tail, size))
    }
}

/// The OBUs of a temporal unit in low-overhead format; ends early where it is malformed.
fn obus(mut bytes: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    std::iter::from_fn(move || {
        let (obu, tail, size) = Obu::read(bytes)?;
        bytes = tail;
        (obu.body.len() == size).then_some(obu)
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
    UnitStart::of(obus(temporal_unit)).starts()
}

/// How a temporal unit begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitStart {
    /// A sequence header precedes the first frame.
    pub has_sequence: bool,
    /// The first frame is a shown key frame; `None` if the bytes do not tell.
    pub is_key: Option<bool>,
}

impl UnitStart {
    fn of<'a>(obus: impl Iterator<Item = Obu<'a>>) -> Self {
        let mut start = Self::default();
        let mut still_picture = false;
        for obu in obus {
            match obu.obu_type {
                SEQUENCE_HEADER => {
                    let Some(reduced) = has_reduced_headers(obu.body) else {
                        return start;
                    };
                    still_picture = reduced;
                    start.has_sequence = true;
                }
                FRAME_HEADER | FRAME => {
                    let shown_key = || is_shown_key_frame(obu.body);
                    start.is_key = still_picture.then_some(true).or_else(shown_key);
                    return start;
                }
                _ => {}
            }
        }
        start
    }

    /// How the temporal unit in these RTP payloads begins.
    pub fn in_payloads<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> Self {
        let begun = payloads
            .filter_map(Av1Payload::read)
            .flat_map(Av1Payload::elements)
            .filter(|element| element.begins);
        Self::of(begun.filter_map(|element| Some(Obu::read(element.bytes)?.0)))
    }

    /// Whether a decoder can start here.
    pub fn starts(self) -> Option<bool> {
        Some(self.is_key? && self.has_sequence)
    }
}

/// The still picture's headers: nothing else is in the sequence.
fn has_reduced_headers(sequence_header: &[u8]) -> Option<bool> {
    let mut bits = Bits::plain(sequence_header);
    bits.skip(4)?; // profile, still picture
    Some(bits.one()? == 1)
}

fn is_shown_key_frame(header: &[u8]) -> Option<bool> {
    let mut bits = Bits::plain(header);
    let shows_another = bits.one()? == 1;
    Some(!shows_another && bits.take(2)? == KEY_FRAME && bits.one()? == 1)
}

/// Set in an aggregation header: the first element goes on from the payload before.
const CONTINUES: u8 = 0x80;
/// Set in an aggregation header: the last element goes on in the next payload.
const CONTINUED: u8 = 0x40;
/// Set in an aggregation header: the payload is the first one of a coded video sequence.
pub const BEGINS_SEQUENCE: u8 = 0x08;

/// An RTP payload (AV1 RTP §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Av1Payload<'a> {
    /// The aggregation header.
    header: u8,
    body: &'a [u8],
}

/// An OBU in an RTP payload, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObuElement<'a> {
    /// Whether the OBU begins here.
    pub begins: bool,
    /// Whether the OBU ends here.
    pub ends: bool,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl ObuElement<'_> {
    /// Whether this is a whole sequence header.
    pub fn is_sequence_header(&self) -> bool {
        let obu = Obu::read(self.bytes);
        self.begins && self.ends && obu.is_some_and(|(obu, ..)| obu.obu_type == SEQUENCE_HEADER)
    }
}

impl<'a> Av1Payload<'a> {
    /// Reads a payload; `None` if it is empty.
    pub fn read(payload: &'a [u8]) -> Option<Self> {
        let (&header, body) = payload.split_first()?;
        (!body.is_empty()).then_some(Self { header, body })
    }

    /// Whether the first element goes on from the payload before.
    pub const fn continues(&self) -> bool {
        self.header & CONTINUES != 0
    }

    /// Whether the payload says that a coded video sequence begins with it.
    pub const fn begins_sequence(&self) -> bool {
        self.header & BEGINS_SEQUENCE != 0
    }

    /// The elements, none of which is empty; ends early if a length leads beyond the end.
    pub fn elements(self) -> impl Iterator<Item = ObuElement<'a>> {
        let count = self.header >> 4 & 3;
        let (mut rest, mut index) = (self.body, 0_u8);
        std::iter::from_fn(move || {
            while !rest.is_empty() {
                let is_first = index == 0;
                index = index.saturating_add(1);
                // With a count, the last one extends to the end.
                let length = if index == count {
                    rest.len()
                } else {
                    leb128(&mut rest)?
                };
                let (bytes, tail) = rest.split_at_checked(length)?;
                rest = tail;
                if !bytes.is_empty() {
                    return Some(ObuElement {
                        begins: !(is_first && self.continues()),
                        ends: !(tail.is_empty() && self.header & CONTINUED != 0),
                        bytes,
                    });
                }
            }
            None
        })
    }
}

/// The aggregation header of a payload that holds one element.
pub const fn aggregation_header(begins: bool, ends: bool) -> u8 {
    const ONE_ELEMENT: u8 = 1 << 4;
    let front = if begins { 0 } else { CONTINUES };
    let back = if ends { 0 } else { CONTINUED };
    ONE_ELEMENT | front | back
}

/// Whether an RTP payload is the first of a coded video sequence: the N bit of its aggregation
/// header (AV1 RTP §4.4).
pub(super) fn begins_sequence(payload: &[u8]) -> bool {
    Av1Payload::read(payload).is_some_and(|payload| payload.begins_sequence())
}

/// The body of the sequence header in an RTP payload that begins a coded video sequence: it is the
/// first OBU, or follows a temporal delimiter.
pub(super) fn sequence_in_payload(payload: &[u8]) -> Option<&[u8]> {
    let payload = Av1Payload::read(payload)?;
    if !payload.begins_sequence() {
        return None;
    }
    payload.elements().take(2).find_map(|element| {
        let (obu, ..) = Obu::read(element.bytes)?;
        (obu.obu_type == SEQUENCE_HEADER).then_some(obu.body)
    })
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

    /// The elements of a payload: where each begins and ends, and its bytes.
    fn elements(payload: &[u8]) -> Vec<ObuElement<'_>> {
        Av1Payload::read(payload).unwrap().elements().collect()
    }

    #[test]
    fn elements_are_found_with_and_without_a_count() {
        let element = |bytes| ObuElement {
            begins: true,
            ends: true,
            bytes,
        };
        let (one, two): (&[u8], &[u8]) = (&[0x08, 7], &[0x30, 1, 2]);
        for payload in [
            &[0x20, 2, 0x08, 7, 0x30, 1, 2][..],
            &[0x00, 2, 0x08, 7, 3, 0x30, 1, 2],
            &[0x00, 2, 0x08, 7, 0, 3, 0x30, 1, 2],
        ] {
            assert_eq!(elements(payload), [element(one), element(two)]);
        }
        assert!(element(one).is_sequence_header() && !element(two).is_sequence_header());
        let part = ObuElement {
            begins: false,
            ends: false,
            bytes: one,
        };
        assert_eq!(elements(&[0xd0, 0x08, 7]), [part]);
        assert_eq!(elements(&[0x20, 9, 0x08, 7]), [], "beyond the end");
        assert_eq!(Av1Payload::read(&[0x10]), None);
        assert_eq!(aggregation_header(false, false), 0xd0);
        assert_eq!(aggregation_header(true, true), 0x10);
    }

    #[test]
    fn payloads_tell_how_a_temporal_unit_begins() {
        let start = |payloads: &[&[u8]]| UnitStart::in_payloads(payloads.iter().copied());
        let sequence: &[u8] = &[0x18, 0x08, 0, 0];
        let frame = |first: u8| [0x50, 0x30, first, 0];
        let key = start(&[sequence, &frame(0b0001_0000)]);
        assert_eq!(key.starts(), Some(true));
        let lacking = start(&[&frame(0b0001_0000)]);
        assert_eq!((lacking.is_key, lacking.has_sequence), (Some(true), false));
        assert_eq!(lacking.starts(), Some(false));
        assert_eq!(
            start(&[sequence, &frame(0b0011_0000)]).starts(),
            Some(false)
        );
        assert_eq!(start(&[sequence]).starts(), None);
        assert_eq!(
            start(&[&[0x90, 0x30, 0b0001_0000]]).starts(),
            None,
            "a rest"
        );
    }
}
