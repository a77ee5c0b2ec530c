//! A viewer, its renditions and a clock.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::super::{
    Arrival, Delivery, GopLimits, LayerChoice, Part, Playout, PlayoutTrack, RenditionCache,
    RenditionCaches, Sink, Target, ViewerCounters,
    testing::{Taken, TestEngine},
};
use crate::{
    media::{Codec, Frame, Kind},
    peer::Event,
};

/// The rendition of the picture that a viewer begins with.
pub(super) const VIDEO: u64 = 1;
/// Another one.
pub(super) const OTHER: u64 = 2;
pub(super) const AUDIO: u64 = 3;
/// Time between two frames.
pub(super) const FRAME: Duration = Duration::from_millis(40);
/// Payload bytes of a packet.
const PACKET: usize = 1000;

/// An engine that records what it gets, and can be held up.
pub(super) struct Recorder {
    pub(super) held_up: bool,
    now: Instant,
    /// The portions of padding: when each came, and its bytes.
    pub(super) padding: Vec<(Instant, usize)>,
    taken: Vec<Taken>,
}

/// The next sequence number, and the kind.
pub(super) struct Counted(u16, Kind);

struct RecorderSink<'a>(&'a mut Recorder);

impl Sink for RecorderSink<'_> {
    type Stream = Counted;

    fn write(&mut self, stream: &mut Counted, part: &Part<'_>) -> Delivery {
        let last = part.frame.ends.len() - 1;
        for (index, range) in part.frame.ranges().enumerate() {
            if part.packets.contains(&index) {
                self.0.taken.push(Taken {
                    kind: stream.1,
                    sequence: stream.0,
                    timestamp: u32::try_from(part.timestamp).unwrap(),
                    marker: stream.1 == Kind::Video && index == last,
                    bytes: range.len(),
                });
                stream.0 += 1;
            }
        }
        Delivery::Sent
    }

    fn flush(&mut self) -> Delivery {
        if self.0.held_up {
            Delivery::Behind
        } else {
            Delivery::Sent
        }
    }

    fn pad(&mut self, _stream: &mut Counted, bytes: usize) -> usize {
        self.0.padding.push((self.0.now, bytes));
        bytes
    }
}

impl TestEngine for Recorder {
    type Stream = Counted;

    fn new() -> Self {
        Self {
            held_up: false,
            now: Instant::now(),
            padding: Vec::new(),
            taken: Vec::new(),
        }
    }

    fn stream(&self, kind: Kind, _rendition: u64) -> Counted {
        Counted(0, kind)
    }

    fn frame(&mut self, playout: &mut Playout<Counted>, arrival: &Arrival<'_>, now: Instant) {
        playout.frame(&mut RecorderSink(self), arrival, now);
    }

    fn tick(&mut self, playout: &mut Playout<Counted>, renditions: &RenditionCaches, now: Instant) {
        self.now = now;
        playout.tick(&mut RecorderSink(self), renditions, now);
    }

    fn taken(&mut self) -> Vec<Taken> {
        std::mem::take(&mut self.taken)
    }
}

pub(super) struct Stage<E: TestEngine> {
    pub(super) engine: E,
    pub(super) playout: Playout<E::Stream>,
    pub(super) renditions: RenditionCaches,
    numbers: HashMap<u64, u64>,
    events: mpsc::Receiver<Event>,
    pub(super) counters: Arc<ViewerCounters>,
    begun: Instant,
    pub(super) now: Instant,
}

impl<E: TestEngine> Stage<E> {
    /// A viewer of picture and sound that is not connected yet.
    pub(super) fn new() -> Self {
        Self::with_layers(&[], true)
    }

    /// The same, for a picture with these layers.
    pub(super) fn with_layers(layers: &[u64], measured: bool) -> Self {
        let (engine, now) = (E::new(), Instant::now());
        let (sender, events) = mpsc::channel(64);
        let counters = Arc::<ViewerCounters>::default();
        let layers = LayerChoice::new(layers.to_vec(), measured, now);
        let video = engine.stream(Kind::Video, VIDEO);
        let audio = engine.stream(Kind::Audio, AUDIO);
        let tracks = vec![
            PlayoutTrack::new(VIDEO, Codec::H264, video, layers),
            PlayoutTrack::new(AUDIO, Codec::Opus, audio, None),
        ];
        let playout = Playout::new(
            tracks,
            measured,
            sender,
            Arc::clone(&counters),
            tracing::Span::none(),
        );
        Self {
            engine,
            playout,
            renditions: HashMap::new(),
            numbers: HashMap::new(),
            events,
            counters,
            begun: now,
            now,
        }
    }

