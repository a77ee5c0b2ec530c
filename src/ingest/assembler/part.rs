//! What one payload carries of a picture.

use crate::media::{
    Codec,
    nal::{self, Payload, UnitKind},
    obu::Av1Payload,
    vp8::Vp8Descriptor,
    vp9::Vp9Descriptor,
};

/// Which piece of a picture it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The first one.
    Beginning,
    /// It can be the first one, or not.
    Unit,
    /// Something precedes it.
    Rest,
}

/// A payload, as far as it matters for framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PicturePart {
    /// The piece of a picture in it; `None` for parameter sets, supplements and the like.
    pub(super) piece: Option<Piece>,
    /// A slice, or a frame of a layer, ends with it for certain.
    pub(super) ends_unit: bool,
    /// A marker on it can be right.
    pub(super) may_end: bool,
}

impl PicturePart {
    /// Reads a payload; `None` if it cannot be carried.
    pub(super) fn read(codec: Codec, payload: &[u8]) -> Option<Self> {
        match codec {
            Codec::H264 | Codec::H265 => of_units(codec, payload),
            Codec::Vp8 => {
                let descriptor = Vp8Descriptor::read(payload)?;
                let piece = if descriptor.begins_frame() {
                    Piece::Beginning
                } else {
                    Piece::Rest
                };
                (descriptor.bytes < payload.len()).then(|| Self::of_picture(piece))
            }
            Codec::Vp9 => {
                let descriptor = Vp9Descriptor::read(payload)?;
                let piece = match (descriptor.begins_picture(), descriptor.begins) {
                    (true, _) => Piece::Beginning,
                    (false, true) => Piece::Unit,
                    (false, false) => Piece::Rest,
                };
                (descriptor.bytes < payload.len()).then(|| Self::of_picture(piece))
            }
            Codec::Av1 => {
                let read = Av1Payload::read(payload)?;
                let piece = if read.continues() {
                    Piece::Rest
                } else {
                    Piece::Unit
                };
                read.elements().next().map(|_| Self::of_picture(piece))
            }
            Codec::Opus => Some(Self::of_picture(Piece::Beginning)),
        }
    }

    const fn of_picture(piece: Piece) -> Self {
        Self {
            piece: Some(piece),
            ends_unit: true,
            may_end: true,
        }
    }
}

fn of_units(codec: Codec, payload: &[u8]) -> Option<PicturePart> {
    if !nal::is_carried(codec, payload) {
        return None;
    }
    let piece_of = |begins: bool| {
        if begins {
            Piece::Beginning
        } else {
            Piece::Rest
        }
    };
    match Payload::read(codec, payload) {
        Payload::Fragment(fragment) => {
            let begins = fragment.begins && nal::begins_picture(fragment.body);
            let is_slice = fragment.kind.is_slice();
            Some(PicturePart {
                piece: is_slice.then(|| piece_of(begins)),
                ends_unit: is_slice && fragment.ends,
                may_end: is_slice,
            })
        }
        Payload::Units(units) => {
            let mut part = PicturePart {
                piece: None,
                ends_unit: false,
                may_end: true,
            };
            let mut count = 0;
            for unit in units.filter_map(|range| payload.get(range)) {
                let kind = UnitKind::of(codec, unit);
                count += usize::from(!unit.is_empty());
                if kind.is_slice() {
                    let body = unit.get(nal::header_bytes(codec)..).unwrap_or_default();
                    let piece = piece_of(nal::begins_picture(body));
                    part.piece.get_or_insert(piece);
                    part.ends_unit = true;
                } else if kind.leads() || kind == UnitKind::Supplement {
                    part.may_end = false;
                }
            }
            part.may_end |= part.ends_unit;
            (count > 0).then_some(part)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_picture() {
        use Piece::{Beginning, Rest, Unit};
        let slice = |first: u8| [0x41, first, 0];
        for (codec, payload, piece) in [
            (Codec::H264, &slice(0x80)[..], Some(Beginning)),
            (Codec::H264, &slice(0x40), Some(Rest)),
            (Codec::H264, &[0x7c, 0x85, 0x80], Some(Beginning)),
            (Codec::H264, &[0x7c, 0x05, 0x80], Some(Rest)),
            (Codec::H264, &[0x67, 1], None),
            (
                Codec::H264,
                &[0x78, 0, 2, 0x67, 1, 0, 2, 0x65, 0x80],
                Some(Beginning),
            ),
            (Codec::H265, &[98, 1, 0x93, 0x80], Some(Beginning)),
            (Codec::H265, &[38, 1, 0x80], Some(Beginning)),
            (Codec::H265, &[64, 1, 0x80], None),
            (Codec::Vp8, &[0x10, 0], Some(Beginning)),
            (Codec::Vp8, &[0x11, 0], Some(Rest)),
            (Codec::Vp9, &[0x88, 1, 0x82], Some(Beginning)),
            (Codec::Vp9, &[0xa8, 1, 0x02, 9, 0x82], Some(Unit)),
            (Codec::Vp9, &[0x80, 1, 0x82], Some(Rest)),
            (Codec::Av1, &[0x10, 0x30], Some(Unit)),
            (Codec::Av1, &[0x90, 0x30], Some(Rest)),
        ] {
            let part = PicturePart::read(codec, payload).unwrap();
            assert_eq!(part.piece, piece, "{codec} {payload:?}");
        }
    }

    #[test]
    fn units_that_cannot_be_carried_are_refused() {
        for (codec, payload) in [
            (Codec::H264, &[0x79, 0, 1, 2][..]), // STAP-B
            (Codec::H264, &[0x00, 1]),
            (Codec::H264, &[0x78, 0, 9, 0x65]),
            (Codec::H264, &[0x7c]),
            (Codec::H265, &[0x64, 1, 1]), // PACI
            (Codec::H265, &[0x26]),
            (Codec::Vp8, &[0x10]),
            (Codec::Vp9, &[0x88, 1]),
            (Codec::Av1, &[0x10]),
            (Codec::Av1, &[0x00, 9, 1]),
        ] {
            assert_eq!(
                PicturePart::read(codec, payload),
                None,
                "{codec} {payload:?}"
            );
        }
    }

    #[test]
    fn where_a_marker_can_be_right() {
        let may_end = |payload: &[u8]| PicturePart::read(Codec::H264, payload).unwrap().may_end;
        assert!(may_end(&[0x65, 0x80]) && may_end(&[0x7c, 0x45, 0]));
        assert!(may_end(&[0x0c, 0xff]), "filler data");
        assert!(!may_end(&[0x67, 1]) && !may_end(&[0x06, 5]) && !may_end(&[0x09, 0x10]));
    }
}
