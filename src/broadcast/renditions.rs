//! The rendition pipelines of a broadcast, the slate's among them: started for the viewers that
//! need them, shared by all, and stopped when nobody watches.

mod limits;
mod pipeline;
mod reload;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use tokio::sync::Notify;

pub(super) use self::pipeline::Supplied;
use self::pipeline::{Appsink, MadeRendition, RenditionPipeline, codec_named};
use super::{
    Error,
    action::{Action, Made, RunStart, Work},
    choice::{Misfit, ORIGINAL, RenditionCandidate, RenditionId, RenditionProgress, Use},
    rules::Rules,
    slot::{Begun, RunEnd, RunId, Slot, SlotId},
    tracks::{BroadcastTrack, NewRendition},
    transcodes::TranscodeBudget,
};
use crate::{
    media::{Codec, Kind},
    peer::End,
    plan::{Name, PipelineFile, Plan},
    stream::{Demands, EncodedStream, EncodedStreams},
};

/// The rendition pipelines and what they make.
pub(super) struct RenditionPipelines {
    plan: Arc<Plan>,
    new_rendition: NewRendition,
    pipelines: Vec<RenditionPipeline>,
    /// By [`RenditionId`].
    made: Vec<MadeRendition>,
    budget: TranscodeBudget,
    /// Maximum automatic transcodes of this broadcast.
    transcodes_max: usize,
    /// The limit that kept the last transcode that was needed from starting.
    refused: Option<&'static str>,
    /// Whether other nodes may take them.
    lends: bool,
}

impl RenditionPipelines {
    /// Every rendition pipeline that a broadcast may run.
    pub(super) fn new(
        broadcast: &Name,
        plan: &Arc<Plan>,
        rules: &Rules,
        new_rendition: NewRendition,
        now: Instant,
    ) -> Self {
        // Variables are meant for the files that the configuration names.
        let bare = Arc::new(Plan {
            vars: BTreeMap::new(),
            ..Plan::clone(plan)
        });
        let mut all = Self {
            plan: Arc::clone(plan),
            new_rendition,
            pipelines: Vec::new(),
            made: Vec::new(),
            budget: rules.transcodes.clone(),
            transcodes_max: rules.transcodes_max,
            refused: None,
            lends: rules.clustered,
        };
        let mut add = |files: &[PipelineFile], purpose, plan: &Arc<Plan>| {
            for file in files {
                let slot = SlotId::Renditions(all.pipelines.len());
                let pipeline = RenditionPipeline {
                    slot: Slot::new(slot, file.clone()),
                    purpose,
                    plan: Arc::clone(plan),
                    keyframe: Arc::default(),
                    used: now,
                    failed: false,
                    reason: None,
                    permit: None,
                };
                all.add(broadcast, pipeline);
            }
        };
        add(&plan.renditions, Use::Configured, plan);
        add(&plan.automatic, Use::Automatic, &bare);
        if let Some(slate) = &plan.slate {
            add(std::slice::from_ref(slate), Use::Slate, plan);
            add(&plan.automatic, Use::SlateAutomatic, &bare);
        }
        all
    }

    fn add(&mut self, broadcast: &Name, pipeline: RenditionPipeline) {
        let appsinks = pipeline.appsinks(broadcast).unwrap_or_else(|error| {
            tracing::error!(
                pipeline = pipeline.slot.file().name(), %error,
                "renditions not available"
            );
            Vec::new()
        });
        for Appsink {
            sink,
            kind,
            name,
            codec,
        } in appsinks
        {
            let keyframe = Arc::clone(&pipeline.keyframe);
            let stream = match pipeline.purpose {
                // Taken by other pipelines or by other nodes.
                Use::Slate => EncodedStream::new(kind, move || keyframe.notify_one()),
                Use::Configured | Use::Automatic if self.lends => {
                    EncodedStream::new(kind, move || keyframe.notify_one())
                }
                _ => EncodedStream::observed(kind),
            };
            // Viewers need not wait to learn it: the built-in ones are named after their codec, and
            // the text of others usually shows it.
            let codec = match pipeline.purpose {
                Use::Automatic | Use::SlateAutomatic => codec_named(&name),
                Use::Configured => codec,
                Use::Slate => None,
            };
            self.made.push(MadeRendition {
                pipeline: self.pipelines.len(),
                sink,
                kind,
                name,
                codec,
                carrier: None,
                stream,
                live: false,
            });
        }
        self.pipelines.push(pipeline);
    }

