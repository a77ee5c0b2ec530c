//! One rendition pipeline: its file, what it makes and what it takes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    broadcast::{
        action::Action,
        choice::{Misfit, Use},
        place::RemoteOrigin,
        slot::{InputTracks, Slot},
        transcodes::TranscodePermit,
    },
    fanout,
    media::{Codec, Kind},
    peer::End,
    pipeline::{self, PipelineRole, Variables, codec_of_appsink},
    plan::{Name, Plan},
    stream::{EncodedStream, EncodedStreams},
};

/// The name of what is shown while nobody publishes.
const SLATE: &str = "slate";
/// A pipeline runs at least this long without use: who waits for it wants it anew at each tick of the
/// actor.
const UNUSED_MIN: Duration = Duration::from_millis(500);

/// A pipeline that makes renditions.
pub(super) struct RenditionPipeline {
    pub(super) slot: Slot,
    pub(super) purpose: Use,
    /// Where its variables come from.
    pub(super) plan: Arc<Plan>,
    pub(super) keyframe: Arc<Notify>,
    /// When somebody last watched or wanted one of its renditions.
    pub(super) used: Instant,
    /// It has failed, and made nothing since.
    pub(super) failed: bool,
    /// Why somebody needs it, if it is automatic.
    pub(super) reason: Option<Misfit>,
    /// Its place among the automatic transcodes, while it is one and runs or is promised.
    pub(super) permit: Option<TranscodePermit>,
}

/// One rendition.
pub(super) struct MadeRendition {
    pub(super) pipeline: usize,
    /// Name of the appsink: `video_720p`.
    pub(super) sink: String,
    pub(super) kind: Kind,
    pub(super) name: String,
    /// Unknown before its first frame, unless its text or its name tells it.
    pub(super) codec: Option<Codec>,
    /// While its pipeline runs, or is promised to somebody.
    pub(super) carrier: Option<Arc<fanout::Rendition>>,
    /// The stream that its pipeline makes, or last made.
    pub(super) stream: EncodedStream,
    /// Whether it is making frames.
    pub(super) live: bool,
}

/// The inputs of rendition pipelines.
pub(in crate::broadcast) struct Supplied<'a> {
    pub(in crate::broadcast) streams: &'a EncodedStreams,
    pub(in crate::broadcast) inputs: InputTracks,
    /// The node that makes the renditions, if it is another one.
    pub(in crate::broadcast) origin: Option<&'a RemoteOrigin>,
}

impl Supplied<'_> {
    /// The streams of the tracks that a pipeline takes.
    pub(in crate::broadcast) fn select(&self, inputs: &InputTracks) -> EncodedStreams {
        let stream = |kind| {
            if inputs.iter().any(|(taken, _)| *taken == kind) {
                self.streams.of(kind).cloned()
            } else {
                None
            }
        };
        EncodedStreams {
            video: stream(Kind::Video),
            audio: stream(Kind::Audio),
        }
    }
}

impl RenditionPipeline {
    /// Whether nobody has watched or wanted its renditions for this long.
    pub(super) fn is_unused(&self, grace: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.used) >= grace.max(UNUSED_MIN)
    }

    /// The appsinks of its file.
    pub(super) fn appsinks(&self, broadcast: &Name) -> Result<Vec<Appsink>, pipeline::Error> {
        let file = self.slot.file();
        // The parser does not matter for the names.
        let variables = Variables::of_broadcast(broadcast.as_str())
            .with_all(&self.plan.vars)
            .with("video_parser", "identity");
        let text = variables.expand(&file.text)?;
        match (PipelineRole::of(&text)?, self.purpose) {
            (PipelineRole::Source { tracks }, Use::Slate) => Ok(tracks
                .into_iter()
                .map(|kind| Appsink {
                    sink: kind.name().to_owned(),
                    kind,
                    name: SLATE.to_owned(),
                    codec: None,
                })
                .collect()),
            (_, Use::Slate) => Err(pipeline::Error::Text(format!(
                "{}: no slate: it needs appsink name=video, and no appsrc",
                file.file
            ))),
            (PipelineRole::Renditions { outputs, .. }, _) => Ok(outputs
                .into_iter()
                .map(|(kind, name)| {
                    let sink = format!("{kind}_{name}");
                    Appsink {
                        codec: codec_of_appsink(&text, &sink).filter(|codec| codec.kind() == kind),
                        sink,
                        kind,
                        name,
                    }
                })
                .collect()),
            _ => Err(pipeline::Error::Text(format!(
                "{}: no renditions: they need appsrc and appsink name=video_<rendition>",
                file.file
            ))),
        }
    }

    /// Whether it is an automatic transcode that must not start without a place.
    pub(super) fn lacks_place(&self) -> bool {
        self.purpose.is_automatic() && self.permit.is_none() && self.slot.is_resting()
    }

    pub(super) fn stop(&mut self, why: End) -> Option<Action> {
        self.slot.stop(why).map(Action::StopRun)
    }
}

/// The codec that a built-in rendition is named for: `h264`, `h264-small`.
pub(super) fn codec_named(rendition: &str) -> Option<Codec> {
    let (codec, _) = rendition.split_once('-').unwrap_or((rendition, ""));
    Codec::from_encoding_name(codec)
}

/// An appsink of a rendition pipeline, and the rendition it stands for.
pub(super) struct Appsink {
    pub(super) sink: String,
    pub(super) kind: Kind,
    pub(super) name: String,
    /// If the text tells it.
    pub(super) codec: Option<Codec>,
}
