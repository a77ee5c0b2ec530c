//! The NAL units of H.264 and H.265: where they are, in a frame or in an RTP payload, and what they
//! are. The only reader of both.

use std::ops::Range;

use super::Codec;

/// What a NAL unit is, as far as it matters here (table 7-1 of both standards).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitKind {
    /// A slice of a picture that a decoder can start with: IDR (H.264), IRAP (H.265).
    StartingSlice,
    /// A slice of any other picture.
    Slice,
    /// A video parameter set (H.265 only).
    VideoParameters,
    /// A sequence parameter set.
    SequenceParameters,
    /// A picture parameter set.
    PictureParameters,
    /// An access unit delimiter.
    Delimiter,
    /// Supplemental enhancement information in front of a picture.
    Supplement,
    /// An upper layer's part of a picture, or what describes layers (H.264 annexes F to H): who decodes
    /// the lowest one skips it, as browsers do.
    Layer,
    /// Anything else.
    Other,
}

impl UnitKind {
    /// The kind of a unit that begins like this.
    pub fn of(codec: Codec, unit: &[u8]) -> Self {
        unit.first().map_or(Self::Other, |&header| {
            Self::of_type(codec, unit_type(codec, header))
        })
    }

    const fn of_type(codec: Codec, unit_type: u8) -> Self {
        match (codec, unit_type) {
            (Codec::H264, 5) | (Codec::H265, 16..=23) => Self::StartingSlice,
            (Codec::H264, 1..=4) | (Codec::H265, 0..=31) => Self::Slice,
            (Codec::H265, 32) => Self::VideoParameters,
            (Codec::H264, 7) | (Codec::H265, 33) => Self::SequenceParameters,
            (Codec::H264, 8) | (Codec::H265, 34) => Self::PictureParameters,
            (Codec::H264, 9) | (Codec::H265, 35) => Self::Delimiter,
            (Codec::H264, 6) | (Codec::H265, 39) => Self::Supplement,
            (Codec::H264, 14 | 15 | 20 | 21) => Self::Layer,
            _ => Self::Other,
        }
    }

    /// Whether the unit carries a part of a picture.
    pub const fn is_slice(self) -> bool {
        matches!(self, Self::StartingSlice | Self::Slice)
    }

    /// Whether the unit may only precede a picture's first slice: after it, the unit begins the
    /// next access unit (H.264 §7.4.1.2.3, H.265 §7.4.2.4.4).
    pub const fn leads(self) -> bool {
        matches!(
            self,
            Self::VideoParameters
                | Self::SequenceParameters
                | Self::PictureParameters
                | Self::Delimiter
        )
    }
}

/// The type in the first byte of a unit's header; 0 for codecs without NAL units.
const fn unit_type(codec: Codec, header: u8) -> u8 {
    match codec {
        Codec::H264 => header & 0x1f,
        Codec::H265 => header >> 1 & 0x3f,
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus => 0,
    }
}

/// The first byte of a unit's header with the type of filler data, which decoders skip. `None` for
/// codecs without NAL units.
pub const fn as_filler(codec: Codec, header: u8) -> Option<u8> {
    match codec {
        Codec::H264 => Some(header & 0xe0 | 0x0c),
        Codec::H265 => Some(header & 0x81 | 0x26 << 1),
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus => None,
    }
}

/// Length of a unit's header in bytes; 0 for codecs without NAL units.
pub const fn header_bytes(codec: Codec) -> usize {
    match codec {
        Codec::H264 => 1,
        Codec::H265 => 2,
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus => 0,
    }
}

/// Whether a slice is the first of its picture, from the bytes after its header: the first bit is
/// `first_mb_in_slice` 0 (H.264 §7.3.3) or `first_slice_segment_in_pic_flag` (H.265 §7.3.6.1).
pub fn begins_picture(slice: &[u8]) -> bool {
    slice.first().is_some_and(|byte| byte & 0x80 != 0)
}

/// What separates the units of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separation {
    /// Each follows a start code (H.264 annex B).
    StartCodes,
    /// Each follows its length in four bytes (ISO/IEC 14496-15, as parsers make it).
    Lengths,
}

impl Separation {
    /// How the units of this frame are separated: by lengths, if these lead from unit to unit
    /// exactly to the end.
    pub fn of(frame: &[u8]) -> Self {
        let mut rest = frame;
        while let Some((_, tail)) = first_behind_length(rest) {
            rest = tail;
        }
        if rest.is_empty() && !frame.is_empty() {
            Self::Lengths
        } else {
            Self::StartCodes
        }
    }

