//! The actor's renditions: made for those who watch them, shared, and stopped when nobody does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    Actor, Admitted, Subscription,
    choice::Wants,
    outputs::Start,
    pipelines::{At, Place, Use},
    respond,
};
use crate::{
    broadcast::{
        Created, Error, Reply,
        feed::{Report, Track, Tracks},
        job::{Made, Purpose},
        status::{PipelineFigures, PipelineKind, RenditionStatus, State},
    },
    media::{Codec, Kind},
    peer::{End, sdp::Offer},
};

/// Longest wait of a viewer for the first frame of a rendition, or of a source on demand.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// When to ask again for a rendition that does not come.
const RETRY_NOT_READY: Duration = Duration::from_secs(2);

/// A viewer that has not been answered yet.
pub(super) struct Waiting {
    pub(super) admitted: Admitted,
    pub(super) offer: Arc<Offer>,
    /// The rendition that it asks for.
    pub(super) requested: Option<String>,
    pub(super) reply: Reply<Created>,
    pub(super) since: Instant,
}

/// What a viewer gets.
pub(super) struct View {
    pub(super) tracks: Tracks,
    /// Who makes its keyframes.
    pub(super) keyframe: Arc<Notify>,
    pub(super) subscriptions: Vec<Subscription>,
}

enum Resolved {
    View(View),
    Later,
    Refused(Error),
}

/// One track of a view.
enum Found {
    /// It comes from here; a pipeline says who makes its keyframes.
    Track(At, Track, Option<Arc<Notify>>),
    /// Something is about to come.
    Later,
    /// Nothing will do.
    Nothing,
}

impl Actor {
    /// Answers a viewer, or keeps it until there is what it wants.
    pub(super) fn settle(&mut self, waiting: Waiting, now: Instant) {
        let id = waiting.admitted.0.id.clone();
        if waiting.reply.is_closed() {
            self.shared.unregister(&id);
            return;
        }
        match self.resolve(&waiting, now) {
            Resolved::View(view) => {
                let (offer, requested) = (waiting.offer, waiting.requested);
                self.start_viewer(waiting.admitted, (offer, requested), view, waiting.reply);
            }
            Resolved::Later => self.waiting.push(waiting),
            Resolved::Refused(error) => {
                self.shared.unregister(&id);
                respond(waiting.reply, Err(error));
            }
        }
    }

    pub(super) fn settle_all(&mut self, now: Instant) {
        for waiting in std::mem::take(&mut self.waiting) {
            self.settle(waiting, now);
        }
    }

    fn resolve(&mut self, waiting: &Waiting, now: Instant) -> Resolved {
        let waits = now.saturating_duration_since(waiting.since) < WAIT_MAX;
        if self.state(now) == State::Waiting {
            if (self.is_on_demand() || self.plan.slate.is_some()) && waits {
                return Resolved::Later;
            }
            return Resolved::Refused(self.not_live());
        }
        let mut view = View {
            tracks: self.tracks.clone(),
            keyframe: Arc::clone(&self.keyframe_wanted),
            subscriptions: Vec::new(),
        };
        for kind in [Kind::Video, Kind::Audio] {
            match self.find(kind, waiting, now) {
                Found::Track(at, track, keyframe) => {
                    if let (Kind::Video, Some(keyframe)) = (kind, keyframe) {
                        view.keyframe = keyframe;
                    }
                    view.add(kind, at, track);
                }
                Found::Later if waits => return Resolved::Later,
                Found::Later => {
                    return Resolved::Refused(Error::NotReady {
                        retry_after: RETRY_NOT_READY,
                    });
                }
                Found::Nothing => {
                    self.expect_sound(kind);
                    let track = self.tracks.of(kind).cloned();
                    view.add_source(kind, track, (&waiting.offer, self.slate));
                }
            }
        }
        Resolved::View(view)
    }

    /// Sound is negotiated with who sees the slate before anybody has published, so that the
    /// publisher's will be heard.
    fn expect_sound(&mut self, kind: Kind) {
        if self.slate && kind == Kind::Audio && self.tracks.audio.is_none() {
            self.tracks.audio = Some(Track {
                codec: Some(Codec::Opus),
                rendition: Arc::new(self.shared.fanout.rendition(kind)),
                layers: Vec::new(),
            });
        }
    }

