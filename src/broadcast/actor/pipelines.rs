//! The pipelines that make renditions, and what each makes.

use std::{sync::Arc, time::Instant};

use tokio::sync::Notify;

use super::outputs::Slot;
use crate::{
    fanout,
    media::{Codec, Kind},
    pipeline::{self, EncodedStream, EncodedStreams, PipelineRole, Variables},
    plan::{Name, PipelineFile, Plan},
};

/// The name of what is shown when nobody feeds the broadcast.
const SLATE: &str = "slate";

/// What a pipeline of renditions is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The configuration names it: for who asks for it, or cannot decode the source.
    Configured,
    /// For who can decode neither the source nor anything that is configured.
    Automatic,
    /// Shown when nobody feeds the broadcast. It takes nothing.
    Slate,
    /// Makes of the slate what viewers can decode.
    SlateAutomatic,
}

impl Use {
    /// Whether it is for the time when nobody feeds the broadcast.
    pub(super) const fn is_slate(self) -> bool {
        matches!(self, Self::Slate | Self::SlateAutomatic)
    }

    /// Whether nobody has asked for it.
    pub(super) const fn is_automatic(self) -> bool {
        matches!(self, Self::Automatic | Self::SlateAutomatic)
    }
}

/// A pipeline that makes renditions.
pub(super) struct RenditionPipeline {
    pub(super) slot: Slot,
    pub(super) steps: Vec<Step>,
    pub(super) keyframe: Arc<Notify>,
    /// When somebody watched or wanted one of them last.
    pub(super) used: Instant,
    pub(super) purpose: Use,
    /// What its variables are taken from.
    pub(super) plan: Arc<Plan>,
    /// It has failed, and made nothing since.
    pub(super) failed: bool,
    /// Why somebody needs it, if it is automatic.
    pub(super) reason: Option<String>,
}

/// One rendition.
pub(super) struct Step {
    /// Name of the appsink: `video_720p`.
    pub(super) sink: String,
    pub(super) kind: Kind,
    pub(super) name: String,
    /// Unknown before its first frame.
    pub(super) codec: Option<Codec>,
    /// While its pipeline runs.
    pub(super) rendition: Option<Arc<fanout::Rendition>>,
    /// What its pipeline makes, or made last.
    pub(super) stream: EncodedStream,
    /// Whether it makes frames.
    pub(super) live: bool,
}

/// A rendition by pipeline and step.
pub(super) type Place = (usize, usize);

/// Where the frames of a track come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// As published.
    Source,
    /// From a pipeline.
    Step(Place),
}

/// All that a broadcast may run.
pub(super) fn all(plan: &Arc<Plan>, broadcast: &Name) -> Vec<RenditionPipeline> {
    // Variables are meant for the files that the configuration names.
    let bare = Arc::new(Plan {
        vars: std::collections::BTreeMap::new(),
        ..Plan::clone(plan)
    });
    let rendition_pipelines = |texts: &[PipelineFile], purpose| {
        let plan = if matches!(purpose, Use::Configured | Use::Slate) {
            plan
        } else {
            &bare
        };
        let texts = texts.iter().cloned();
        texts
            .map(|text| RenditionPipeline::new(text, purpose, plan, broadcast))
            .collect::<Vec<_>>()
    };
    let mut all = rendition_pipelines(&plan.renditions, Use::Configured);
    all.extend(rendition_pipelines(&plan.automatic, Use::Automatic));
    if let Some(slate) = &plan.slate {
        all.extend(rendition_pipelines(std::slice::from_ref(slate), Use::Slate));
        all.extend(rendition_pipelines(&plan.automatic, Use::SlateAutomatic));
    }
    all
}

/// The slate's encoded media, for the pipelines that transcode it.
pub(super) fn slate_streams(rendition_pipelines: &[RenditionPipeline]) -> EncodedStreams {
    let mut slates = rendition_pipelines
        .iter()
        .filter(|pipeline| pipeline.purpose == Use::Slate);
    let steps = slates.next().map_or(&[][..], |slate| &slate.steps);
    let stream = |kind| {
        let step = steps.iter().find(|step| step.kind == kind)?;
        Some(step.stream.clone())
    };
    EncodedStreams {
        video: stream(Kind::Video),
        audio: stream(Kind::Audio),
    }
}

impl RenditionPipeline {
    fn new(text: PipelineFile, purpose: Use, plan: &Arc<Plan>, broadcast: &Name) -> Self {
        let keyframe = Arc::<Notify>::default();
        let stream = |kind| {
            let keyframe = Arc::clone(&keyframe);
            match purpose {
                Use::Slate => EncodedStream::new(kind, move || keyframe.notify_one()),
                _ => EncodedStream::observed(kind),
            }
        };
        let names = names(&text, purpose, plan, broadcast).unwrap_or_else(|error| {
            tracing::error!(%broadcast, pipeline = text.name(), %error, "no renditions");
            Vec::new()
        });
        let step = |(sink, kind, name): (String, Kind, String)| Step {
            sink,
            kind,
            // The built-in ones are named for it: viewers need not wait to learn it.
            codec: codec_named(&name).filter(|_| purpose.is_automatic()),
            name,
            rendition: None,
            stream: stream(kind),
            live: false,
        };
        Self {
            slot: Slot::new(text),
            steps: names.into_iter().map(step).collect(),
            keyframe,
            used: Instant::now(),
            purpose,
            plan: Arc::clone(plan),
            failed: false,
            reason: None,
        }
    }

    /// Whether its pipeline runs and has not been told to end.
    pub(super) fn is_running(&self) -> bool {
        let job = self.slot.job.as_ref();
        job.is_some_and(|job| !job.is_ending())
    }

    /// Forgets what a job has made that is no more.
    pub(super) fn forget(&mut self) {
        self.failed = false;
        for step in &mut self.steps {
            step.rendition = None;
            step.live = false;
        }
    }

    /// Takes note that its pipeline has failed.
    pub(super) fn fail(&mut self) {
        self.failed = true;
        for step in &mut self.steps {
            step.live = false;
        }
    }
}

/// The codec that a built-in rendition is named for: `h264`, `h264-small`.
fn codec_named(rendition: &str) -> Option<Codec> {
    let (codec, _) = rendition.split_once('-').unwrap_or((rendition, ""));
    Codec::from_encoding_name(codec)
}

/// The appsink, kind and name of each rendition.
fn names(
    text: &PipelineFile,
    purpose: Use,
    plan: &Plan,
    broadcast: &Name,
) -> Result<Vec<(String, Kind, String)>, pipeline::Error> {
    // The parser does not matter for the names.
    let variables = Variables::of_broadcast(broadcast.as_str())
        .with_all(&plan.vars)
        .with("video_parser", "identity");
    let role = PipelineRole::of(&variables.expand(&text.text)?)?;
    match (role, purpose) {
        (PipelineRole::Source { tracks }, Use::Slate) => {
            let step = |kind: Kind| (kind.name().to_owned(), kind, SLATE.to_owned());
            Ok(tracks.into_iter().map(step).collect())
        }
        (PipelineRole::Renditions { outputs, .. }, _) if purpose != Use::Slate => {
            let step = |(kind, name)| (format!("{kind}_{name}"), kind, name);
            Ok(outputs.into_iter().map(step).collect())
        }
        _ => {
            let needed = if purpose == Use::Slate {
                "no slate: it needs appsink name=video, and no appsrc"
            } else {
                "no renditions: they need appsrc and appsink name=video_<rendition>"
            };
            Err(pipeline::Error::Text(format!("{}: {needed}", text.file)))
        }
    }
}
