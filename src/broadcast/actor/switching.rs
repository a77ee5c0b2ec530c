//! Viewers that go over to another rendition on the session they have.
//!
//! A viewer keeps its place for as long as that is good. It leaves a place that makes nothing any
//! more (a pipeline has failed, nobody feeds the broadcast, the slate has ended) or that it cannot
//! show well (B-frames), and comes back by itself only to what it has asked for by name. It never
//! goes to what makes no frames, and always at a keyframe.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use tokio::sync::Notify;

use super::{
    Actor, Subscription, Viewing,
    choice::{SOURCE, Wants},
    pipelines::{At, Place},
};
use crate::{
    broadcast::{
        SessionId,
        feed::{Track, Tracks},
        session::{Command, Switch},
    },
    media::{Codec, Kind},
    peer::End,
    pipeline::{Demands, EncodedStream},
};

const KINDS: [Kind; 2] = [Kind::Video, Kind::Audio];

impl Viewing {
    fn wants(&self, codec: Codec) -> Wants<'_> {
        Wants {
            offer: &self.offer,
            requested: self.requested.as_deref(),
            codec: Some(codec),
        }
    }

    fn subscription(&self, kind: Kind) -> Option<&Subscription> {
        self.subscriptions
            .iter()
            .find(|subscription| subscription.kind == kind)
    }
}

impl Actor {
    /// Gives every viewer the best place there is for it now.
    pub(super) fn switch(&mut self, now: Instant) {
        if !self.is_live() && !self.slate {
            return; // the publisher may come back
        }
        self.judge_all();
        let viewers = self.viewers.iter();
        let unsettled = viewers.filter(|(_, viewer)| {
            let mut subscriptions = viewer.subscriptions.iter();
            subscriptions.any(|subscription| !self.is_settled(viewer, subscription))
        });
        let unsettled: Vec<SessionId> = unsettled.map(|(id, _)| id.clone()).collect();
        let mut moved = BTreeMap::<(Kind, String, String), usize>::new();
        for id in unsettled {
            for kind in KINDS {
                if let Some((from, to)) = self.switch_one(&id, kind, now) {
                    *moved.entry((kind, from, to)).or_default() += 1;
                }
            }
        }
        for ((kind, from, to), viewers) in moved {
            tracing::info!(broadcast = %self.name, %kind, from, to, viewers, "viewers go over");
        }
    }

    /// Whether a viewer is where it should be.
    fn is_settled(&self, viewer: &Viewing, subscription: &Subscription) -> bool {
        let preferred = self.preferred(subscription.kind, viewer.requested.as_deref());
        self.is_good(viewer, subscription)
            && (self.slate || preferred.is_none_or(|preferred| preferred == subscription.at))
    }

    /// Whether a viewer gets what it can show.
    fn is_good(&self, viewer: &Viewing, subscription: &Subscription) -> bool {
        match subscription.at {
            At::Source => {
                let track = self.tracks.of(subscription.kind);
                let same = track
                    .is_some_and(|track| Arc::ptr_eq(&track.rendition, &subscription.rendition));
                let as_it_is = !self.transcodes() || viewer.requested.as_deref() == Some(SOURCE);
                !self.slate && same && (as_it_is || subscription.fits)
            }
            At::Step(place) => {
                let pipeline = self.pipeline(place);
                let step = self.step(place).and_then(|step| step.rendition.as_ref());
                let same = step.is_some_and(|it| Arc::ptr_eq(it, &subscription.rendition));
                let fits =
                    pipeline.is_some_and(|it| it.purpose.is_slate() == self.slate && !it.failed);
                let asked = self.preferred(subscription.kind, viewer.requested.as_deref())
                    == Some(subscription.at);
                same && fits && (asked || subscription.fits)
            }
        }
    }

    /// Looks whether a viewer can show what it gets well.
    pub(super) fn judge(&mut self, id: &SessionId) {
        let Some(viewer) = self.viewers.get(id) else {
            return;
        };
        let fits = |subscription: &Subscription| {
            self.fits(
                subscription.at,
                subscription.kind,
                &viewer.wants(subscription.codec),
            )
        };
        let fits: Vec<bool> = viewer.subscriptions.iter().map(fits).collect();
        let subscriptions = self.viewers.get_mut(id).into_iter();
        for (subscription, fits) in subscriptions
            .flat_map(|viewer| &mut viewer.subscriptions)
            .zip(fits)
        {
            subscription.fits = fits;
        }
    }

    /// Looks at all viewers again if the source or a rendition has become another.
    fn judge_all(&mut self) {
        let demands = |stream: &EncodedStream| Demands {
            keyframe_at: None,
            frame_at: None,
            ..stream.demands()
        };
        let codec = self.tracks.of(Kind::Video).and_then(|track| track.codec);
        let video = self.streams.of(Kind::Video).map(demands);
        let source = (codec, video.unwrap_or_default());
        if self.judged.first() != Some(&source) {
            // What is made of another source may be another, too.
            let idle = self
                .rendition_pipelines
                .iter()
                .filter(|it| !it.is_running());
            let automatic = idle.filter(|it| it.purpose.is_automatic());
            let steps = automatic.flat_map(|pipeline| &pipeline.steps);
            steps.for_each(|step| step.stream.forget());
        }
        let steps = self
            .rendition_pipelines
            .iter()
            .flat_map(|pipeline| &pipeline.steps);
        let steps = steps.map(|step| (step.codec, demands(&step.stream)));
        let present: Vec<_> = [source].into_iter().chain(steps).collect();
        if present != self.judged {
            self.judged = present;
            let ids: Vec<SessionId> = self.viewers.keys().cloned().collect();
            for id in &ids {
                self.judge(id);
            }
        }
    }

