//! What feeds a broadcast: a publisher or the source pipeline, who may take over, and keyframe
//! requests.

mod input;
mod remote;
mod requests;
mod source;
mod stall;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::Notify;

use self::input::{Feeder, Input};
use super::{
    action::{Action, InputStart},
    choice::Original,
    gate::InputId,
    keyframes::{self, KeyframeRequests, KeyframeWatch},
    place::OriginPlace,
    rules::Rules,
    slot::{RunEnd, Slot, SlotId},
    status::{PipelineFigures, State},
    takeover::{Takeover, Times},
    tracks::{BroadcastTrack, BroadcastTracks, Expected, KINDS, NewRendition},
};
use crate::{
    media::{Codec, Kind},
    peer::End,
    plan::Plan,
    stream::{Demands, EncodedStream, EncodedStreams},
};

/// Media is flowing if its last frame is at most this old.
const FLOWING: Duration = Duration::from_secs(1);

/// The input of a broadcast, and its media.
pub(super) struct Supply {
    times: Times,
    /// Whether a publisher may replace one that is live.
    replace_live: bool,
    /// How long viewers wait for a publisher that is gone.
    grace: Duration,
    plan: Arc<Plan>,
    new_rendition: NewRendition,
    /// Where its origin is.
    place: OriginPlace,
    /// The pipeline that feeds it; `None`: a WHIP publisher does.
    source: Option<Slot>,
    /// Runs of sources that are configured no longer.
    former_runs: u64,
    source_keyframe: Arc<Notify>,
    /// When somebody last watched or wanted to; for a source on demand.
    demanded: Instant,
    input: Option<Input>,
    inputs: u64,
    tracks: BroadcastTracks,
    /// Its encoded media, for pipelines.
    streams: EncodedStreams,
    keyframe_wanted: Arc<Notify>,
    requests: KeyframeRequests,
    watch: KeyframeWatch,
    /// Whether it was stale when last checked.
    stale: bool,
    vacant_since: Instant,
    /// When the last input that went live ended; for the grace period.
    gone_since: Option<Instant>,
}

impl Supply {
    pub(super) fn new(
        rules: &Rules,
        plan: &Arc<Plan>,
        new_rendition: NewRendition,
        now: Instant,
    ) -> Self {
        let keyframe_wanted = Arc::<Notify>::default();
        let stream = |kind| {
            let wanted = Arc::clone(&keyframe_wanted);
            Some(EncodedStream::new(kind, move || wanted.notify_one()))
        };
        let source = plan.source.clone();
        Self {
            times: rules.times,
            replace_live: rules.replace_live,
            grace: rules.grace,
            plan: Arc::clone(plan),
            new_rendition,
            place: rules.place(),
            source: source.map(|file| Slot::new(SlotId::Source, file)),
            former_runs: 0,
            source_keyframe: Arc::default(),
            demanded: now,
            input: None,
            inputs: 0,
            tracks: BroadcastTracks::default(),
            streams: EncodedStreams {
                video: stream(Kind::Video),
                audio: stream(Kind::Audio),
            },
            keyframe_wanted,
            requests: KeyframeRequests::default(),
            watch: KeyframeWatch::default(),
            stale: false,
            vacant_since: now,
            gone_since: None,
        }
    }

    /// Whether a publisher whose request arrived at `arrived` may begin now.
    pub(super) fn admits_publisher(&self, arrived: Instant, now: Instant) -> bool {
        if self.source.is_some() {
            return false;
        }
        let Some(input) = &self.input else {
            return true;
        };
        if self.is_remote() {
            return true; // its origin has agreed
        }
        let takeover = input.pulse.borrow().takeover(arrived, now, &self.times);
        self.replace_live || takeover == Takeover::Replace
    }

    /// Begins a publisher's input; the present one is replaced.
    pub(super) fn begin_publisher(
        &mut self,
        session: u64,
        expected: Expected<'_>,
        now: Instant,
    ) -> Vec<Action> {
        let mut actions = Vec::from_iter(self.retire(End::Replaced, now));
        let input = self.begin_input(Feeder::Publisher(session), expected);
        actions.push(Action::StartPublisher { session, input });
        actions
    }

    fn begin_input(&mut self, feeder: Feeder, expected: Expected<'_>) -> InputStart {
        self.inputs += 1;
        let id = InputId(self.inputs);
        let tracks = self.tracks.next(expected, &self.new_rendition);
        let (input, start) = Input::new(id, feeder, tracks, self.streams.clone());
        self.input = Some(input);
        start
    }

