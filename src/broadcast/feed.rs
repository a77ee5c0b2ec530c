//! What feeds a broadcast: the tracks it brings, and the gate that its frames pass.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use crate::{
    fanout::{Fanout, Layer, Rendition},
    ingest::{LayerSink, Sinks},
    media::{Codec, FrameSink, Kind},
    pipeline::{EncodedStream, EncodedStreams, TrackOutlet, TrackSinks},
};

/// What gates and sessions report to the actor of their broadcast.
#[derive(Debug)]
pub(super) enum Report {
    /// The first frame that a decoder can start with has passed.
    Started { feed: u64, kind: Kind, codec: Codec },
    /// A frame came in another codec than viewers of this rendition have negotiated.
    Mismatch { feed: u64, kind: Kind, codec: Codec },
    /// The first frame of a rendition has been made.
    Rendition {
        job: u64,
        kind: Kind,
        name: String,
        codec: Codec,
    },
    /// A pipeline has failed; it is started again after a pause.
    JobFailed { job: u64 },
}

/// A track and the rendition that carries it to viewers.
#[derive(Clone)]
pub(super) struct Track {
    /// Unknown until a source pipeline's first frame.
    pub(super) codec: Option<Codec>,
    pub(super) rendition: Arc<Rendition>,
    /// The encodings to choose from, if the publisher sends several; the first is `rendition`.
    pub(super) layers: Vec<Layer>,
}

impl Track {
    fn new(kind: Kind, codec: Option<Codec>, rids: &[String], fanout: &Fanout) -> Self {
        let layer = |rid: &String| Layer {
            rid: rid.clone(),
            rendition: fanout.rendition(kind),
        };
        let layers: Vec<Layer> = rids.iter().map(layer).collect();
        let first = layers.first().map(|layer| layer.rendition.clone());
        let rendition = Arc::new(first.unwrap_or_else(|| fanout.rendition(kind)));
        Self {
            codec,
            rendition,
            layers,
        }
    }

    fn has_layers(&self, rids: &[String]) -> bool {
        self.layers.iter().map(|layer| &layer.rid).eq(rids)
    }
}

/// At most one track of each kind.
#[derive(Clone, Default)]
pub(super) struct Tracks {
    pub(super) video: Option<Track>,
    pub(super) audio: Option<Track>,
}

impl Tracks {
    /// Tracks for a new feed: a track that goes on in the same codec keeps its rendition, and with
    /// it the viewers. `codecs` is what a publisher negotiated, or `None` for a pipeline that has
    /// yet to show what it makes; `rids` are the layers of its picture.
    pub(super) fn next(&self, codecs: Option<&[Codec]>, rids: &[String], fanout: &Fanout) -> Self {
        let track = |kind: Kind, old: Option<&Track>| {
            let rids = if kind == Kind::Video { rids } else { &[] };
            let codec = match codecs {
                Some(codecs) => Some(codecs.iter().copied().find(|codec| codec.kind() == kind)?),
                None => old.and_then(|track| track.codec),
            };
            let kept = old.filter(|track| track.codec.is_some() && track.codec == codec);
            let kept = kept.filter(|track| track.has_layers(rids)).cloned();
            Some(kept.unwrap_or_else(|| Track::new(kind, codec, rids, fanout)))
        };
        Self {
            video: track(Kind::Video, self.video.as_ref()),
            audio: track(Kind::Audio, self.audio.as_ref()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.video.is_none() && self.audio.is_none()
    }

    pub(super) fn of(&self, kind: Kind) -> Option<&Track> {
        match kind {
            Kind::Video => self.video.as_ref(),
            Kind::Audio => self.audio.as_ref(),
        }
    }

    pub(super) fn of_mut(&mut self, kind: Kind) -> &mut Option<Track> {
        match kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        }
    }

    /// Whether viewers of `self` can go on with `next` without a new negotiation: every track of
    /// `next` is one they have.
    pub(super) fn continue_as(&self, next: &Self) -> bool {
        [Kind::Video, Kind::Audio]
            .into_iter()
            .all(|kind| match (self.of(kind), next.of(kind)) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(old), Some(new)) => Arc::ptr_eq(&old.rendition, &new.rendition),
            })
    }
}

