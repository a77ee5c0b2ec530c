//! Tidies up RTP packets of H.264 and H.265 in which senders misplace parameter sets or marker bits.

use std::sync::Mutex;

use gst::prelude::*;
use gstreamer as gst;

use super::{
    keyframe_request,
    markers::{MarkerProof, MarkerVerdict},
    temporal_unit,
};
use crate::media::{
    Codec,
    nal::{self, Payload, UnitKind},
    rtp::{self, RtpHeader},
};

/// Packets that may wait after the first marker: supplements and parameter sets, a few at most.
const HELD_PACKETS_MAX: usize = 16;

/// Corrects every RTP packet that passes `pad`, on its way into a depayloader.
///
/// Parameter sets and delimiters between the slices of a picture are neutralised. `rtph264pay
/// config-interval=-1` (GStreamer 1.22) repeats the parameter sets before each slice of an IDR
/// picture. There they begin a new access unit (H.264 §7.4.1.2.3) and split the picture: a viewer
/// who starts at the second half sees only that. They are turned into filler data rather than
/// removed, because a gap in the sequence numbers would look like a loss. So are the units of upper
/// layers, which split pictures likewise.
///
/// Marker bits stay only where a picture can end, because depayloaders end the access unit there.
/// Some senders mark parameter sets too, which would separate them from their picture. Others mark
/// every slice: then each picture ends where the next one begins. The stream's first marker is held
/// back until the next picture proves it; should a picture continue after one later, markers are no
/// longer trusted.
pub(super) fn tidy_pad(pad: &gst::Pad, codec: Codec) {
    if nal::header_bytes(codec) == 0 {
        return;
    }
    let state = Mutex::new(PadState {
        tidy: Tidy::new(codec),
        beginning: Some(Beginning {
            proof: MarkerProof::new(codec),
            held: Vec::new(),
        }),
    });
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(kinds, move |pad, info| {
        // Contended by packets that have been held and come through here again, and nothing else: a
        // pad has one streaming thread. Never poisoned: nothing in it panics.
        let Ok(mut state) = state.try_lock() else {
            return gst::PadProbeReturn::Ok;
        };
        if state.beginning.is_some() {
            let packets: Vec<gst::Buffer> = match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => vec![buffer.clone()],
                Some(gst::PadProbeData::BufferList(list)) => list.iter_owned().collect(),
                _ => return gst::PadProbeReturn::Ok,
            };
            for packet in packets {
                for packet in state.begin(packet) {
                    if pad.chain(packet).is_err() {
                        tracing::trace!("packet refused by its depayloader");
                    }
                }
            }
            // Not Drop: with gstreamer-rs 0.24 it makes GStreamer 1.22 free the buffer twice.
            return gst::PadProbeReturn::Handled;
        }
        let tidy = &mut state.tidy;
        let trusted = !tidy.distrusts_markers;
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => tidy.correct(buffer),
            Some(gst::PadProbeData::BufferList(list)) => {
                let found: Vec<_> = list.iter().map(|buffer| tidy.buffer(buffer)).collect();
                for (index, replacements) in (0..).zip(found) {
                    if !replacements.is_empty()
                        && let Some(buffer) = list.make_mut().get_mut(index)
                    {
                        overwrite(buffer, &replacements);
                    }
                }
            }
            _ => {}
        }
        if trusted && tidy.distrusts_markers {
            // A picture has been cut into pieces.
            pad.push_event(keyframe_request::event(false));
        }
        gst::PadProbeReturn::Ok
    });
}

/// What is known of the packets of one pad.
struct PadState {
    tidy: Tidy,
    /// Until the stream's first marker is proven right or wrong.
    beginning: Option<Beginning>,
}

/// The beginning of a stream.
struct Beginning {
    proof: MarkerProof,
    /// The packet with the first marker, and what has followed.
    held: Vec<gst::Buffer>,
}

impl PadState {
    /// Takes a packet; returns those that may pass, corrected.
    fn begin(&mut self, packet: gst::Buffer) -> Vec<gst::Buffer> {
        let verdict = match (&mut self.beginning, packet.map_readable()) {
            (Some(beginning), Ok(bytes)) => beginning.proof.look(&bytes),
            _ => MarkerVerdict::Pass,
        };
        let mut passing = Vec::new();
        if let Some(beginning) = &mut self.beginning {
            beginning.held.push(packet);
            if verdict == MarkerVerdict::Hold && beginning.held.len() < HELD_PACKETS_MAX {
                return passing;
            }
            passing.append(&mut beginning.held);
        }
        if verdict != MarkerVerdict::Pass {
            self.beginning = None;
            self.tidy.distrusts_markers = verdict != MarkerVerdict::Right;
            tracing::debug!(
                codec = %self.tidy.codec,
                trusted = !self.tidy.distrusts_markers,
                "markers judged"
            );
        }
        for packet in &mut passing {
            self.tidy.correct(packet);
        }
        passing
    }
}

