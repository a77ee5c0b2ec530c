//! A source of a track begins, or another one goes on, whose pictures do not build on those before:
//! what it sends is taken from its first keyframe or recovery point on, which is asked for.

use std::{sync::Mutex, time::Instant};

use gst::prelude::*;
use gstreamer as gst;

use super::keyframe_request;
use crate::media::{Codec, KeyframeRequestLimit, keyframe, nal::Separation, recovery};

/// Name of the event in front of the first buffer of the other source.
const NAME: &str = "AerialRestart";

/// Marks the next buffer that leaves `pad` as the first one from another source.
pub(crate) fn announce(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::BUFFER, |pad, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
            buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
            if let Some(peer) = pad.peer() {
                peer.send_event(gst::event::CustomDownstream::new(
                    gst::Structure::new_empty(NAME),
                ));
            }
        }
        gst::PadProbeReturn::Remove
    });
}

/// Drops what arrives at `pad` from another source before its first keyframe or recovery point, and
/// asks for a keyframe.
pub(super) fn gate_pad(pad: &gst::Pad, codec: Codec) {
    let gate = Mutex::new(KeyframeGate::Open);
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |pad, info| {
        // Never contended: a pad has one streaming thread. Never poisoned: nothing in it panics.
        let Ok(mut gate) = gate.lock() else {
            return gst::PadProbeReturn::Ok;
        };
        match &info.data {
            Some(gst::PadProbeData::Event(event)) if event.has_name(NAME) => {
                *gate = KeyframeGate::Closed(KeyframeRequestLimit::default());
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                // An unreadable buffer is for the parser to judge.
                let starts = || {
                    let bytes = buffer.map_readable();
                    bytes.map_or(Some(true), |bytes| begins(codec, &bytes))
                };
                if gate.drops(pad, starts) {
                    // Not Drop: with gstreamer-rs 0.24 it makes GStreamer 1.22 free the buffer twice.
                    return gst::PadProbeReturn::Handled;
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// Whether a decoder can begin with these bytes of a frame; `None` if they do not tell.
fn begins(codec: Codec, bytes: &[u8]) -> Option<bool> {
    let separation = Separation::of(bytes);
    let starts = keyframe::in_beginning(codec, separation, bytes)?;
    Some(starts || recovery::is_recovery_point(codec, separation, bytes))
}

/// Whether buffers pass.
#[derive(Clone, Copy, Debug)]
enum KeyframeGate {
    Open,
    /// Until a keyframe arrives.
    Closed(KeyframeRequestLimit),
}

impl KeyframeGate {
    /// Whether to drop a buffer. `starts` tells whether a decoder can start with it; parameter sets
    /// alone do not say.
    fn drops(&mut self, pad: &gst::Pad, starts: impl FnOnce() -> Option<bool>) -> bool {
        let Self::Closed(requests) = self else {
            return false;
        };
        match starts() {
            Some(true) => *self = Self::Open,
            None => {}
            Some(false) => {
                if requests.admits(Instant::now()) {
                    pad.push_event(keyframe_request::event(false));
                }
                return true;
            }
        }
        false
    }
}
