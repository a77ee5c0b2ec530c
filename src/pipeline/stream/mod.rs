//! The encoded stream of one track, for the pipelines that take media from a broadcast.
//!
//! ```text
//!  packetizer: parse --+-- payload -> media::Frame -> viewers
//!                      | pad probe: references, no copies
//!                      v
//!                   Stream (GOP cache) --> Tap --> appsrc of a rendition or an output
//!                                      \-> Tap --> appsrc of another
//! ```
//!
//! A stream lives as long as its track: publishers come and go, pipelines attach and detach. It
//! never waits: a pipeline that does not keep up loses buffers up to the next keyframe, and they are
//! counted. Of a simulcast picture it carries the best layer that arrives; see `layers`.

mod gop;
mod layers;
mod tap;
mod writer;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use gop::BufferedGop;
use gstreamer as gst;
use gstreamer_app as gst_app;
use layers::{LayerFrame, LayerVerdict, SimulcastLayers};
use tap::Tap;
pub(crate) use tap::{Attachment, TapCounters, TapLimits};
pub(crate) use writer::tap_pad;

use crate::{
    awake,
    media::{ByKind, Codec, Kind},
};

/// Shortest time between frames of a simulcast picture.
const TICK: gst::ClockTime = gst::ClockTime::from_mseconds(1);

/// Pipelines that may be attached to one stream: bounds the work per frame.
const TAPS_MAX: usize = 64;

/// A handle on the encoded stream of one track; clones are the same stream.
#[derive(Clone)]
pub struct EncodedStream {
    shared: Arc<SharedStream>,
    /// Writers that begin with this handle are layers of one picture.
    group: Option<u64>,
}

struct SharedStream {
    kind: Kind,
    /// Whether a GOP is cached for pipelines that attach.
    cached: bool,
    keyframe_wanted: Box<dyn Fn() + Send + Sync>,
    /// Held while one buffer, or a cached GOP, is queued for each tap, which never waits.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the active writer: the newest, or the best layer of the newest.
    writer: u64,
    /// The number of the newest writer or group of layers.
    last_writer: u64,
    /// The layers to which the writer belongs.
    layers: Option<SimulcastLayers>,
    /// The newest presentation time; for layers.
    newest: Option<gst::ClockTime>,
    codec: Option<Codec>,
    caps: Option<gst::Caps>,
    gop: BufferedGop,
    taps: Vec<Tap>,
    last_tap: u64,
    frames: u64,
    bytes: u64,
    reordered: bool,
    gradual: bool,
    keyless: bool,
    keyframe_at: Option<Instant>,
    frame_at: Option<Instant>,
    origin: Option<String>,
}

/// Whether a decoder can start with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartPoint {
    No,
    /// Its pictures are whole once the encoder has renewed every part. Not for browsers.
    Recovery,
    Keyframe,
}

/// A stream without keyframes for this long, and with recovery points, is refreshed gradually.
const GRADUAL_AFTER: Duration = Duration::from_millis(1500);

/// What a stream demands of decoders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// The profile, as GStreamer names it in caps; `None` if the codec has none or the parser does
    /// not report it.
    pub profile: Option<String>,
    /// The level (`3.1`); `None` likewise.
    pub level: Option<String>,
    /// Whether frames arrive in another order than they are shown in: there are B-frames.
    pub reordered: bool,
    /// Whether the picture is refreshed gradually, without keyframes.
    pub gradual: bool,
    /// Whether it began with a recovery point, and no keyframe has come: no browser has a picture.
    pub keyless: bool,
    /// When the newest keyframe of the current writer arrived, or its first recovery point.
    pub keyframe_at: Option<Instant>,
    /// When its newest frame arrived.
    pub frame_at: Option<Instant>,
    /// The media type it was transcoded from on its way in.
    pub origin: Option<String>,
}

#[cfg(test)]
/// What has passed through a stream, and what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct StreamFigures {
    /// Codec of the newest buffer.
    pub codec: Option<Codec>,
    /// Encoded frames in.
    pub frames: u64,
    /// Bytes in.
    pub bytes: u64,
    /// Bytes held for pipelines that attach.
    pub cached_bytes: usize,
    /// Pipelines attached.
    pub taps: usize,
}

impl EncodedStream {
    /// A stream without a publisher. `keyframe_wanted` is called on streaming threads when a pipeline
    /// cannot continue without a keyframe: it must not block, and must limit the rate itself.
    pub fn new(kind: Kind, keyframe_wanted: impl Fn() + Send + Sync + 'static) -> Self {
        Self::build(kind, kind == Kind::Video, Box::new(keyframe_wanted))
    }

