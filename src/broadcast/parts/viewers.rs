//! What viewers get: those that wait are answered, and those that watch are switched.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::Parts;
use crate::{
    broadcast::{
        Error,
        action::{Action, Switched, Switching, View},
        audience::{Subscription, Waiting},
        choice::{self, Join, Next, Present, RenditionId, TrackOrigin},
        figures::ReceivedTrack,
        renditions::Supplied,
        slot,
        status::State,
        tracks::{BroadcastTrack, KINDS},
    },
    media::Kind,
};

/// How long a viewer waits for the first frame of a source that is starting.
const SOURCE_WAIT_MAX: Duration = Duration::from_secs(3);
/// When to ask again for a rendition that is not ready.
const RETRY_NOT_READY: Duration = Duration::from_secs(2);

/// What happens to a waiting viewer.
enum Answer {
    Admit {
        view: View,
        subscriptions: Vec<Subscription>,
    },
    Later,
    Refuse(Error),
}

/// What a waiting viewer can get of one kind.
enum Found {
    Track {
        origin: TrackOrigin,
        track: BroadcastTrack,
        /// Asks for its keyframes.
        keyframe: Arc<Notify>,
    },
    /// Something is about to come.
    Later,
    /// Nothing that a decoder can start with has arrived.
    NoKeyframe,
    /// Nothing will do.
    Nothing,
    /// A suitable rendition exists but must not start.
    Full,
}

impl Parts {
    /// Answers the waiting viewers whose rendition is available.
    pub(super) fn answer_waiting(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for (session, waiting) in self.audience.waiting() {
            match self.answer(&waiting, now, &mut actions) {
                Answer::Admit {
                    view,
                    subscriptions,
                } => {
                    self.audience.admit(session, subscriptions);
                    actions.push(Action::Admit { session, view });
                }
                Answer::Later => {}
                Answer::Refuse(error) => {
                    self.audience.remove(session);
                    actions.push(Action::Refuse { session, error });
                }
            }
        }
        actions
    }

    fn answer(&mut self, waiting: &Waiting, now: Instant, actions: &mut Vec<Action>) -> Answer {
        let patient = waiting.is_patient(now);
        if self.state(now) == State::Waiting {
            let starting = self.supply.is_starting() && waiting.waited(now) < SOURCE_WAIT_MAX;
            let comes = self.supply.is_on_demand()
                || self.supply.is_elsewhere()
                || self.slate.is_configured();
            return if starting || comes && patient {
                Answer::Later
            } else {
                Answer::Refuse(self.not_live())
            };
        }
        let mut view = View {
            tracks: self.supply.tracks().clone(),
            keyframe: Arc::clone(self.supply.keyframe_wanted()),
        };
        let mut subscriptions = Vec::new();
        for kind in KINDS {
            match self.find(kind, waiting, now, actions) {
                Found::Track {
                    origin,
                    track,
                    keyframe,
                } => {
                    if let Some(codec) = track.codec {
                        let carrier = track.rendition.key();
                        subscriptions.push(Subscription {
                            kind,
                            codec,
                            present: Present { origin, carrier },
                        });
                    }
                    if kind == Kind::Video {
                        view.keyframe = keyframe;
                    }
                    *view.tracks.of_mut(kind) = Some(track);
                }
                Found::Nothing if self.slate.is_shown() => *view.tracks.of_mut(kind) = None,
                Found::Nothing => {} // the engine tells the client that nothing will do
                Found::NoKeyframe | Found::Later if patient => return Answer::Later,
                Found::NoKeyframe => return Answer::Refuse(self.no_keyframe()),
                Found::Full => return Answer::Refuse(Error::Full("automatic transcodes")),
                Found::Later => {
                    return Answer::Refuse(Error::NotReady {
                        retry_after: RETRY_NOT_READY,
                    });
                }
            }
        }
        Answer::Admit {
            view,
            subscriptions,
        }
    }

    /// The best track of one kind for a waiting viewer. Starts what it has to wait for.
    fn find(
        &mut self,
        kind: Kind,
        waiting: &Waiting,
        now: Instant,
        actions: &mut Vec<Action>,
    ) -> Found {
        let situation = self.situation();
        let wants = waiting.visitor.wants(kind, None);
        let join = choice::join(&situation, &wants, waiting.is_patient(now));
        if let Join::Take(TrackOrigin::Rendition(id)) | Join::Wait(Some(id)) = join {
            self.renditions
                .note_reason(id, || situation.reason(id, &wants));
            if !self.renditions.awaits_viewer(id) {
                actions.extend(self.need(id, now));
            } else if !self.renditions.promise(id, now) {
                return Found::Full;
            }
        }
        if choice::lacks_room(&situation, &wants) {
            self.renditions.note_full();
        }
        match join {
            Join::Take(TrackOrigin::Rendition(id)) => match self.renditions.track(id) {
                Some((track, keyframe)) => Found::Track {
                    origin: TrackOrigin::Rendition(id),
                    track,
                    keyframe,
                },
                None => Found::Later,
            },
            Join::Take(TrackOrigin::Original) => self.find_original(kind),
            Join::Wait(_) | Join::NotReady => Found::Later,
            Join::Full => Found::Full,
            Join::Nothing => {
                if self.slate.is_shown() && kind == Kind::Audio {
                    self.supply.expect_audio();
                }
                // Shown once somebody publishes, if the viewer can show it.
                let track = self.supply.tracks().of(kind);
                let codec = track.and_then(|track| track.codec);
                let offer = &waiting.visitor.offer;
                if codec.is_some_and(|codec| offer.choose(kind, &[codec]).is_some()) {
                    self.find_original(kind)
                } else {
                    Found::Nothing
                }
            }
        }
    }

