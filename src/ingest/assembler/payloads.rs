//! The payloads of a frame, back to back, none of which is too large for a viewer's packet.

use std::ops::Range;

use crate::media::{
    Codec,
    nal::{self, Payload, UnitFragment, UnitKind},
    obu::{self, Av1Payload},
    rtp::PAYLOAD_BYTES_MAX,
    vp8::{self, Vp8Descriptor},
    vp9::{self, Vp9Descriptor},
};

/// RTP payloads: their bytes, and where each ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Payloads {
    pub(super) data: Vec<u8>,
    pub(super) ends: Vec<u32>,
}

impl Payloads {
    /// Adds a payload.
    pub(super) fn push(&mut self, payload: &[u8]) {
        self.data.extend_from_slice(payload);
        self.end();
    }

    /// The payloads in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).filter_map(|index| self.data.get(self.range(index)))
    }

    /// The first byte of each payload.
    pub(super) fn for_each_head(&mut self, mut edit: impl FnMut(usize, &mut u8)) {
        for index in 0..self.ends.len() {
            let start = self.range(index).start;
            if let Some(head) = self.data.get_mut(start) {
                edit(index, head);
            }
        }
    }

    /// Inserts other payloads after the first `count` of these.
    pub(super) fn insert(&mut self, count: usize, other: &Self) {
        let at = self.range(count).start;
        let (Ok(start), Ok(by)) = (u32::try_from(at), u32::try_from(other.data.len())) else {
            return;
        };
        self.data.splice(at..at, other.data.iter().copied());
        for end in self.ends.iter_mut().skip(count) {
            *end += by;
        }
        let ends = other.ends.iter().map(|end| end + start);
        self.ends.splice(count..count, ends);
    }

    /// Adds a packet's payload, split if it is too large. `picture_id` is that of its frame, for
    /// VP8 and VP9. `begun`: a slice precedes it, so that parameter sets and delimiters are left
    /// out. `rtph264pay` (GStreamer 1.22) repeats them between slices, where they would begin
    /// another access unit (H.264 §7.4.1.2.3).
    pub(super) fn add(&mut self, codec: Codec, picture_id: u16, payload: &[u8], begun: bool) {
        match codec {
            Codec::H264 | Codec::H265 => self.add_units(codec, payload, begun),
            Codec::Vp8 => self.add_vp8(picture_id, payload),
            Codec::Vp9 => self.add_vp9(picture_id, payload),
            Codec::Av1 => self.add_obus(payload),
            Codec::Opus => self.push(payload),
        }
    }

    fn add_units(&mut self, codec: Codec, payload: &[u8], mut begun: bool) {
        match Payload::read(codec, payload) {
            Payload::Fragment(fragment) if is_left_out(fragment.kind, begun) => {}
            Payload::Fragment(_) if payload.len() <= PAYLOAD_BYTES_MAX => self.push(payload),
            Payload::Fragment(fragment) => self.add_fragments(codec, &fragment),
            Payload::Units(mut units) => {
                let mut sound = payload.len() <= PAYLOAD_BYTES_MAX;
                let mut kept = Vec::new();
                for unit in units.by_ref().filter_map(|range| payload.get(range)) {
                    let kind = UnitKind::of(codec, unit);
                    begun |= kind.is_slice();
                    if unit.is_empty() || is_left_out(kind, begun) {
                        sound = false;
                    } else {
                        kept.push(unit);
                    }
                }
                if sound && units.is_exhausted() {
                    return self.push(payload);
                }
                for unit in kept {
                    self.add_unit(codec, unit);
                }
            }
        }
    }

    /// Adds a NAL unit, cut if it is too large.
    pub(super) fn add_unit(&mut self, codec: Codec, unit: &[u8]) {
        if unit.len() <= PAYLOAD_BYTES_MAX {
            return self.push(unit);
        }
        if let Some(whole) = UnitFragment::whole(codec, unit) {
            self.add_fragments(codec, &whole);
        }
    }

    /// Adds a part of a NAL unit in smaller parts.
    fn add_fragments(&mut self, codec: Codec, fragment: &UnitFragment<'_>) {
        let room = PAYLOAD_BYTES_MAX - nal::FRAGMENT_HEADER_BYTES_MAX;
        for Cut { range, first, last } in cuts(fragment.body.len(), room) {
            let (begins, ends) = (fragment.begins && first, fragment.ends && last);
            let data = &mut self.data;
            nal::write_fragment_header(codec, fragment.header(), begins, ends, data);
            data.extend_from_slice(fragment.body.get(range).unwrap_or_default());
            self.end();
        }
    }

    fn add_vp8(&mut self, picture_id: u16, payload: &[u8]) {
        let Some(descriptor) = Vp8Descriptor::read(payload) else {
            return;
        };
        let body = payload.get(descriptor.bytes..).unwrap_or_default();
        for Cut { range, first, .. } in cuts(body.len(), PAYLOAD_BYTES_MAX - vp8::WRITTEN_BYTES) {
            let begins_partition = descriptor.begins_partition && first;
            Vp8Descriptor {
                begins_partition,
                ..descriptor
            }
            .write(picture_id, &mut self.data);
            self.data
                .extend_from_slice(body.get(range).unwrap_or_default());
            self.end();
        }
    }

    fn add_vp9(&mut self, picture_id: u16, payload: &[u8]) {
        let Some(descriptor) = Vp9Descriptor::read(payload) else {
            return;
        };
        let body = payload.get(descriptor.bytes..).unwrap_or_default();
        for Cut { range, .. } in cuts(body.len(), PAYLOAD_BYTES_MAX - vp9::WRITTEN_BYTES) {
            descriptor.write(picture_id, &mut self.data);
            self.data
                .extend_from_slice(body.get(range).unwrap_or_default());
            self.end();
        }
    }

    fn add_obus(&mut self, payload: &[u8]) {
        if payload.len() <= PAYLOAD_BYTES_MAX {
            return self.push(payload);
        }
        let Some(read) = Av1Payload::read(payload) else {
            return;
        };
        for element in read.elements() {
            for Cut { range, first, last } in cuts(element.bytes.len(), PAYLOAD_BYTES_MAX - 1) {
                let (begins, ends) = (element.begins && first, element.ends && last);
                self.data.push(obu::aggregation_header(begins, ends));
                self.data
                    .extend_from_slice(element.bytes.get(range).unwrap_or_default());
                self.end();
            }
        }
    }

    /// The payload ends here.
    fn end(&mut self) {
        // A frame that is larger than that is dropped.
        self.ends
            .push(u32::try_from(self.data.len()).unwrap_or(u32::MAX));
    }

    fn range(&self, index: usize) -> Range<usize> {
        let end = |index: usize| {
            self.ends
                .get(index)
                .map_or(self.data.len(), |&end| end as usize)
        };
        let start = index.checked_sub(1).map_or(0, end);
        start..end(index)
    }
}

/// Whether a unit is of no use to viewers: of an upper layer, or misplaced behind a slice.
fn is_left_out(kind: UnitKind, begun: bool) -> bool {
    kind == UnitKind::Layer || begun && kind.leads()
}

/// A part of something that is cut.
struct Cut {
    range: Range<usize>,
    first: bool,
    last: bool,
}

/// Cuts this many bytes into as few parts as possible, none longer than `room`.
fn cuts(bytes: usize, room: usize) -> impl Iterator<Item = Cut> {
    let count = bytes.div_ceil(room);
    let each = bytes.div_ceil(count.max(1));
    (0..count).map(move |index| Cut {
        range: index * each..((index + 1) * each).min(bytes),
        first: index == 0,
        last: index + 1 == count,
    })
}
