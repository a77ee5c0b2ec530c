//! A broadcast among other nodes: they feed it, or their viewers watch it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::Parts;
use crate::{
    broadcast::{
        action::Action,
        choice::RenditionId,
        place::{OriginPlace, RemoteOrigin},
        renditions::Supplied,
        slot,
    },
    cluster::{Shown, ShownTrack, TrackName},
    peer::End,
    stream::EncodedStream,
};

/// How long a node has a track after its last request for it.
const LEASE: Duration = Duration::from_secs(3);
/// Nodes that are kept in mind.
const NODES_MAX: usize = 4096;

/// What other nodes want.
#[derive(Default)]
pub(super) struct Lent {
    /// When each node last asked, and how many viewers it has.
    nodes: BTreeMap<String, LentTo>,
    /// When each rendition was last requested.
    renditions: BTreeMap<RenditionId, Instant>,
}

struct LentTo {
    at: Instant,
    viewers: usize,
}

impl Lent {
    fn expire(&mut self, now: Instant) {
        let fresh = |at: Instant| now.saturating_duration_since(at) < LEASE;
        self.nodes.retain(|_, node| fresh(node.at));
        self.renditions.retain(|_, at| fresh(*at));
    }

    /// The renditions that other nodes' viewers get.
    pub(super) fn renditions(&mut self, now: Instant) -> BTreeSet<RenditionId> {
        self.expire(now);
        self.renditions.keys().copied().collect()
    }

    fn viewers(&self) -> usize {
        self.nodes.values().map(|node| node.viewers).sum()
    }
}

impl Parts {
    /// Notes where the origin is.
    pub(in crate::broadcast) fn set_place(
        &mut self,
        place: OriginPlace,
        now: Instant,
    ) -> Vec<Action> {
        let mut actions = Vec::from_iter(self.supply.set_place(place, now));
        actions.extend(self.run_source(now));
        actions
    }

    /// Whether this node has to stay the origin.
    pub(in crate::broadcast) fn needs_claim(&self) -> bool {
        self.supply.needs_claim()
    }

    /// The claim that is followed.
    pub(in crate::broadcast) fn origin(&self) -> Option<&RemoteOrigin> {
        self.supply.origin()
    }

    /// Another node has the broadcast now.
    pub(in crate::broadcast) fn lose_claim(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::from_iter(self.supply.lose_claim(now));
        actions.extend(self.decide(now));
        actions
    }

    /// The task that followed the origin has ended by itself.
    pub(in crate::broadcast) fn remote_ended(&mut self, now: Instant) -> Vec<Action> {
        self.supply.remote_ended(now);
        self.decide(now)
    }

    /// Leaves the broadcast to another node, if its publisher is stale or gone. `None` if not.
    pub(in crate::broadcast) fn give_way(
        &mut self,
        arrived: Instant,
        now: Instant,
    ) -> Option<Vec<Action>> {
        self.check_publisher(arrived, now).ok()?;
        let mut actions = Vec::from_iter(self.supply.retire(End::Replaced, now));
        actions.extend(self.decide(now));
        Some(actions)
    }

    /// Lends a track to a node for another while. Starts the rendition that it is of.
    pub(in crate::broadcast) fn lend(
        &mut self,
        track: &TrackName,
        node: String,
        viewers: usize,
        now: Instant,
    ) -> Option<Lending> {
        if self.lent.nodes.len() < NODES_MAX || self.lent.nodes.contains_key(&node) {
            self.lent.nodes.insert(node, LentTo { at: now, viewers });
        }
        let Some(rendition) = &track.rendition else {
            return Some(Lending {
                stream: self.supply.streams().of(track.kind)?.clone(),
                actions: Vec::new(),
            });
        };
        let (id, stream) = self.renditions.lendable(track.kind, rendition)?;
        self.lent.renditions.insert(id, now);
        let supplied = Supplied {
            streams: self.supply.streams(),
            inputs: slot::inputs(self.supply.tracks()),
            origin: None,
        };
        Some(Lending {
            actions: self.renditions.need(id, &supplied, now),
            stream,
        })
    }

    /// Makes a keyframe for viewers of another node.
    pub(in crate::broadcast) fn remote_keyframe(
        &mut self,
        track: &TrackName,
        now: Instant,
    ) -> Option<Action> {
        match &track.rendition {
            None => self.keyframe_wanted(now),
            Some(rendition) => {
                if let Some((_, stream)) = self.renditions.lendable(track.kind, rendition) {
                    stream.want_keyframe();
                }
                None
            }
        }
    }

    /// What this node, as the origin, says to the others.
    pub(in crate::broadcast) fn shown(&self, now: Instant) -> Shown {
        let status = self.status(now);
        let is_live = self.supply.is_live();
        let since = status.started.and_then(|started| {
            let since = started.duration_since(std::time::UNIX_EPOCH);
            since.ok().map(|since| since.as_secs())
        });
        let tracks = status.tracks.iter().map(|track| ShownTrack {
            kind: track.kind,
            codec: track.codec,
        });
        Shown {
            live: is_live,
            stale: status.state == crate::broadcast::State::Stale,
            pipeline: self.plan.source.is_some(),
            started: since,
            viewers: status.viewers + self.lent.viewers(),
            tracks: if is_live {
                tracks.collect()
            } else {
                Vec::new()
            },
            about: status.about,
        }
    }
}

/// A track that is lent, and what has to be done for it.
pub(in crate::broadcast) struct Lending {
    pub(in crate::broadcast) stream: EncodedStream,
    pub(in crate::broadcast) actions: Vec<Action>,
}
