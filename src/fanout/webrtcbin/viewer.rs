//! One fed viewer on its worker: what it is fed, and when.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    Numbering,
    layers::Layers,
    outlet::{Packets, Pushed, RunHeader, ViewerOutlet},
    timestamp_offset,
};
use crate::{
    fanout::{
        direct::{
            BURST_BYTES, Context, KEYFRAME_INTERVAL, KEYFRAME_PATIENCE, PACE_BYTES, PACE_FACTOR,
            PACE_INTERVAL, RenditionState, low16, low32,
        },
        gop::{Continuity, Gop, Limits},
        switcher::Switcher,
        viewer::ViewerCounters,
    },
    media::{Codec, Frame, Kind},
    peer::Event,
};

/// How often a viewer is looked at if nothing else happens: whether it is connected, and whether
/// it still waits for a keyframe.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// One track as such a viewer gets it.
pub(super) struct Track {
    pub(super) rendition: u64,
    /// The layers to choose from, if the track is simulcast.
    pub(super) layers: Layers,
    codec: Codec,
    ssrc: u32,
    pt: u8,
    timestamp_offset: u32,
    pub(super) switcher: Switcher,
    /// Number of the next packet, and what is subtracted from it on the wire. `None` before the
    /// first.
    next: Option<(u64, u16)>,
}

impl Track {
    pub(super) fn new(
        (rendition, codec): (u64, Codec),
        layers: Vec<u64>,
        ssrc: u32,
        pt: u8,
    ) -> Self {
        Self {
            rendition,
            layers: Layers::new(layers),
            codec,
            ssrc,
            pt,
            timestamp_offset: timestamp_offset(rendition),
            switcher: Switcher::start(&Gop::new(Limits::default())),
            next: None,
        }
    }

    pub(super) const fn kind(&self) -> Kind {
        self.codec.kind()
    }

    /// The headers for the next `count` packets. `number` is the first one's in the rendition:
    /// the viewer's own numbers begin there, and go on without gaps.
    pub(super) fn header(&mut self, number: u64, count: usize, timestamp: u64) -> RunHeader {
        // At first below 2^15, so that an early loss cannot make the peer guess the rollover
        // counter wrong (RFC 3711 §3.3.1).
        let (next, shift) = self.next.unwrap_or((number, low16(number) & 0x8000));
        self.next = Some((next + count as u64, shift));
        RunHeader {
            ssrc: self.ssrc,
            pt: self.pt,
            sequence: low16(next).wrapping_sub(shift),
            timestamp: low32(timestamp).wrapping_add(self.timestamp_offset),
        }
    }
}

/// One such viewer on its worker.
pub(in crate::fanout) struct WebrtcbinViewer {
    pub(super) key: u64,
    outlet: ViewerOutlet,
    pub(super) tracks: Vec<Track>,
    events: mpsc::Sender<Event>,
    counters: Arc<ViewerCounters>,
    started: bool,
    pub(super) next_look: Instant,
    pub(super) next_portion: Option<Instant>,
    /// When to fall back to the cached keyframe.
    replay_at: Option<Instant>,
    keyframe_asked: Option<Instant>,
}

impl WebrtcbinViewer {
    pub(super) fn new(
        key: u64,
        outlet: ViewerOutlet,
        tracks: Vec<Track>,
        (events, counters): (mpsc::Sender<Event>, Arc<ViewerCounters>),
    ) -> Self {
        Self {
            key,
            outlet,
            tracks,
            events,
            counters,
            started: false,
            next_look: Instant::now(),
            next_portion: None,
            replay_at: None,
            keyframe_asked: None,
        }
    }

    /// All renditions whose frames it may get.
    pub(super) fn renditions(&self) -> Vec<u64> {
        self.tracks.iter().flat_map(Track::renditions).collect()
    }

    /// Whether it is connected and has begun to be fed.
    pub(super) const fn has_started(&self) -> bool {
        self.started
    }