    /// Ends the input. Viewers stay for the grace period; a source is restarted.
    pub(super) fn retire(&mut self, why: End, now: Instant) -> Option<Action> {
        match self.drop_input(now)? {
            Feeder::Publisher(session) => Some(Action::Close { session, why }),
            Feeder::Source(_) => self
                .source
                .as_mut()?
                .stop_and_restart(why)
                .map(Action::StopRun),
            Feeder::Remote(_) => Some(Action::StopRemote),
        }
    }

    fn drop_input(&mut self, now: Instant) -> Option<Feeder> {
        let input = self.input.take()?;
        input.gate.shut();
        self.vacant_since = now;
        if input.live_since.is_some() {
            self.gone_since = Some(now);
        }
        self.watch = KeyframeWatch::default();
        Some(input.feeder)
    }

    /// Ends the input of a session that has ended, if it is the present one.
    pub(super) fn publisher_ended(
        &mut self,
        session: u64,
        why: End,
        now: Instant,
    ) -> Option<Action> {
        if self.publisher() != Some(session) {
            return None;
        }
        self.retire(why, now)
    }

    /// Notes the end of a run of the source.
    pub(super) fn run_ended(&mut self, end: &RunEnd, now: Instant) {
        if let Some(source) = &mut self.source {
            source.ended(end, now);
        }
        if self.feeder() == Some(Feeder::Source(end.run)) {
            self.drop_input(now);
        }
    }

    /// Ends everything; nothing restarts.
    pub(super) fn shut_down(&mut self, now: Instant) -> Vec<Action> {
        let source = self.source.take();
        let stop = source.and_then(|mut source| source.stop(End::Shutdown));
        let publisher = match self.drop_input(now) {
            Some(Feeder::Publisher(session)) => Some(Action::Close {
                session,
                why: End::Shutdown,
            }),
            Some(Feeder::Remote(_)) => Some(Action::StopRemote),
            Some(Feeder::Source(_)) | None => None,
        };
        stop.map(Action::StopRun)
            .into_iter()
            .chain(publisher)
            .collect()
    }

    /// Notes that the first frame of a track has arrived; false if not from the present input.
    pub(super) fn started(
        &mut self,
        input: InputId,
        kind: Kind,
        codec: Codec,
        now: Instant,
    ) -> bool {
        let present = self.input.as_mut();
        let Some(present) = present.filter(|present| present.id == input) else {
            return false;
        };
        present.started(kind, codec, now);
        true
    }

    /// Whether this is the present input.
    pub(super) fn is_present(&self, input: InputId) -> bool {
        self.input
            .as_ref()
            .is_some_and(|present| present.id == input)
    }

    /// The tracks to go live with, if it is time; also when a late track joins those that are live.
    pub(super) fn ready(&self, now: Instant) -> Option<BroadcastTracks> {
        let input = self.input.as_ref()?;
        let tracks = input.tracks.known();
        let news = input.live_since.is_none() || !self.tracks.continue_as(&tracks);
        (input.is_ready(now) && news).then_some(tracks)
    }

    /// Goes live with these tracks.
    pub(super) fn go_live(&mut self, tracks: BroadcastTracks) {
        if let Some(input) = &mut self.input {
            input.live_since.get_or_insert_with(SystemTime::now);
        }
        self.tracks = tracks;
    }

    /// Why the input must end now, if it must.
    pub(super) fn overdue(&self, now: Instant) -> Option<End> {
        let input = self.input.as_ref()?;
        input.pulse.borrow().overdue(now, &self.times)
    }

    /// Checks how often the input makes keyframes, and requests one that is late.
    pub(super) fn look_at_keyframes(&mut self, now: Instant) {
        let Some(video) = &self.streams.video else {
            return;
        };
        if !self.transcodes() || !self.is_live() {
            return;
        }
        let demands = video.demands();
        // Without frames there is nothing to learn: the publisher is away, or shows nothing.
        let flowing = demands
            .frame_at
            .is_some_and(|at| now.saturating_duration_since(at) < FLOWING);
        let keyframe_at = if flowing { demands.keyframe_at } else { None };
        let was_sparse = self.watch.is_sparse();
        let gop_max = keyframes::gop_max(self.plan.gop_max, demands.gradual);
        if self.watch.look(now, keyframe_at, gop_max) {
            self.requests.want();
        }
        if self.watch.is_sparse() && !was_sparse {
            tracing::info!(demands.gradual, "keyframes are too far apart");
        }
    }

    /// Prepares an audio track for viewers of the slate before anybody has published, so that the
    /// publisher's will be heard.
    pub(super) fn expect_audio(&mut self) {
        if self.tracks.audio.is_none() {
            let rendition = Arc::new((self.new_rendition)(Kind::Audio));
            self.tracks.audio = Some(BroadcastTrack::new(Some(Codec::Opus), rendition));
        }
    }

