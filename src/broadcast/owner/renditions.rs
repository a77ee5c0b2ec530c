//! The owner's renditions: made for those who watch them, shared, and stopped when nobody does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{Admitted, Owner, outputs::Slot, respond};
use crate::{
    broadcast::{
        Created, Name, Reply,
        feed::{Report, Track, Tracks},
        job::Purpose,
        plan::{Plan, Text},
        status::{PipelineFigures, PipelineKind, RenditionStatus, State},
    },
    error::Error,
    fanout,
    media::{Codec, Kind},
    peer::{End, sdp::Offer},
    pipeline::{self, Role},
};

/// The rendition that is passed on as it comes.
const SOURCE: &str = "source";
/// Longest wait of a viewer for the first frame of a rendition, or of a source on demand.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// When to ask again for a rendition that does not come.
const RETRY_NOT_READY: Duration = Duration::from_secs(2);

/// A pipeline that makes renditions.
pub(super) struct Ladder {
    pub(super) slot: Slot,
    steps: Vec<Step>,
    pub(super) keyframe: Arc<Notify>,
    /// When somebody watched or wanted one of them last.
    used: Instant,
}

/// One rendition.
struct Step {
    /// Name of the appsink: `video_720p`.
    sink: String,
    kind: Kind,
    name: String,
    /// Unknown before its first frame.
    codec: Option<Codec>,
    /// While its pipeline runs.
    rendition: Option<Arc<fanout::Rendition>>,
}

/// A rendition by ladder and step.
pub(super) type Place = (usize, usize);

/// A viewer that has not been answered yet.
pub(super) struct Waiting {
    pub(super) admitted: Admitted,
    pub(super) offer: Arc<Offer>,
    /// The rendition that it asks for.
    pub(super) wish: Option<String>,
    pub(super) reply: Reply<Created>,
    pub(super) since: Instant,
}

/// What a viewer gets.
pub(super) struct View {
    pub(super) tracks: Tracks,
    /// Who makes its keyframes.
    pub(super) keyframe: Arc<Notify>,
    /// The renditions among the tracks.
    pub(super) places: Vec<Place>,
}

enum Resolved {
    View(View),
    Later,
    Refused(Error),
}

impl Ladder {
    pub(super) fn new(text: Text, plan: &Plan, broadcast: &Name) -> Self {
        let steps = steps(&text, plan, broadcast).unwrap_or_else(|error| {
            tracing::error!(%broadcast, pipeline = text.name(), %error, "no renditions");
            Vec::new()
        });
        Self {
            slot: Slot::new(text),
            steps,
            keyframe: Arc::default(),
            used: Instant::now(),
        }
    }
}

fn steps(text: &Text, plan: &Plan, broadcast: &Name) -> Result<Vec<Step>, pipeline::Error> {
    // The parser does not matter for the names.
    let variables = plan.variables(broadcast).with("video_parser", "identity");
    let Role::Renditions { outputs, .. } = Role::of(&variables.expand(&text.text)?)? else {
        return Err(pipeline::Error::Text(format!(
            "{}: no renditions: they need appsrc and appsink name=video_<rendition>",
            text.file
        )));
    };
    let step = |(kind, name): (Kind, String)| Step {
        sink: format!("{kind}_{name}"),
        kind,
        name,
        codec: None,
        rendition: None,
    };
    Ok(outputs.into_iter().map(step).collect())
}

impl Owner {
    /// Whether there is such a rendition.
    pub(super) fn check_wish(&self, wish: Option<&str>) -> Result<(), Error> {
        let steps = || self.ladders.iter().flat_map(|ladder| &ladder.steps);
        match wish {
            Some(wish) if wish != SOURCE && !steps().any(|step| step.name == wish) => {
                let mut known = vec![SOURCE.to_owned()];
                known.extend(steps().map(|step| step.name.clone()));
                known.dedup();
                Err(Error::NoRendition {
                    wanted: wish.to_owned(),
                    known: known.join(", "),
                })
            }
            _ => Ok(()),
        }
    }

