//! Counts what flows through a job: pad probes on its appsrc and appsink elements and its sinks.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use gst::prelude::*;
use gstreamer as gst;

use super::figures::{OutputFigures, QueueFigures};
use crate::{media::Kind, pipeline::elements};

/// Most frames in a job that are timed at once.
const ON_THE_WAY_MAX: usize = 256;
/// Most sinks of an output that are metered.
const SINKS_MAX: usize = 32;

/// Counts buffers.
#[derive(Debug, Default)]
pub(super) struct BufferMeter {
    frames: AtomicU64,
    bytes: AtomicU64,
    timed: AtomicU64,
    time_us: AtomicU64,
    time_max_us: AtomicU64,
}

impl BufferMeter {
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    fn add(&self, frames: usize, bytes: usize) {
        self.frames.fetch_add(frames as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    fn add_time(&self, begin: Instant) {
        let micros = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.timed.fetch_add(1, Relaxed);
        self.time_us.fetch_add(micros, Relaxed);
        self.time_max_us.fetch_max(micros, Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "shown to people")]
    fn output(&self, name: &str, pad: Option<gst::Pad>) -> OutputFigures {
        let timed = self.timed.load(Relaxed);
        let milliseconds = |micros: u64| micros as f64 / 1000.0;
        let mean = |()| milliseconds(self.time_us.load(Relaxed) / timed.max(1));
        let caps = pad.and_then(|pad| pad.current_caps());
        OutputFigures {
            name: name.to_owned(),
            frames: self.frames(),
            bytes: self.bytes.load(Relaxed),
            time_per_frame_ms: (timed > 0).then_some(()).map(mean),
            time_per_frame_max_ms: (timed > 0)
                .then(|| milliseconds(self.time_max_us.load(Relaxed))),
            caps: caps.map(readable),
        }
    }
}

/// When each video frame went in, by its running time.
type OnTheWay = Arc<Mutex<VecDeque<(gst::ClockTime, Instant)>>>;

struct Counted {
    name: String,
    pad: glib::WeakRef<gst::Pad>,
    meter: Arc<BufferMeter>,
}

/// An appsink and what has reached it.
pub(super) struct MeteredAppsink {
    pub(super) name: String,
    pub(super) meter: Arc<BufferMeter>,
}

/// The meters of a job.
pub(super) struct Meters {
    on_the_way: OnTheWay,
    outputs: Vec<Counted>,
    /// Sinks of an output; muxers that write several files add them as they go.
    sinks: Arc<Mutex<Vec<Counted>>>,
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            on_the_way: OnTheWay::default(),
            outputs: Vec::new(),
            sinks: Arc::default(),
        }
    }

    pub(super) fn watch_input(&self, kind: Kind, pad: &gst::Pad, meter: &Arc<BufferMeter>) {
        let (meter, on_the_way) = (Arc::clone(meter), Arc::clone(&self.on_the_way));
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                meter.add(1, buffer.size());
                if kind == Kind::Video
                    && let Some(pts) = buffer.pts()
                    && let Ok(mut on_the_way) = on_the_way.lock()
                {
                    if on_the_way.len() >= ON_THE_WAY_MAX {
                        on_the_way.pop_front();
                    }
                    on_the_way.push_back((pts, Instant::now()));
                }
            }
            gst::PadProbeReturn::Ok
        });
    }

    pub(super) fn watch_output(&mut self, name: &str, sink: &impl IsA<gst::Element>) {
        let Some(pad) = sink.static_pad("sink") else {
            return;
        };
        let on_the_way = Arc::clone(&self.on_the_way);
        let counted = count(name, &pad, move |meter, pts| {
            // Only threads of this job contend for it, and each holds it only to read a short list.
            if let Ok(on_the_way) = on_the_way.lock()
                && let Some((_, begin)) = on_the_way.iter().rev().find(|(due, _)| *due == pts)
            {
                meter.add_time(*begin);
            }
        });
        self.outputs.push(counted);
    }

    /// Meters every sink element of an output that its inputs can reach.
    pub(super) fn watch_sinks(&mut self, pipeline: &gst::Pipeline) {
        for element in pipeline.iterate_recurse().into_iter().flatten() {
            watch_sink(&self.sinks, &element);
        }
        let sinks = Arc::downgrade(&self.sinks);
        pipeline.connect_deep_element_added(move |_, _, element| {
            if let Some(sinks) = sinks.upgrade() {
                watch_sink(&sinks, element);
            }
        });
    }

    /// The figures of all outputs so far.
    pub(super) fn figures(&self) -> Vec<OutputFigures> {
        let mut outputs: Vec<_> = self.outputs.iter().map(Counted::output).collect();
        if let Ok(sinks) = self.sinks.lock() {
            outputs.extend(sinks.iter().map(Counted::output));
        }
        outputs
    }

    /// The appsinks with their meters.
    pub(super) fn appsinks(&self) -> Vec<MeteredAppsink> {
        let appsinks = self.outputs.iter().map(|output| MeteredAppsink {
            name: output.name.clone(),
            meter: Arc::clone(&output.meter),
        });
        appsinks.collect()
    }

    /// The meters of the appsinks; an output has none.
    pub(super) fn made(&self) -> Vec<Arc<BufferMeter>> {
        self.outputs
            .iter()
            .map(|output| &output.meter)
            .cloned()
            .collect()
    }
}

