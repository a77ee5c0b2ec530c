//! As much of the H264 payload format (RFC 6184) as proves that a viewer could start decoding,
//! and the name that a frame keeps on its way through the server.

/// Last bytes of a frame that make its name, in bytes. They are entropy-coded picture data, so
/// two frames with the same ones are as good as impossible; a clip is checked for it.
const TAG_BYTES: usize = 8;

const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// A frame that has just ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FrameEnd {
    /// Parameter sets and a whole IDR picture came without a gap: a decoder can start.
    pub(super) keyframe: bool,
    /// See [`tag`].
    pub(super) tag: Option<u64>,
}

/// The name of a frame, from its last RTP payload: the last bytes of the picture, which no server
/// changes that passes frames through, however it cuts them into packets. `None` if the payload
/// is too short to tell.
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
        match payload.as_ref() {
            [indicator, header, fragment @ ..] if indicator & 0x1f == FU_A => {
                if header & 0x80 != 0 {
                    bytes.extend(START_CODE);
                    bytes.push(indicator & 0xe0 | header & 0x1f);
                }
                bytes.extend(fragment);
            }
            [indicator, units @ ..] if indicator & 0x1f == STAP_A => {
                for unit in aggregated(units) {
                    bytes.extend(START_CODE);
                    bytes.extend(unit);
                }
            }
            unit => {
                bytes.extend(START_CODE);
                bytes.extend(unit);
            }
        }
    }
    bytes
}

/// The NAL units of an aggregation packet, each behind its size.
fn aggregated(mut units: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (size, rest) = units.split_first_chunk()?;
        let (unit, after) = rest.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        units = after;
        Some(unit)
    })
}

/// Follows the packets of one video stream.
#[derive(Debug, Default)]
pub(super) struct Frames {
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
    /// The first fragment has come, not the last.
    Begun,
    Whole,
}

impl Frames {
    /// Takes the next packet; answers when it is the last of its frame.
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
        match payload {
            [indicator, header, ..] if indicator & 0x1f == FU_A => {
                let (begins, ends) = (header & 0x80 != 0, header & 0x40 != 0);
                if header & 0x1f == NAL_IDR && (begins || self.idr == Idr::Begun) {
                    self.idr = if ends { Idr::Whole } else { Idr::Begun };
                }
            }
            [indicator, units @ ..] if indicator & 0x1f == STAP_A => {
                let mut units = units;
                while let [high, low, rest @ ..] = units {
                    let size = usize::from(u16::from_be_bytes([*high, *low]));
                    let Some((unit, after)) = rest.split_at_checked(size) else {
                        self.gap = true;
                        break;
                    };
                    self.unit(unit.first());
                    units = after;
                }
            }
            _ => self.unit(payload.first()),
        }
    }

    fn unit(&mut self, header: Option<&u8>) {
        match header.map(|header| header & 0x1f) {
            Some(NAL_SPS) => self.parameter_sets.sequence = true,
            Some(NAL_PPS) => self.parameter_sets.picture = true,
            Some(NAL_IDR) => self.idr = Idr::Whole,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMETER_SETS: &[u8] = &[STAP_A, 0, 2, 0x67, 1, 0, 2, 0x68, 2];
    const IDR_START: &[u8] = &[0x7c, 0x85, 1, 2, 3];
    const IDR_END: &[u8] = &[0x7c, 0x45, 1, 2, 3, 4, 5, 6, 7, 8, 9];

    #[test]
    fn a_whole_fragmented_keyframe_counts() {
        let mut frames = Frames::default();
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
        let mut frames = Frames::default();
        frames.push(1, 90, false, PARAMETER_SETS);
        frames.push(2, 90, false, IDR_START);
        let end = frames.push(4, 90, true, IDR_END);
        assert_eq!(end.map(|end| end.keyframe), Some(false));
    }

    #[test]
    fn a_keyframe_needs_its_start_and_its_parameter_sets() {
        let mut frames = Frames::default();
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
