//! A broadcast whose origin is another node: followed while somebody watches, as a source on demand
//! runs while somebody watches.

use std::time::Instant;

use super::{
    Supply,
    input::{Feeder, RemoteInput},
};
use crate::{
    broadcast::{
        action::{Action, RemoteStart},
        place::{OriginPlace, RemoteOrigin},
        tracks::{BroadcastTracks, Expected},
    },
    media::Codec,
    peer::End,
};

impl Supply {
    /// Notes where the origin is. Tracks that the other node no longer sends end.
    pub(in crate::broadcast) fn set_place(
        &mut self,
        place: OriginPlace,
        now: Instant,
    ) -> Option<Action> {
        self.place = place;
        let Some(Feeder::Remote(followed)) = self.feeder() else {
            return None;
        };
        let same = |origin: &RemoteOrigin| origin.epoch == followed.epoch;
        let continues = match &self.place {
            // A publisher that pauses is still the same.
            OriginPlace::Elsewhere(origin) => same(origin) && self.brings(origin),
            OriginPlace::Alone | OriginPlace::Free | OriginPlace::Here => false,
        };
        if continues {
            return None;
        }
        self.retire(End::BroadcastEnded, now)
    }

    /// Whether the input has the tracks that the origin has now, if it says so.
    fn brings(&self, origin: &RemoteOrigin) -> bool {
        let Some(input) = &self.input else {
            return false;
        };
        let expected = |codec| {
            let track = input.tracks.of(Codec::kind(codec));
            track.is_some_and(|track| track.codec == Some(codec))
        };
        origin.codecs.iter().copied().all(expected)
    }

    /// Whether another node has the broadcast, and it can be followed.
    pub(in crate::broadcast) fn is_elsewhere(&self) -> bool {
        self.place.remote().is_some()
    }

    /// Whether another node feeds the broadcast.
    pub(in crate::broadcast) fn is_remote(&self) -> bool {
        matches!(self.feeder(), Some(Feeder::Remote(_)))
    }

    /// Whether this node has to stay the origin.
    pub(in crate::broadcast) fn needs_claim(&self) -> bool {
        match self.feeder() {
            Some(Feeder::Publisher(_) | Feeder::Source(_)) => true,
            Some(Feeder::Remote(_)) => false,
            None => self.source.is_some() && !self.plan.on_demand,
        }
    }

    /// The claim that is followed, for renditions.
    pub(in crate::broadcast) fn origin(&self) -> Option<&RemoteOrigin> {
        if !self.is_remote() {
            return None;
        }
        self.place.remote()
    }

    /// Follows the origin while somebody watches.
    pub(super) fn follow(&mut self, wanted: bool, now: Instant) -> Vec<Action> {
        if self.is_remote() {
            let unwanted = now.saturating_duration_since(self.demanded);
            if wanted || unwanted < self.plan.grace {
                return Vec::new();
            }
            tracing::info!("no viewers left: no longer following the origin");
            self.drop_input(now);
            self.tracks = BroadcastTracks::default();
            return vec![Action::StopRemote];
        }
        let Some(origin) = self.place.remote().cloned() else {
            return Vec::new();
        };
        if self.input.is_some() || !wanted {
            return Vec::new();
        }
        let followed = RemoteInput {
            epoch: origin.epoch,
        };
        let expected = Expected::Negotiated {
            codecs: &origin.codecs,
            rids: &[],
        };
        let input = self.begin_input(Feeder::Remote(followed), expected);
        vec![Action::StartRemote(Box::new(RemoteStart { input, origin }))]
    }

    /// Notes that what followed the origin has ended by itself.
    pub(in crate::broadcast) fn remote_ended(&mut self, now: Instant) {
        if self.is_remote() {
            self.drop_input(now);
        }
    }

    /// Another node has the broadcast now: what this one has ends.
    pub(in crate::broadcast) fn lose_claim(&mut self, now: Instant) -> Option<Action> {
        if self.is_remote() {
            return None;
        }
        self.retire(End::Replaced, now)
    }
}