    fn find_original(&mut self, kind: Kind) -> Found {
        if kind == Kind::Video && self.supply.is_live() && self.supply.is_keyless() {
            self.supply.want_keyframe();
            return Found::NoKeyframe;
        }
        let Some(track) = self.supply.tracks().of(kind).cloned() else {
            return Found::Nothing;
        };
        Found::Track {
            origin: TrackOrigin::Original,
            track,
            keyframe: Arc::clone(self.supply.keyframe_wanted()),
        }
    }

    fn need(&mut self, id: RenditionId, now: Instant) -> Vec<Action> {
        let supplied = Supplied {
            streams: self.supply.streams(),
            inputs: slot::inputs(self.supply.tracks()),
            origin: self.supply.origin(),
        };
        self.renditions.need(id, &supplied, now)
    }

    /// Gives every viewer the best rendition that is available to it now.
    pub(super) fn switch_viewers(&mut self, now: Instant) -> Vec<Action> {
        if !self.supply.is_live() && !self.slate.is_shown() {
            return Vec::new(); // the publisher may come back
        }
        let mut situation = self.situation();
        let mut originals = situation.originals.iter();
        let video = originals.find(|original| original.codec.kind() == Kind::Video);
        if self.transcoded.as_ref() != video {
            self.transcoded = video.cloned();
            self.renditions.forget_demands();
            situation = self.situation();
        }
        let mut actions = Vec::new();
        for step in self.audience.steps(&situation) {
            match step.next {
                Next::Stay => {}
                Next::Full => self.renditions.note_full(),
                Next::Start(id) => {
                    let wants = self.audience.wants(step.session, step.kind);
                    if let Some(wants) = wants {
                        self.renditions
                            .note_reason(id, || situation.reason(id, &wants));
                    }
                    actions.extend(self.need(id, now));
                }
                Next::Switch(to) => {
                    actions.extend(self.switching(step.session, step.kind, to));
                }
            }
        }
        actions
    }

    /// Gives a viewer what it would get if it had asked for this rendition, or for none.
    ///
    /// # Errors
    /// If there is no such viewer or rendition.
    pub(in crate::broadcast) fn move_viewer(
        &mut self,
        session: u64,
        requested: Option<String>,
        now: Instant,
    ) -> Result<Vec<Action>, Error> {
        self.renditions.check_requested(requested.as_deref())?;
        if !self.audience.request(session, requested) {
            return Err(Error::Missing("viewer"));
        }
        Ok(self.decide(now))
    }

    /// What a viewer receives.
    pub(in crate::broadcast) fn received(&self, session: u64) -> Vec<ReceivedTrack> {
        self.audience
            .subscriptions(session)
            .iter()
            .map(|subscription| ReceivedTrack {
                kind: subscription.kind,
                codec: subscription.codec,
                rendition: self.renditions.name(subscription.present.origin).to_owned(),
            })
            .collect()
    }

    fn switching(&self, session: u64, kind: Kind, to: TrackOrigin) -> Option<Action> {
        let (track, keyframe) = match to {
            TrackOrigin::Original => {
                let track = self.supply.tracks().of(kind).cloned()?;
                (track, Arc::clone(self.supply.keyframe_wanted()))
            }
            TrackOrigin::Rendition(id) => self.renditions.track(id)?,
        };
        Some(Action::Switch(Switching {
            session,
            kind,
            to,
            track,
            keyframe: (kind == Kind::Video).then_some(keyframe),
        }))
    }

    /// Notes a switch that a viewer's session has made.
    pub(in crate::broadcast) fn switched(&mut self, switching: &Switching) -> Option<Switched> {
        let present = Present {
            origin: switching.to,
            carrier: switching.track.rendition.key(),
        };
        let from = self
            .audience
            .switched(switching.session, switching.kind, present)?;
        Some(Switched {
            kind: switching.kind,
            from: self.renditions.name(from).to_owned(),
            to: self.renditions.name(switching.to).to_owned(),
        })
    }
}
