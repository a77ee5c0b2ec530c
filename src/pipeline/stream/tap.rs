//! One pipeline's share of a stream: a bounded queue that drops what does not fit.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use gst::{glib, prelude::*};
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::SharedStream;
use crate::{
    media::{Codec, Kind},
    pipeline::keyframe_request,
};

/// Bytes that may wait before one pipeline: two of the largest cached GOPs.
const QUEUE_BYTES_MAX: u64 = 16 << 20;

/// The fields of caps that a file holds once: size, parameter sets, channels.
const SHAPE: [&str; 5] = ["width", "height", "profile", "codec_data", "channels"];

/// How a pipeline consumes a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TapLimits {
    /// Media that may wait before the pipeline. Working through a cached GOP may take longer.
    pub(crate) queue: Duration,
    /// True if the pipeline decodes: it decodes the cached GOP to reach the present, but outputs
    /// none of it.
    pub(crate) decodes: bool,
    /// True if the pipeline must begin anew when the media changes its shape: see [`shape`].
    pub(crate) fixed: bool,
}

/// What became of an offered buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TapOutcome {
    Done,
    KeyframeWanted,
    /// The pipeline accepts nothing more.
    Gone,
}

#[derive(Debug, Default)]
pub(crate) struct TapCounters {
    frames: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    codec_changed: AtomicBool,
    reshaped: AtomicBool,
}

pub(super) struct Tap {
    id: u64,
    kind: Kind,
    source: glib::WeakRef<gst_app::AppSrc>,
    limits: TapLimits,
    counters: Arc<TapCounters>,
    codec: Option<Codec>,
    caps: Option<gst::Caps>,
    /// Whether it waits for a keyframe.
    waiting: bool,
    asked: Option<Instant>,
    /// While it works through a cached GOP, the time limit does not apply.
    catching_up: bool,
    discontinuous: bool,
    /// To be sent before the next buffer.
    segment: Option<gst::Segment>,
}

