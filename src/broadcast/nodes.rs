//! The broadcasts of several nodes as one service.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use tokio::sync::mpsc;

use super::{
    Broadcasts, Details, Error, Options, RETRY_MISSING, Shared, SourceKind, State, Status,
    actor::{ActorRequest, NodeQuestion},
    rules::Rules,
    status::TrackStatus,
};
use crate::{
    cluster::{
        ClaimHold, ClaimRefusal, Cluster, NodeRequest, OriginClaim, RelayedReply, RelayedRequest,
    },
    plan::{About, Name},
};

/// A client's request for a session of this node that came in at another one.
#[derive(Debug)]
pub struct Relayed {
    /// The request.
    pub request: RelayedRequest,
    /// Where the answer goes.
    pub reply: tokio::sync::oneshot::Sender<RelayedReply>,
}

impl Broadcasts {
    /// Serves other nodes until the last of them is gone. Requests of clients that they pass on go
    /// to `relayed`.
    pub async fn serve_nodes(
        self,
        requests: mpsc::Receiver<NodeRequest>,
        relayed: mpsc::Sender<Relayed>,
    ) {
        let Some(cluster) = &self.shared.cluster else {
            return;
        };
        let mut requests = requests;
        let mut changes = cluster.changes();
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.serve_node(request, &relayed),
                    None => return,
                },
                Ok(()) = changes.changed() => self.shared.notify(),
            }
        }
    }

    /// Passes a request to the broadcast that it concerns. A busy broadcast does not answer.
    fn serve_node(&self, request: NodeRequest, relayed: &mpsc::Sender<Relayed>) {
        let (name, question) = match request {
            NodeRequest::Lend {
                broadcast,
                track,
                node,
                viewers,
                reply,
            } => {
                let question = NodeQuestion::Lend {
                    track,
                    node,
                    viewers,
                    reply,
                };
                (broadcast, question)
            }
            NodeRequest::Keyframe { broadcast, track } => {
                (broadcast, NodeQuestion::Keyframe(track))
            }
            NodeRequest::Yield {
                broadcast,
                waited,
                reply,
            } => (broadcast, NodeQuestion::Yield { waited, reply }),
            NodeRequest::Relay { request, reply } => {
                let _ = relayed.try_send(Relayed { request, reply });
                return;
            }
        };
        // A publisher that has just been given the claim may not have got to its broadcast yet.
        let promised = self
            .cluster()
            .is_some_and(|cluster| cluster.has_claim(&name));
        let directory = self.shared.directory();
        if let Some(entry) = directory.broadcasts.get(&name) {
            let _ = entry.requests.try_send(ActorRequest::Node(question));
        } else if let NodeQuestion::Yield { reply, .. } = question {
            let _ = reply.send(!promised);
        }
    }

    /// The claim that a publisher needs; none for a server on its own.
    pub(super) async fn claim(
        &self,
        name: &Name,
        arrived: Instant,
    ) -> Result<Option<Arc<ClaimHold>>, Error> {
        let Some(cluster) = &self.shared.cluster else {
            return Ok(None);
        };
        cluster
            .claim(name, arrived)
            .await
            .map(Some)
            .map_err(|refusal| match refusal {
                ClaimRefusal::Taken => Error::taken(name),
                ClaimRefusal::Away => Error::Away {
                    retry_after: RETRY_MISSING,
                },
            })
    }

    /// Whether another node has the broadcast.
    pub(super) fn is_elsewhere(&self, name: &Name) -> bool {
        let cluster = self.shared.cluster.as_ref();
        cluster.is_some_and(|cluster| cluster.claim_elsewhere(name).is_some())
    }

    /// This server as one of several nodes.
    pub fn cluster(&self) -> Option<&Cluster> {
        self.shared.cluster.as_ref()
    }

    /// The broadcasts of this server, by name.
    pub fn local_status(&self) -> Vec<Status> {
        self.shared
            .directory()
            .broadcasts
            .values()
            .map(|entry| entry.status.borrow().clone())
            .collect()
    }

    /// The title, description and tags of a broadcast, whether or not it exists.
    pub fn about(&self, name: &Name) -> About {
        let cluster = self.shared.cluster.as_ref();
        match cluster.and_then(|cluster| cluster.claim_elsewhere(name)) {
            Some(claim) => claim.shown.about,
            None => self.shared.options.now().plans.of(name).about(),
        }
    }

    /// One broadcast of the whole service.
    ///
    /// # Errors
    /// If there is no such broadcast.
    pub fn status_of(&self, name: &Name) -> Result<Status, Error> {
        let own = {
            let directory = self.shared.directory();
            let entry = directory.broadcasts.get(name);
            entry.map(|entry| entry.status.borrow().clone())
        };
        let claim = self.shared.cluster.as_ref();
        match claim.and_then(|cluster| cluster.claim_elsewhere(name)) {
            Some(claim) => Ok(merged(own, name, &claim)),
            None => own.ok_or(Error::Missing("broadcast")),
        }
    }

    /// The broadcasts of the whole service, by name.
    pub fn status(&self) -> Vec<Status> {
        let own = self.local_status();
        let Some(cluster) = &self.shared.cluster else {
            return own;
        };
        let mut all: BTreeMap<Name, Status> = own
            .into_iter()
            .map(|status| (status.name.clone(), status))
            .collect();
        for (name, claim) in cluster.claims() {
            let own = all.remove(&name);
            let is_own = claim.incarnation == cluster.incarnation();
            let status = match own {
                Some(own) if is_own => Status {
                    viewers: claim.shown.viewers.max(own.viewers),
                    ..own
                },
                own => merged(own, &name, &claim),
            };
            all.insert(name, status);
        }
        all.into_values().collect()
    }

    /// One broadcast of the whole service.
    pub(super) fn status_elsewhere(&self, name: &Name) -> Option<Status> {
        let claim = self.shared.cluster.as_ref()?.claim_elsewhere(name)?;
        Some(shown_elsewhere(name, &claim))
    }
}

