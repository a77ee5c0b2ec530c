//! What a packetizer's pad carries goes into a stream.

use std::sync::Mutex;

use gst::prelude::*;
use gstreamer as gst;

use super::{super::clock, EncodedStream};
use crate::media::{Codec, order};

/// Hands everything that passes `pad` to `stream`, which takes nothing from older feeds any more.
pub(crate) fn tap_pad(pad: &gst::Pad, stream: &EncodedStream, codec: Codec) {
    let feed = StreamWriter {
        number: stream.begin_feed(),
        stream: stream.clone(),
        codec,
        segment: None,
        length_prefixed: false,
        reordered: false,
        decoded: None,
    };
    let feed = Mutex::new(feed);
    let kinds = gst::PadProbeType::BUFFER
        | gst::PadProbeType::BUFFER_LIST
        | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |pad, info| {
        // Never contended: a pad has one streaming thread. Never poisoned: nothing in it panics.
        if let Ok(mut feed) = feed.lock() {
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => feed.buffer(pad, buffer),
                Some(gst::PadProbeData::BufferList(list)) => {
                    list.iter_owned()
                        .for_each(|buffer| feed.buffer(pad, &buffer));
                }
                Some(gst::PadProbeData::Event(event)) => feed.event(event),
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
    /// NAL units stand behind their length instead of a start code.
    length_prefixed: bool,
    /// There are B-frames.
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
                    .and_then(|it| it.get::<&str>("stream-format").ok());
                self.length_prefixed = matches!(format, Some("avc" | "avc3" | "hvc1" | "hev1"));
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
        // Not 0 if the pipeline is not live, and another after each seek.
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
        let keyframe = starts_here(self.codec, self.length_prefixed, buffer);
        self.look_at_order(buffer);
        // Shares the memory: only the times and flags are its own.
        let mut buffer = buffer.copy();
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(pts);
            buffer.set_dts(dts);
            if keyframe {
                buffer.unset_flags(gst::BufferFlags::DELTA_UNIT);
            } else {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
        }
        self.stream.push(self.number, buffer, keyframe);
    }
}

impl StreamWriter {
    /// Takes note of the first B-frame.
    fn look_at_order(&mut self, buffer: &gst::BufferRef) {
        if self.reordered || !matches!(self.codec, Codec::H264 | Codec::H265) {
            return;
        }
        let Ok(bytes) = buffer.map_readable() else {
            return;
        };
        self.reordered = if has_lengths(&bytes) {
            order::is_reordered(self.codec, units(&bytes))
        } else {
            order::is_reordered(self.codec, coded_units(&bytes))
        };
        if self.reordered {
            self.stream.note_reordered(self.number);
        }
    }

    /// Muxers want a decoding time of every H.264 and H.265 buffer, later than the one before.
    /// What comes over RTP often has none; without B-frames it is the time of presentation.
    fn decoding_time(
        &mut self,
        pts: gst::ClockTime,
        dts: Option<gst::ClockTime>,
    ) -> Option<gst::ClockTime> {
        if !matches!(self.codec, Codec::H264 | Codec::H265) {
            return dts;
        }
        let next = self.decoded.map(|it| it + gst::ClockTime::from_nseconds(1));
        let dts = dts.unwrap_or(pts);
        self.decoded = Some(next.map_or(dts, |next| dts.max(next)));
        self.decoded
    }
}

/// The NAL units behind their lengths.
fn units(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (unit, tail) = rest.split_at_checked(length)?;
        bytes = tail;
        Some(unit)
    })
}

/// Each NAL unit behind its start code, and all that follows it.
fn coded_units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = bytes.windows(3).enumerate();
    let starts = starts.filter(|(_, three)| *three == [0, 0, 1]);
    starts.filter_map(|(at, _)| bytes.get(at + 3..))
}

/// Whether a decoder can start with this access unit. The flag alone says so only for VP9 and AV1:
/// depayloaders do not set it for VP8, and `h264parse` leaves it out on pictures that are
/// intra-coded but not a place to start.
fn starts_here(codec: Codec, length_prefixed: bool, buffer: &gst::BufferRef) -> bool {
    let flag = || !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    match codec {
        Codec::Opus => true,
        Codec::Vp9 | Codec::Av1 => flag(),
        Codec::Vp8 | Codec::H264 | Codec::H265 => buffer
            .map_readable()
            .is_ok_and(|bytes| starts(codec, length_prefixed, &bytes)),
    }
}

