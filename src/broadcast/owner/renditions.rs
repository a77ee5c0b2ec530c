//! The owner's renditions: made for those who watch them, shared, and stopped when nobody does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    Admitted, Owner, Seat,
    choosing::Wants,
    ladder::{At, Place, Use},
    outputs::Start,
    respond,
};
use crate::{
    broadcast::{
        Created, Reply,
        feed::{Report, Track, Tracks},
        job::{Made, Purpose},
        status::{PipelineFigures, PipelineKind, RenditionStatus, State},
    },
    error::Error,
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
    pub(super) wish: Option<String>,
    pub(super) reply: Reply<Created>,
    pub(super) since: Instant,
}

/// What a viewer gets.
pub(super) struct View {
    pub(super) tracks: Tracks,
    /// Who makes its keyframes.
    pub(super) keyframe: Arc<Notify>,
    pub(super) seats: Vec<Seat>,
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

impl Owner {
    /// Answers a viewer, or keeps it until there is what it wants.
    pub(super) fn settle(&mut self, waiting: Waiting, now: Instant) {
        let id = waiting.admitted.0.id.clone();
        if waiting.reply.is_closed() {
            self.shared.unregister(&id);
            return;
        }
        match self.resolve(&waiting, now) {
            Resolved::View(view) => {
                let (offer, wish) = (waiting.offer, waiting.wish);
                self.start_viewer(waiting.admitted, (offer, wish), view, waiting.reply);
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
            seats: Vec::new(),
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
            wish: waiting.wish.as_deref(),
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
            if self.ladder(place).is_none_or(|ladder| ladder.failed) {
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
        self.start_ladder(place.0, now);
        let (ladder, step) = (self.ladder(place)?, self.step(place)?);
        let rendition = step.rendition.as_ref().filter(|_| ladder.is_running())?;
        let track = Track {
            codec: step.codec,
            rendition: Arc::clone(rendition),
            layers: Vec::new(),
        };
        Some((track, Arc::clone(&ladder.keyframe)))
    }

    fn start_ladder(&mut self, index: usize, now: Instant) {
        let fanout = self.shared.fanout.clone();
        let takes_slate = self.ladders.get(index).map(|it| it.purpose);
        if takes_slate == Some(Use::SlateAutomatic) {
            self.start_slate(now);
        }
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
            Made {
                sink: step.sink.clone(),
                name: step.name.clone(),
                rendition,
                stream: Some(step.stream.clone()),
            }
        });
        let purpose = Purpose::Renditions(renditions.collect());
        let start = Start {
            text: ladder.slot.text.clone(),
            purpose,
            keyframe: Arc::clone(&ladder.keyframe),
            plan: Arc::clone(&ladder.plan),
        };
        let of_slate = ladder.purpose.is_slate();
        let job = self.start_job(start, of_slate);
        if let Some(ladder) = self.ladders.get_mut(index) {
            ladder.slot.job = Some(job);
        }
    }

    /// Starts the slate itself, for a pipeline that takes it.
    fn start_slate(&mut self, now: Instant) {
        let mut ladders = self.ladders.iter();
        if let Some(index) = ladders.position(|ladder| ladder.purpose == Use::Slate) {
            self.start_ladder(index, now);
        }
    }

    /// Stops the pipelines that nobody needs.
    pub(super) fn check_renditions(&mut self, now: Instant) {
        let gone = self.tracks.is_empty();
        let seats = || self.viewers.values().flat_map(|viewer| &viewer.seats);
        let watched = |index: usize| {
            seats().any(|seat| matches!(seat.at, At::Step((ladder, _)) if ladder == index))
        };
        let mut watched: Vec<bool> = (0..self.ladders.len()).map(watched).collect();
        let ladders = || self.ladders.iter().zip(&watched);
        if ladders().any(|(it, watched)| *watched && it.purpose == Use::SlateAutomatic) {
            // What they take must go on.
            let slate = self.ladders.iter().map(|it| it.purpose == Use::Slate);
            watched = watched.iter().zip(slate).map(|(a, b)| *a || b).collect();
        }
        for (ladder, watched) in self.ladders.iter_mut().zip(watched) {
            let of_slate = ladder.purpose.is_slate();
            if gone || !of_slate && ladder.slot.is_outdated(&self.tracks) {
                ladder.slot.end(End::BroadcastEnded);
            } else if watched {
                ladder.used = now;
            } else if of_slate && !self.slate
                || now.saturating_duration_since(ladder.used) >= self.plan.grace
            {
                ladder.slot.end(End::BroadcastEnded);
            }
        }
    }

    /// Takes note of the first frame of a rendition, or of the failure of its pipeline.
    pub(super) fn note_rendition(&mut self, report: Report, now: Instant) {
        let (Report::Rendition { job, .. } | Report::JobFailed { job }) = report else {
            return;
        };
        let mut ladders = self.ladders.iter_mut();
        let ladder = ladders.find(|it| it.slot.job.as_ref().is_some_and(|it| it.number == job));
        let Some(ladder) = ladder else { return };
        if let Report::Rendition {
            kind, name, codec, ..
        } = report
        {
            ladder.failed = false;
            let mut steps = ladder.steps.iter_mut();
            if let Some(step) = steps.find(|step| step.kind == kind && step.name == name) {
                step.codec = Some(codec);
                step.live = true;
            }
        } else {
            ladder.fail();
        }
        self.settle_all(now);
        self.reseat(now);
    }

    /// Takes note of the end of a job. What it made is forgotten: it is old when the next begins.
    pub(super) fn bury_job(&mut self, number: u64) {
        for slot in &mut self.outputs {
            slot.bury(number);
        }
        for ladder in &mut self.ladders {
            if ladder.slot.bury(number) {
                ladder.forget();
            }
        }
        self.settle_all(Instant::now());
    }

    pub(super) fn renditions_status(&self) -> Vec<RenditionStatus> {
        let viewers = |place| {
            let seats = self.viewers.values().flat_map(|viewer| &viewer.seats);
            seats.filter(|seat| seat.at == At::Step(place)).count()
        };
        let ladders = self.ladders.iter().enumerate();
        // What nobody can ask for is shown while it runs.
        let shown =
            ladders.filter(|(_, it)| it.purpose == Use::Configured || it.slot.job.is_some());
        let all = shown.flat_map(|(at, ladder)| {
            let health = ladder.slot.health();
            let steps = ladder.steps.iter().enumerate();
            steps.map(move |(number, step)| RenditionStatus {
                name: step.name.clone(),
                kind: step.kind,
                codec: step.codec,
                pipeline: ladder.slot.text.name().to_owned(),
                viewers: viewers((at, number)),
                automatic: ladder
                    .reason
                    .clone()
                    .filter(|_| ladder.purpose.is_automatic()),
                health: health.clone(),
            })
        });
        all.collect()
    }

    pub(super) fn ladders_figures(&self) -> Vec<PipelineFigures> {
        let ladders = self.ladders.iter();
        ladders
            .filter(|it| it.purpose == Use::Configured || it.slot.job.is_some())
            .map(|ladder| ladder.slot.figures(PipelineKind::Renditions))
            .collect()
    }
}

impl View {
    fn add(&mut self, kind: Kind, at: At, track: Track) {
        if let Some(codec) = track.codec {
            self.seats.push(Seat {
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
