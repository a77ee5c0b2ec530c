//! The end of a feed: what does not fit into the queue of its appsrc is dropped and counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use gst::{glib, prelude::*};
use gstreamer as gst;
use gstreamer_app as gst_app;

use crate::{
    media::Kind,
    stream::{Losses, QueueGate, QueueVerdict},
};

/// Bytes that may wait before one pipeline: two of the largest cached GOPs.
const QUEUE_BYTES_MAX: u64 = 16 << 20;

/// The fields of caps that a file holds once: size, parameter sets, channels.
const SHAPE: [&str; 5] = ["width", "height", "profile", "codec_data", "channels"];

/// How a pipeline consumes a stream.
#[derive(Clone, Copy, Debug)]
pub(in crate::pipeline::job) struct TapLimits {
    /// Media that may wait before the pipeline. Working through a cached GOP may take longer.
    pub(in crate::pipeline::job) queue: Duration,
    /// True if the pipeline decodes: it decodes the cached GOP to reach the present, but outputs
    /// none of it.
    pub(in crate::pipeline::job) decodes: bool,
    /// True if the pipeline must restart when the media changes its shape: see [`shape`].
    pub(in crate::pipeline::job) fixed: bool,
}

#[derive(Debug, Default)]
pub(in crate::pipeline::job) struct TapCounters {
    /// Frames that the stream has dropped.
    losses: Losses,
    offered: AtomicU64,
    frames: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    codec_changed: AtomicBool,
    reshaped: AtomicBool,
}

pub(super) struct Tap {
    pub(super) gate: QueueGate,
    source: glib::WeakRef<gst_app::AppSrc>,
    limits: TapLimits,
    counters: Arc<TapCounters>,
    caps: Option<gst::Caps>,
    /// While it works through a cached GOP, the time limit does not apply.
    catching_up: bool,
    /// To be sent before the next buffer.
    segment: Option<gst::Segment>,
}

impl Tap {
    pub(super) fn new(
        kind: Kind,
        source: &gst_app::AppSrc,
        limits: TapLimits,
        counters: Arc<TapCounters>,
    ) -> Self {
        Self {
            gate: QueueGate::new(kind),
            source: source.downgrade(),
            limits,
            counters,
            caps: None,
            catching_up: false,
            segment: None,
        }
    }

    /// Frames due up to `present` are a cached GOP.
    pub(super) fn beginning_at(mut self, present: Option<Duration>) -> Self {
        self.catching_up = present.is_some();
        if self.limits.decodes {
            let present = present.and_then(|present| gst::ClockTime::try_from(present).ok());
            self.segment = present.map(from);
        }
        self
    }

    /// Queues a buffer, if there is room. `starts`: a decoder can start with it.
    pub(super) fn push(
        &mut self,
        caps: &gst::Caps,
        buffer: &gst::Buffer,
        starts: bool,
    ) -> QueueVerdict {
        let Some(source) = self.source.upgrade() else {
            return QueueVerdict::Drop;
        };
        if !self.follow(caps, &source) {
            return QueueVerdict::Drop;
        }
        let full = self.is_full(&source, buffer.size() as u64);
        let verdict = self.gate.judge(full, starts, Instant::now());
        match verdict {
            QueueVerdict::Pass { discontinuous } => {
                self.send(&source, buffer.clone(), discontinuous);
            }
            QueueVerdict::Drop | QueueVerdict::Ask => {
                self.counters.dropped.fetch_add(1, Relaxed);
            }
        }
        verdict
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

    /// Adopts new caps; false if the shape has changed, and the pipeline cannot follow.
    fn follow(&mut self, caps: &gst::Caps, source: &gst_app::AppSrc) -> bool {
        if self.caps.as_ref() == Some(caps) {
            return true;
        }
        if self.limits.fixed
            && let Some(present) = &self.caps
            && shape(present) != shape(caps)
        {
            self.counters.reshaped.store(true, Relaxed);
            return false;
        }
        source.set_caps(Some(caps)); // queued like a buffer
        self.caps = Some(caps.clone());
        true
    }

    fn send(&mut self, source: &gst_app::AppSrc, mut buffer: gst::Buffer, discontinuous: bool) {
        if discontinuous {
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
        // Err: it accepts nothing more, because it has ended or failed.
        if taken.is_ok() {
            self.counters.frames.fetch_add(1, Relaxed);
            self.counters.bytes.fetch_add(bytes, Relaxed);
        }
    }
}

/// The properties of media that a file states once.
fn shape(caps: &gst::Caps) -> gst::Caps {
    let mut shape = caps.clone();
    for structure in shape.make_mut().iter_mut() {
        let rest: Vec<_> = structure
            .fields()
            .map(ToString::to_string)
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

impl TapCounters {
    pub(super) fn new(losses: Losses) -> Self {
        Self {
            losses,
            ..Self::default()
        }
    }

    pub(super) fn note_offered(&self) {
        self.offered.fetch_add(1, Relaxed);
    }

    pub(super) fn note_codec_changed(&self) {
        self.codec_changed.store(true, Relaxed);
    }

    /// Frames that came for the pipeline.
    pub(in crate::pipeline::job) fn offered(&self) -> u64 {
        self.offered.load(Relaxed) + self.losses.count()
    }

    /// Frames queued for the pipeline.
    pub(in crate::pipeline::job) fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    /// Bytes queued for the pipeline.
    pub(in crate::pipeline::job) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Frames that the pipeline lost because it did not keep up or waited for a keyframe.
    pub(in crate::pipeline::job) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed) + self.losses.count()
    }

    /// Whether the stream has changed its shape, and this pipeline must restart.
    pub(in crate::pipeline::job) fn is_reshaped(&self) -> bool {
        self.reshaped.load(Relaxed)
    }

    /// Whether the stream has changed to another codec, which this pipeline cannot get.
    pub(in crate::pipeline::job) fn codec_changed(&self) -> bool {
        self.codec_changed.load(Relaxed)
    }
}