    /// Answers a viewer, or keeps it until there is what it wants.
    pub(super) fn settle(&mut self, waiting: Waiting, now: Instant) {
        let id = waiting.admitted.0.id.clone();
        if waiting.reply.is_closed() {
            self.shared.unregister(&id);
            return;
        }
        match self.resolve(&waiting, now) {
            Resolved::View(view) => {
                self.start_viewer(waiting.admitted, (waiting.offer, view), waiting.reply);
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
        if self.state(now) == State::Waiting {
            let waited = now.saturating_duration_since(waiting.since);
            if self.is_on_demand() && waited < WAIT_MAX {
                return Resolved::Later;
            }
            return Resolved::Refused(self.not_live());
        }
        let mut view = View {
            tracks: self.tracks.clone(),
            keyframe: Arc::clone(&self.keyframe_wanted),
            places: Vec::new(),
        };
        for kind in [Kind::Video, Kind::Audio] {
            for place in self.candidates(kind, waiting) {
                let fits = self.fits(place, waiting);
                if fits == Some(false) {
                    continue;
                }
                let rendition = self.rendition(place, now);
                let (Some(true), Some((track, keyframe))) = (fits, rendition) else {
                    if now.saturating_duration_since(waiting.since) < WAIT_MAX {
                        return Resolved::Later;
                    }
                    return Resolved::Refused(Error::NotReady {
                        retry_after: RETRY_NOT_READY,
                    });
                };
                *view.tracks.of_mut(kind) = Some(track);
                if kind == Kind::Video {
                    view.keyframe = keyframe;
                }
                view.places.push(place);
                break;
            }
        }
        Resolved::View(view)
    }

    /// The renditions of one kind that will do for a viewer; empty if the source does.
    fn candidates(&self, kind: Kind, waiting: &Waiting) -> Vec<Place> {
        let offered = |codecs: &[Codec]| waiting.offer.choose(kind, codecs).is_some();
        let source = self.tracks.of(kind).and_then(|track| track.codec);
        let Some(source) = source.filter(|_| offered(&Codec::ALL)) else {
            return Vec::new();
        };
        let wish = waiting.wish.as_deref();
        if wish == Some(SOURCE) || wish.is_none() && offered(&[source]) {
            return Vec::new();
        }
        let fits = |step: &Step| step.kind == kind && wish.is_none_or(|wish| step.name == wish);
        let ladders = self.ladders.iter().enumerate();
        let places = ladders.flat_map(|(at, ladder)| {
            let steps = ladder.steps.iter().enumerate();
            steps
                .filter(|(_, step)| fits(step))
                .map(move |(step, _)| (at, step))
        });
        places.collect()
    }

    /// Whether the viewer can decode a rendition; `None` if that is not known yet. What it asks
    /// for by name is not second-guessed.
    fn fits(&self, (ladder, step): Place, waiting: &Waiting) -> Option<bool> {
        let step = self.ladders.get(ladder)?.steps.get(step)?;
        let codec = step.codec?;
        Some(waiting.wish.is_some() || waiting.offer.choose(step.kind, &[codec]).is_some())
    }

    /// A rendition whose pipeline runs; starts that if it does not.
    fn rendition(&mut self, (ladder, step): Place, now: Instant) -> Option<(Track, Arc<Notify>)> {
        self.start_ladder(ladder, now);
        let ladder = self.ladders.get(ladder)?;
        let step = ladder.steps.get(step)?;
        let running = ladder.slot.job.as_ref().is_some_and(|job| !job.is_ending());
        let track = Track {
            codec: step.codec,
            rendition: Arc::clone(step.rendition.as_ref().filter(|_| running)?),
            layers: Vec::new(),
        };
        Some((track, Arc::clone(&ladder.keyframe)))
    }

    fn start_ladder(&mut self, index: usize, now: Instant) {
        let fanout = self.shared.fanout.clone();
        let Some(ladder) = self.ladders.get_mut(index) else {
            return;
        };
        ladder.used = now;
        if ladder.slot.job.is_some() {
            return;
        }
        let renditions = ladder.steps.iter_mut().map(|step| {
            let rendition = Arc::new(fanout.rendition(step.kind));
            step.rendition = Some(Arc::clone(&rendition));
            (step.sink.clone(), rendition)
        });
        let purpose = Purpose::Renditions(renditions.collect());
        let (text, keyframe) = (ladder.slot.text.clone(), Arc::clone(&ladder.keyframe));
        let job = self.start_job(text, purpose, keyframe);
        if let Some(ladder) = self.ladders.get_mut(index) {
            ladder.slot.job = Some(job);
        }
    }

    /// Stops the pipelines that nobody needs.
    pub(super) fn check_renditions(&mut self, now: Instant) {
        let gone = self.tracks.is_empty();
        for (index, ladder) in self.ladders.iter_mut().enumerate() {
            if gone || ladder.slot.is_outdated(&self.tracks) {
                ladder.slot.end(End::BroadcastEnded);
                continue;
            }
            let places = || self.viewers.values().flat_map(|viewer| &viewer.places);
            if places().any(|place| place.0 == index) {
                ladder.used = now;
            } else if now.saturating_duration_since(ladder.used) >= self.plan.grace {
                ladder.slot.end(End::BroadcastEnded);
            }
        }
    }

    /// Takes note of the first frame of a rendition.
    pub(super) fn note_rendition(&mut self, report: Report) {
        let Report::Rendition {
            job,
            kind,
            name,
            codec,
        } = report
        else {
            return;
        };
        let mut ladders = self.ladders.iter_mut();
        let ladder = ladders.find(|it| it.slot.job.as_ref().is_some_and(|it| it.number == job));
        let mut steps = ladder.into_iter().flat_map(|ladder| &mut ladder.steps);
        if let Some(step) = steps.find(|step| step.kind == kind && step.name == name) {
            step.codec = Some(codec);
        }
        self.settle_all(Instant::now());
    }

    /// Takes note of the end of a job. What it made is forgotten: it is old when the next begins.
    pub(super) fn bury_job(&mut self, number: u64) {
        for slot in &mut self.outputs {
            slot.bury(number);
        }
        for ladder in &mut self.ladders {
            if ladder.slot.bury(number) {
                for step in &mut ladder.steps {
                    step.rendition = None;
                }
            }
        }
        self.settle_all(Instant::now());
    }

    pub(super) fn renditions_status(&self) -> Vec<RenditionStatus> {
        let viewers = |place| {
            let viewers = self.viewers.values();
            viewers
                .filter(|viewer| viewer.places.contains(&place))
                .count()
        };
        let ladders = self.ladders.iter().enumerate();
        let all = ladders.flat_map(|(at, ladder)| {
            let health = ladder.slot.health();
            ladder
                .steps
                .iter()
                .enumerate()
                .map(move |(number, step)| RenditionStatus {
                    name: step.name.clone(),
                    kind: step.kind,
                    codec: step.codec,
                    pipeline: ladder.slot.text.name().to_owned(),
                    viewers: viewers((at, number)),
                    health: health.clone(),
                })
        });
        all.collect()
    }

    pub(super) fn ladders_figures(&self) -> Vec<PipelineFigures> {
        self.ladders
            .iter()
            .map(|ladder| ladder.slot.figures(PipelineKind::Renditions))
            .collect()
    }
}