    fn get(&self, id: RenditionId) -> Option<(&MadeRendition, &RenditionPipeline)> {
        let rendition = self.made.get(id.0)?;
        Some((rendition, self.pipelines.get(rendition.pipeline)?))
    }

    fn of_pipeline(&mut self, index: usize) -> impl Iterator<Item = &mut MadeRendition> {
        self.made
            .iter_mut()
            .filter(move |rendition| rendition.pipeline == index)
    }

    /// Whether a viewer may request this rendition.
    ///
    /// # Errors
    /// [`Error::NoRendition`] with those that exist.
    pub(super) fn check_requested(&self, requested: Option<&str>) -> Result<(), Error> {
        let Some(requested) = requested else {
            return Ok(());
        };
        let configured = self.made.iter().filter(|rendition| {
            let pipeline = self.pipelines.get(rendition.pipeline);
            pipeline.is_some_and(|pipeline| pipeline.purpose == Use::Configured)
        });
        let mut known = vec![ORIGINAL];
        known.extend(configured.map(|rendition| rendition.name.as_str()));
        if known.contains(&requested) {
            return Ok(());
        }
        known.dedup();
        Err(Error::NoRendition {
            wanted: requested.to_owned(),
            known: known.join(", "),
        })
    }

    /// The renditions as the choice sees them.
    pub(super) fn candidates(&self) -> Vec<RenditionCandidate> {
        let full = self.full().is_some();
        let candidate = |(index, rendition): (usize, &MadeRendition)| {
            let pipeline = self.pipelines.get(rendition.pipeline)?;
            let progress = if full && pipeline.lacks_place() {
                RenditionProgress::Full
            } else if pipeline.slot.is_resting() {
                RenditionProgress::Idle
            } else if pipeline.slot.is_stopping() {
                RenditionProgress::Stopping
            } else if pipeline.failed {
                RenditionProgress::Failed
            } else if rendition.live {
                RenditionProgress::Live
            } else {
                RenditionProgress::Starting
            };
            Some(RenditionCandidate {
                id: RenditionId(index),
                kind: rendition.kind,
                name: rendition.name.clone(),
                purpose: pipeline.purpose,
                codec: rendition.codec,
                demands: Demands {
                    keyframe_at: None,
                    frame_at: None,
                    ..rendition.stream.demands()
                },
                progress,
                carrier: rendition.carrier.as_ref().map(|carrier| carrier.key()),
            })
        };
        self.made.iter().enumerate().filter_map(candidate).collect()
    }

    /// Makes the carriers of a pipeline's renditions.
    fn carry(&mut self, index: usize) {
        let new_rendition = Arc::clone(&self.new_rendition);
        for rendition in self.of_pipeline(index) {
            let kind = rendition.kind;
            rendition
                .carrier
                .get_or_insert_with(|| Arc::new(new_rendition(kind)));
        }
    }

    /// Makes sure that a rendition's pipeline runs.
    pub(super) fn need(
        &mut self,
        id: RenditionId,
        supplied: &Supplied<'_>,
        now: Instant,
    ) -> Vec<Action> {
        let Some(index) = self.made.get(id.0).map(|rendition| rendition.pipeline) else {
            return Vec::new();
        };
        let takes_slate = self
            .pipelines
            .get(index)
            .is_some_and(|pipeline| pipeline.purpose == Use::SlateAutomatic);
        let mut pipelines = self.pipelines.iter();
        let slate = pipelines.position(|pipeline| pipeline.purpose == Use::Slate);
        takes_slate
            .then_some(slate)
            .flatten()
            .into_iter()
            .chain([index])
            .filter_map(|index| self.start(index, supplied, now))
            .collect()
    }