/// Corrects what reaches the depayloaders of a pipeline, including those that it adds later, and joins
/// what they pass on in pieces.
pub(super) fn tidy_pipeline(pipeline: &gst::Pipeline) {
    let tidy = |element: &gst::Element| {
        match element.factory()?.name().as_str() {
            "rtph264depay" => tidy_pad(&element.static_pad("sink")?, Codec::H264),
            "rtph265depay" => tidy_pad(&element.static_pad("sink")?, Codec::H265),
            "rtpav1depay" => temporal_unit::join_pad(&element.static_pad("src")?),
            _ => {}
        }
        Some(())
    };
    for element in pipeline.iterate_recurse().into_iter().flatten() {
        tidy(&element);
    }
    pipeline.connect_deep_element_added(move |_, _, element| {
        tidy(element);
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

/// Where the marker stands in the RTP header (RFC 3550 §5.1).
const MARKER_BYTE: usize = 1;
const MARKER_BIT: u8 = 0x80;

/// Whether a packet can end a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PictureEnd {
    /// Nothing in it belongs to a picture.
    None,
    /// A slice continues after it, unless its sender has forgotten to mark its end.
    Possible,
    /// A slice ends in it.
    Certain,
}

/// Follows the packets of one track.
struct Tidy {
    codec: Codec,
    /// RTP timestamp of the picture.
    timestamp: u32,
    slice_seen: bool,
    /// A marker has ended the picture, although more packets may have its timestamp.
    ended: bool,
    /// Pictures have continued after a marker.
    distrusts_markers: bool,
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
            ended: false,
            distrusts_markers: false,
        }
    }

    fn correct(&mut self, packet: &mut gst::Buffer) {
        let replacements = self.buffer(packet);
        if !replacements.is_empty() {
            overwrite(packet.make_mut(), &replacements);
        }
    }

    fn buffer(&mut self, buffer: &gst::BufferRef) -> Vec<Replacement> {
        buffer
            .map_readable()
            .map_or_else(|_| Vec::new(), |packet| self.look(&packet))
    }

    /// What to write into a packet: the headers of misplaced NAL units, turned into those of filler
    /// data, and the second byte without a wrong marker.
    fn look(&mut self, packet: &[u8]) -> Vec<Replacement> {
        let mut misplaced = Vec::new();
        let (Some(header), Some(range)) = (RtpHeader::read(packet), rtp::payload(packet)) else {
            return misplaced;
        };
        if header.timestamp != self.timestamp {
            self.timestamp = header.timestamp;
            self.slice_seen = false;
            self.ended = false;
        }
        let start = range.start;
        let payload = packet.get(range).unwrap_or_default();
        let mut end = PictureEnd::None;
        match Payload::read(self.codec, payload) {
            Payload::Fragment(fragment) if fragment.kind.is_slice() => {
                self.slice(fragment.begins && nal::begins_picture(fragment.body));
                end = if fragment.ends {
                    PictureEnd::Certain
                } else {
                    PictureEnd::Possible
                };
            }
            Payload::Fragment(fragment) if fragment.kind == UnitKind::Layer => {
                // The type is in the second byte of a fragment.
                let byte = payload.get(1).copied();
                let byte = byte.and_then(|byte| nal::as_filler(self.codec, byte));
                misplaced.extend(byte.map(|byte| Replacement {
                    place: start + 1,
                    byte,
                }));
                if fragment.ends {
                    end = self.end_of_layer();
                }
            }
            Payload::Fragment(_) => {}
            Payload::Units(units) => {
                for range in units {
                    let unit = payload.get(range.clone()).unwrap_or_default();
                    let kind = UnitKind::of(self.codec, unit);
                    if kind.is_slice() {
                        end = PictureEnd::Certain;
                    } else if kind == UnitKind::Layer && end == PictureEnd::None {
                        end = self.end_of_layer();
                    }
                    let place = start + range.start;
                    misplaced.extend(self.unit(unit, place));
                }
            }
        }
        if header.marker {
            misplaced.extend(self.marker(packet, end));
        }
        misplaced
    }

    /// A picture can end with its upper layer, which comes behind the lower one.
    const fn end_of_layer(&self) -> PictureEnd {
        if self.slice_seen {
            PictureEnd::Certain
        } else {
            PictureEnd::None
        }
    }

    /// Takes the marker of a packet; returns what to write if it is wrong.
    fn marker(&mut self, packet: &[u8], end: PictureEnd) -> Option<Replacement> {
        if self.distrusts_markers || end == PictureEnd::None {
            return Some(Replacement {
                place: MARKER_BYTE,
                byte: packet.get(MARKER_BYTE)? & !MARKER_BIT,
            });
        }
        if end == PictureEnd::Certain {
            // What follows belongs to the next picture, whatever its timestamp.
            self.ended = true;
            self.slice_seen = false;
        }
        None
    }

    /// Takes a slice, or a part of one. `begins_picture`: the first one of a picture begins here.
    fn slice(&mut self, begins_picture: bool) {
        self.slice_seen = true;
        if std::mem::take(&mut self.ended) && !begins_picture && !self.distrusts_markers {
            tracing::debug!(codec = %self.codec, "ignoring markers within pictures");
            self.distrusts_markers = true;
        }
    }

    fn unit(&mut self, unit: &[u8], place: usize) -> Option<Replacement> {
        let kind = UnitKind::of(self.codec, unit);
        if kind.is_slice() {
            let header = nal::header_bytes(self.codec);
            self.slice(unit.get(header..).is_some_and(nal::begins_picture));
        }
        let is_misplaced = self.slice_seen && kind.leads();
        if !is_misplaced && kind != UnitKind::Layer {
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
        replacements
            .iter()
            .map(|replacement| (replacement.place, replacement.byte))
            .collect()
    }

    fn packet(timestamp: u8, marker: bool, payload: &[u8]) -> Vec<u8> {
        let header = RtpHeader {
            marker,
            payload_type: 96,
            sequence: 1,
            timestamp: timestamp.into(),
            ssrc: 1,
        };
        let mut packet = Vec::new();
        header.write(&mut packet, &[]);
        packet.extend_from_slice(payload);
        packet
    }

    /// The packets with these timestamps and payloads, once tidied.
    fn tidied(codec: Codec, packets: &[(u8, &[u8])]) -> Vec<Vec<(usize, u8)>> {
        let mut tidy = Tidy::new(codec);
        let packets = packets
            .iter()
            .map(|(timestamp, payload)| pairs(&tidy.look(&packet(*timestamp, false, payload))));
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
    fn upper_layers_become_filler() {
        const PREFIX: &[u8] = &[0x6e, 0x80, 0, 7, 0x20];
        const UPPER: &[u8] = &[0x74, 0x80, 0x10, 7];
        const UPPER_PART: &[u8] = &[0x7c, 0x54, 1];
        let packets = [(1, PREFIX), (1, IDR), (1, UPPER), (1, UPPER_PART)];
        let expected = [vec![(12, 0x6c)], vec![], vec![(12, 0x6c)], vec![(13, 0x4c)]];
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
        assert_eq!(
            tidied(Codec::H264, &[(1, IDR), (1, &beyond)]),
            [vec![], vec![]]
        );
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

    /// Whether the markers of packets with these timestamps, markers and payloads stay.
    fn markers(codec: Codec, packets: &[(u8, bool, &[u8])]) -> Vec<bool> {
        let mut tidy = Tidy::new(codec);
        let packets = packets.iter().map(|(timestamp, marker, payload)| {
            let replacements = pairs(&tidy.look(&packet(*timestamp, *marker, payload)));
            *marker && !replacements.contains(&(MARKER_BYTE, 96))
        });
        packets.collect()
    }

    #[test]
    fn markers_on_parameter_sets_end_nothing() {
        let packets = [
            (1, true, SPS),
            (1, true, PPS),
            (1, true, SEI),
            (1, false, PART),
            (1, true, &[0x7c, 0x45, 0]),
            (2, true, &[0x41, 0x80]),
        ];
        let expected = [false, false, false, false, true, true];
        assert_eq!(markers(Codec::H264, &packets), expected);
        let vps: &[u8] = &[64, 1, 0];
        let packets = [(1, true, vps), (1, true, &[38, 1, 0x80])];
        assert_eq!(markers(Codec::H265, &packets), [false, true]);
    }

    #[test]
    fn parameter_sets_behind_a_marker_belong_to_the_next_picture() {
        let mut tidy = Tidy::new(Codec::H264);
        let mut look =
            |timestamp, payload: &[u8]| pairs(&tidy.look(&packet(timestamp, true, payload)));
        assert_eq!(look(1, &[0x41, 0x80]), []);
        // As Reolink's cameras send them: with the timestamp of the previous picture.
        assert_eq!(look(1, SPS), [(MARKER_BYTE, 0x60)]);
        assert_eq!(look(1, PPS), [(MARKER_BYTE, 0x60)]);
        assert_eq!(look(2, IDR), []);
    }

    #[test]
    fn markers_within_a_picture_are_not_believed_any_more() {
        let (first, second): (&[u8], &[u8]) = (&[0x41, 0x80], &[0x41, 0x40]);
        let picture = |timestamp| [(timestamp, true, first), (timestamp, true, second)];
        let packets = [picture(1), picture(2), picture(3)].concat();
        let expected = [true, false, false, false, false, false];
        assert_eq!(markers(Codec::H264, &packets), expected);
        // Two pictures with one timestamp are two pictures.
        let twice = [(1, true, first), (1, true, first), (2, true, first)];
        assert_eq!(markers(Codec::H264, &twice), [true; 3]);
    }

    #[test]
    fn h265_likewise() {
        let (vps, slice, part): (&[u8], &[u8], &[u8]) = (&[64, 1, 0], &[38, 1, 0], &[98, 1, 0x93]);
        let several: &[u8] = &[96, 1, 0, 3, 64, 1, 0, 0, 3, 38, 1, 0];
        let packets = [(1, vps), (1, slice), (1, vps), (2, part), (2, several)];
        let expected = [vec![], vec![], vec![(12, 76)], vec![], vec![(16, 76)]];
        assert_eq!(tidied(Codec::H265, &packets), expected);
        assert_eq!(tidied(Codec::Vp8, &[(1, IDR), (1, SPS)]), [vec![], vec![]]);
    }
}