    /// Forgets the tracks: what comes next is new to everybody.
    pub(super) fn forget_tracks(&mut self) {
        self.tracks = BroadcastTracks::default();
    }

    pub(super) fn tracks(&self) -> &BroadcastTracks {
        &self.tracks
    }

    pub(super) fn streams(&self) -> &EncodedStreams {
        &self.streams
    }

    /// Asks for a keyframe, from anywhere.
    pub(super) fn keyframe_wanted(&self) -> &Arc<Notify> {
        &self.keyframe_wanted
    }

    /// What these tracks demand of viewers.
    pub(super) fn originals(&self, tracks: &BroadcastTracks) -> Vec<Original> {
        let original = |kind| {
            let track = tracks.of(kind)?;
            let demands = self
                .streams
                .of(kind)
                .map(EncodedStream::demands)
                .unwrap_or_default();
            Some(Original {
                codec: track.codec?,
                demands: Demands {
                    keyframe_at: None,
                    frame_at: None,
                    ..demands
                },
                carrier: track.rendition.key(),
            })
        };
        KINDS.into_iter().filter_map(original).collect()
    }

    pub(super) fn state(&self, now: Instant, slate: bool) -> State {
        let live = self
            .input
            .as_ref()
            .filter(|input| input.live_since.is_some());
        match live {
            None if slate => State::Slate,
            None => State::Waiting,
            Some(input) if input.pulse.borrow().is_stale(now, &self.times) => State::Stale,
            Some(_) => State::Live,
        }
    }

    fn feeder(&self) -> Option<Feeder> {
        self.input.as_ref().map(|input| input.feeder)
    }

    /// The session that publishes.
    pub(super) fn publisher(&self) -> Option<u64> {
        match self.feeder()? {
            Feeder::Publisher(session) => Some(session),
            Feeder::Source(_) | Feeder::Remote(_) => None,
        }
    }

    pub(super) fn has_input(&self) -> bool {
        self.input.is_some()
    }

    pub(super) fn has_source(&self) -> bool {
        self.source.is_some()
    }

    /// Whether an input is connected, live or not.
    pub(super) fn is_connected(&self) -> bool {
        let input = self.input.as_ref();
        input.is_some_and(|input| input.pulse.borrow().connected.is_some())
    }

    pub(super) fn live_since(&self) -> Option<SystemTime> {
        self.input.as_ref()?.live_since
    }

    pub(super) fn is_live(&self) -> bool {
        self.live_since().is_some()
    }

    /// Whether the last input that was live has been gone for the grace period.
    pub(super) fn is_gone(&self, now: Instant) -> bool {
        let waits = |since: Instant| now.saturating_duration_since(since) < self.grace;
        !self.is_live() && !self.gone_since.is_some_and(waits)
    }

    /// How long the broadcast has been without an input.
    pub(super) fn vacant_for(&self, now: Instant) -> Duration {
        if self.input.is_some() {
            return Duration::ZERO;
        }
        now.saturating_duration_since(self.vacant_since)
    }

    /// Whether a source is about to make its first frame: it starts with the server, or starts
    /// again after a failure. Not while it pauses.
    pub(super) fn is_starting(&self) -> bool {
        let begins = |source: &Slot| source.is_resting() && !self.plan.on_demand;
        let comes = |source| begins(source) || self.input.is_some();
        !self.is_live() && self.source.as_ref().is_some_and(comes)
    }

    /// Says when media stops flowing, and when it flows again.
    pub(super) fn look_at_pulse(&mut self, now: Instant) {
        let stale = self.state(now, false) == State::Stale;
        if std::mem::replace(&mut self.stale, stale) == stale {
            return;
        }
        let session = self.publisher();
        if stale {
            tracing::info!(session, "publisher is stale: no media arrives");
        } else if self.is_live() {
            tracing::info!(session, "publisher is alive again");
        }
    }

    /// Whether the source runs only while somebody watches.
    pub(super) fn is_on_demand(&self) -> bool {
        self.plan.on_demand && self.source.is_some()
    }

    /// Whether media may be transcoded unasked.
    pub(super) fn transcodes(&self) -> bool {
        !self.plan.automatic.is_empty()
    }

    pub(super) fn has_sparse_keyframes(&self) -> bool {
        self.watch.is_sparse()
    }

    pub(super) fn source_figures(&self) -> Option<PipelineFigures> {
        self.source.as_ref().map(Slot::figures)
    }
}