    /// The units of a frame, in order. After start codes, a unit extends to the end of the frame:
    /// finding its own end would mean looking at every byte of the picture.
    pub fn units(self, frame: &[u8]) -> impl Iterator<Item = &[u8]> {
        let (mut prefixed, coded): (&[u8], &[u8]) = match self {
            Self::Lengths => (frame, &[]),
            Self::StartCodes => (&[], frame),
        };
        let behind_lengths = std::iter::from_fn(move || {
            let (unit, tail) = first_behind_length(prefixed)?;
            prefixed = tail;
            Some(unit)
        });
        let behind_codes = coded
            .windows(3)
            .enumerate()
            .filter_map(move |(at, window)| {
                let unit = coded.get(at + 3..)?;
                (window == [0, 0, 1] && !unit.is_empty()).then_some(unit)
            });
        behind_lengths.chain(behind_codes)
    }
}

/// The first unit, which is not empty, and what follows it.
fn first_behind_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (unit, tail) = rest.split_at_checked(length)?;
    (!unit.is_empty()).then_some((unit, tail))
}

/// What an RTP payload carries (RFC 6184 §5.2 with packetization mode 1, RFC 7798 §4.4).
#[derive(Debug)]
pub enum Payload<'a> {
    /// Whole units.
    Units(PayloadUnits<'a>),
    /// A part of one unit.
    Fragment(UnitFragment<'a>),
}

/// Types of RTP payloads with several units (RFC 6184 §5.7.1, RFC 7798 §4.4.2).
const STAP_A: u8 = 24;
const AP: u8 = 48;
/// Types of RTP payloads with a part of a unit (RFC 6184 §5.8, RFC 7798 §4.4.3).
const FU_A: u8 = 28;
const FU: u8 = 49;

/// Whether an RTP payload is of a kind that packetization mode 1 of H.264, or H.265, carries.
pub fn is_carried(codec: Codec, payload: &[u8]) -> bool {
    let Some(&header) = payload.first() else {
        return false;
    };
    let carried = match (codec, unit_type(codec, header)) {
        (Codec::H264, FU_A) | (Codec::H265, FU) => {
            matches!(Payload::read(codec, payload), Payload::Fragment(_))
        }
        (Codec::H264, payload_type) => (1..=STAP_A).contains(&payload_type),
        (_, payload_type) => payload_type <= AP,
    };
    carried && payload.len() >= header_bytes(codec)
}

/// Length of the longest header that [`write_fragment_header`] writes.
pub const FRAGMENT_HEADER_BYTES_MAX: usize = 3;

/// Appends what stands in front of a part of the unit with this header, in an RTP payload.
pub fn write_fragment_header(
    codec: Codec,
    unit_header: &[u8],
    begins: bool,
    ends: bool,
    out: &mut Vec<u8>,
) {
    let position = u8::from(begins) << 7 | u8::from(ends) << 6;
    match (codec, unit_header) {
        (Codec::H264, &[header]) => {
            out.extend([header & 0xe0 | FU_A, position | unit_type(codec, header)]);
        }
        (Codec::H265, &[first, second]) => out.extend([
            first & 0x81 | FU << 1,
            second,
            position | unit_type(codec, first),
        ]),
        _ => {}
    }
}

impl<'a> Payload<'a> {
    /// The content of the payload. For codecs without NAL units, one unit of unknown kind.
    pub fn read(codec: Codec, payload: &'a [u8]) -> Self {
        let units = |behind| {
            Self::Units(PayloadUnits {
                payload,
                aggregated: behind > 0,
                next: behind,
            })
        };
        let payload_type = payload
            .first()
            .map_or(0, |&header| unit_type(codec, header));
        match (codec, payload_type, payload) {
            (Codec::H264, STAP_A, _) | (Codec::H265, AP, _) => units(header_bytes(codec)),
            (Codec::H264, FU_A, &[indicator, header, ref body @ ..]) => {
                let unit_type = header & 0x1f;
                Self::Fragment(UnitFragment {
                    kind: UnitKind::of_type(codec, unit_type),
                    header: [indicator & 0xe0 | unit_type, 0],
                    header_bytes: 1,
                    begins: header & 0x80 != 0,
                    ends: header & 0x40 != 0,
                    body,
                })
            }
            (Codec::H265, FU, &[first, second, header, ref body @ ..]) => {
                let unit_type = header & 0x3f;
                Self::Fragment(UnitFragment {
                    kind: UnitKind::of_type(codec, unit_type),
                    header: [first & 0x81 | unit_type << 1, second],
                    header_bytes: 2,
                    begins: header & 0x80 != 0,
                    ends: header & 0x40 != 0,
                    body,
                })
            }
            _ => units(0),
        }
    }
}

/// The kind of the first slice in a payload, whole or a fragment.
pub fn first_slice(codec: Codec, payload: &[u8]) -> Option<UnitKind> {
    let mut kinds = match Payload::read(codec, payload) {
        Payload::Fragment(fragment) => return Some(fragment.kind).filter(|kind| kind.is_slice()),
        Payload::Units(units) => units
            .filter_map(|range| payload.get(range))
            .map(|unit| UnitKind::of(codec, unit)),
    };
    kinds.find(|kind| kind.is_slice())
}

/// The whole units of an RTP payload, and where each lies in it.
#[derive(Debug)]
pub struct PayloadUnits<'a> {
    payload: &'a [u8],
    /// Each follows its length in two bytes.
    aggregated: bool,
    next: usize,
}