impl Tap {
    pub(super) fn new(
        id: u64,
        kind: Kind,
        source: &gst_app::AppSrc,
        limits: TapLimits,
        counters: Arc<TapCounters>,
    ) -> Self {
        Self {
            id,
            kind,
            source: source.downgrade(),
            limits,
            counters,
            codec: None,
            caps: None,
            waiting: kind == Kind::Video,
            asked: None,
            catching_up: false,
            discontinuous: true,
            segment: None,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Queues a cached GOP; false if there is none.
    pub(super) fn begin(&mut self, codec: Codec, caps: &gst::Caps, gop: &[gst::Buffer]) -> bool {
        let Some(source) = self.source.upgrade() else {
            return true;
        };
        self.follow(codec, caps, &source);
        let Some((last, past)) = gop.split_last() else {
            self.asked = Some(Instant::now());
            return self.kind == Kind::Audio;
        };
        self.waiting = false;
        self.catching_up = true;
        if self.limits.decodes
            && let Some(now) = last.pts()
        {
            self.segment = Some(from(now));
        }
        for buffer in past {
            self.send(&source, buffer.clone());
        }
        self.send(&source, last.clone());
        true
    }

    pub(super) fn wait_for_keyframe(&mut self) {
        self.waiting = self.kind == Kind::Video;
        self.discontinuous = true;
    }

    pub(super) fn push(
        &mut self,
        codec: Codec,
        caps: &gst::Caps,
        buffer: &gst::Buffer,
        keyframe: bool,
    ) -> TapOutcome {
        let Some(source) = self.source.upgrade() else {
            return TapOutcome::Gone;
        };
        if !self.follow(codec, caps, &source) {
            return TapOutcome::Done;
        }
        let full = self.is_full(&source, buffer.size() as u64);
        if full {
            self.wait_for_keyframe();
        }
        if full || self.waiting && !keyframe {
            self.counters.dropped.fetch_add(1, Relaxed);
            let pause = self
                .asked
                .is_none_or(|asked| asked.elapsed() >= keyframe_request::PAUSE);
            if full || self.kind == Kind::Audio || !pause {
                return TapOutcome::Done; // a keyframe now would be lost too
            }
            self.asked = Some(Instant::now());
            return TapOutcome::KeyframeWanted;
        }
        self.waiting = false;
        if self.send(&source, buffer.clone()) {
            TapOutcome::Done
        } else {
            TapOutcome::Gone
        }
    }

    fn is_full(&mut self, source: &gst_app::AppSrc, more: u64) -> bool {
        let queued = source
            .current_level_time()
            .map_or(Duration::ZERO, Into::into);
        if queued < self.limits.queue {
            self.catching_up = false;
        }
        let late = queued >= self.limits.queue && !self.catching_up;
        late || source.current_level_bytes() + more > QUEUE_BYTES_MAX
    }

    /// Adopts new caps; false if the codec or the shape has changed, and the pipeline cannot follow.
    fn follow(&mut self, codec: Codec, caps: &gst::Caps, source: &gst_app::AppSrc) -> bool {
        if *self.codec.get_or_insert(codec) != codec {
            self.counters.codec_changed.store(true, Relaxed);
            return false;
        }
        if self.caps.as_ref() != Some(caps) {
            if self.limits.fixed
                && let Some(present) = &self.caps
                && shape(present) != shape(caps)
            {
                self.counters.reshaped.store(true, Relaxed);
                return false;
            }
            source.set_caps(Some(caps)); // queued like a buffer
            self.caps = Some(caps.clone());
        }
        true
    }

    fn send(&mut self, source: &gst_app::AppSrc, mut buffer: gst::Buffer) -> bool {
        if std::mem::take(&mut self.discontinuous) {
            // Shares the memory.
            buffer = buffer.copy();
            if let Some(buffer) = buffer.get_mut() {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
        }
        let bytes = buffer.size() as u64;
        let taken = match self.segment.take() {
            Some(segment) => {
                let sample = gst::Sample::builder().buffer(&buffer).segment(&segment);
                let sample = match &self.caps {
                    Some(caps) => sample.caps(caps).build(),
                    None => sample.build(),
                };
                source.push_sample(&sample)
            }
            None => source.push_buffer(buffer),
        };
        let taken = taken.is_ok();
        if taken {
            self.counters.frames.fetch_add(1, Relaxed);
            self.counters.bytes.fetch_add(bytes, Relaxed);
        }
        taken
    }
}

/// What a file says once about its media.
fn shape(caps: &gst::Caps) -> gst::Caps {
    let mut shape = caps.clone();
    for structure in shape.make_mut().iter_mut() {
        let fields = structure.fields().map(ToString::to_string);
        let rest: Vec<_> = fields
            .filter(|field| !SHAPE.contains(&field.as_str()))
            .collect();
        structure.remove_fields(rest);
    }
    shape
}

/// A segment that begins now: a decoder decodes earlier media, but outputs none of it. Running
/// times stay the same.
fn from(now: gst::ClockTime) -> gst::Segment {
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(now);
    segment.set_base(now);
    segment.set_time(now);
    segment.set_position(now);
    segment.upcast()
}

/// Keeps an appsrc attached to a stream until it is dropped.
#[derive(Debug)]
pub(crate) struct Attachment {
    shared: Weak<SharedStream>,
    id: u64,
    counters: Arc<TapCounters>,
}

impl Attachment {
    pub(super) fn new(shared: Weak<SharedStream>, id: u64, counters: Arc<TapCounters>) -> Self {
        Self {
            shared,
            id,
            counters,
        }
    }

    pub(crate) fn counters(&self) -> Arc<TapCounters> {
        Arc::clone(&self.counters)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.detach(self.id);
        }
    }
}

impl TapCounters {
    /// Frames queued for the pipeline.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    /// Bytes queued for the pipeline.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Frames that the pipeline lost because it did not keep up or waited for a keyframe.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Whether the stream has changed its shape, and this pipeline must begin anew.
    pub(crate) fn is_reshaped(&self) -> bool {
        self.reshaped.load(Relaxed)
    }

    /// Whether the stream has changed to another codec, which this pipeline cannot get.
    pub(crate) fn codec_changed(&self) -> bool {
        self.codec_changed.load(Relaxed)
    }
}