fn starts(codec: Codec, length_prefixed: bool, bytes: &[u8]) -> bool {
    if codec == Codec::Vp8 {
        // RFC 6386 §9.1: the lowest bit is 0 for a keyframe
        return bytes.first().is_some_and(|first| first & 1 == 0);
    }
    // Of the first slice: H.264 table 7-1, H.265 table 7-1.
    let slice = |header: u8| match (codec, header & 0x1f, header >> 1 & 0x3f) {
        (Codec::H264, 5, _) | (Codec::H265, _, 16..=23) => Some(true),
        (Codec::H264, 1..=4, _) | (Codec::H265, _, 0..=31) => Some(false),
        _ => None,
    };
    let first = if length_prefixed {
        prefixed_headers(bytes).find_map(slice)
    } else {
        headers(bytes).find_map(slice)
    };
    first == Some(true)
}

/// The first byte of each NAL unit, each behind its length of four bytes, as parsers make it.
fn prefixed_headers(mut bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        bytes = rest.get(length..)?;
        rest.first().copied()
    })
}

/// The first byte of each NAL unit: behind its length in four bytes (ISO/IEC 14496-15, what
/// `h264parse` is told to make), or else behind a start code (H.264 annex B).
fn headers(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let prefixed = has_lengths(bytes);
    let mut rest = if prefixed { bytes } else { &[] };
    let behind_lengths = std::iter::from_fn(move || {
        let (header, tail) = first_unit(rest)?;
        rest = tail;
        Some(header)
    });
    let coded = if prefixed { &[] } else { bytes };
    let behind_codes = coded.windows(4).filter_map(|window| match window {
        [0, 0, 1, header] => Some(*header),
        _ => None,
    });
    behind_lengths.chain(behind_codes)
}

/// Whether lengths lead from unit to unit exactly to the end.
fn has_lengths(mut bytes: &[u8]) -> bool {
    let any = !bytes.is_empty();
    while let Some((_, tail)) = first_unit(bytes) {
        bytes = tail;
    }
    any && bytes.is_empty()
}

/// The first byte of the first unit, and what follows that unit.
fn first_unit(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (unit, tail) = rest.split_at_checked(length)?;
    Some((*unit.first()?, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframes_are_told_by_their_first_slice() {
        let starts = |codec, bytes: &[u8]| starts(codec, false, bytes);
        let parameters = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3];
        let with = |slice: &[u8]| [&parameters, slice].concat();
        assert!(starts(Codec::H264, &with(&[0, 0, 1, 0x65, 9])));
        assert!(!starts(
            Codec::H264,
            &with(&[0, 0, 1, 0x41, 9, 0, 0, 1, 0x65])
        ));
        assert!(!starts(Codec::H264, &parameters));
        assert!(starts(Codec::H265, &[0, 0, 1, 0x40, 1, 0, 0, 1, 0x26, 1]));
        assert!(!starts(Codec::H265, &[0, 0, 1, 0x02, 1]));
        let lengths = [
            0, 0, 0, 2, 0x67, 1, 0, 0, 0, 1, 0x68, 0, 0, 0, 3, 0x65, 0, 9,
        ];
        assert!(starts(Codec::H264, &lengths));
        // 0x141 bytes: a length that looks like a start code and a header
        let long = [&[0, 0, 1, 0x45, 0x41][..], &[7; 0x144]].concat();
        assert!(!starts(Codec::H264, &long));
        assert!(starts(Codec::Vp8, &[0x10]) && !starts(Codec::Vp8, &[0x11]));
        assert!(!starts(Codec::Vp8, &[]) && !starts(Codec::H264, &[]));
    }

    #[test]
    fn lengths_in_place_of_start_codes() {
        let idr = [0, 0, 0, 2, 0x67, 1, 0, 0, 0, 2, 0x65, 9];
        assert!(starts(Codec::H264, true, &idr));
        assert!(!starts(Codec::H264, true, &[0, 0, 0, 2, 0x41, 9]));
        assert!(!starts(Codec::H264, true, &[0, 0, 0, 9, 0x65]));
        assert!(starts(Codec::H265, true, &[0, 0, 0, 2, 0x26, 1]));
    }
}