impl Counted {
    fn output(&self) -> OutputFigures {
        self.meter.output(&self.name, self.pad.upgrade())
    }
}

fn count(
    name: &str,
    pad: &gst::Pad,
    seen: impl Fn(&BufferMeter, gst::ClockTime) + Send + Sync + 'static,
) -> Counted {
    let meter = Arc::<BufferMeter>::default();
    let counter = Arc::clone(&meter);
    pad.add_probe(
        gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
        move |pad, info| {
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => {
                    counter.add(1, buffer.size());
                    if let Some(due) = due(pad, buffer) {
                        seen(&counter, due);
                    }
                }
                Some(gst::PadProbeData::BufferList(list)) => {
                    counter.add(list.len(), list.calculate_size());
                }
                _ => {}
            }
            gst::PadProbeReturn::Ok
        },
    );
    Counted {
        name: name.to_owned(),
        pad: pad.downgrade(),
        meter,
    }
}

/// The running time of a buffer: encoders keep it, but not always the timestamp.
fn due(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<gst::ClockTime> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    event
        .segment()
        .downcast_ref::<gst::ClockTime>()?
        .to_running_time(buffer.pts()?)
}

/// Caps without the fields that only decoders need.
fn readable(mut caps: gst::Caps) -> String {
    for structure in caps.make_mut().iter_mut() {
        structure.remove_fields(["streamheader", "codec_data"]);
    }
    caps.to_string()
}

/// The name of a sink, preceded by that of its bin.
fn full_name(element: &gst::Element) -> String {
    let bin = element
        .parent()
        .filter(|parent| !parent.is::<gst::Pipeline>());
    match bin {
        Some(bin) => format!("{}/{}", bin.name(), element.name()),
        None => element.name().to_string(),
    }
}

fn watch_sink(sinks: &Mutex<Vec<Counted>>, element: &gst::Element) {
    let is_sink = element.element_flags().contains(gst::ElementFlags::SINK);
    if !is_sink || element.is::<gst::Bin>() || has_own_source(element) {
        return;
    }
    if let (Some(pad), Ok(mut sinks)) = (element.static_pad("sink"), sinks.lock())
        && sinks.len() < SINKS_MAX
    {
        sinks.push(count(&full_name(element), &pad, |_, _| ()));
    }
}

/// Whether what a sink gets is in the text itself, such as HLS's main playlist: that it has been
/// written proves nothing.
fn has_own_source(sink: &gst::Element) -> bool {
    let source = sink.static_pad("sink").and_then(|pad| pad.peer());
    let source = source.and_then(|pad| pad.parent_element());
    source.is_some_and(|source| {
        source.element_flags().contains(gst::ElementFlags::SOURCE)
            && !source.is::<gstreamer_app::AppSrc>()
    })
}

/// How full the queues of a pipeline are.
pub(super) fn queues(pipeline: &gst::Pipeline) -> Vec<QueueFigures> {
    let queues = ["queue", "queue2"]
        .into_iter()
        .flat_map(|factory| elements::of_factory(pipeline.upcast_ref(), factory));
    queues
        .map(|queue| QueueFigures {
            name: queue.name().to_string(),
            buffers: queue.property::<u32>("current-level-buffers").into(),
            bytes: queue.property::<u32>("current-level-bytes").into(),
            queued_ms: queue.property::<u64>("current-level-time") / 1_000_000,
        })
        .collect()
}