    pub(super) fn start(&mut self) {
        self.playout.start(&self.renditions, self.now);
    }

    /// A viewer that has caught up with a picture of this many frames, the first a keyframe.
    pub(super) fn watching(frames: usize) -> Self {
        let mut stage = Self::new();
        stage.feed(VIDEO, true, 1);
        for _ in 1..frames {
            stage.feed(VIDEO, false, 1);
        }
        stage.start();
        stage.run(FRAME);
        stage.engine.taken();
        stage
    }

    /// The timestamp of a frame that arrives now.
    pub(super) fn timestamp(&self) -> u32 {
        u32::try_from(self.pts().as_millis()).unwrap() * 90
    }

    fn pts(&self) -> Duration {
        Duration::from_secs(100) + (self.now - self.begun)
    }

    /// A frame of this many packets arrives, and the time of one passes.
    pub(super) fn feed(&mut self, rendition: u64, keyframe: bool, packets: usize) {
        let codec = if rendition == AUDIO {
            Codec::Opus
        } else {
            Codec::H264
        };
        self.feed_as(codec, rendition, keyframe, packets);
    }

    pub(super) fn feed_as(&mut self, codec: Codec, rendition: u64, keyframe: bool, packets: usize) {
        let ends = (1..=packets).map(|end| u32::try_from(end * PACKET).unwrap());
        let pts = self.pts();
        let frame = Arc::new(Frame {
            codec,
            keyframe,
            pts,
            timestamp: u64::try_from(pts.as_millis()).unwrap() * u64::from(codec.clock_rate())
                / 1000,
            data: vec![0; packets * PACKET].into(),
            ends: ends.collect(),
        });
        let next = self.numbers.entry(rendition).or_insert(0);
        let number = *next;
        *next += 1;
        let now = self.now;
        let cache = self.renditions.entry(rendition);
        let cache = cache.or_insert_with(|| RenditionCache::new(GopLimits::default(), now));
        let arrival = Arrival {
            rendition,
            number,
            frame: &frame,
            continuity: cache.push(number, &frame, now),
        };
        self.engine.frame(&mut self.playout, &arrival, now);
        self.run(FRAME);
    }

    /// A frame does not arrive.
    pub(super) fn lose(&mut self, rendition: u64) {
        *self.numbers.entry(rendition).or_insert(0) += 1;
        self.run(FRAME);
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(wake) = self.playout.wake()
            && wake <= end
        {
            self.now = self.now.max(wake);
            self.engine
                .tick(&mut self.playout, &self.renditions, self.now);
        }
        self.now = end;
    }

    /// Lets time pass on a busy machine: what is due then is done at its end.
    pub(super) fn run_late(&mut self, time: Duration) {
        self.now += time;
        self.engine
            .tick(&mut self.playout, &self.renditions, self.now);
    }

    pub(super) fn asks(&mut self) -> bool {
        let (renditions, now) = (&self.renditions, self.now);
        self.playout.keyframe_wanted(renditions, now)
    }

    pub(super) fn switch(&mut self, kind: Kind, rendition: u64) {
        let to = Target {
            kind,
            rendition,
            layers: Vec::new(),
        };
        self.playout.set_rendition(to, self.now);
        self.playout.switch(kind, &self.renditions, self.now);
    }

    /// How many keyframes have been requested since the last call.
    pub(super) fn requests(&mut self) -> usize {
        std::iter::from_fn(|| self.events.try_recv().ok())
            .filter(|event| *event == Event::KeyframeWanted)
            .count()
    }

    /// The pictures that have been sent: the timestamp and the packets of each.
    pub(super) fn pictures(&mut self) -> Vec<(u32, usize)> {
        let mut pictures: Vec<(u32, usize)> = Vec::new();
        let taken = self.engine.taken();
        for packet in taken.iter().filter(|packet| packet.kind == Kind::Video) {
            match pictures.last_mut() {
                Some((timestamp, packets)) if *timestamp == packet.timestamp => *packets += 1,
                _ => pictures.push((packet.timestamp, 1)),
            }
        }
        pictures
    }
}
