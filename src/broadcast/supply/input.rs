//! One input of a broadcast: a publisher, or a run of the source pipeline.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::stall::StalledTracks;

use crate::{
    broadcast::{
        action::InputStart,
        gate::{Gate, InputId},
        slot::RunId,
        takeover::Pulse,
        tracks::BroadcastTracks,
    },
    media::{Codec, Kind},
    stream::EncodedStreams,
};

/// How long to wait for a source's other tracks after the first.
const SETTLE: Duration = Duration::from_millis(500);

/// What feeds the broadcast now.
pub(super) struct Input {
    pub(super) id: InputId,
    pub(super) feeder: Feeder,
    pub(super) gate: Arc<Gate>,
    pub(super) pulse: watch::Receiver<Pulse>,
    /// What it brings; becomes the broadcast's when it goes live.
    pub(super) tracks: BroadcastTracks,
    /// When its first frame arrived.
    first_frame: Option<Instant>,
    /// The tracks with a first frame.
    started: Vec<Kind>,
    pub(super) live_since: Option<SystemTime>,
    /// The tracks that have stopped.
    pub(super) stalled: StalledTracks,
}

/// Who feeds a broadcast.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Feeder {
    /// A WHIP session, by number.
    Publisher(u64),
    Source(RunId),
    /// Another node.
    Remote(RemoteInput),
}

/// The origin that is followed at another node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct RemoteInput {
    /// Of the node's claim.
    pub(super) epoch: u64,
}

impl Input {
    /// An input that has not delivered anything yet, and what it needs to start.
    pub(super) fn new(
        id: InputId,
        feeder: Feeder,
        tracks: BroadcastTracks,
        streams: EncodedStreams,
    ) -> (Self, InputStart) {
        let (gate, pulse) = (Gate::new(id), watch::Sender::<Pulse>::default());
        let input = Self {
            id,
            feeder,
            gate: Arc::clone(&gate),
            pulse: pulse.subscribe(),
            tracks: tracks.clone(),
            first_frame: None,
            started: Vec::new(),
            live_since: None,
            stalled: StalledTracks::default(),
        };
        let start = InputStart {
            gate,
            pulse,
            tracks,
            streams,
        };
        (input, start)
    }

    /// The first frame of a track has arrived.
    pub(super) fn started(&mut self, kind: Kind, codec: Codec, now: Instant) {
        if let Some(track) = self.tracks.of_mut(kind) {
            track.codec = Some(codec);
        }
        self.first_frame.get_or_insert(now);
        self.started.push(kind);
    }

    /// Whether it is known what viewers can receive: for a publisher, from the first keyframe of
    /// its video (its audio track is known from the negotiation); for a pipeline, once all its
    /// tracks have appeared or no more will come.
    pub(super) fn is_ready(&self, now: Instant) -> bool {
        let Some(first_frame) = self.first_frame else {
            return false;
        };
        let has = |kind| self.started.contains(&kind);
        match self.feeder {
            Feeder::Publisher(_) | Feeder::Remote(_) => {
                has(Kind::Video) || self.tracks.video.is_none()
            }
            Feeder::Source(_) => {
                let settled = now.saturating_duration_since(first_frame) >= SETTLE;
                settled || has(Kind::Video) && has(Kind::Audio)
            }
        }
    }
}
