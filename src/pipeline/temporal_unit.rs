//! Whole temporal units of AV1.
//!
//! `rtpav1depay` passes OBUs on packet by packet, and `av1parse` (GStreamer 1.22) ends a temporal unit
//! only when the next one begins: everything would be a picture late. Here the buffers of a unit are
//! joined, and it leaves with the packet that is marked as its last.

use std::sync::{Mutex, PoisonError};

use gst::prelude::*;
use gstreamer as gst;

use crate::media::FRAME_BYTES_MAX;

/// The type of a temporal delimiter in an OBU's header (AV1 §6.2.1), and where it stands.
const DELIMITER: u8 = 2 << 3;
const TYPE_BITS: u8 = 0xf << 3;

/// Joins what leaves `pad`, a depayloader's, to temporal units.
pub(super) fn join_pad(pad: &gst::Pad) {
    let unit = Mutex::new(Unit::default());
    let kinds = gst::PadProbeType::BUFFER
        | gst::PadProbeType::BUFFER_LIST
        | gst::PadProbeType::EVENT_DOWNSTREAM
        | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(kinds, move |pad, info| {
        // Not held while anything is pushed. Nothing in it panics.
        let lock = || unit.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut info.data {
            Some(gst::PadProbeData::Event(event)) => {
                let rest = lock().event(event);
                push(pad, rest);
                gst::PadProbeReturn::Ok
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let whole = lock().buffer(buffer.clone());
                push(pad, whole);
                // Not Drop: with gstreamer-rs 0.24 it makes GStreamer 1.22 free the buffer twice.
                gst::PadProbeReturn::Handled
            }
            Some(gst::PadProbeData::BufferList(list)) => {
                for buffer in list.iter_owned() {
                    let whole = lock().buffer(buffer);
                    push(pad, whole);
                }
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

/// Hands buffers to the element downstream of a pad.
fn push(pad: &gst::Pad, buffers: impl IntoIterator<Item = gst::Buffer>) {
    let Some(peer) = pad.peer() else { return };
    for buffer in buffers {
        if peer.chain(buffer).is_err() {
            tracing::trace!("temporal unit refused by its parser");
        }
    }
}

/// The temporal unit that is arriving.
#[derive(Default)]
struct Unit {
    parts: Vec<gst::Buffer>,
    bytes: usize,
}

impl Unit {
    /// Takes the next part; returns what is complete. A unit whose end is lost ends where the next one
    /// begins.
    fn buffer(&mut self, part: gst::Buffer) -> Vec<gst::Buffer> {
        let mut complete = Vec::new();
        if begins(&part) || self.bytes + part.size() > FRAME_BYTES_MAX {
            complete.extend(self.take());
        }
        let ends = part.flags().contains(gst::BufferFlags::MARKER);
        self.bytes += part.size();
        self.parts.push(part);
        if ends {
            complete.extend(self.take());
        }
        complete
    }

    /// Takes an event, which says what buffers are from now on; returns what must come before it.
    fn event(&mut self, event: &mut gst::Event) -> Option<gst::Buffer> {
        match event.view() {
            gst::EventView::Caps(caps) => {
                let mut caps = caps.caps_owned();
                caps.make_mut().set("alignment", "tu");
                *event = gst::event::Caps::new(&caps);
                None
            }
            gst::EventView::Eos(_) => self.take(),
            gst::EventView::FlushStop(_) => {
                self.take();
                None
            }
            _ => None,
        }
    }

    /// The parts so far as one buffer.
    fn take(&mut self) -> Option<gst::Buffer> {
        let bytes = std::mem::take(&mut self.bytes);
        let mut parts = std::mem::take(&mut self.parts);
        if parts.len() < 2 {
            return parts.pop();
        }
        let mut data = Vec::with_capacity(bytes);
        for part in &parts {
            // Err: it cannot be read, and what is left is a damaged unit.
            if let Ok(part) = part.map_readable() {
                data.extend_from_slice(&part);
            }
        }
        let first = parts.first()?;
        let mut whole = gst::Buffer::from_mut_slice(data);
        if let Some(whole) = whole.get_mut() {
            whole.set_pts(first.pts());
            whole.set_dts(first.dts());
            let discontinuous = first.flags() & gst::BufferFlags::DISCONT;
            whole.set_flags(discontinuous | gst::BufferFlags::MARKER);
        }
        Some(whole)
    }
}

/// Whether a unit begins with this buffer.
fn begins(part: &gst::BufferRef) -> bool {
    let mut header = [0];
    part.copy_to_slice(0, &mut header).is_ok() && header[0] & TYPE_BITS == DELIMITER
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELIMITED: [u8; 2] = [0x12, 0];

    fn part(bytes: &[u8], marker: bool) -> gst::Buffer {
        let mut part = gst::Buffer::from_slice(bytes.to_vec());
        if marker {
            part.get_mut().unwrap().set_flags(gst::BufferFlags::MARKER);
        }
        part
    }

    fn bytes(buffers: &[gst::Buffer]) -> Vec<Vec<u8>> {
        buffers
            .iter()
            .map(|buffer| buffer.map_readable().unwrap().to_vec())
            .collect()
    }

    #[test]
    fn a_unit_is_complete_with_its_last_packet() {
        gst::init().unwrap();
        let mut unit = Unit::default();
        assert!(unit.buffer(part(&DELIMITED, false)).is_empty());
        assert!(unit.buffer(part(&[0x32, 1, 7], false)).is_empty());
        let whole = unit.buffer(part(&[0x32, 1, 8], true));
        assert_eq!(bytes(&whole), [[0x12, 0, 0x32, 1, 7, 0x32, 1, 8]]);
        let single = unit.buffer(part(&[0x12, 0, 0x32, 0], true));
        assert_eq!(bytes(&single), [[0x12, 0, 0x32, 0]]);
    }

    #[test]
    fn a_unit_whose_end_is_lost_ends_where_the_next_one_begins() {
        gst::init().unwrap();
        let mut unit = Unit::default();
        assert!(unit.buffer(part(&[0x12, 0, 0x32, 0], false)).is_empty());
        let both = unit.buffer(part(&[0x12, 0, 0x22, 0], true));
        assert_eq!(bytes(&both), [[0x12, 0, 0x32, 0], [0x12, 0, 0x22, 0]]);
        // One without an end does not grow forever.
        let large = vec![0; FRAME_BYTES_MAX - 1];
        assert!(unit.buffer(part(&large, false)).is_empty());
        let passed = unit.buffer(part(&[0x32, 0], false));
        assert_eq!(passed.len(), 1);
        assert_eq!(passed[0].size(), FRAME_BYTES_MAX - 1);
    }
}