    /// The best there is for one kind. What is wanted is started.
    fn find(&mut self, kind: Kind, waiting: &Waiting, now: Instant) -> Found {
        let wants = Wants {
            offer: &waiting.offer,
            requested: waiting.requested.as_deref(),
            codec: None,
        };
        let patient = now.saturating_duration_since(waiting.since) < WAIT_MAX;
        let mut later = false;
        for at in self.choices(kind, &wants) {
            let At::Step(place) = at else {
                return match self.tracks.of(kind) {
                    Some(track) => Found::Track(at, track.clone(), None),
                    None => Found::Nothing,
                };
            };
            if self.pipeline(place).is_none_or(|pipeline| pipeline.failed) {
                later = true;
                continue;
            }
            self.note_reason(place, &wants);
            match self.rendition(place, now) {
                Some((track, keyframe)) if track.codec.is_some() => {
                    return Found::Track(at, track, Some(keyframe));
                }
                _ if patient => return Found::Later,
                _ => later = true,
            }
        }
        if later { Found::Later } else { Found::Nothing }
    }

    /// A rendition whose pipeline runs; starts that if it does not.
    pub(super) fn rendition(&mut self, place: Place, now: Instant) -> Option<(Track, Arc<Notify>)> {
        self.start_pipeline(place.0, now);
        let (pipeline, step) = (self.pipeline(place)?, self.step(place)?);
        let rendition = step.rendition.as_ref().filter(|_| pipeline.is_running())?;
        let track = Track {
            codec: step.codec,
            rendition: Arc::clone(rendition),
            layers: Vec::new(),
        };
        Some((track, Arc::clone(&pipeline.keyframe)))
    }

    fn start_pipeline(&mut self, index: usize, now: Instant) {
        let fanout = self.shared.fanout.clone();
        let takes_slate = self.rendition_pipelines.get(index).map(|it| it.purpose);
        if takes_slate == Some(Use::SlateAutomatic) {
            self.start_slate(now);
        }
        let Some(pipeline) = self.rendition_pipelines.get_mut(index) else {
            return;
        };
        pipeline.used = now;
        if pipeline.slot.job.is_some() {
            return;
        }
        let renditions = pipeline.steps.iter_mut().map(|step| {
            let rendition = Arc::new(fanout.rendition(step.kind));
            step.rendition = Some(Arc::clone(&rendition));
            Made {
                sink: step.sink.clone(),
                name: step.name.clone(),
                rendition,
                stream: Some(step.stream.clone()),
            }
        });
        let purpose = Purpose::Renditions(renditions.collect());
        let start = Start {
            text: pipeline.slot.text.clone(),
            purpose,
            keyframe: Arc::clone(&pipeline.keyframe),
            plan: Arc::clone(&pipeline.plan),
        };
        let of_slate = pipeline.purpose.is_slate();
        let job = self.start_job(start, of_slate);
        if let Some(pipeline) = self.rendition_pipelines.get_mut(index) {
            pipeline.slot.job = Some(job);
        }
    }

    /// Starts the slate itself, for a pipeline that takes it.
    fn start_slate(&mut self, now: Instant) {
        let mut rendition_pipelines = self.rendition_pipelines.iter();
        if let Some(index) = rendition_pipelines.position(|pipeline| pipeline.purpose == Use::Slate)
        {
            self.start_pipeline(index, now);
        }
    }

    /// Stops the pipelines that nobody needs.
    pub(super) fn check_renditions(&mut self, now: Instant) {
        let gone = self.tracks.is_empty();
        let subscriptions = || {
            self.viewers
                .values()
                .flat_map(|viewer| &viewer.subscriptions)
        };
        let watched = |index: usize| {
            subscriptions().any(|subscription| matches!(subscription.at, At::Step((pipeline, _)) if pipeline == index))
        };
        let mut watched: Vec<bool> = (0..self.rendition_pipelines.len()).map(watched).collect();
        let rendition_pipelines = || self.rendition_pipelines.iter().zip(&watched);
        if rendition_pipelines().any(|(it, watched)| *watched && it.purpose == Use::SlateAutomatic)
        {
            // What they take must go on.
            let slate = self
                .rendition_pipelines
                .iter()
                .map(|it| it.purpose == Use::Slate);
            watched = watched.iter().zip(slate).map(|(a, b)| *a || b).collect();
        }
        for (pipeline, watched) in self.rendition_pipelines.iter_mut().zip(watched) {
            let of_slate = pipeline.purpose.is_slate();
            if gone || !of_slate && pipeline.slot.is_outdated(&self.tracks) {
                pipeline.slot.end(End::BroadcastEnded);
            } else if watched {
                pipeline.used = now;
            } else if of_slate && !self.slate
                || now.saturating_duration_since(pipeline.used) >= self.plan.grace
            {
                pipeline.slot.end(End::BroadcastEnded);
            }
        }
    }

