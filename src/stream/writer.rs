//! Writes frames into a stream, and reads what they say about themselves.

use std::sync::OnceLock;

use super::EncodedStream;
use crate::media::{Frame, Kind, format, format::VideoFormat, opus, order, recovery};

/// Whether a decoder can start with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StartPoint {
    No,
    /// Its pictures are whole once the encoder has renewed every part. Not for browsers.
    Recovery,
    Keyframe,
}

/// What a frame says about itself and its stream.
#[derive(Clone, Debug)]
pub(super) struct FrameFacts {
    pub(super) start: StartPoint,
    pub(super) format: Option<VideoFormat>,
    /// There are B-frames.
    pub(super) reordered: bool,
    /// It is sound in stereo.
    pub(super) stereo: bool,
}

impl FrameFacts {
    fn of(frame: &Frame) -> Self {
        let codec = frame.codec;
        let payloads = || frame.ranges().filter_map(|range| frame.data.get(range));
        let start = if frame.keyframe {
            StartPoint::Keyframe
        } else if recovery::in_payloads(codec, payloads()) {
            StartPoint::Recovery
        } else {
            StartPoint::No
        };
        Self {
            start,
            format: format::in_payloads(codec, payloads()),
            reordered: order::in_payloads(codec, payloads()),
            stereo: codec.kind() == Kind::Audio && opus::is_stereo(&frame.data),
        }
    }
}

/// One source of a stream's frames: a publisher, one layer of its picture, or a run of a pipeline.
#[derive(Debug)]
pub struct StreamWriter {
    stream: EncodedStream,
    /// From its first frame on.
    number: OnceLock<u64>,
}

impl StreamWriter {
    pub(super) const fn new(stream: EncodedStream) -> Self {
        Self {
            stream,
            number: OnceLock::new(),
        }
    }

    /// Hands a frame to all subscribers. Never waits.
    pub fn push(&self, frame: &Frame) {
        if frame.codec.kind() != self.stream.kind() {
            return;
        }
        let number = *self.number.get_or_init(|| self.stream.begin_writer());
        self.stream.push(number, frame, FrameFacts::of(frame));
    }
}
