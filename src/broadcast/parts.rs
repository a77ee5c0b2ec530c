//! The parts of a broadcast, combined: events go in, with the time, and actions come out. No task,
//! no clock and no IO: tests drive it in virtual time.

mod figures;
mod nodes;
mod reload;
mod viewers;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use self::{nodes::Lent, reload::NextRenditions};
use super::{
    Error, RETRY_MISSING,
    action::Action,
    audience::{Audience, Visitor},
    choice::{Original, Showing, Situation},
    gate::{InputId, MediaEvent},
    outputs::Outputs,
    renditions::{RenditionPipelines, Supplied},
    rules::Rules,
    slate::SlateState,
    slot::{self, RunEnd, SlotId},
    status::State,
    supply::Supply,
    tracks::{BroadcastTrack, BroadcastTracks, Expected, NewRendition},
};
use crate::{
    media::{Codec, Kind},
    peer::End,
    plan::{Name, Plan},
};

/// When to ask again while a publisher is about to go live.
const RETRY_STARTING: Duration = Duration::from_secs(1);
/// How long a broadcast stays listed after its last publisher: long enough for the request that
/// created it to arrive.
const LINGER: Duration = Duration::from_secs(1);

/// A broadcast, without the tasks that do its work.
pub(super) struct Parts {
    name: Name,
    plan: Arc<Plan>,
    viewers_max: usize,
    supply: Supply,
    audience: Audience,
    renditions: RenditionPipelines,
    /// The renditions that follow them.
    next_renditions: Option<NextRenditions>,
    outputs: Outputs,
    slate: SlateState,
    /// The video that automatic renditions were last made from.
    transcoded: Option<Original>,
    /// The input whose oversized frames have been logged.
    oversized: Option<InputId>,
    /// What other nodes want.
    lent: Lent,
}

impl Parts {
    pub(super) fn new(
        name: &Name,
        rules: &Rules,
        plan: Arc<Plan>,
        new_rendition: &NewRendition,
        now: Instant,
    ) -> Self {
        let renditions =
            RenditionPipelines::new(name, &plan, rules, Arc::clone(new_rendition), now);
        Self {
            name: name.clone(),
            viewers_max: rules.viewers_max,
            supply: Supply::new(rules, &plan, Arc::clone(new_rendition), now),
            audience: Audience::default(),
            renditions,
            next_renditions: None,
            outputs: Outputs::new(&plan),
            slate: SlateState::new(plan.slate.is_some(), plan.grace, now),
            plan,
            transcoded: None,
            oversized: None,
            lent: Lent::default(),
        }
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Notified when somebody needs a keyframe from the publisher or source.
    pub(super) fn keyframe_notify(&self) -> Arc<Notify> {
        Arc::clone(self.supply.keyframe_wanted())
    }

    /// Whether a publisher whose request arrived at `arrived` may begin now.
    pub(super) fn check_publisher(&self, arrived: Instant, now: Instant) -> Result<(), Error> {
        if self.supply.admits_publisher(arrived, now) {
            return Ok(());
        }
        Err(Error::taken(&self.name))
    }

    /// Begins a publisher, which replaces the present one.
    pub(super) fn publish(
        &mut self,
        session: u64,
        codecs: &[Codec],
        rids: &[String],
        now: Instant,
    ) -> Vec<Action> {
        let expected = Expected::Negotiated { codecs, rids };
        let mut actions = self.supply.begin_publisher(session, expected, now);
        actions.extend(self.decide(now));
        actions
    }

    /// Whether a viewer may join now.
    pub(super) fn check_viewer(&self, requested: Option<&str>, now: Instant) -> Result<(), Error> {
        let state = self.state(now);
        let waits = self.slate.is_configured() && state != State::Stale;
        let comes =
            self.supply.is_on_demand() || self.supply.is_starting() || self.supply.is_elsewhere();
        if state != State::Live && !comes && !waits {
            return Err(self.not_live());
        }
        if self.is_full() && self.audience.yielding().is_none() {
            return Err(Error::Full("viewers"));
        }
        self.renditions.check_requested(requested)
    }

    /// Adds a viewer, which is answered once there is something to watch. In a full broadcast, one
    /// that has not connected makes room.
    pub(super) fn watch(&mut self, session: u64, visitor: Visitor, now: Instant) -> Vec<Action> {
        let mut actions = Vec::from_iter(self.make_room());
        self.audience.arrive(session, visitor, now);
        actions.extend(self.decide(now));
        if self.supply.is_on_demand() || self.supply.is_elsewhere() {
            actions.extend(self.run_source(now));
        }
        actions
    }

    fn is_full(&self) -> bool {
        self.audience.len() >= self.viewers_max
    }

    /// Ends a viewer that is not connected, if its place is needed.
    fn make_room(&mut self) -> Option<Action> {
        if !self.is_full() {
            return None;
        }
        let session = self.audience.yielding()?;
        let waits = self.audience.is_waiting(session);
        self.audience.remove(session);
        Some(if waits {
            Action::Refuse {
                session,
                error: Error::Full("viewers"),
            }
        } else {
            Action::Close {
                session,
                why: End::Yielded,
            }
        })
    }

    /// Ends a session on request. `None` if there is no such session.
    pub(super) fn delete(&mut self, session: u64, why: End, now: Instant) -> Option<Vec<Action>> {
        let mut actions = Vec::new();
        if self.audience.remove(session) {
            actions.push(Action::Close { session, why });
        } else if self.supply.publisher() == Some(session) {
            actions.extend(self.supply.retire(why, now));
        } else {
            return None;
        }
        actions.extend(self.decide(now));
        Some(actions)
    }

    /// Handles the end of a viewer's session, or a client that left before the answer.
    pub(super) fn viewer_ended(&mut self, session: u64) {
        self.audience.remove(session);
    }

    /// Handles the end of a publisher's session.
    pub(super) fn publisher_ended(&mut self, session: u64, why: End, now: Instant) -> Vec<Action> {
        let mut actions = Vec::from_iter(self.supply.publisher_ended(session, why, now));
        actions.extend(self.decide(now));
        actions
    }

    /// Handles the end of a pipeline run.
    pub(super) fn run_ended(&mut self, end: &RunEnd, now: Instant) -> Vec<Action> {
        match end.run.slot {
            SlotId::Source => self.supply.run_ended(end, now),
            SlotId::Renditions(_) => self.renditions.run_ended(end, now),
            SlotId::Output(_) => self.outputs.run_ended(end, now),
        }
        self.decide(now)
    }

    /// Handles an event of the broadcast's media.
    pub(super) fn media(&mut self, event: MediaEvent, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            MediaEvent::Started { input, kind, codec } => {
                if self.supply.started(input, kind, codec, now) {
                    actions.extend(self.try_go_live(now));
                }
            }
            MediaEvent::Mismatch { input, kind, codec } => {
                if self.supply.is_present(input) {
                    tracing::warn!(%kind, %codec, "codec changed; ending the broadcast");
                    // No viewer can continue with what it negotiated.
                    actions.extend(self.supply.retire(End::Failed, now));
                    actions.extend(self.end_broadcast());
                }
            }
            MediaEvent::Rendition {
                run,
                kind,
                name,
                codec,
            } => self.renditions.started(run, kind, &name, codec),
            MediaEvent::Oversized { input, kind, bytes } => {
                if self.supply.is_present(input) {
                    if self.oversized.replace(input) != Some(input) {
                        tracing::warn!(%kind, bytes, "frame too large; dropped up to the next keyframe");
                    }
                    actions.extend(self.keyframe_wanted(now));
                }
            }
            MediaEvent::Checked { session } => self.audience.checked(session),
            MediaEvent::Connected { session } => self.audience.connected(session),
        }
        actions.extend(self.decide(now));
        actions
    }

