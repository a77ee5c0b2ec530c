//! The actor's part in a cluster: it claims its broadcast, follows another node, lends tracks to
//! others, and gives way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};
use tracing::Instrument;

use super::{Actor, Child};
use crate::{
    awake,
    broadcast::{
        Error,
        action::RemoteStart,
        outcome::Outcome,
        place::{OriginPlace, RemoteOrigin},
        remote::RemoteTask,
        session::Stop,
    },
    cluster::{ClaimHold, Cluster, TrackName},
    media::Kind,
    peer::End,
    stream::EncodedStream,
};

/// Requests of other nodes to an actor.
pub(in crate::broadcast) enum NodeQuestion {
    Lend {
        track: TrackName,
        node: String,
        viewers: usize,
        reply: oneshot::Sender<Option<EncodedStream>>,
    },
    Keyframe(TrackName),
    Yield {
        /// How long ago the publisher's request arrived at the other node.
        waited: Duration,
        reply: oneshot::Sender<bool>,
    },
}

impl Actor {
    /// Where the broadcast's origin is.
    fn place(&self) -> OriginPlace {
        let Some(cluster) = &self.shared.cluster else {
            return OriginPlace::Alone;
        };
        if self.claim.is_some() {
            return OriginPlace::Here;
        }
        match cluster.claim_elsewhere(&self.name) {
            None => OriginPlace::Free,
            Some(claim) => {
                let tracks = claim.shown.tracks.iter();
                OriginPlace::Elsewhere(RemoteOrigin {
                    node: claim.node,
                    epoch: claim.epoch,
                    codecs: tracks.map(|track| track.codec).collect(),
                })
            }
        }
    }

    /// Finds out where the origin is, and acts accordingly.
    pub(super) fn look_around(&mut self) {
        if self.shared.cluster.is_none() {
            return;
        }
        let actions = self.parts.set_place(self.place(), awake::now());
        self.perform(actions);
    }

    /// Gives the claim back that is not needed any more, and says what the broadcast shows.
    pub(super) fn tell_nodes(&mut self) {
        if self.shared.cluster.is_none() {
            return;
        }
        self.watchers.send_if_modified(|watchers| {
            let now = self.status.borrow().viewers;
            std::mem::replace(watchers, now) != now
        });
        let Some(claim) = &self.claim else {
            return;
        };
        if self.parts.needs_claim() {
            claim.show(self.parts.shown(awake::now()));
        } else {
            self.claim = None;
            self.look_around();
        }
    }

    /// Claims the broadcast, to run its source.
    pub(super) fn start_claim(&mut self) {
        let Some(cluster) = self.shared.cluster.clone() else {
            return;
        };
        if std::mem::replace(&mut self.claiming, true) {
            return;
        }
        let name = self.name.clone();
        let task = async move { Outcome::Claimed(cluster.claim(&name, awake::now()).await.ok()) };
        let child = self.children.spawn(task.in_current_span());
        self.child_names.insert(child.id(), Child::Claim);
    }

    pub(super) fn claimed(&mut self, claim: Option<Arc<ClaimHold>>) {
        self.claiming = false;
        if claim.is_some() {
            self.claim = claim;
        }
        self.look_around();
    }

    /// Another node has the broadcast.
    pub(super) fn lose_claim(&mut self) {
        tracing::warn!("another node is the origin now");
        self.claim = None;
        let actions = self.parts.lose_claim(awake::now());
        self.perform(actions);
        self.look_around();
    }

    pub(super) fn start_remote(&mut self, start: RemoteStart) {
        let Some(cluster) = self.shared.cluster.clone() else {
            return;
        };
        let stop = Stop::default();
        tracing::info!(node = start.origin.node, "following the origin");
        let task = RemoteTask {
            cluster,
            broadcast: self.name.clone(),
            start,
            reports: self.reports.clone(),
            viewers: self.watchers.subscribe(),
            stop: stop.clone(),
        };
        self.remotes += 1;
        let number = self.remotes;
        let task = async move {
            task.run().await;
            Outcome::Followed(number)
        };
        let child = self.children.spawn(task.in_current_span());
        self.child_names.insert(child.id(), Child::Remote);
        self.remote = Some(stop);
    }

    /// The task that followed an origin has ended.
    pub(super) fn followed(&mut self, number: u64) {
        if number == self.remotes && self.remote.take().is_some() {
            let actions = self.parts.remote_ended(awake::now());
            self.perform(actions);
            self.look_around();
        }
    }

    pub(super) fn stop_remote(&mut self) {
        if let Some(stop) = self.remote.take() {
            stop.end(End::BroadcastEnded);
        }
    }

    /// Asks the origin for a keyframe.
    pub(super) fn ask_origin(&self) {
        let origin = self.parts.origin().cloned();
        if let Some((cluster, origin)) = self.shared.cluster.clone().zip(origin) {
            let track = TrackName::original(Kind::Video);
            cluster.request_keyframe(&origin.node, &self.name, &track);
        }
    }

    pub(super) fn answer_node(&mut self, question: NodeQuestion) {
        let now = awake::now();
        // Err of a reply: the node is not waiting any more.
        match question {
            NodeQuestion::Lend {
                track,
                node,
                viewers,
                reply,
            } => {
                let lending = self.parts.lend(&track, node, viewers, now);
                let stream = lending.map(|lending| {
                    self.perform(lending.actions);
                    lending.stream
                });
                let _ = reply.send(stream);
            }
            NodeQuestion::Keyframe(track) => {
                let action = self.parts.remote_keyframe(&track, now);
                self.perform(action);
            }
            // Its next publisher has been given the claim, and is on the way here.
            NodeQuestion::Yield { reply, .. } if self.claim.is_none() && self.is_promised() => {
                let _ = reply.send(false);
            }
            NodeQuestion::Yield { waited, reply } => {
                let arrived = now.checked_sub(waited).unwrap_or(now);
                let actions = self.parts.give_way(arrived, now);
                let yields = actions.is_some();
                self.perform(actions.into_iter().flatten());
                if yields {
                    self.claim = None;
                }
                let _ = reply.send(yields);
            }
        }
    }

    /// Whether a publisher with this claim may publish.
    pub(super) fn check_publisher(
        &self,
        arrived: Instant,
        claim: Option<&ClaimHold>,
        now: Instant,
    ) -> Result<(), Error> {
        if claim.is_some_and(ClaimHold::is_lost) {
            return Err(Error::taken(&self.name));
        }
        self.parts.check_publisher(arrived, now)
    }

    /// Whether somebody at this node holds the claim to the broadcast, or is getting it.
    fn is_promised(&self) -> bool {
        let cluster = self.shared.cluster.as_ref();
        cluster.is_some_and(|cluster| cluster.has_claim(&self.name))
    }

    /// Changes when a claim or a lease does; never, for a server on its own.
    pub(super) fn node_changes(&self) -> Option<watch::Receiver<u64>> {
        self.shared.cluster.as_ref().map(Cluster::changes)
    }
}
