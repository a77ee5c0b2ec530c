//! Buffers of H.264 and H.265 that hold no picture.
//!
//! Some senders make access units of their parameter sets alone. A parser can say nothing about
//! those, and `rtph264pay` (GStreamer 1.22) never returns from one. They are put in front of the
//! next picture.

use std::sync::Mutex;

use gst::prelude::*;
use gstreamer as gst;

use crate::media::{
    Codec,
    nal::{self, Separation, UnitKind},
};

/// Bytes that may wait for a picture: parameter sets and supplements are a few hundred at most.
const HELD_BYTES_MAX: usize = 64 << 10;

/// Puts the bytes that belong to no picture in front of the next one, for everything that passes
/// `pad`.
pub(super) fn join_pad(pad: &gst::Pad, codec: Codec) {
    if nal::header_bytes(codec) == 0 {
        return;
    }
    let held = Mutex::new(None);
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        // Never contended: a pad has one streaming thread. Never poisoned: nothing in it panics.
        let (Some(gst::PadProbeData::Buffer(buffer)), Ok(mut held)) = (&mut info.data, held.lock())
        else {
            return gst::PadProbeReturn::Ok;
        };
        if !is_aligned(pad) {
            return gst::PadProbeReturn::Ok;
        }
        if !has_picture(codec, buffer) {
            *held = join(held.take(), buffer);
            // Not Drop: with gstreamer-rs 0.24 it makes GStreamer 1.22 free the buffer twice.
            return gst::PadProbeReturn::Handled;
        }
        if let Some(held) = held.take() {
            prepend(&held, buffer.make_mut());
        }
        gst::PadProbeReturn::Ok
    });
}

/// Whether each buffer is said to hold a whole access unit.
fn is_aligned(pad: &gst::Pad) -> bool {
    let caps = pad.current_caps();
    let structure = caps.as_ref().and_then(|caps| caps.structure(0));
    structure.is_some_and(|structure| structure.get("alignment") == Ok("au"))
}

fn has_picture(codec: Codec, buffer: &gst::BufferRef) -> bool {
    // An unreadable buffer is for the parser to judge.
    buffer.map_readable().map_or(true, |frame| {
        Separation::of(&frame)
            .units(&frame)
            .any(|unit| UnitKind::of(codec, unit).is_slice())
    })
}

/// Adds a buffer to the waiting ones, if there is room.
fn join(held: Option<gst::Buffer>, buffer: &gst::Buffer) -> Option<gst::Buffer> {
    let waiting = held.as_ref().map_or(0, |held| held.size());
    if waiting + buffer.size() > HELD_BYTES_MAX {
        return held;
    }
    let mut joined = buffer.copy();
    if let (Some(held), Some(joined)) = (held, joined.get_mut()) {
        prepend(&held, joined);
    }
    Some(joined)
}

/// Puts the bytes of `first` in front of those of `buffer`, which keeps its times.
fn prepend(first: &gst::BufferRef, buffer: &mut gst::BufferRef) {
    for memory in first
        .iter_memories_owned()
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        buffer.prepend_memory(memory);
    }
    if first.flags().contains(gst::BufferFlags::DISCONT) {
        buffer.set_flags(gst::BufferFlags::DISCONT);
    }
}