    /// A frame of the rendition of one of this viewer's tracks has come in.
    pub(super) fn frame(
        &mut self,
        cx: &Context,
        (rendition, numbering): (u64, &mut Numbering),
        (number, frame): (u64, &Arc<Frame>),
        continuity: Continuity,
    ) {
        let mut tracks = self.tracks.iter_mut();
        let taken = tracks.find_map(|it| it.takes(rendition, frame.keyframe).then_some(it));
        // Another codec: the publisher came back with it; the broadcast is about to close us.
        let taken = taken.filter(|track| self.started && frame.codec == track.codec);
        let Some(track) = taken else { return };
        if let Some(timestamp) = track.switcher.live(number, frame, continuity, BURST_BYTES) {
            // An audio frame is always one.
            if frame.keyframe && frame.codec.kind() == Kind::Video {
                self.replay_at = None;
            }
            let count = frame.ends.len();
            let header = track.header(numbering.next, count, timestamp);
            let packets = numbering.packets(header, || {
                Packets::new(header, frame, 0..count, pts(frame, timestamp))
            });
            self.push(cx, rendition, (frame.codec, &packets));
        } else if track.switcher.is_replaying() {
            self.next_portion.get_or_insert(cx.now);
        } else {
            self.ask_keyframe(cx.now);
        }
    }