    fn start(&mut self, index: usize, supplied: &Supplied<'_>, now: Instant) -> Option<Action> {
        let has_place = self.take_place(index);
        let pipeline = self.pipelines.get_mut(index)?;
        pipeline.used = now;
        if !pipeline.slot.is_resting() {
            return None;
        }
        if !has_place {
            self.note_full();
            return None;
        }
        if pipeline.purpose.is_automatic() {
            let name = pipeline.slot.file().name();
            tracing::info!(
                pipeline = name,
                reason = pipeline.reason.as_ref().map(tracing::field::display),
                "starting automatic transcode"
            );
        }
        let begun = pipeline.slot.start(supplied.inputs.clone(), now);
        self.carry(index);
        self.begin(index, begun, supplied)
    }

    fn begin(&mut self, index: usize, begun: Begun, supplied: &Supplied<'_>) -> Option<Action> {
        let made = self.of_pipeline(index).filter_map(|rendition| {
            Some(Made {
                sink: rendition.sink.clone(),
                name: rendition.name.clone(),
                rendition: Arc::clone(rendition.carrier.as_ref()?),
                stream: rendition.stream.clone(),
            })
        });
        let made = made.collect();
        let pipeline = self.pipelines.get(index)?;
        let (inputs, origin) = match pipeline.purpose {
            Use::Slate => (EncodedStreams::default(), None),
            Use::SlateAutomatic => (self.slate_streams(), None),
            Use::Configured | Use::Automatic => {
                let inputs = supplied.select(pipeline.slot.inputs());
                (inputs, supplied.origin.cloned())
            }
        };
        Some(Action::StartRun(Box::new(RunStart {
            run: begun.run,
            again: begun.again,
            file: pipeline.slot.file().clone(),
            plan: Arc::clone(&pipeline.plan),
            origin,
            work: Work::Renditions { inputs, made },
            keyframe: Arc::clone(&pipeline.keyframe),
            snapshot: begun.snapshot,
        })))
    }

    /// The slate's encoded media, for the pipelines that transcode it.
    fn slate_streams(&self) -> EncodedStreams {
        let stream = |kind| {
            let mut renditions = self.made.iter();
            let slate = renditions.find(|rendition| {
                let pipeline = self.pipelines.get(rendition.pipeline);
                rendition.kind == kind
                    && pipeline.is_some_and(|pipeline| pipeline.purpose == Use::Slate)
            });
            slate.map(|rendition| rendition.stream.clone())
        };
        EncodedStreams {
            video: stream(Kind::Video),
            audio: stream(Kind::Audio),
        }
    }

    /// Restarts what is due, and stops what is not among the `needed` for too long.
    pub(super) fn tick(
        &mut self,
        needed: &BTreeSet<RenditionId>,
        slate: bool,
        supplied: &Supplied<'_>,
        now: Instant,
    ) -> Vec<Action> {
        let mut in_use: BTreeSet<usize> = needed
            .iter()
            .filter_map(|id| Some(self.made.get(id.0)?.pipeline))
            .collect();
        let purpose = |index: &usize| self.pipelines.get(*index).map(|pipeline| pipeline.purpose);
        if in_use
            .iter()
            .any(|index| purpose(index) == Some(Use::SlateAutomatic))
        {
            // Their inputs have to keep running.
            in_use.extend(
                (0..self.pipelines.len()).filter(|index| purpose(index) == Some(Use::Slate)),
            );
        }
        if self.full().is_none() {
            self.refused = None;
        }
        let mut actions = Vec::new();
        for index in 0..self.pipelines.len() {
            let Some(pipeline) = self.pipelines.get_mut(index) else {
                continue;
            };
            let of_slate = pipeline.purpose.is_slate();
            let outdated = !of_slate
                && !pipeline.slot.is_resting()
                && *pipeline.slot.inputs() != supplied.inputs;
            if in_use.contains(&index) {
                pipeline.used = now;
            }
            let unused = pipeline.is_unused(self.plan.grace, now);
            let past = of_slate && !slate && !in_use.contains(&index);
            if supplied.inputs.is_empty() && !slate || outdated || unused || past {
                actions.extend(pipeline.stop(End::BroadcastEnded));
                if pipeline.slot.is_resting() {
                    self.forget(index);
                }
            } else if pipeline.slot.is_due(now) {
                let begun = pipeline.slot.restart(now);
                actions.extend(self.begin(index, begun, supplied));
            }
        }
        actions
    }

    /// Stops everything.
    pub(super) fn stop(&mut self, why: End) -> Vec<Action> {
        self.pipelines
            .iter_mut()
            .filter_map(|pipeline| pipeline.stop(why))
            .collect()
    }