impl PayloadUnits<'_> {
    /// Whether everything has been read; false if a length leads beyond the end.
    pub const fn is_exhausted(&self) -> bool {
        self.next == self.payload.len()
    }
}

impl Iterator for PayloadUnits<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let rest = self.payload.get(self.next..)?;
        let unit = if self.aggregated {
            let length = usize::from(u16::from_be_bytes(*rest.first_chunk::<2>()?));
            let start = self.next + 2;
            start..start + length
        } else {
            self.next..self.payload.len()
        };
        if unit.end > self.payload.len() || unit.is_empty() && !self.aggregated {
            return None;
        }
        self.next = unit.end;
        Some(unit)
    }
}

/// A part of a NAL unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitFragment<'a> {
    /// The kind of the whole unit.
    pub kind: UnitKind,
    header: [u8; 2],
    header_bytes: usize,
    /// The first part.
    pub begins: bool,
    /// The last part.
    pub ends: bool,
    /// The bytes of this part, without the unit's header.
    pub body: &'a [u8],
}

impl<'a> UnitFragment<'a> {
    /// A whole unit as one part; `None` for codecs without NAL units, or if the header is cut short.
    pub fn whole(codec: Codec, unit: &'a [u8]) -> Option<Self> {
        let (header, body) = match codec {
            Codec::H264 => unit
                .split_first()
                .map(|(&first, body)| ([first, 0], body))?,
            Codec::H265 => unit
                .split_first_chunk::<2>()
                .map(|(&header, body)| (header, body))?,
            Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus => return None,
        };
        Some(Self {
            kind: UnitKind::of(codec, unit),
            header,
            header_bytes: header_bytes(codec),
            begins: true,
            ends: true,
            body,
        })
    }