    /// Returns from where to where the viewer goes, if it does.
    fn switch_one(&mut self, id: &SessionId, kind: Kind, now: Instant) -> Option<(String, String)> {
        let viewer = self.viewers.get(id)?;
        let subscription = viewer.subscription(kind)?;
        if self.is_settled(viewer, subscription) {
            return None;
        }
        let (at, codec) = (subscription.at, subscription.codec);
        let good = self.is_good(viewer, subscription);
        let preferred = self.preferred(kind, viewer.requested.as_deref());
        let mut choices = self.choices(kind, &viewer.wants(codec));
        if good {
            choices.retain(|choice| preferred == Some(*choice));
        }
        let mut wanted = None;
        for choice in choices {
            if wanted.is_some() && !self.fits(choice, kind, &self.viewers.get(id)?.wants(codec)) {
                break; // it is there for want of a better one, which is about to come
            }
            if let Some((track, keyframe)) = self.live(choice, kind, codec) {
                let same = choice == at
                    && self
                        .viewers
                        .get(id)?
                        .subscription(kind)
                        .is_some_and(|subscription| {
                            Arc::ptr_eq(&subscription.rendition, &track.rendition)
                        });
                if same {
                    return None;
                }
                return self.go_over(id, (kind, choice), (track, keyframe));
            }
            if let At::Step(place) = choice {
                let failed = self.pipeline(place).is_none_or(|pipeline| pipeline.failed);
                wanted = wanted.or_else(|| (!failed).then_some(place));
            }
        }
        if let Some(place) = wanted {
            self.want(id, codec, place, now);
        }
        None
    }

    /// Starts what a viewer shall go over to.
    fn want(&mut self, id: &SessionId, codec: Codec, place: Place, now: Instant) {
        let Some(viewer) = self.viewers.get(id) else {
            return;
        };
        let offer = Arc::clone(&viewer.offer);
        let requested = viewer.requested.clone();
        let wants = Wants {
            offer: &offer,
            requested: requested.as_deref(),
            codec: Some(codec),
        };
        self.note_reason(place, &wants);
        self.rendition(place, now);
    }

    /// A track of this codec that makes frames, and who makes its keyframes.
    fn live(&self, at: At, kind: Kind, codec: Codec) -> Option<(Track, Arc<Notify>)> {
        match at {
            At::Source => {
                let track = self.tracks.of(kind).filter(|_| self.is_live());
                let track = track.filter(|track| track.codec == Some(codec)).cloned()?;
                Some((track, Arc::clone(&self.keyframe_wanted)))
            }
            At::Step(place) => {
                let pipeline = self
                    .pipeline(place)
                    .filter(|it| it.is_running() && !it.failed)?;
                let step = self.step(place).filter(|step| step.live)?;
                let track = Track {
                    codec: step.codec.filter(|it| *it == codec),
                    rendition: Arc::clone(step.rendition.as_ref()?),
                    layers: Vec::new(),
                };
                track.codec?;
                Some((track, Arc::clone(&pipeline.keyframe)))
            }
        }
    }

    fn go_over(
        &mut self,
        id: &SessionId,
        (kind, at): (Kind, At),
        (track, keyframe): (Track, Arc<Notify>),
    ) -> Option<(String, String)> {
        let to = self.name_of(at);
        let viewer = self.viewers.get_mut(id)?;
        let subscription = viewer
            .subscriptions
            .iter_mut()
            .find(|subscription| subscription.kind == kind)?;
        let rendition = Arc::clone(&track.rendition);
        let command = Command::Switch(Switch {
            kind,
            track,
            keyframe: (kind == Kind::Video).then_some(keyframe),
        });
        if viewer.session.commands.try_send(command).is_err() {
            return None; // its task is busy: it is tried again
        }
        subscription.rendition = rendition;
        let from = std::mem::replace(&mut subscription.at, at);
        self.judge(id);
        Some((self.name_of(from), to))
    }

    /// The rendition's name in the log.
    fn name_of(&self, at: At) -> String {
        match at {
            At::Source => SOURCE.to_owned(),
            At::Step(place) => self
                .step(place)
                .map_or_else(String::new, |step| step.name.clone()),
        }
    }

    /// Closes the viewers that have no use for what there is now: they lack a track that they have
    /// asked for, or its codec.
    pub(super) fn close_incompatible(&mut self, next: &Tracks) {
        let before = std::mem::replace(&mut self.tracks, next.clone());
        let slate = std::mem::replace(&mut self.slate, false);
        let viewers = self.viewers.iter();
        let incompatible = viewers.filter(|(_, viewer)| {
            let mut kinds = KINDS.into_iter().filter(|kind| next.of(*kind).is_some());
            kinds.any(|kind| match viewer.subscription(kind) {
                None => viewer.offer.choose(kind, &Codec::ALL).is_some(),
                Some(subscription) => self
                    .choices(kind, &viewer.wants(subscription.codec))
                    .is_empty(),
            })
        });
        let incompatible: Vec<SessionId> = incompatible.map(|(id, _)| id.clone()).collect();
        (self.tracks, self.slate) = (before, slate);
        for id in incompatible {
            if let Some(viewer) = self.viewers.remove(&id) {
                viewer.session.stop.end(End::BroadcastEnded);
                self.shared.unregister(&id);
            }
        }
    }
}