    /// A stream that no pipeline attaches to: it only observes what its media demands of decoders.
    pub fn observed(kind: Kind) -> Self {
        Self::build(kind, false, Box::new(|| ()))
    }

    fn build(kind: Kind, cached: bool, keyframe_wanted: Box<dyn Fn() + Send + Sync>) -> Self {
        let shared = SharedStream {
            kind,
            cached,
            keyframe_wanted,
            state: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            group: None,
        }
    }

    /// The same stream for the layers of a publisher's picture: each layer writes through a clone of
    /// this handle.
    #[must_use]
    pub fn layered(&self) -> Self {
        let mut state = self.state();
        state.last_writer += 1;
        Self {
            shared: Arc::clone(&self.shared),
            group: Some(state.last_writer),
        }
    }

    /// The track's kind.
    pub fn kind(&self) -> Kind {
        self.shared.kind
    }

    /// Codec of the newest writer; `None` before the first.
    pub fn codec(&self) -> Option<Codec> {
        self.state().codec
    }

    /// Figures at this moment.
    #[cfg(test)]
    pub fn figures(&self) -> StreamFigures {
        let state = self.state();
        StreamFigures {
            codec: state.codec,
            frames: state.frames,
            bytes: state.bytes,
            cached_bytes: state.gop.bytes(),
            taps: state.taps.len(),
        }
    }

    /// What the newest writer's media demands of decoders.
    pub fn demands(&self) -> Demands {
        let state = self.state();
        let caps = state.caps.as_ref().and_then(|caps| caps.structure(0));
        let named = |field| caps.and_then(|caps| caps.get::<String>(field).ok());
        Demands {
            profile: named("profile"),
            level: named("level"),
            reordered: state.reordered,
            gradual: state.gradual,
            keyless: state.keyless,
            keyframe_at: state.keyframe_at,
            frame_at: state.frame_at,
            origin: state.origin.clone(),
        }
    }

    /// Forgets the demands of a writer that has ended.
    pub fn forget(&self) {
        let mut state = self.state();
        state.caps = None;
        state.reordered = false;
        (state.gradual, state.keyless) = (false, false);
    }

    /// Caps of the newest writer, as text.
    #[cfg(test)]
    pub fn caps(&self) -> Option<String> {
        self.state().caps.as_ref().map(ToString::to_string)
    }

    /// Requests a keyframe from the current writer.
    pub(crate) fn want_keyframe(&self) {
        (self.shared.keyframe_wanted)();
    }

    /// Supplies an appsrc from now on, beginning with the cached GOP, or else with the next keyframe,
    /// which is requested. Ends when the attachment is dropped. `None` if too many pipelines are
    /// attached.
    pub(crate) fn attach(&self, source: &gst_app::AppSrc, limits: TapLimits) -> Option<Attachment> {
        let mut state = self.state();
        if state.taps.len() >= TAPS_MAX {
            return None;
        }
        state.last_tap += 1;
        let id = state.last_tap;
        let counters = Arc::new(TapCounters::default());
        let mut tap = Tap::new(id, self.kind(), source, limits, Arc::clone(&counters));
        let begun = match (state.codec, state.caps.clone()) {
            (Some(codec), Some(caps)) => tap.begin(codec, &caps, state.gop.buffers()),
            _ => true, // nobody to request it from
        };
        state.taps.push(tap);
        drop(state);
        if !begun {
            self.want_keyframe();
        }
        Some(Attachment::new(Arc::downgrade(&self.shared), id, counters))
    }

    /// The number of a new writer. Older writers are ignored from now on, except for other layers of
    /// the same picture.
    fn begin_writer(&self) -> u64 {
        let mut state = self.state();
        state.last_writer += 1;
        let writer = state.last_writer;
        if let Some(group) = self.group {
            let newest = state.layers.as_ref().map(|layers| layers.group);
            if newest.is_some_and(|newest| newest > group)
                || newest.is_none() && state.writer > group
            {
                return writer; // another publisher has begun
            }
            if newest != Some(group) {
                state.begin(writer);
                state.layers = Some(SimulcastLayers::new(group));
            }
            if let Some(layers) = &mut state.layers {
                layers.add(writer);
            }
        } else {
            state.begin(writer);
        }
        writer
    }

    /// Sets the caps of a writer's media from now on.
    fn set_caps(&self, writer: u64, codec: Codec, caps: &gst::Caps) {
        let mut state = self.state();
        if let Some(layer) = state
            .layers
            .as_mut()
            .and_then(|layers| layers.layer(writer))
        {
            layer.format = Some((codec, caps.clone()));
        }
        if state.writer == writer {
            state.set_format(codec, caps);
        }
    }