    /// Notes the first frame of a rendition.
    pub(super) fn started(&mut self, run: RunId, kind: Kind, name: &str, codec: Codec) {
        let SlotId::Renditions(index) = run.slot else {
            return;
        };
        let Some(pipeline) = self.pipelines.get_mut(index) else {
            return;
        };
        if !pipeline.slot.runs(run) {
            return;
        }
        pipeline.failed = false;
        let mut renditions = self.of_pipeline(index);
        let started = renditions.find(|made| made.kind == kind && made.name == name);
        if let Some(rendition) = started {
            rendition.codec = Some(codec);
            rendition.live = true;
        }
    }

    /// Notes the end of a run.
    pub(super) fn run_ended(&mut self, end: &RunEnd, now: Instant) {
        let SlotId::Renditions(index) = end.run.slot else {
            return;
        };
        let Some(pipeline) = self.pipelines.get_mut(index) else {
            return;
        };
        if !pipeline.slot.ended(end, now) {
            return;
        }
        if pipeline.slot.is_resting() {
            self.forget(index);
            return;
        }
        pipeline.failed = true;
        for rendition in self.of_pipeline(index) {
            rendition.live = false;
        }
    }

    /// Forgets what a series of runs has made: it is outdated when the next one begins.
    fn forget(&mut self, index: usize) {
        if let Some(pipeline) = self.pipelines.get_mut(index) {
            pipeline.failed = false;
            pipeline.permit = None;
            pipeline.reason = None;
        }
        for rendition in self.of_pipeline(index) {
            rendition.carrier = None;
            rendition.live = false;
        }
    }

    /// Forgets what automatic renditions demanded of decoders: made from another original, they may
    /// differ.
    pub(super) fn forget_demands(&self) {
        for rendition in &self.made {
            let Some(pipeline) = self.pipelines.get(rendition.pipeline) else {
                continue;
            };
            let runs = !pipeline.slot.is_resting() && !pipeline.slot.is_stopping();
            if pipeline.purpose.is_automatic() && !runs {
                rendition.stream.forget();
            }
        }
    }

    /// Notes why an automatic rendition is needed. The first reason of a series of runs counts.
    pub(super) fn note_reason(&mut self, id: RenditionId, reason: impl FnOnce() -> Misfit) {
        let Some(index) = self.made.get(id.0).map(|made| made.pipeline) else {
            return;
        };
        if let Some(pipeline) = self.pipelines.get_mut(index)
            && pipeline.purpose.is_automatic()
        {
            pipeline.reason.get_or_insert_with(reason);
        }
    }

    /// Whether a rendition is started for viewers whose connections are up, and not for an offer.
    /// The slate runs for everybody; and what is made of a configured file whose text does not name
    /// its codec can only be negotiated once it runs.
    pub(super) fn awaits_viewer(&self, id: RenditionId) -> bool {
        self.get(id).is_some_and(|(rendition, pipeline)| {
            let known = rendition.codec.is_some() && pipeline.purpose == Use::Configured;
            pipeline.purpose.is_automatic() || known
        })
    }

    /// A rendition whose pipeline runs, and what asks for its keyframes.
    pub(super) fn track(&self, id: RenditionId) -> Option<(BroadcastTrack, Arc<Notify>)> {
        let (rendition, pipeline) = self.get(id)?;
        let track = BroadcastTrack::new(rendition.codec, Arc::clone(rendition.carrier.as_ref()?));
        Some((track, Arc::clone(&pipeline.keyframe)))
    }

    /// Has a pipeline's encoders make a keyframe. Returns whether it runs; `None` if there is no
    /// such pipeline.
    pub(super) fn force_keyframe(&self, pipeline: &str) -> Option<bool> {
        let mut pipelines = self.pipelines.iter();
        let found = pipelines.find(|found| found.slot.file().name() == pipeline)?;
        let up = found.slot.is_up();
        if up {
            found.keyframe.notify_one();
        }
        Some(up)
    }

    /// Whether a pipeline runs or is about to.
    pub(super) fn is_busy(&self) -> bool {
        self.pipelines
            .iter()
            .any(|pipeline| !pipeline.slot.is_resting())
    }
}
