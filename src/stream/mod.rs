//! The encoded stream of one track, for pipelines: frames in, the same frames out to each subscriber.
//!
//! ```text
//!  gate of an input --> fan-out -> viewers
//!        |
//!        v StreamWriter::push
//!   EncodedStream (GOP cache) --> Subscription of a rendition pipeline or an output
//!                             \-> Subscription of another
//! ```
//!
//! A stream lives as long as its track: publishers come and go, pipelines subscribe and leave. It
//! never waits: a subscriber that does not keep up loses frames up to the next keyframe, and they are
//! counted. Of a simulcast picture it carries the best layer that arrives; see `layers`. On the way
//! it reads what its media demands of decoders.

mod demands;
mod gate;
mod gop;
mod layers;
mod queue;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub use self::{
    demands::Demands,
    gate::{QueueGate, QueueVerdict},
    queue::{Losses, StreamFrame, StreamSubscription},
    writer::StreamWriter,
};
use self::{
    gop::BufferedGop,
    layers::{LayerFrame, LayerVerdict, SimulcastLayers},
    queue::Subscriber,
    writer::{FrameFacts, StartPoint},
};
use crate::{
    awake,
    media::{ByKind, Codec, Frame, Kind, format::VideoFormat},
};

/// Shortest time between frames of a simulcast picture.
const TICK: Duration = Duration::from_millis(1);
/// Subscribers that one stream may have: bounds the work per frame.
const SUBSCRIBERS_MAX: usize = 64;
/// A stream without keyframes for this long, and with recovery points, is refreshed gradually.
const GRADUAL_AFTER: Duration = Duration::from_millis(1500);

/// A handle on the encoded stream of one track; clones are the same stream.
#[derive(Clone)]
pub struct EncodedStream {
    shared: Arc<SharedStream>,
    /// Writers of this handle bring layers of one picture.
    group: Option<u64>,
}

struct SharedStream {
    kind: Kind,
    /// Whether a GOP is cached for those who subscribe.
    cached: bool,
    keyframe_wanted: Box<dyn Fn() + Send + Sync>,
    /// Held while one frame, or a cached GOP, is queued for each subscriber, which never waits.
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
    newest: Option<Duration>,
    codec: Option<Codec>,
    /// The format of the writer's pictures, once their headers have arrived.
    format: Option<VideoFormat>,
    gop: BufferedGop,
    subscribers: Vec<Subscriber>,
    /// For the next one who subscribes.
    held: Option<StreamSubscription>,
    last_subscriber: u64,
    frames: u64,
    stereo: bool,
    /// Without profile and level.
    demands: Demands,
}

impl EncodedStream {
    /// A stream without a publisher. `keyframe_wanted` is called on any thread when a subscriber
    /// cannot continue without a keyframe: it must not block, and must limit the rate itself.
    pub fn new(kind: Kind, keyframe_wanted: impl Fn() + Send + Sync + 'static) -> Self {
        Self::build(kind, kind == Kind::Video, Box::new(keyframe_wanted))
    }

    /// A stream without subscribers: it only observes what its media demands of decoders.
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

    /// The same stream for the layers of a publisher's picture: each layer has a writer of this
    /// handle or of a clone of it.
    #[must_use]
    pub fn layered(&self) -> Self {
        let mut state = self.state();
        state.last_writer += 1;
        Self {
            shared: Arc::clone(&self.shared),
            group: Some(state.last_writer),
        }
    }

    /// Says what is about to come, before the first frame does.
    pub fn expect(&self, codec: Codec, stereo: bool) {
        let mut state = self.state();
        state.codec = Some(codec);
        state.stereo = stereo;
    }

    /// A new writer. With its first frame it takes the place of all older ones, except for other
    /// layers of the same picture.
    pub fn writer(&self) -> StreamWriter {
        StreamWriter::new(self.clone())
    }

    /// The track's kind.
    pub fn kind(&self) -> Kind {
        self.shared.kind
    }

    /// Codec of the newest writer; `None` before the first.
    pub fn codec(&self) -> Option<Codec> {
        self.state().codec
    }

    /// Whether the writer has brought sound in stereo.
    pub fn is_stereo(&self) -> bool {
        self.state().stereo
    }

    /// What the newest writer's media demands of decoders.
    pub fn demands(&self) -> Demands {
        self.state().demands()
    }

    /// Forgets the demands of a writer that has ended.
    pub fn forget(&self) {
        let mut state = self.state();
        state.format = None;
        state.demands.reordered = false;
        (state.demands.gradual, state.demands.keyless) = (false, false);
    }

    /// Notes that the media which comes from now on, from whichever writer, is transcoded from this
    /// media type; from none if `None`.
    pub fn set_origin(&self, origin: Option<&str>) {
        self.state().demands.origin = origin.map(str::to_owned);
    }

    /// Frames that have passed.
    #[cfg(test)]
    pub fn frames(&self) -> u64 {
        self.state().frames
    }

    /// How many there are to take them.
    #[cfg(test)]
    pub fn subscribers(&self) -> usize {
        self.state().subscribers.len()
    }

    /// Requests a keyframe from the current writer.
    pub fn want_keyframe(&self) {
        (self.shared.keyframe_wanted)();
    }