    /// Handles the need for a keyframe from the publisher or source.
    pub(super) fn keyframe_wanted(&mut self, now: Instant) -> Option<Action> {
        self.supply.want_keyframe();
        self.supply.request_keyframe(now)
    }

    /// Forces a keyframe in a pipeline's encoders; for an output, from whoever feeds the broadcast.
    pub(super) fn force_keyframe(
        &mut self,
        pipeline: &str,
        now: Instant,
    ) -> Result<Option<Action>, Error> {
        let up = if let Some(up) = self.renditions.force_keyframe(pipeline) {
            up
        } else if let Some(up) = self.outputs.is_up(pipeline) {
            if up {
                self.supply.want_forced_keyframe();
            }
            up
        } else {
            self.supply
                .force_keyframe(pipeline)
                .ok_or(Error::Missing("pipeline"))?
        };
        if !up {
            return Err(Error::Idle(pipeline.to_owned()));
        }
        Ok(self.supply.request_keyframe(now))
    }

    /// Enforces the time limits: ends what has been silent or unused for too long, and starts what is
    /// due.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(why) = self.supply.overdue(now) {
            actions.extend(self.supply.retire(why, now));
        } else {
            actions.extend(self.try_go_live(now));
        }
        self.supply.look_at_pulse(now);
        self.supply.look_at_tracks(now);
        self.supply.look_for_first_keyframe();
        self.supply.look_at_keyframes(now);
        actions.extend(self.give_up(now));
        self.renew_renditions(now);
        let supplied = Supplied {
            streams: self.supply.streams(),
            inputs: slot::inputs(self.supply.tracks()),
            origin: self.supply.origin(),
        };
        let lent = self.lent.renditions(now);
        let needed = &self.audience.needed(&self.situation()) | &lent;
        let slate = self.slate.is_shown();
        let promised = &self.audience.promised() | &lent;
        self.renditions.keep_promises(&promised);
        actions.extend(self.renditions.tick(&needed, slate, &supplied, now));
        actions.extend(self.decide(now));
        actions.extend(self.run_source(now));
        actions
    }

    /// Ends everything. Call nothing else afterwards.
    pub(super) fn shut_down(&mut self, now: Instant) -> Vec<Action> {
        let why = End::Shutdown;
        let mut actions = self.supply.shut_down(now);
        let watching = self.audience.take_watching().into_iter();
        actions.extend(watching.map(|session| Action::Close { session, why }));
        let waiting = self.audience.take_waiting().into_iter();
        actions.extend(waiting.map(|session| Action::Refuse {
            session,
            error: Error::Stopping,
        }));
        actions.extend(self.renditions.stop(why));
        actions.extend(self.outputs.stop(why));
        actions
    }

    /// Whether nobody publishes or watches and nobody is about to.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        !self.supply.has_source()
            && !self.audience.has_waiting()
            && !self.slate.is_shown()
            && self.supply.vacant_for(now) >= LINGER
    }

    /// Makes the decisions that any event may change: about viewers, outputs and keyframes.
    fn decide(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = self.answer_waiting(now);
        actions.extend(self.switch_viewers(now));
        let supplied = Supplied {
            streams: self.supply.streams(),
            inputs: slot::inputs(self.supply.tracks()),
            origin: self.supply.origin(),
        };
        // Outputs run at the origin.
        let live = self.supply.is_live() && !self.supply.is_remote();
        actions.extend(
            self.outputs
                .tick(live, self.slate.is_shown(), &supplied, now),
        );
        actions.extend(self.supply.request_keyframe(now));
        actions
    }

    fn run_source(&mut self, now: Instant) -> Vec<Action> {
        self.supply.run_source(now, self.audience.len() > 0)
    }

    fn try_go_live(&mut self, now: Instant) -> Vec<Action> {
        let Some(tracks) = self.supply.ready(now) else {
            return Vec::new();
        };
        let mut actions = Vec::new();
        if !self.supply.tracks().continue_as(&tracks) {
            let situation = self.situation_with(&tracks, Showing::Original);
            for session in self.audience.incompatible(&tracks, &situation) {
                self.audience.remove(session);
                actions.push(Action::Close {
                    session,
                    why: End::BroadcastEnded,
                });
            }
        }
        self.slate.hide();
        let codec = |kind| {
            let track: Option<&BroadcastTrack> = tracks.of(kind);
            track
                .and_then(|track| track.codec)
                .map(tracing::field::display)
        };
        tracing::info!(
            video = codec(Kind::Video),
            audio = codec(Kind::Audio),
            viewers = self.audience.watchers(),
            "broadcast is live"
        );
        self.supply.go_live(tracks);
        actions
    }

    /// Ends what waited for a publisher to come back, or shows the slate.
    fn give_up(&mut self, now: Instant) -> Vec<Action> {
        if !self.supply.is_gone(now) || self.slate.show(self.audience.len(), now) {
            return Vec::new();
        }
        let busy = self.renditions.is_busy() || self.outputs.is_busy();
        if self.supply.has_input() || self.audience.watchers() == 0 && !busy {
            return Vec::new();
        }
        self.end_broadcast()
    }

    /// Ends the sessions of all viewers that watch: what comes next is a new broadcast to them.
    fn end_broadcast(&mut self) -> Vec<Action> {
        self.supply.forget_tracks();
        let why = End::BroadcastEnded;
        self.audience
            .take_watching()
            .into_iter()
            .map(|session| Action::Close { session, why })
            .collect()
    }

    fn situation(&self) -> Situation {
        let showing = if self.slate.is_shown() {
            Showing::Slate
        } else if self.supply.is_live() {
            Showing::Original
        } else {
            Showing::Nothing
        };
        self.situation_with(self.supply.tracks(), showing)
    }

    fn situation_with(&self, tracks: &BroadcastTracks, showing: Showing) -> Situation {
        Situation {
            showing,
            transcodes: self.supply.transcodes(),
            sparse_keyframes: self.supply.has_sparse_keyframes(),
            originals: self.supply.originals(tracks),
            candidates: self.renditions.candidates(),
        }
    }

    fn state(&self, now: Instant) -> State {
        self.supply.state(now, self.slate.is_shown())
    }

    /// Why a viewer gets no picture now.
    fn no_keyframe(&self) -> Error {
        Error::NotLive {
            name: self.name.clone(),
            awaited: Some(Kind::Video),
            retry_after: RETRY_STARTING,
        }
    }

    /// Why there is nothing to watch now.
    fn not_live(&self) -> Error {
        let starting = self.supply.has_input() && !self.supply.is_live();
        Error::NotLive {
            name: self.name.clone(),
            awaited: self.supply.awaited(),
            retry_after: if starting {
                RETRY_STARTING
            } else {
                RETRY_MISSING
            },
        }
    }
}

#[cfg(test)]
mod tests;