    /// Takes note of the first frame of a rendition, or of the failure of its pipeline.
    pub(super) fn note_rendition(&mut self, report: Report, now: Instant) {
        let (Report::Rendition { job, .. } | Report::JobFailed { job }) = report else {
            return;
        };
        let mut rendition_pipelines = self.rendition_pipelines.iter_mut();
        let pipeline =
            rendition_pipelines.find(|it| it.slot.job.as_ref().is_some_and(|it| it.number == job));
        let Some(pipeline) = pipeline else { return };
        if let Report::Rendition {
            kind, name, codec, ..
        } = report
        {
            pipeline.failed = false;
            let mut steps = pipeline.steps.iter_mut();
            if let Some(step) = steps.find(|step| step.kind == kind && step.name == name) {
                step.codec = Some(codec);
                step.live = true;
            }
        } else {
            pipeline.fail();
        }
        self.settle_all(now);
        self.switch(now);
    }

    /// Takes note of the end of a job. What it made is forgotten: it is old when the next begins.
    pub(super) fn reap_job(&mut self, number: u64) {
        for slot in &mut self.outputs {
            slot.reap(number);
        }
        for pipeline in &mut self.rendition_pipelines {
            if pipeline.slot.reap(number) {
                pipeline.forget();
            }
        }
        self.settle_all(Instant::now());
    }

    pub(super) fn renditions_status(&self) -> Vec<RenditionStatus> {
        let viewers = |place| {
            let subscriptions = self
                .viewers
                .values()
                .flat_map(|viewer| &viewer.subscriptions);
            subscriptions
                .filter(|subscription| subscription.at == At::Step(place))
                .count()
        };
        let rendition_pipelines = self.rendition_pipelines.iter().enumerate();
        // What nobody can ask for is shown while it runs.
        let shown = rendition_pipelines
            .filter(|(_, it)| it.purpose == Use::Configured || it.slot.job.is_some());
        let all = shown.flat_map(|(at, pipeline)| {
            let health = pipeline.slot.health();
            let steps = pipeline.steps.iter().enumerate();
            steps.map(move |(number, step)| RenditionStatus {
                name: step.name.clone(),
                kind: step.kind,
                codec: step.codec,
                pipeline: pipeline.slot.text.name().to_owned(),
                viewers: viewers((at, number)),
                automatic: pipeline
                    .reason
                    .clone()
                    .filter(|_| pipeline.purpose.is_automatic()),
                health: health.clone(),
            })
        });
        all.collect()
    }

    pub(super) fn rendition_pipelines_figures(&self) -> Vec<PipelineFigures> {
        let rendition_pipelines = self.rendition_pipelines.iter();
        rendition_pipelines
            .filter(|it| it.purpose == Use::Configured || it.slot.job.is_some())
            .map(|pipeline| pipeline.slot.figures(PipelineKind::Renditions))
            .collect()
    }
}

impl View {
    fn add(&mut self, kind: Kind, at: At, track: Track) {
        if let Some(codec) = track.codec {
            self.subscriptions.push(Subscription {
                kind,
                codec,
                at,
                rendition: Arc::clone(&track.rendition),
                fits: true,
            });
        }
        *self.tracks.of_mut(kind) = Some(track);
    }

    /// Nothing will do for this kind: the engine shall say so, unless nobody feeds the broadcast;
    /// then the viewer gets this track when somebody does, if it can.
    fn add_source(&mut self, kind: Kind, track: Option<Track>, (offer, slate): (&Offer, bool)) {
        let codec = track.as_ref().and_then(|track| track.codec);
        let offered = codec.is_some_and(|codec| offer.choose(kind, &[codec]).is_some());
        if offered && let Some(track) = track {
            self.add(kind, At::Source, track);
        } else if slate {
            *self.tracks.of_mut(kind) = None;
        }
    }
}