    /// Takes all frames from now on, beginning with the cached GOP, or else with the next keyframe,
    /// which is requested. Ends when the subscription is dropped. `None` if there are too many.
    pub fn subscribe(&self) -> Option<StreamSubscription> {
        let mut state = self.state();
        if let Some(held) = state.held.take() {
            return Some(held);
        }
        if state.subscribers.len() >= SUBSCRIBERS_MAX {
            return None;
        }
        state.last_subscriber += 1;
        let mut subscriber = Subscriber::new(state.last_subscriber, self.kind());
        let gop = state.gop.frames();
        // Without a codec there is nobody to request it from.
        let wants_keyframe = gop.is_empty() && self.kind() == Kind::Video && state.codec.is_some();
        let present = gop.last().map(|newest| newest.pts);
        let now = awake::now();
        subscriber.begin(gop, now);
        if wants_keyframe {
            subscriber.gate.note_request(now);
        }
        let subscription = subscriber.subscription(&self.shared, present);
        state.subscribers.push(subscriber);
        drop(state);
        if wants_keyframe {
            self.want_keyframe();
        }
        Some(subscription)
    }

    /// Holds everything from now on for the next one who subscribes, within the limits of a queue.
    pub fn hold(&self) {
        let held = self.subscribe().map(StreamSubscription::held);
        self.state().held = held;
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

    /// Takes a writer's frame.
    fn push(&self, writer: u64, frame: &Frame, facts: FrameFacts) {
        let mut state = self.state();
        let state = &mut *state;
        let now = awake::now();
        let start = facts.start;
        let starts = start != StartPoint::No;
        let mut pts = frame.pts;
        if let Some(layers) = &mut state.layers {
            if let Some(layer) = layers.layer(writer) {
                layer.note(&facts);
            }
            let frame = LayerFrame {
                writer,
                bytes: frame.data.len(),
                keyframe: starts,
            };
            match layers.look(state.writer, frame, now) {
                LayerVerdict::Pass => {}
                LayerVerdict::Switch => state.switch(writer),
                LayerVerdict::KeyframeWanted => return self.want_keyframe(),
                LayerVerdict::Ignore => return,
            }
            pts = state.put_in_order(pts);
        }
        if state.writer != writer {
            return;
        }
        if state.codec != Some(frame.codec) {
            state.gop.clear();
            state.codec = Some(frame.codec);
        }
        state.note(facts, now);
        if state.subscribers.is_empty() && !self.shared.cached {
            return;
        }
        // Shares the bytes.
        let frame = Arc::new(Frame {
            pts,
            ..frame.clone()
        });
        let mut wanted = false;
        for subscriber in &mut state.subscribers {
            wanted |= subscriber.offer(&frame, starts, now) == QueueVerdict::Ask;
        }
        if self.shared.cached {
            state.gop.push(frame, start);
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
        self.format = None;
        self.newest = None;
        self.stereo = false;
        self.demands = Demands {
            origin: self.demands.origin.take(),
            ..Demands::default()
        };
        for subscriber in &mut self.subscribers {
            subscriber.gate.interrupt();
        }
    }

    /// Notes what a frame of the current writer says.
    fn note(&mut self, facts: FrameFacts, now: Instant) {
        self.frames += 1;
        self.stereo |= facts.stereo;
        if facts.format.is_some() {
            self.format = facts.format;
        }
        let demands = &mut self.demands;
        demands.frame_at = Some(now);
        demands.reordered |= facts.reordered;
        match facts.start {
            StartPoint::Keyframe => {
                demands.keyframe_at = Some(now);
                demands.keyless = false;
            }
            StartPoint::Recovery => {
                demands.keyless |= demands.keyframe_at.is_none();
                let keyframe_at = *demands.keyframe_at.get_or_insert(now);
                let late = now.saturating_duration_since(keyframe_at) >= GRADUAL_AFTER;
                demands.gradual |= late;
            }
            StartPoint::No => {}
        }
    }

    fn demands(&self) -> Demands {
        let format = self.format.as_ref();
        Demands {
            profile: format.and_then(|format| format.profile).map(str::to_owned),
            level: format.and_then(|format| format.level.clone()),
            ..self.demands.clone()
        }
    }

    /// Switches to another layer, whose keyframe has arrived.
    fn switch(&mut self, writer: u64) {
        self.writer = writer;
        if let Some(layer) = self.layers.as_mut().and_then(|layers| layers.layer(writer)) {
            self.demands.reordered = layer.reordered;
            self.format.clone_from(&layer.format);
            let format = layer.format.as_ref();
            let (width, height) = (
                format.map(|format| format.width),
                format.map(|format| format.height),
            );
            tracing::debug!(width, height, "pipelines switched to another layer");
        }
        for subscriber in &mut self.subscribers {
            subscriber.gate.interrupt();
        }
    }

    /// Layers have slightly different times of their own: a switch must not step back.
    fn put_in_order(&mut self, pts: Duration) -> Duration {
        let next = self.newest.map(|newest| newest + TICK);
        let later = next.map_or(pts, |next| pts.max(next));
        self.newest = Some(later);
        later
    }
}

impl SharedStream {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsubscribe(&self, id: u64) {
        let mut state = self.state();
        state.subscribers.retain(|subscriber| subscriber.id != id);
    }
}

impl fmt::Debug for EncodedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EncodedStream").field(&self.kind()).finish()
    }
}

/// The streams of a broadcast, one for each track it has.
pub type EncodedStreams = ByKind<Option<EncodedStream>>;

/// What comes from the streams of a broadcast.
pub type StreamSubscriptions = ByKind<Option<StreamSubscription>>;
