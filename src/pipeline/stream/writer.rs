//! Writes the media on a packetizer's pad into a stream.

use std::sync::Mutex;

use gst::prelude::*;
use gstreamer as gst;

use super::{super::clock, EncodedStream, StartPoint};
use crate::media::{Codec, keyframe, nal::Separation, order, recovery};

/// Hands everything that passes `pad` to `stream`, which then ignores older writers.
pub(crate) fn tap_pad(pad: &gst::Pad, stream: &EncodedStream, codec: Codec) {
    let writer = StreamWriter {
        number: stream.begin_writer(),
        stream: stream.clone(),
        codec,
        segment: None,
        separation: None,
        reordered: false,
        decoded: None,
    };
    let writer = Mutex::new(writer);
    let kinds = gst::PadProbeType::BUFFER
        | gst::PadProbeType::BUFFER_LIST
        | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |pad, info| {
        // Never contended: a pad has one streaming thread. Never poisoned: nothing in it panics.
        if let Ok(mut writer) = writer.lock() {
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => writer.buffer(pad, buffer),
                Some(gst::PadProbeData::BufferList(list)) => {
                    list.iter_owned()
                        .for_each(|buffer| writer.buffer(pad, &buffer));
                }
                Some(gst::PadProbeData::Event(event)) => writer.event(event),
                _ => {}
            }
        }
        gst::PadProbeReturn::Ok
    });
}

struct StreamWriter {
    stream: EncodedStream,
    number: u64,
    codec: Codec,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// What separates NAL units, if the caps say.
    separation: Option<Separation>,
    /// Whether there are B-frames.
    reordered: bool,
    /// The decoding time of the last buffer.
    decoded: Option<gst::ClockTime>,
}

impl StreamWriter {
    fn event(&mut self, event: &gst::Event) {
        match event.view() {
            gst::EventView::Caps(caps) => {
                let format = caps
                    .caps()
                    .structure(0)
                    .and_then(|structure| structure.get::<&str>("stream-format").ok());
                self.separation = match format {
                    Some("avc" | "avc3" | "hvc1" | "hev1") => Some(Separation::Lengths),
                    Some("byte-stream") => Some(Separation::StartCodes),
                    _ => None,
                };
                self.stream
                    .set_caps(self.number, self.codec, &caps.caps_owned());
            }
            gst::EventView::Segment(segment) => {
                self.segment = segment.segment().downcast_ref().cloned();
            }
            _ => {}
        }
    }

    fn buffer(&mut self, pad: &gst::Pad, buffer: &gst::Buffer) {
        // Not 0 if the pipeline is not live, and different after each seek.
        let base = pad.parent_element().and_then(|element| element.base_time());
        let base = base.map_or(0, |base| i128::from(base.nseconds()));
        let offset = base - i128::from(clock::base_time().nseconds());
        let segment = self.segment.as_ref();
        let due = |time: Option<gst::ClockTime>| {
            let time = segment?.to_running_time_full(time?)?;
            let running = match time {
                gst::Signed::Positive(time) => i128::from(time.nseconds()),
                gst::Signed::Negative(time) => -i128::from(time.nseconds()),
            };
            u64::try_from(running + offset)
                .ok()
                .map(gst::ClockTime::from_nseconds)
        };
        let pts = due(buffer.pts())
            .unwrap_or_else(|| gst::ClockTime::try_from(clock::running_time()).unwrap_or_default());
        let dts = self.decoding_time(pts, due(buffer.dts()));
        let start = self.start_point(buffer);
        self.look_at_order(buffer);
        // Shares the memory; only times and flags are its own.
        let mut buffer = buffer.copy();
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
            buffer.set_dts(dts);
            if start == StartPoint::No {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            } else {
                buffer.unset_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        self.stream.push(self.number, buffer, start);
    }

    /// Whether a decoder can start with this frame. The flag decides only where the bytes do not
    /// say.
    fn start_point(&self, buffer: &gst::BufferRef) -> StartPoint {
        let separation = |bytes: &[u8]| self.separation.unwrap_or_else(|| Separation::of(bytes));
        let bytes = buffer.map_readable().ok();
        let read = bytes
            .as_ref()
            .and_then(|bytes| keyframe::in_frame(self.codec, separation(bytes), bytes));
        let is_delta = || buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        if read.unwrap_or_else(|| !is_delta()) {
            return StartPoint::Keyframe;
        }
        let recovers = bytes.is_some_and(|bytes| {
            recovery::is_recovery_point(self.codec, separation(&bytes), &bytes)
        });
        if recovers {
            StartPoint::Recovery
        } else {
            StartPoint::No
        }
    }

    /// Notes the first B-frame.
    fn look_at_order(&mut self, buffer: &gst::BufferRef) {
        if self.reordered || !matches!(self.codec, Codec::H264 | Codec::H265) {
            return;
        }
        let Ok(bytes) = buffer.map_readable() else {
            return;
        };
        let separation = self.separation.unwrap_or_else(|| Separation::of(&bytes));
        self.reordered = order::is_reordered(self.codec, separation, &bytes);
        if self.reordered {
            self.stream.note_reordered(self.number);
        }
    }

    /// Muxers expect every H.264 and H.265 buffer to have a later decoding time than the previous
    /// one. Media from RTP often has none; without B-frames it equals the presentation time.
    fn decoding_time(
        &mut self,
        pts: gst::ClockTime,
        dts: Option<gst::ClockTime>,
    ) -> Option<gst::ClockTime> {
        if !matches!(self.codec, Codec::H264 | Codec::H265) {
            return dts;
        }
        let next = self
            .decoded
            .map(|decoded| decoded + gst::ClockTime::from_nseconds(1));
        let dts = dts.unwrap_or(pts);
        self.decoded = Some(next.map_or(dts, |next| dts.max(next)));
        self.decoded
    }
}
