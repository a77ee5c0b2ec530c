//! Takes what a parser makes, completes its times and flags, and hands it to a tap.

use std::sync::{Mutex, PoisonError};

use gst::prelude::*;
use gstreamer as gst;

use super::{SharedTap, locked};
use crate::{
    media::{Codec, format, keyframe, nal::Separation, order::DecodingTimes, recovery},
    stream::{EncodedStream, QueueVerdict},
};

/// Takes everything that passes `pad`. By a probe, because a sink would block while PAUSED.
pub(super) fn read(pad: &gst::Pad, codec: Codec, stream: &EncodedStream, tap: &SharedTap) {
    let reader = Mutex::new(Reader {
        codec,
        caps: None,
        separation: None,
        times: DecodingTimes::default(),
        tap: SharedTap::clone(tap),
        stream: stream.clone(),
    });
    let all = gst::PadProbeType::DATA_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(all, move |_, info| {
        // Never contended: a pad has one streaming thread.
        let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
        match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => reader.buffer(buffer),
            Some(gst::PadProbeData::BufferList(list)) => {
                list.iter_owned().for_each(|buffer| reader.buffer(&buffer));
            }
            Some(gst::PadProbeData::Event(event)) => reader.event(event),
            _ => {}
        }
        gst::PadProbeReturn::Handled
    });
}

struct Reader {
    codec: Codec,
    caps: Option<gst::Caps>,
    /// What separates NAL units, if the caps say.
    separation: Option<Separation>,
    times: DecodingTimes,
    tap: SharedTap,
    stream: EncodedStream,
}

impl Reader {
    fn event(&mut self, event: &gst::Event) {
        let gst::EventView::Caps(caps) = event.view() else {
            return;
        };
        let format = caps
            .caps()
            .structure(0)
            .and_then(|structure| structure.get::<&str>("stream-format").ok());
        self.separation = match format {
            Some("avc" | "avc3" | "hvc1" | "hev1") => Some(Separation::Lengths),
            Some("byte-stream") => Some(Separation::StartCodes),
            _ => None,
        };
        self.caps = Some(caps.caps_owned());
    }

    fn buffer(&mut self, buffer: &gst::Buffer) {
        let Some(caps) = &self.caps else {
            return;
        };
        let (starts, reordered_max) = self.look(buffer);
        // Shares the memory; only times and flags are its own.
        let mut buffer = buffer.copy();
        if let Some(buffer) = buffer.get_mut() {
            if matches!(self.codec, Codec::H264 | Codec::H265) {
                if buffer.flags().contains(gst::BufferFlags::DISCONT) {
                    self.times.interrupt();
                }
                let due = buffer.pts();
                let decoded = due.map(|pts| self.times.next(pts.into(), reordered_max));
                buffer.set_dts(decoded.and_then(|time| gst::ClockTime::try_from(time).ok()));
            }
            if starts {
                buffer.unset_flags(gst::BufferFlags::DELTA_UNIT);
            } else {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        if locked(&self.tap).push(caps, &buffer, starts) == QueueVerdict::Ask {
            self.stream.want_keyframe();
        }
    }

    /// Whether a decoder can start with this frame, and how far pictures are reordered, if it says.
    /// The flag decides only where the bytes do not say.
    fn look(&self, buffer: &gst::BufferRef) -> (bool, Option<u32>) {
        let is_delta = buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let Ok(bytes) = buffer.map_readable() else {
            return (!is_delta, None);
        };
        let separation = self.separation.unwrap_or_else(|| Separation::of(&bytes));
        let keyframe = keyframe::in_frame(self.codec, separation, &bytes);
        let starts = keyframe.unwrap_or(!is_delta)
            || recovery::is_recovery_point(self.codec, separation, &bytes);
        let format = if starts {
            format::in_frame(self.codec, separation, &bytes)
        } else {
            None
        };
        (starts, format.and_then(|format| format.reordered_max))
    }
}
