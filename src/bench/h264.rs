//! Proof from H264 payloads (RFC 6184) that a viewer can start decoding, and the tag by which a
//! frame is recognised on the viewers' side of the server.

use crate::media::{
    Codec,
    nal::{Payload, UnitKind},
};

/// How many of a frame's last bytes make up its tag. They are entropy-coded picture data, so two
/// frames hardly ever share them; clips are checked for it.
const TAG_BYTES: usize = 8;

/// What is known about a frame once its last packet has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrameEnd {
    /// Parameter sets and a whole IDR picture came without a gap: a decoder can start.
    pub(super) keyframe: bool,
    /// See [`tag`].
    pub(super) tag: Option<u64>,
}

/// The tag of a frame, from its last RTP payload: the last bytes of the picture. A server that
/// passes frames through keeps them, however it cuts the frame into packets. `None` if the payload
/// is too short.
pub(super) fn tag(last_payload: &[u8]) -> Option<u64> {
    // A fragment unit begins with two bytes of its own.
    let picture = last_payload.get(2..)?;
    Some(u64::from_be_bytes(*picture.last_chunk::<TAG_BYTES>()?))
}

/// The RTP payloads of one frame as a byte stream with start codes (H.264 annex B).
pub(super) fn byte_stream(payloads: &[impl AsRef<[u8]>]) -> Vec<u8> {
    const START_CODE: [u8; 4] = [0, 0, 0, 1];
    let mut bytes = Vec::new();
    for payload in payloads {
        let payload = payload.as_ref();
        match Payload::read(Codec::H264, payload) {
            Payload::Fragment(fragment) => {
                if fragment.begins {
                    bytes.extend(START_CODE);
                    bytes.extend(fragment.header());
                }
                bytes.extend(fragment.body);
            }
            Payload::Units(units) => {
                for unit in units.filter_map(|range| payload.get(range)) {
                    bytes.extend(START_CODE);
                    bytes.extend(unit);
                }
            }
        }
    }
    bytes
}

/// Follows the packets of one video stream.
#[derive(Debug, Default)]
pub(super) struct FrameChecker {
    timestamp: Option<u32>,
    next_sequence: u64,
    gap: bool,
    parameter_sets: ParameterSets,
    idr: Idr,
}

#[derive(Debug, Default)]
struct ParameterSets {
    sequence: bool,
    picture: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Idr {
    #[default]
    None,
    /// The first fragment has arrived, but not the last.
    Begun,
    Whole,
}

impl FrameChecker {
    /// Takes the next packet; returns the frame's end if it is the last of its frame.
    pub(super) fn push(
        &mut self,
        sequence: u64,
        timestamp: u32,
        last: bool,
        payload: &[u8],
    ) -> Option<FrameEnd> {
        if self.timestamp != Some(timestamp) {
            *self = Self {
                timestamp: Some(timestamp),
                ..Self::default()
            };
        } else if sequence != self.next_sequence {
            self.gap = true;
        }
        self.next_sequence = sequence + 1;
        self.payload(payload);
        last.then(|| FrameEnd {
            keyframe: !self.gap
                && self.parameter_sets.sequence
                && self.parameter_sets.picture
                && self.idr == Idr::Whole,
            tag: tag(payload),
        })
    }

    fn payload(&mut self, payload: &[u8]) {
        match Payload::read(Codec::H264, payload) {
            Payload::Fragment(part) => {
                if part.kind == UnitKind::StartingSlice && (part.begins || self.idr == Idr::Begun) {
                    self.idr = if part.ends { Idr::Whole } else { Idr::Begun };
                }
            }
            Payload::Units(mut units) => {
                for unit in units.by_ref().filter_map(|range| payload.get(range)) {
                    self.unit(unit);
                }
                self.gap |= !units.is_exhausted();
            }
        }
    }

    fn unit(&mut self, unit: &[u8]) {
        match UnitKind::of(Codec::H264, unit) {
            UnitKind::SequenceParameters => self.parameter_sets.sequence = true,
            UnitKind::PictureParameters => self.parameter_sets.picture = true,
            UnitKind::StartingSlice => self.idr = Idr::Whole,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETER_SETS: &[u8] = &[24, 0, 2, 0x67, 1, 0, 2, 0x68, 2];
    const IDR_START: &[u8] = &[0x7c, 0x85, 1, 2, 3];
    const IDR_END: &[u8] = &[0x7c, 0x45, 1, 2, 3, 4, 5, 6, 7, 8, 9];

    #[test]
    fn a_whole_fragmented_keyframe_counts() {
        let mut frames = FrameChecker::default();
        assert_eq!(frames.push(1, 90, false, PARAMETER_SETS), None);
        assert_eq!(frames.push(2, 90, false, IDR_START), None);
        let end = frames.push(3, 90, true, IDR_END);
        assert_eq!(
            end,
            Some(FrameEnd {
                keyframe: true,
                tag: Some(0x0203_0405_0607_0809)
            })
        );
    }

    #[test]
    fn a_keyframe_with_a_gap_does_not_count() {
        let mut frames = FrameChecker::default();
        frames.push(1, 90, false, PARAMETER_SETS);
        frames.push(2, 90, false, IDR_START);
        let end = frames.push(4, 90, true, IDR_END);
        assert_eq!(end.map(|end| end.keyframe), Some(false));
    }

    #[test]
    fn a_keyframe_needs_its_start_and_its_parameter_sets() {
        let mut frames = FrameChecker::default();
        frames.push(1, 90, false, PARAMETER_SETS);
        assert_eq!(
            frames.push(2, 90, true, IDR_END).map(|end| end.keyframe),
            Some(false)
        );
        frames.push(3, 180, false, IDR_START);
        assert_eq!(
            frames.push(4, 180, true, IDR_END).map(|end| end.keyframe),
            Some(false)
        );
    }

    #[test]
    fn payloads_become_a_byte_stream() {
        let idr = [0, 0, 0, 1, 0x65, 1, 2, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9];
        let parameters = [0, 0, 0, 1, 0x67, 1, 0, 0, 0, 1, 0x68, 2];
        let single = [0x41, 7];
        let stream = byte_stream(&[PARAMETER_SETS, IDR_START, IDR_END, &single]);
        assert_eq!(
            stream,
            [&parameters[..], &idr, &[0, 0, 0, 1, 0x41, 7]].concat()
        );
    }

    #[test]
    fn a_frame_keeps_its_tag_however_it_is_cut() {
        let whole = [0x41, 9, 9, 1, 2, 3, 4, 5, 6, 7, 8];
        let fragment = [0x5c, 0x41, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(tag(&whole), tag(&fragment));
        assert_eq!(tag(&fragment[3..]), None);
    }
}
