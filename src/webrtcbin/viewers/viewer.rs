//! One viewer, and where its playout sends packets.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tracing::Span;

use super::{
    numbering::{NumberedStream, Numbering},
    outlet::{Packets, Pushed, ViewerOutlet},
    setup::SentTrack,
};
use crate::{
    awake,
    media::Frame,
    peer::Event,
    playout::{
        Arrival, Delivery, LayerChoice, Part, Playout, PlayoutTrack, RenditionCaches, Sink,
        ViewerCounters,
    },
};

/// How often to check whether a viewer has connected: the notification may be lost.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// One viewer.
pub(crate) struct WebrtcbinViewer {
    pub(super) key: u64,
    outlet: ViewerOutlet,
    pub(super) playout: Playout<NumberedStream>,
    counters: Arc<ViewerCounters>,
    next_look: Option<Instant>,
}

impl WebrtcbinViewer {
    /// Call it within the viewer's span.
    pub(crate) fn new(
        key: u64,
        outlet: ViewerOutlet,
        tracks: &[SentTrack],
        events: mpsc::Sender<Event>,
        counters: Arc<ViewerCounters>,
    ) -> Self {
        let tracks = tracks.iter().map(playout_track).collect();
        let shared = Arc::clone(&counters);
        Self {
            key,
            outlet,
            playout: Playout::new(tracks, false, events, shared, Span::current()),
            counters,
            next_look: Some(awake::now()),
        }
    }

    /// A frame of one of the viewer's renditions has arrived.
    pub(super) fn frame(&mut self, numbering: &mut Numbering, arrival: &Arrival<'_>, now: Instant) {
        let mut sink = OutletSink {
            outlet: &self.outlet,
            counters: &self.counters,
            numbers: Numbers::Live(numbering),
        };
        self.playout.frame(&mut sink, arrival, now);
    }

    /// The viewer's decoder asks for a keyframe.
    pub(super) fn keyframe_wanted(&mut self, renditions: &RenditionCaches, now: Instant) {
        if !self.playout.keyframe_wanted(renditions, now) {
            self.counters.keyframe_requests_capped.fetch_add(1, Relaxed);
        }
    }

    /// When [`WebrtcbinViewer::tick`] is due next.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.next_look.into_iter().chain(self.playout.wake()).min()
    }

    /// Does everything that is due by now.
    pub(super) fn tick(
        &mut self,
        renditions: &RenditionCaches,
        numberings: &HashMap<u64, Numbering>,
        now: Instant,
    ) {
        if !self.playout.has_started() {
            if !self.outlet.is_open() {
                self.next_look = Some(now + LOOK_INTERVAL);
                return;
            }
            self.next_look = None;
            self.playout.start(renditions, now);
        }
        let mut sink = OutletSink {
            outlet: &self.outlet,
            counters: &self.counters,
            numbers: Numbers::Cached(numberings),
        };
        self.playout.tick(&mut sink, renditions, now);
    }
}

fn playout_track(track: &SentTrack) -> PlayoutTrack<NumberedStream> {
    let rendition = track.target.rendition;
    let stream = NumberedStream::new(rendition, track.codec.kind(), track.ssrc, track.pt);
    // webrtcbin 1.22 measures no bandwidth.
    let layers = LayerChoice::new(track.target.layers.clone(), false, awake::now());
    PlayoutTrack::new(rendition, track.codec, stream, layers)
}

/// The output to one viewer: packets are pushed as they are written.
pub(super) struct OutletSink<'a> {
    pub(super) outlet: &'a ViewerOutlet,
    pub(super) counters: &'a ViewerCounters,
    pub(super) numbers: Numbers<'a>,
}

/// Where a stream that has not begun gets its first number.
pub(super) enum Numbers<'a> {
    /// The rendition of the frame that has just arrived; its packets are shared.
    Live(&'a mut Numbering),
    /// All renditions, for frames from their caches.
    Cached(&'a HashMap<u64, Numbering>),
}

impl Sink for OutletSink<'_> {
    type Stream = NumberedStream;

    fn write(&mut self, stream: &mut NumberedStream, part: &Part<'_>) -> Delivery {
        let frame = part.frame;
        let make = |header| {
            let pts = shown_at(frame, part.timestamp);
            Packets::new(header, frame, part.packets.clone(), pts)
        };
        let packets = match (&mut self.numbers, part.cached) {
            (Numbers::Live(numbering), _) => {
                let header = stream.header(numbering.next, part);
                numbering.packets(header, || make(header))
            }
            (Numbers::Cached(numberings), Some(gop)) => {
                let Some(numbering) = numberings.get(&part.rendition) else {
                    return Delivery::Refused;
                };
                // Only the first packets need a count through the cache.
                let first = if stream.has_begun() {
                    0
                } else {
                    numbering.of_cache(gop)
                };
                make(stream.header(first, part))
            }
            (Numbers::Cached(_), None) => return Delivery::Refused,
        };
        let pushed = self.outlet.push(stream.kind, &packets);
        if pushed != Pushed::Refused {
            let (packets, bytes) = (packets.len() as u64, packets.bytes() as u64);
            self.counters.packets.fetch_add(packets, Relaxed);
            self.counters.bytes.fetch_add(bytes, Relaxed);
        }
        match pushed {
            Pushed::Sent => Delivery::Sent,
            Pushed::Late => Delivery::Behind,
            Pushed::Refused => Delivery::Refused,
        }
    }

    fn flush(&mut self) -> Delivery {
        Delivery::Sent
    }
}

/// Where `timestamp` lies on the server's clock: moved by as much as the frame's.
fn shown_at(frame: &Frame, timestamp: u64) -> Duration {
    let moved = timestamp.saturating_sub(frame.timestamp);
    frame.pts + Duration::from_micros(moved * 1_000_000 / u64::from(frame.codec.clock_rate()))
}
