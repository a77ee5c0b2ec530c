//! RTP packets of H.264 and H.265: what some publishers put in the wrong place.

use gst::prelude::*;
use gstreamer as gst;

use crate::media::Codec;

/// Length of the fixed RTP header in bytes.
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
    let state = std::sync::Mutex::new(move |packet: &gst::BufferRef| tidy.buffer(packet));
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |_, info| {
        // Never contended: a pad has one streaming thread. Never poisoned: nothing in it panics.
        let Ok(mut misplaced) = state.lock() else {
            return gst::PadProbeReturn::Ok;
        };
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let headers = misplaced(buffer);
                if !headers.is_empty() {
                    overwrite(buffer.make_mut(), &headers);
                }
            }
            Some(gst::PadProbeData::BufferList(list)) => {
                let found: Vec<_> = list.iter().map(&mut *misplaced).collect();
                for (index, headers) in (0..).zip(found) {
                    if !headers.is_empty()
                        && let Some(buffer) = list.make_mut().get_mut(index)
                    {
                        overwrite(buffer, &headers);
                    }
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// Places in a packet, and what to write there.
type Headers = Vec<(usize, u8)>;

fn overwrite(buffer: &mut gst::BufferRef, headers: &Headers) {
    if let Ok(mut map) = buffer.map_writable() {
        for &(place, byte) in headers {
            if let Some(header) = map.get_mut(place) {
                *header = byte;
            }
        }
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
        tidy.buffer(packet);
    }
}

/// What a NAL unit is, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nal {
    /// A coded slice, or a part of one.
    Slice,
    /// A parameter set or delimiter: it may only stand before the first slice.
    Leading,
    /// Several NAL units, behind so many bytes.
    Several(usize),
    Other,
}

impl Tidy {
    fn buffer(&mut self, buffer: &gst::BufferRef) -> Headers {
        let map = buffer.map_readable();
        map.map_or_else(|_| Headers::new(), |packet| self.look(&packet))
    }

    /// The headers of NAL units that are out of place, as those of filler data.
    fn look(&mut self, packet: &[u8]) -> Headers {
        let mut misplaced = Headers::new();
        let (&[_, _, _, _, t0, t1, t2, t3, ..], Some(start)) = (packet, payload(packet)) else {
            return misplaced;
        };
        let timestamp = u32::from_be_bytes([t0, t1, t2, t3]);
        if timestamp != self.timestamp {
            self.timestamp = timestamp;
            self.slice_seen = false;
        }
        let payload = packet.get(start..).unwrap_or_default();
        let Nal::Several(behind) = kind(self.codec, payload) else {
            self.unit(payload, start, &mut misplaced);
            return misplaced;
        };
        let mut place = start + behind;
        while let Some(&[high, low]) = packet.get(place..place + 2) {
            let (start, length) = (place + 2, usize::from(u16::from_be_bytes([high, low])));
            let Some(unit) = packet.get(start..start + length) else {
                break;
            };
            self.unit(unit, start, &mut misplaced);
            place = start + length;
        }
        misplaced
    }

    fn unit(&mut self, unit: &[u8], place: usize, misplaced: &mut Headers) {
        match kind(self.codec, unit) {
            Nal::Slice => self.slice_seen = true,
            Nal::Leading if self.slice_seen => {
                let header = unit.first().and_then(|&header| filler(self.codec, header));
                misplaced.extend(header.map(|header| (place, header)));
            }
            Nal::Leading | Nal::Several(_) | Nal::Other => {}
        }
    }
}

/// Where an RTP packet's payload begins, behind contributing sources and extension (RFC 3550 §5.1).
fn payload(packet: &[u8]) -> Option<usize> {
    let &flags = packet.first()?;
    let start = HEADER + 4 * usize::from(flags & 0x0f);
    if flags & 0x10 == 0 {
        return Some(start);
    }
    let &[_, _, high, low] = packet.get(start..start + 4)? else {
        return None;
    };
    Some(start + 4 + 4 * usize::from(u16::from_be_bytes([high, low])))
}

/// H.264: RFC 6184 §5.2 and H.264 table 7-1. H.265: RFC 7798 §4.4 and H.265 table 7-1.
fn kind(codec: Codec, payload: &[u8]) -> Nal {
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    const AGGREGATION: u8 = 48;
    const FU: u8 = 49;
    let at = |index| payload.get(index).copied().unwrap_or_default();
    let Some(&header) = payload.first() else {
        return Nal::Other;
    };
    match codec {
        Codec::H264 => match (header & 0x1f, at(1) & 0x1f) {
            (1..=5, _) | (FU_A, 1..=5) => Nal::Slice,
            (7..=9, _) => Nal::Leading,
            (STAP_A, _) => Nal::Several(1),
            _ => Nal::Other,
        },
        Codec::H265 => match (header >> 1 & 0x3f, at(2) & 0x3f) {
            (0..=31, _) | (FU, 0..=31) => Nal::Slice,
            (32..=35, _) => Nal::Leading,
            (AGGREGATION, _) => Nal::Several(2),
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

    /// What becomes of packets with these timestamps and payloads.
    fn tidied(codec: Codec, packets: &[(u8, &[u8])]) -> Vec<Headers> {
        let mut tidy = Tidy {
            codec,
            timestamp: 0,
            slice_seen: false,
        };
        let packets = packets.iter().map(|(timestamp, payload)| {
            let header = [0x80, 96, 0, 1, 0, 0, 0, *timestamp, 0, 0, 0, 1];
            tidy.look(&[&header, *payload].concat())
        });
        packets.collect()
    }

    const SPS: &[u8] = &[0x67, 0, 0];
    const PPS: &[u8] = &[0x68, 0, 0];
    const SEI: &[u8] = &[6, 0, 0];
    const IDR: &[u8] = &[0x65, 0, 0];
    const PART: &[u8] = &[0x7c, 0x85, 0];
    /// SPS, PPS and a slice in one packet.
    const STAP: &[u8] = &[0x78, 0, 3, 0x67, 0, 0, 0, 2, 0x68, 0, 0, 2, 0x65, 0];

    #[test]
    fn parameter_sets_between_slices_become_filler() {
        let payloads = [SPS, PPS, SEI, SPS, IDR, SPS, PPS, PART];
        let mut packets = payloads.map(|payload| (1, payload)).to_vec();
        packets.extend([(2, SPS), (2, PART)]);
        let mut expected = vec![vec![]; 10];
        expected[5] = vec![(12, 0x6c)];
        expected[6] = vec![(12, 0x6c)];
        assert_eq!(tidied(Codec::H264, &packets), expected);
    }

    #[test]
    fn those_in_aggregation_packets_too() {
        let result = tidied(Codec::H264, &[(1, STAP), (1, STAP), (2, STAP)]);
        assert_eq!(result, [vec![], vec![(15, 0x6c), (20, 0x6c)], vec![]]);
        // cut short, empty, and with a length beyond the end
        for length in 0..STAP.len() {
            tidied(Codec::H264, &[(1, IDR), (1, &STAP[..length])]);
        }
        let beyond = [0x78, 0xff, 0xff, 0x67];
        let result = tidied(Codec::H264, &[(1, IDR), (1, &beyond)]);
        assert_eq!(result, [vec![], vec![]]);
    }

    #[test]
    fn a_header_may_be_longer() {
        // one contributing source, one word of extension
        let header = [0x91, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2];
        let header = [&header[..], &[0xbe, 0xde, 0, 1, 0x10, 0x30, 0, 0]].concat();
        let mut tidy = Tidy {
            codec: Codec::H264,
            timestamp: 0,
            slice_seen: false,
        };
        let mut look = |payload: &[u8]| tidy.look(&[&header, payload].concat());
        assert_eq!(look(SPS), []);
        assert_eq!(look(IDR), []);
        assert_eq!(look(SPS), [(24, 0x6c)]);
        for length in 0..header.len() {
            tidy.look(&header[..length]);
        }
    }

    #[test]
    fn h265_likewise() {
        let (vps, slice, part): (&[u8], &[u8], &[u8]) = (&[64, 1, 0], &[38, 1, 0], &[98, 1, 0x93]);
        let several: &[u8] = &[96, 1, 0, 3, 64, 1, 0, 0, 3, 38, 1, 0];
        let packets = [(1, vps), (1, slice), (1, vps), (2, part), (2, several)];
        let expected = [vec![], vec![], vec![(12, 76)], vec![], vec![(16, 76)]];
        assert_eq!(tidied(Codec::H265, &packets), expected);
        let result = tidied(Codec::Vp8, &[(1, IDR), (1, SPS)]);
        assert_eq!(result, [vec![], vec![]]);
    }
}
