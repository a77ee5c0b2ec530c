//! The gate that an input's frames pass on their way to the fan-out.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{slot::RunId, tracks::BroadcastTracks};
use crate::{
    awake,
    ingest::{LayerSink, Sinks},
    media::{ByKind, Codec, Frame, FrameSink, Kind, recovery},
    pipeline::{TrackOutlet, TrackSinks},
    stream::{EncodedStream, EncodedStreams, StreamWriter},
};

/// Largest frame in bytes. A keyframe of a 4K picture has about one million.
const FRAME_BYTES_MAX: usize = 8 << 20;

/// A publisher, or a run of the source pipeline, that feeds the broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct InputId(pub(super) u64);

/// What gates, pipelines and sessions report to the actor of their broadcast.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum MediaEvent {
    /// An input's first frame that a decoder can start with has passed.
    Started {
        input: InputId,
        kind: Kind,
        codec: Codec,
    },
    /// A frame came in another codec than viewers of this track have negotiated.
    Mismatch {
        input: InputId,
        kind: Kind,
        codec: Codec,
    },
    /// The first frame of a rendition has been made.
    Rendition {
        run: RunId,
        kind: Kind,
        name: String,
        codec: Codec,
    },
    /// A frame was too large to send on; what follows it needs a keyframe.
    Oversized {
        input: InputId,
        kind: Kind,
        bytes: usize,
    },
    /// A viewer's first connectivity check has arrived.
    Checked { session: u64 },
    /// A viewer's connection is up.
    Connected { session: u64 },
}

/// Lets the frames of one input through to the renditions, from the first keyframe on, until it is
/// shut: two inputs never write to the same rendition at once.
#[derive(Debug)]
pub(super) struct Gate {
    input: InputId,
    open: AtomicBool,
    opened: Instant,
    /// Milliseconds from `opened` to the last frame of each kind, plus one; 0 before the first.
    last: ByKind<AtomicU64>,
    frames: AtomicU64,
}

/// Where the frames that pass go.
struct Target {
    /// To viewers.
    rendition: FrameSink,
    /// To pipelines.
    stream: Option<StreamWriter>,
}

impl Target {
    fn push(&self, frame: Frame) {
        if let Some(stream) = &self.stream {
            stream.push(&frame);
        }
        (self.rendition)(frame);
    }
}

impl Gate {
    pub(super) fn new(input: InputId) -> Arc<Self> {
        Arc::new(Self {
            input,
            open: AtomicBool::new(true),
            opened: awake::now(),
            last: ByKind::default(),
            frames: AtomicU64::new(0),
        })
    }

    /// Shuts the gate for good.
    pub(super) fn shut(&self) {
        self.open.store(false, Ordering::Release);
    }

    /// When the last frame passed.
    pub(super) fn last_frame(&self) -> Option<Instant> {
        Kind::ALL
            .map(|kind| self.last_frame_of(kind))
            .into_iter()
            .flatten()
            .max()
    }

    /// When the last frame of this kind passed.
    pub(super) fn last_frame_of(&self, kind: Kind) -> Option<Instant> {
        let millis = self.last.get(kind).load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.opened + Duration::from_millis(millis))
    }

    /// Frames that passed.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    fn pass(&self, kind: Kind) {
        let millis = u64::try_from(awake::since(self.opened).as_millis()).unwrap_or(u64::MAX - 1);
        self.last.get(kind).store(millis + 1, Ordering::Relaxed);
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// The sinks to give to a publisher or source. A kind without a track goes nowhere.
    pub(super) fn sinks(
        self: &Arc<Self>,
        tracks: &BroadcastTracks,
        streams: &EncodedStreams,
        reports: &mpsc::Sender<MediaEvent>,
    ) -> Sinks {
        let of = |kind: Kind| {
            let nowhere = || Arc::new(|_| ()) as FrameSink;
            let track = tracks.of(kind).filter(|track| track.layers.is_empty());
            track.map_or_else(nowhere, |track| {
                let target = Target {
                    rendition: track.rendition.sink(),
                    stream: streams.of(kind).map(EncodedStream::writer),
                };
                self.sink(kind, track.codec, target, reports.clone())
            })
        };
        let mut layers = Vec::new();
        if let Some(track) = tracks
            .video
            .as_ref()
            .filter(|track| !track.layers.is_empty())
        {
            // Pipelines do not handle layers: they get the best one.
            let stream = streams.video.as_ref().map(EncodedStream::layered);
            for layer in &track.layers {
                let target = Target {
                    rendition: layer.rendition.sink(),
                    stream: stream.as_ref().map(EncodedStream::writer),
                };
                let outlet = TrackOutlet {
                    frames: self.sink(Kind::Video, track.codec, target, reports.clone()),
                    transcode: false,
                };
                layers.push(LayerSink {
                    rid: layer.rid.clone(),
                    outlet,
                });
            }
        }
        Sinks {
            layers,
            tracks: TrackSinks {
                video: of(Kind::Video),
                audio: of(Kind::Audio),
                transcode: false,
            },
        }
    }

    fn sink(
        self: &Arc<Self>,
        kind: Kind,
        codec: Option<Codec>,
        target: Target,
        reports: mpsc::Sender<MediaEvent>,
    ) -> FrameSink {
        let gate = Arc::clone(self);
        let expected = codec.map_or_else(OnceLock::new, OnceLock::from);
        let (started, reported) = (AtomicBool::new(false), AtomicBool::new(false));
        let (complained, told) = (AtomicBool::new(false), reports.clone());
        // If the queue is full, the next keyframe tries again.
        let report = move |event| {
            if !reported.load(Ordering::Relaxed) && reports.try_send(event).is_ok() {
                reported.store(true, Ordering::Relaxed);
            }
        };
        Arc::new(move |frame| {
            if !gate.open.load(Ordering::Acquire) {
                return;
            }
            let (input, codec) = (gate.input, frame.codec);
            if *expected.get_or_init(|| codec) != codec {
                report(MediaEvent::Mismatch { input, kind, codec });
                return;
            }
            let bytes = frame.data.len();
            if bytes > FRAME_BYTES_MAX {
                // Later frames depend on it. Reported once until a keyframe has passed.
                if started.swap(false, Ordering::Relaxed)
                    || !complained.swap(true, Ordering::Relaxed)
                {
                    let _ = told.try_send(MediaEvent::Oversized { input, kind, bytes });
                }
                return;
            }
            let waits = !started.load(Ordering::Relaxed);
            let begins = frame.keyframe || waits && is_recovery_point(&frame);
            if begins {
                started.store(true, Ordering::Relaxed);
            }
            if started.load(Ordering::Relaxed) {
                gate.pass(kind);
                target.push(frame);
                if begins {
                    report(MediaEvent::Started { input, kind, codec });
                }
            }
        })
    }
}

/// Whether decoders other than browsers can start with this frame.
fn is_recovery_point(frame: &Frame) -> bool {
    let payloads = frame.ranges().filter_map(|range| frame.data.get(range));
    recovery::in_payloads(frame.codec, payloads)
}