    /// The viewer's decoder needs a keyframe.
    pub(super) fn keyframe_wanted(&mut self, cx: &Context) {
        let mut tracks = self.tracks.iter();
        if !tracks.any(|track| track.switcher.is_replaying()) {
            self.replay_at.get_or_insert(cx.now + KEYFRAME_PATIENCE);
        }
        if !self.ask_keyframe(cx.now) {
            cx.totals.capped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// When [`WebrtcbinViewer::tick`] is due next.
    pub(super) fn wake(&self) -> Instant {
        [self.next_portion, self.replay_at]
            .into_iter()
            .flatten()
            .fold(self.next_look, Instant::min)
    }

    /// Whatever is due by now.
    pub(super) fn tick(
        &mut self,
        cx: &Context,
        renditions: &HashMap<u64, RenditionState>,
        numberings: &HashMap<u64, Numbering>,
    ) {
        if self.next_look <= cx.now {
            self.next_look = cx.now + LOOK_INTERVAL;
            if self.started {
                self.choose_layers(cx.now, renditions);
            }
            if self.started && self.is_waiting() {
                self.ask_keyframe(cx.now);
            }
        }
        if !self.started && self.outlet.is_open() {
            self.started = true;
            self.start(cx.now, renditions);
        }
        if self.replay_at.is_some_and(|at| at <= cx.now) {
            self.replay_at = None;
            self.replay(cx.now, renditions);
        }
        if self.next_portion.is_some_and(|at| at <= cx.now) {
            self.portion(cx, renditions, numberings);
        }
    }

    fn start(&mut self, now: Instant, renditions: &HashMap<u64, RenditionState>) {
        for track in &mut self.tracks {
            track.choose_first(renditions, now);
            if let Some(rendition) = renditions.get(&track.rendition) {
                track.switcher = Switcher::start(&rendition.gop);
            }
        }
        self.next_portion = Some(now);
        if self.is_waiting() {
            self.ask_keyframe(now);
        }
    }

    /// Starts the cached group of pictures again.
    fn replay(&mut self, now: Instant, renditions: &HashMap<u64, RenditionState>) {
        for track in &mut self.tracks {
            if let Some(rendition) = renditions.get(&track.rendition)
                && track.codec != Codec::Opus
                && track.switcher.replay_from_keyframe(&rendition.gop)
            {
                self.next_portion = Some(now);
            }
        }
    }

    /// Feeds the next portion of cached frames.
    fn portion(
        &mut self,
        cx: &Context,
        renditions: &HashMap<u64, RenditionState>,
        numberings: &HashMap<u64, Numbering>,
    ) {
        self.next_portion = None;
        for at in 0..self.tracks.len() {
            let Some(track) = self.tracks.get_mut(at) else {
                continue;
            };
            let key = track.rendition;
            let (Some(rendition), Some(numbering)) = (renditions.get(&key), numberings.get(&key))
            else {
                continue;
            };
            let mut left = portion_bytes(&rendition.gop);
            let mut edge = rendition.edge(cx.now);
            while left > 0
                && let Some((codec, packets)) = cached(
                    track_at(&mut self.tracks, at),
                    (rendition, edge),
                    numbering,
                    &mut left,
                )
            {
                if !self.push(cx, key, (codec, &packets)) {
                    return;
                }
                edge += 1;
            }
            if track_at(&mut self.tracks, at).is_some_and(|track| track.switcher.is_replaying()) {
                self.next_portion = Some(cx.now + PACE_INTERVAL);
            }
        }
    }

    /// Returns false if the viewer cannot be fed more for now.
    fn push(&mut self, cx: &Context, rendition: u64, (codec, packets): (Codec, &Packets)) -> bool {
        let pushed = self.outlet.push(codec.kind(), packets);
        if pushed != Pushed::Refused {
            let (packets, bytes) = (packets.len() as u64, packets.bytes() as u64);
            self.counters.packets.fetch_add(packets, Ordering::Relaxed);
            self.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
            cx.totals.packets.fetch_add(packets, Ordering::Relaxed);
            cx.totals.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        if pushed == Pushed::Late {
            self.fall_behind(cx.now, rendition);
        }
        pushed == Pushed::Sent
    }

    /// The connection held up the worker: what follows is left out up to a keyframe.
    fn fall_behind(&mut self, now: Instant, rendition: u64) {
        self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        for track in &mut self.tracks {
            if track.rendition == rendition && track.codec != Codec::Opus {
                track.switcher.wait();
            }
        }
        self.replay_at = Some(now + KEYFRAME_PATIENCE);
        self.ask_keyframe(now);
    }

    fn is_waiting(&self) -> bool {
        self.tracks.iter().any(|track| track.switcher.is_waiting())
    }

    /// Returns false if it is too soon after the last time.
    pub(super) fn ask_keyframe(&mut self, now: Instant) -> bool {
        let soon = |at: Instant| now.saturating_duration_since(at) < KEYFRAME_INTERVAL;
        if self.keyframe_asked.is_some_and(soon) {
            return false;
        }
        self.keyframe_asked = Some(now);
        let requests = &self.counters.keyframe_requests;
        requests.fetch_add(1, Ordering::Relaxed);
        if self.events.try_send(Event::KeyframeWanted).is_err() {
            tracing::debug!("viewer's owner is behind; an event is lost");
        }
        true
    }
}

fn track_at(tracks: &mut [Track], at: usize) -> Option<&mut Track> {
    tracks.get_mut(at)
}

/// The next packets from the cache, at most about `left` bytes of one frame.
fn cached(
    track: Option<&mut Track>,
    (rendition, edge): (&RenditionState, u64),
    numbering: &Numbering,
    left: &mut usize,
) -> Option<(Codec, Packets)> {
    let track = track?;
    let (frame, timestamp, part) = loop {
        let cursor = track.switcher.replay(&rendition.gop, edge)?;
        if cursor.frame.codec != track.codec {
            cursor.packet = cursor.frame.ends.len();
            continue;
        }
        let mut end = cursor.packet;
        for packet in cursor.frame.ranges().skip(cursor.packet) {
            if *left == 0 {
                break;
            }
            *left = left.saturating_sub(packet.len());
            end += 1;
        }
        let part = cursor.packet..end;
        cursor.packet = end;
        break (Arc::clone(&cursor.frame), cursor.timestamp, part);
    };
    let first = match track.next {
        Some((next, _)) => next,
        None => numbering.of_cache(&rendition.gop),
    };
    let header = track.header(first, part.len(), timestamp);
    let pts = pts(&frame, timestamp);
    Some((frame.codec, Packets::new(header, &frame, part, pts)))
}

/// Payload bytes of one portion.
fn portion_bytes(gop: &Gop) -> usize {
    let rate = gop.bytes_per_second().unwrap_or(0) * PACE_FACTOR;
    let portion = rate * usize::try_from(PACE_INTERVAL.as_millis()).unwrap_or(1) / 1000;
    portion.clamp(*PACE_BYTES.start(), *PACE_BYTES.end())
}

/// Where `timestamp` lies on the server's clock: moved as far as the frame's was.
fn pts(frame: &Frame, timestamp: u64) -> Duration {
    let moved = timestamp.saturating_sub(frame.timestamp);
    frame.pts + Duration::from_micros(moved * 1_000_000 / u64::from(frame.codec.clock_rate()))
}