    /// Notes that the current writer's media is transcoded from this media type.
    pub(crate) fn set_origin(&self, origin: &str) {
        self.state().origin = Some(origin.to_owned());
    }

    /// Notes that a writer's frames arrive in another order than they are shown in.
    fn note_reordered(&self, writer: u64) {
        let mut state = self.state();
        if let Some(layer) = state
            .layers
            .as_mut()
            .and_then(|layers| layers.layer(writer))
        {
            layer.reordered = true;
        }
        state.reordered |= state.writer == writer;
    }

    /// One encoded frame, with its times on the shared clock and base time.
    fn push(&self, writer: u64, mut buffer: gst::Buffer, start: StartPoint) {
        let starts = start != StartPoint::No;
        let mut state = self.state();
        let state = &mut *state;
        let now = awake::now();
        if let Some(layers) = &mut state.layers {
            let frame = LayerFrame {
                writer,
                bytes: buffer.size(),
                keyframe: starts,
            };
            match layers.look(state.writer, frame, now) {
                LayerVerdict::Pass => {}
                LayerVerdict::Switch => state.switch(writer),
                LayerVerdict::KeyframeWanted => return self.want_keyframe(),
                LayerVerdict::Ignore => return,
            }
            state.put_in_order(&mut buffer);
        }
        let (Some(codec), Some(caps)) = (state.codec, &state.caps) else {
            return;
        };
        if state.writer != writer {
            return;
        }
        state.frames += 1;
        state.frame_at = Some(now);
        match start {
            StartPoint::Keyframe => {
                state.keyframe_at = Some(now);
                state.keyless = false;
            }
            StartPoint::Recovery => {
                state.keyless |= state.keyframe_at.is_none();
                let keyframe_at = *state.keyframe_at.get_or_insert(now);
                let late = now.saturating_duration_since(keyframe_at) >= GRADUAL_AFTER;
                state.gradual |= late;
            }
            StartPoint::No => {}
        }
        state.bytes += buffer.size() as u64;
        let mut wanted = false;
        state.taps.retain_mut(|tap| {
            let outcome = tap.push(codec, caps, &buffer, starts);
            wanted |= outcome == tap::TapOutcome::KeyframeWanted;
            outcome != tap::TapOutcome::Gone
        });
        if self.shared.cached {
            state.gop.push(buffer, start);
        }
        if wanted {
            self.want_keyframe();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl State {
    /// A writer has begun.
    fn begin(&mut self, writer: u64) {
        self.writer = writer;
        self.layers = None;
        self.gop.clear();
        self.reordered = false;
        (self.gradual, self.keyless) = (false, false);
        (self.keyframe_at, self.frame_at) = (None, None);
        (self.origin, self.newest) = (None, None);
        for tap in &mut self.taps {
            tap.wait_for_keyframe();
        }
    }

    fn set_format(&mut self, codec: Codec, caps: &gst::Caps) {
        if self.codec != Some(codec) {
            self.gop.clear();
        }
        self.codec = Some(codec);
        self.caps = Some(caps.clone());
    }

    /// Switches to another layer, whose keyframe has arrived.
    fn switch(&mut self, writer: u64) {
        self.writer = writer;
        let layer = self.layers.as_mut().and_then(|layers| layers.layer(writer));
        let Some((format, reordered)) = layer.map(|layer| (layer.format.clone(), layer.reordered))
        else {
            return;
        };
        self.reordered = reordered;
        if let Some((codec, caps)) = format {
            tracing::debug!(%caps, "pipelines switch to another layer");
            self.set_format(codec, &caps);
        }
        for tap in &mut self.taps {
            tap.wait_for_keyframe();
        }
    }

    /// Layers have slightly different times of their own: a switch must not step back.
    fn put_in_order(&mut self, buffer: &mut gst::Buffer) {
        let Some(pts) = buffer.pts() else { return };
        let next = self.newest.map(|newest| newest + TICK);
        let later = next.map_or(pts, |next| pts.max(next));
        self.newest = Some(later);
        if later > pts {
            let buffer = buffer.make_mut();
            buffer.set_pts(later);
            buffer.set_dts(buffer.dts().map(|_| later));
        }
    }
}

impl SharedStream {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn detach(&self, id: u64) {
        let mut state = self.state();
        if let Some(index) = state.taps.iter().position(|tap| tap.id() == id) {
            let tap = state.taps.swap_remove(index);
            drop(state);
            drop(tap);
        }
    }
}

impl fmt::Debug for EncodedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.kind()).finish()
    }
}

/// The streams of a broadcast, one for each track it has.
pub type EncodedStreams = ByKind<Option<EncodedStream>>;
