//! Tidies up RTP packets of H.264 and H.265 in which publishers misplace parameter sets.

use gst::prelude::*;
use gstreamer as gst;

use crate::media::{
    Codec,
    nal::{self, Payload, UnitKind},
    rtp::{self, RtpHeader},
};

/// Neutralises parameter sets and delimiters between the slices of a picture, in every RTP packet
/// that passes `pad`.
///
/// `rtph264pay config-interval=-1` (GStreamer 1.22) repeats the parameter sets before each slice of
/// an IDR picture. There they begin a new access unit (H.264 §7.4.1.2.3) and split the picture: a
/// viewer who starts at the second half sees only that. They are turned into filler data rather than
/// removed, because a gap in the sequence numbers would look like a loss.
pub(super) fn tidy_pad(pad: &gst::Pad, codec: Codec) {
    let mut tidy = Tidy::new(codec);
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

/// A byte to be written into a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Replacement {
    place: usize,
    byte: u8,
}

fn overwrite(buffer: &mut gst::BufferRef, replacements: &[Replacement]) {
    if let Ok(mut map) = buffer.map_writable() {
        for &Replacement { place, byte } in replacements {
            if let Some(header) = map.get_mut(place) {
                *header = byte;
            }
        }
    }
}

/// Follows the packets of one track.
struct Tidy {
    codec: Codec,
    /// RTP timestamp of the picture.
    timestamp: u32,
    slice_seen: bool,
}

/// Looks at packets as [`tidy_pad`] does.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn look(codec: Codec, packets: &[gst::Buffer]) {
    let mut tidy = Tidy::new(codec);
    for packet in packets {
        tidy.buffer(packet);
    }
}

impl Tidy {
    const fn new(codec: Codec) -> Self {
        Self {
            codec,
            timestamp: 0,
            slice_seen: false,
        }
    }

    fn buffer(&mut self, buffer: &gst::BufferRef) -> Vec<Replacement> {
        let map = buffer.map_readable();
        map.map_or_else(|_| Vec::new(), |packet| self.look(&packet))
    }

    /// The headers of NAL units that are out of place, as those of filler data.
    fn look(&mut self, packet: &[u8]) -> Vec<Replacement> {
        let mut misplaced = Vec::new();
        let (Some(header), Some(start)) = (RtpHeader::read(packet), rtp::payload_start(packet))
        else {
            return misplaced;
        };
        if header.timestamp != self.timestamp {
            self.timestamp = header.timestamp;
            self.slice_seen = false;
        }
        let payload = packet.get(start..).unwrap_or_default();
        match Payload::read(self.codec, payload) {
            Payload::Fragment(fragment) => self.slice_seen |= fragment.kind.is_slice(),
            Payload::Units(units) => {
                for range in units {
                    let unit = payload.get(range.clone()).unwrap_or_default();
                    let place = start + range.start;
                    misplaced.extend(self.unit(unit, place));
                }
            }
        }
        misplaced
    }

    fn unit(&mut self, unit: &[u8], place: usize) -> Option<Replacement> {
        let kind = UnitKind::of(self.codec, unit);
        self.slice_seen |= kind.is_slice();
        if !self.slice_seen || !kind.leads() {
            return None;
        }
        let byte = nal::as_filler(self.codec, *unit.first()?)?;
        Some(Replacement { place, byte })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(replacements: &[Replacement]) -> Vec<(usize, u8)> {
        replacements.iter().map(|it| (it.place, it.byte)).collect()
    }

    /// What becomes of packets with these timestamps and payloads.
    fn tidied(codec: Codec, packets: &[(u8, &[u8])]) -> Vec<Vec<(usize, u8)>> {
        let mut tidy = Tidy::new(codec);
        let packets = packets.iter().map(|(timestamp, payload)| {
            let header = [0x80, 96, 0, 1, 0, 0, 0, *timestamp, 0, 0, 0, 1];
            pairs(&tidy.look(&[&header, *payload].concat()))
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
        let mut tidy = Tidy::new(Codec::H264);
        let mut look = |payload: &[u8]| pairs(&tidy.look(&[&header, payload].concat()));
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
