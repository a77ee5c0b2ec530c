//! RTP packets of H.264 and H.265: what some publishers put in the wrong place.

use gst::prelude::*;
use gstreamer as gst;

use crate::media::Codec;

/// Length of the fixed RTP header in bytes. Packets with more of a header are left alone.
const HEADER: usize = 12;

/// Makes parameter sets and delimiters that stand between the slices of a picture harmless, in
/// every RTP packet that passes `pad`.
///
/// `rtph264pay config-interval=-1` (GStreamer 1.22) repeats the parameter sets before each slice
/// of an IDR picture. They begin a new access unit there (H.264 §7.4.1.2.3), so that the picture
/// falls apart: a viewer who starts at the second half sees half of it. They become filler data,
/// not nothing: a gap in sequence numbers would look like a loss.
pub(super) fn tidy_pad(pad: &gst::Pad, codec: Codec) {
    let mut tidy = Tidy {
        codec,
        timestamp: 0,
        slice_seen: false,
    };
    let state = std::sync::Mutex::new(move |packet: &gst::BufferRef| tidy.replacement(packet));
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |_, info| {
        // Never contended: a pad has one streaming thread. Never poisoned: nothing in it panics.
        let Ok(mut replacement) = state.lock() else {
            return gst::PadProbeReturn::Ok;
        };
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                if let Some(byte) = replacement(buffer) {
                    overwrite(buffer.make_mut(), byte);
                }
            }
            Some(gst::PadProbeData::BufferList(list)) => {
                let found: Vec<_> = list.iter().map(&mut *replacement).collect();
                for (index, byte) in (0..).zip(found) {
                    if let Some(byte) = byte
                        && let Some(buffer) = list.make_mut().get_mut(index)
                    {
                        overwrite(buffer, byte);
                    }
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

fn overwrite(buffer: &mut gst::BufferRef, byte: u8) {
    if let Ok(mut map) = buffer.map_writable()
        && let Some(header) = map.get_mut(HEADER)
    {
        *header = byte;
    }
}

struct Tidy {
    codec: Codec,
    /// RTP timestamp of the picture.
    timestamp: u32,
    slice_seen: bool,
}

/// Looks at packets as [`tidy_pad`] does.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn look(codec: Codec, packets: &[gst::Buffer]) {
    let mut tidy = Tidy {
        codec,
        timestamp: 0,
        slice_seen: false,
    };
    for packet in packets {
        tidy.replacement(packet);
    }
}

/// What a packet carries, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nal {
    /// A coded slice, or a part of one.
    Slice,
    /// A single parameter set or delimiter: it may only stand before the first slice.
    Leading,
    Other,
}

impl Tidy {
    /// The first payload byte to write instead of what is there, if this packet is out of place.
    fn replacement(&mut self, packet: &gst::BufferRef) -> Option<u8> {
        let mut start = [0; HEADER + 3];
        if packet.size() < start.len() {
            return None; // `copy_to_slice` would panic
        }
        packet.copy_to_slice(0, &mut start).ok()?;
        self.look(start)
    }

    fn look(&mut self, start: [u8; HEADER + 3]) -> Option<u8> {
        let [
            flags,
            _,
            _,
            _,
            t0,
            t1,
            t2,
            t3,
            _,
            _,
            _,
            _,
            first,
            second,
            third,
        ] = start;
        if flags & 0x1f != 0 {
            return None; // contributing sources or an extension: nobody does both
        }
        let timestamp = u32::from_be_bytes([t0, t1, t2, t3]);
        if timestamp != self.timestamp {
            self.timestamp = timestamp;
            self.slice_seen = false;
        }
        match kind(self.codec, [first, second, third]) {
            Nal::Slice => self.slice_seen = true,
            Nal::Leading if self.slice_seen => return filler(self.codec, first),
            Nal::Leading | Nal::Other => {}
        }
        None
    }
}

/// H.264: RFC 6184 §5.2 and H.264 table 7-1. H.265: RFC 7798 §4.4 and H.265 table 7-1.
fn kind(codec: Codec, payload: [u8; 3]) -> Nal {
    const FU_A: u8 = 28;
    const FU: u8 = 49;
    let [first, second, third] = payload;
    match codec {
        Codec::H264 => match (first & 0x1f, second & 0x1f) {
            (1..=5, _) | (FU_A, 1..=5) => Nal::Slice,
            (7..=9, _) => Nal::Leading,
            _ => Nal::Other,
        },
        Codec::H265 => match (first >> 1 & 0x3f, third & 0x3f) {
            (0..=31, _) | (FU, 0..=31) => Nal::Slice,
            (32..=35, _) => Nal::Leading,
            _ => Nal::Other,
        },
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus => Nal::Other,
    }
}

/// The NAL unit header with the type of filler data.
fn filler(codec: Codec, header: u8) -> Option<u8> {
    match codec {
        Codec::H264 => Some(header & 0xe0 | 0x0c),
        Codec::H265 => Some(header & 0x81 | 0x4c),
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tidied(codec: Codec, packets: &[(u8, [u8; 3])]) -> Vec<Option<u8>> {
        let mut tidy = Tidy {
            codec,
            timestamp: 0,
            slice_seen: false,
        };
        packets
            .iter()
            .map(|(timestamp, [a, b, c])| {
                tidy.look([0x80, 96, 0, 1, 0, 0, 0, *timestamp, 0, 0, 0, 1, *a, *b, *c])
            })
            .collect()
    }

    #[test]
    fn parameter_sets_between_slices_become_filler() {
        let (sps, pps, sei) = ([0x67, 0, 0], [0x68, 0, 0], [6, 0, 0]);
        let (idr, part) = ([0x65, 0, 0], [0x7c, 0x85, 0]);
        let picture = [
            (1, sps),
            (1, pps),
            (1, sei),
            (1, sps),
            (1, idr),
            (1, sps),
            (1, pps),
        ];
        let next = [(1, part), (2, sps), (2, part)];
        let result = tidied(Codec::H264, &[&picture[..], &next[..]].concat());
        let mut expected = vec![None; 10];
        expected[5] = Some(0x6c);
        expected[6] = Some(0x6c);
        assert_eq!(result, expected);
    }

    #[test]
    fn h265_likewise() {
        let (vps, slice, part) = ([64, 1, 0], [38, 1, 0], [98, 1, 0x93]);
        let result = tidied(
            Codec::H265,
            &[(1, vps), (1, slice), (1, vps), (2, part), (2, vps)],
        );
        assert_eq!(result, [None, None, Some(76), None, Some(76)]);
        assert_eq!(
            tidied(Codec::Vp8, &[(1, [0x65, 0, 0]), (1, [0x67, 0, 0])]),
            [None, None]
        );
    }
}