/// Lets the frames of one feed through to the renditions, from the first keyframe on, until it is
/// shut: two feeds never write to the same rendition at once.
#[derive(Debug)]
pub(super) struct Gate {
    open: AtomicBool,
    opened: Instant,
    /// Milliseconds from `opened` to the last frame, plus one; 0 before the first.
    last: AtomicU64,
    frames: AtomicU64,
}

impl Gate {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: AtomicBool::new(true),
            opened: Instant::now(),
            last: AtomicU64::new(0),
            frames: AtomicU64::new(0),
        })
    }

    /// Lets nothing through any more.
    pub(super) fn shut(&self) {
        self.open.store(false, Ordering::Release);
    }

    /// When the last frame passed.
    pub(super) fn last_frame(&self) -> Option<Instant> {
        let millis = self.last.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.opened + Duration::from_millis(millis))
    }

    /// Frames that passed.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    fn pass(&self) {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.last.store(millis + 1, Ordering::Relaxed);
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// The sinks to give to a publisher or source. A kind without a track goes nowhere.
    pub(super) fn sinks(
        self: &Arc<Self>,
        feed: u64,
        (tracks, streams): (&Tracks, &EncodedStreams),
        reports: &mpsc::Sender<Report>,
    ) -> Sinks {
        let sink = |track: &Track, rendition: &Rendition, kind| {
            sink(
                Arc::clone(self),
                (feed, kind),
                (track.codec, rendition),
                reports.clone(),
            )
        };
        let of = |kind: Kind| {
            let nowhere = || Arc::new(|_| ()) as FrameSink;
            let track = tracks.of(kind).filter(|track| track.layers.is_empty());
            track.map_or_else(nowhere, |track| sink(track, &track.rendition, kind))
        };
        let video = tracks.video.as_ref();
        let layers = video.iter().flat_map(|track| {
            // Pipelines know nothing of layers: they get the best.
            let layered = streams.video.as_ref().filter(|_| !track.layers.is_empty());
            let stream = layered.map(EncodedStream::layered);
            let layer = |it: &Layer| {
                let outlet = TrackOutlet {
                    frames: sink(track, &it.rendition, Kind::Video),
                    stream: stream.clone(),
                    transcode: false,
                };
                LayerSink {
                    rid: it.rid.clone(),
                    outlet,
                }
            };
            track.layers.iter().map(layer).collect::<Vec<_>>()
        });
        Sinks {
            layers: layers.collect(),
            tracks: TrackSinks {
                video: of(Kind::Video),
                audio: of(Kind::Audio),
                streams: streams.clone(),
                transcode: false,
            },
        }
    }
}

fn sink(
    gate: Arc<Gate>,
    (feed, kind): (u64, Kind),
    (codec, rendition): (Option<Codec>, &Rendition),
    reports: mpsc::Sender<Report>,
) -> FrameSink {
    let next = rendition.sink();
    let expected = codec.map_or_else(OnceLock::new, OnceLock::from);
    let (started, reported) = (AtomicBool::new(false), AtomicBool::new(false));
    // A full queue is tried again with the next keyframe.
    let report = move |report| {
        if !reported.load(Ordering::Relaxed) && reports.try_send(report).is_ok() {
            reported.store(true, Ordering::Relaxed);
        }
    };
    Arc::new(move |frame| {
        if !gate.open.load(Ordering::Acquire) {
            return;
        }
        let codec = frame.codec;
        if *expected.get_or_init(|| codec) != codec {
            report(Report::Mismatch { feed, kind, codec });
            return;
        }
        if frame.keyframe {
            started.store(true, Ordering::Relaxed);
        }
        if started.load(Ordering::Relaxed) {
            let keyframe = frame.keyframe;
            gate.pass();
            next(frame);
            if keyframe {
                report(Report::Started { feed, kind, codec });
            }
        }
    })
}