    /// The header of the whole unit.
    pub fn header(&self) -> &[u8] {
        self.header.get(..self.header_bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(codec: Codec, separation: Separation, frame: &[u8]) -> Vec<UnitKind> {
        separation
            .units(frame)
            .map(|unit| UnitKind::of(codec, unit))
            .collect()
    }

    #[test]
    fn units_behind_start_codes_and_lengths() {
        use UnitKind::{PictureParameters, SequenceParameters, Slice, StartingSlice};
        let coded = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x65, 9];
        assert_eq!(Separation::of(&coded), Separation::StartCodes);
        let expected = [SequenceParameters, PictureParameters, StartingSlice];
        assert_eq!(kinds(Codec::H264, Separation::StartCodes, &coded), expected);
        let lengths = [
            0, 0, 0, 2, 0x67, 1, 0, 0, 0, 1, 0x68, 0, 0, 0, 3, 0x65, 0, 9,
        ];
        assert_eq!(Separation::of(&lengths), Separation::Lengths);
        assert_eq!(kinds(Codec::H264, Separation::Lengths, &lengths), expected);
        // 0x145 bytes: a length that looks like a start code and a header
        let long = [&[0, 0, 1, 0x45, 0x41][..], &[7; 0x144]].concat();
        assert_eq!(Separation::of(&long), Separation::Lengths);
        assert_eq!(kinds(Codec::H264, Separation::Lengths, &long), [Slice]);
        let beyond = [0, 0, 0, 9, 0x65];
        assert_eq!(kinds(Codec::H264, Separation::Lengths, &beyond), []);
        assert_eq!(Separation::of(&[]), Separation::StartCodes);
        assert_eq!(kinds(Codec::H264, Separation::StartCodes, &[0, 0, 1]), []);
    }

    #[test]
    fn kinds_of_both_codecs() {
        use UnitKind::{Delimiter, Other, Slice, StartingSlice, Supplement, VideoParameters};
        for (codec, header, kind) in [
            (Codec::H264, 0x41, Slice),
            (Codec::H264, 0x65, StartingSlice),
            (Codec::H264, 6, Supplement),
            (Codec::H264, 9, Delimiter),
            (Codec::H264, 0x0c, Other),
            (Codec::H265, 0x02, Slice),
            (Codec::H265, 0x26, StartingSlice),
            (Codec::H265, 0x40, VideoParameters),
            (Codec::H265, 0x4e, Supplement),
            (Codec::H265, 0x4c, Other),
            (Codec::Vp8, 0x65, Other),
        ] {
            assert_eq!(
                UnitKind::of(codec, &[header, 1]),
                kind,
                "{codec} {header:#x}"
            );
        }
        assert_eq!(UnitKind::of(Codec::H264, &[]), Other);
        let filler = |codec, header| UnitKind::of(codec, &[as_filler(codec, header).unwrap()]);
        assert_eq!(filler(Codec::H264, 0x67), Other);
        assert_eq!(filler(Codec::H265, 0x40), Other);
        assert_eq!(as_filler(Codec::Vp9, 0), None);
    }

    /// SPS, PPS and a slice in one packet.
    const STAP: &[u8] = &[0x78, 0, 3, 0x67, 0, 0, 0, 2, 0x68, 0, 0, 2, 0x65, 0];

    #[test]
    fn aggregation_packets_are_taken_apart() {
        let Payload::Units(mut units) = Payload::read(Codec::H264, STAP) else {
            panic!("no units");
        };
        assert_eq!(units.by_ref().collect::<Vec<_>>(), [3..6, 8..10, 12..14]);
        assert!(units.is_exhausted());
        let h265 = [96, 1, 0, 3, 64, 1, 0, 0, 3, 38, 1, 0];
        assert_eq!(
            first_slice(Codec::H265, &h265),
            Some(UnitKind::StartingSlice)
        );
        for length in 0..STAP.len() {
            let cut = &STAP[..length];
            if let Payload::Units(mut units) = Payload::read(Codec::H264, cut) {
                assert!(units.by_ref().all(|range| range.end <= length));
                assert_eq!(
                    units.is_exhausted(),
                    [0, 1, 6, 10].contains(&length),
                    "{length}"
                );
            }
        }
        assert_eq!(first_slice(Codec::H264, &[0x78, 0xff, 0xff, 0x65]), None);
    }

    #[test]
    fn fragments_name_their_unit() {
        let Payload::Fragment(first) = Payload::read(Codec::H264, &[0x7c, 0x85, 1, 2]) else {
            panic!("no fragment");
        };
        assert_eq!(
            (first.begins, first.ends, first.kind),
            (true, false, UnitKind::StartingSlice)
        );
        assert_eq!((first.header(), first.body), (&[0x65][..], &[1, 2][..]));
        let Payload::Fragment(last) = Payload::read(Codec::H265, &[98, 1, 0x53, 3]) else {
            panic!("no fragment");
        };
        assert_eq!(
            (last.begins, last.ends, last.kind),
            (false, true, UnitKind::StartingSlice)
        );
        assert_eq!((last.header(), last.body), (&[38, 1][..], &[3][..]));
        assert_eq!(
            first_slice(Codec::H264, &[0x7c, 0x87]),
            None,
            "a parameter set in parts"
        );
        assert_eq!(first_slice(Codec::H264, &[0x7c]), None, "cut short");
    }

    #[test]
    fn fragment_headers_are_read_as_they_were_written() {
        for (codec, header) in [(Codec::H264, &[0x65][..]), (Codec::H265, &[38, 1])] {
            for (begins, ends) in [(true, false), (false, false), (false, true)] {
                let mut payload = Vec::new();
                write_fragment_header(codec, header, begins, ends, &mut payload);
                assert!(payload.len() <= FRAGMENT_HEADER_BYTES_MAX);
                payload.push(9);
                assert!(is_carried(codec, &payload));
                let Payload::Fragment(fragment) = Payload::read(codec, &payload) else {
                    panic!("no fragment");
                };
                assert_eq!((fragment.begins, fragment.ends), (begins, ends));
                assert_eq!((fragment.header(), fragment.body), (header, &[9][..]));
            }
        }
    }
}