impl Shared {
    /// What the configuration says about every broadcast.
    pub(super) fn rules(&self, options: &Options) -> Rules {
        Rules {
            clustered: self.cluster.is_some(),
            ..Rules::of(options, &self.transcodes)
        }
    }
}

/// This node's view of a broadcast, merged with its origin's.
fn merged(own: Option<Status>, name: &Name, claim: &OriginClaim) -> Status {
    let elsewhere = shown_elsewhere(name, claim);
    match own {
        Some(own) => own.led_by(elsewhere),
        None => elsewhere,
    }
}

impl Status {
    /// This node's view of a broadcast, merged with that of its origin, another node.
    fn led_by(self, elsewhere: Self) -> Self {
        if self.state == State::Waiting {
            return elsewhere;
        }
        Self {
            viewers: elsewhere.viewers.max(self.viewers),
            about: elsewhere.about,
            ..self
        }
    }
}

impl Details {
    /// The same, with the figures of this node's pipelines.
    pub(super) fn led_by(self, elsewhere: Status) -> Self {
        Self {
            status: self.status.led_by(elsewhere),
            ..self
        }
    }
}

/// The view of a broadcast's origin.
fn shown_elsewhere(name: &Name, claim: &OriginClaim) -> Status {
    let shown = &claim.shown;
    let tracks = shown.tracks.iter().map(|track| TrackStatus {
        kind: track.kind,
        codec: track.codec,
        transcoded_from: None,
        stalled: false,
        keyless: false,
        layers: Vec::new(),
    });
    let started = shown
        .started
        .map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    Status {
        name: name.clone(),
        state: match (shown.live, shown.stale) {
            (false, _) => State::Waiting,
            (true, true) => State::Stale,
            (true, false) => State::Live,
        },
        viewers: shown.viewers,
        started,
        source: if shown.pipeline {
            SourceKind::Pipeline
        } else {
            SourceKind::Whip
        },
        tracks: tracks.collect(),
        outputs: Vec::new(),
        renditions: Vec::new(),
        transcodes_full: None,
        on_demand: false,
        about: shown.about.clone(),
        // It does not cross from node to node.
        chat: false,
        connected: shown.live,
    }
}
