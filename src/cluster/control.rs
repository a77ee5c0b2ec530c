//! Requests between nodes: wanted tracks, keyframes, claims to yield, and clients' requests for
//! sessions of another node.

use std::{sync::Arc, time::Duration};

use async_nats::{Message, RequestErrorKind};
use futures_util::{StreamExt as _, future::join_all};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    sync::{Semaphore, oneshot},
    time::{sleep, timeout},
};

use super::{
    ClusterShared,
    origin::{self, TapKey},
    registry::text,
    subject::{self, TrackName},
    want::{Want, Wanted},
};
use crate::{cluster::Cluster, plan::Name, stream::EncodedStream};

/// How long a live node may take to say whether it yields.
const YIELD_MAX: Duration = Duration::from_millis(300);
/// How long this node takes to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long a request of a client may take at another node.
const RELAY_MAX: Duration = Duration::from_secs(5);
/// How long all nodes together may take to answer one.
const GATHER_MAX: Duration = Duration::from_secs(2);
/// Requests that are answered at a time.
const CONCURRENT_MAX: usize = 256;
/// Pause before a subscription that has ended is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a node has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The server knows of no such node.
    Absent,
    /// No answer arrived, or none that can be read.
    Silent,
}

/// A request of another node.
#[derive(Debug)]
pub enum NodeRequest {
    /// Lend a track for another few seconds.
    Lend {
        /// The broadcast.
        broadcast: Name,
        /// The track.
        track: TrackName,
        /// The node.
        node: String,
        /// Its viewers.
        viewers: usize,
        /// Where its frames come from; `None` if there is no such track.
        reply: oneshot::Sender<Option<EncodedStream>>,
    },
    /// Make a keyframe.
    Keyframe {
        /// The broadcast.
        broadcast: Name,
        /// The track.
        track: TrackName,
    },
    /// Leave a broadcast to the node, if its publisher is stale or gone.
    Yield {
        /// The broadcast.
        broadcast: Name,
        /// How long ago the publisher's request arrived.
        waited: Duration,
        /// Whether it is left.
        reply: oneshot::Sender<bool>,
    },
    /// Answer a client.
    Relay {
        /// Its request.
        request: RelayedRequest,
        /// The answer.
        reply: oneshot::Sender<RelayedReply>,
    },
}

/// A client's request for a session of another node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RelayedRequest {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query, without question mark.
    pub query: String,
    /// The headers that matter.
    pub headers: Vec<(String, String)>,
    /// Where the client is.
    pub client: String,
    /// It is the operator, whom the node that passes it on has let in.
    #[serde(default)]
    pub operator: bool,
    /// The body, as text.
    pub body: String,
}

/// The answer to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RelayedReply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body, as text.
    pub body: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeyframeRequest {
    broadcast: String,
    track: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct YieldRequest {
    broadcast: String,
    /// How long ago the publisher's request arrived, in milliseconds.
    waited: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Yielded {
    yields: bool,
}

impl Cluster {
    /// Asks the origin of a track for a keyframe.
    pub fn request_keyframe(&self, node: &str, broadcast: &Name, track: &TrackName) {
        let request = KeyframeRequest {
            broadcast: broadcast.to_string(),
            track: track.to_string(),
        };
        let connection = &self.shared.connection;
        if connection.is_up() {
            let client = connection.client.clone();
            let subject = subject::node(node, "keyframe");
            self.shared.spawn(async move {
                // Err: the client is closing.
                let _ = client.publish(subject, text(&request)).await;
            });
        }
    }

    /// Has another node answer a client: the one whose incarnation a session's id begins with.
    /// `None` if there is no such node, or it does not answer.
    pub async fn relay(&self, session: &str, request: &RelayedRequest) -> Option<RelayedReply> {
        let incarnation = session.get(..self.incarnation().len())?;
        let node = self.shared.replica().node_of(incarnation)?.to_owned();
        if node == self.node() {
            return None;
        }
        ask(&self.shared, &node, "http", request, RELAY_MAX)
            .await
            .ok()
    }

    /// Has all other nodes answer a client. Those that do not answer are left out.
    pub async fn relay_to_others(&self, request: &RelayedRequest) -> Vec<RelayedReply> {
        let nodes: Vec<String> = self
            .shared
            .replica()
            .leases()
            .map(|(node, _)| node.to_owned())
            .filter(|node| node != self.node())
            .collect();
        let asked = nodes
            .iter()
            .map(|node| ask(&self.shared, node, "http", request, GATHER_MAX));
        join_all(asked).await.into_iter().flatten().collect()
    }
}

/// Asks a node whether it leaves a broadcast to this one.
/// `waited`: how long ago the publisher's request arrived here.
pub(super) async fn asks_to_yield(
    shared: &ClusterShared,
    node: &str,
    broadcast: &Name,
    waited: Duration,
) -> bool {
    let request = YieldRequest {
        broadcast: broadcast.to_string(),
        waited: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
    };
    let answer: Result<Yielded, _> = ask(shared, node, "claim", &request, YIELD_MAX).await;
    answer.is_ok_and(|answer| answer.yields)
}

/// Asks a node for a track.
pub(super) async fn ask_for_track(
    shared: &ClusterShared,
    node: &str,
    want: &Want,
    time: Duration,
) -> Result<Wanted, Unanswered> {
    ask(shared, node, "want", want, time).await
}

async fn ask<T: DeserializeOwned>(
    shared: &ClusterShared,
    node: &str,
    what: &str,
    question: &impl Serialize,
    time: Duration,
) -> Result<T, Unanswered> {
    if !shared.connection.is_up() {
        return Err(Unanswered::Silent);
    }
    let subject = subject::node(node, what);
    let request = shared.connection.client.request(subject, text(question));
    let reply = timeout(time, request)
        .await
        .map_err(|_| Unanswered::Silent)?
        .map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => Unanswered::Absent,
            _ => Unanswered::Silent,
        })?;
    serde_json::from_slice(&reply.payload).map_err(|_| Unanswered::Silent)
}

/// Answers other nodes until this one stops.
pub(super) async fn serve(shared: Arc<ClusterShared>) {
    let room = Arc::new(Semaphore::new(CONCURRENT_MAX));
    let subject = subject::node(&shared.options.node, "*");
    let stopping = shared.stopping.clone();
    let serving = async {
        loop {
            if let Ok(mut messages) = shared.connection.client.subscribe(subject.clone()).await {
                while let Some(message) = messages.next().await {
                    let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                        return;
                    };
                    let answering = Arc::clone(&shared);
                    shared.spawn(async move {
                        let _permit = permit;
                        // A request that nobody answers in time is dropped.
                        let _ = timeout(RELAY_MAX, answer(&answering, &message)).await;
                    });
                }
            }
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = serving => {}
        () = stopping.cancelled() => {}
    }
}

async fn answer(shared: &Arc<ClusterShared>, message: &Message) {
    let reply = match message.subject.rsplit('.').next() {
        Some("want") => want(shared, &message.payload)
            .await
            .map(|wanted| text(&wanted)),
        Some("claim") => claim(shared, &message.payload)
            .await
            .map(|yielded| text(&yielded)),
        Some("http") => relay(shared, &message.payload)
            .await
            .map(|reply| text(&reply)),
        Some("keyframe") => {
            keyframe(shared, &message.payload);
            None
        }
        _ => None,
    };
    if let (Some(reply), Some(subject)) = (reply, &message.reply) {
        // Err: the client is closing.
        let _ = shared
            .connection
            .client
            .publish(subject.clone(), reply)
            .await;
    }
}

/// Has the rest of the server answer.
async fn asked<T>(
    shared: &ClusterShared,
    request: impl FnOnce(oneshot::Sender<T>) -> NodeRequest,
) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    shared.requests.try_send(request(reply)).ok()?;
    timeout(ANSWER_MAX, answer).await.ok()?.ok()
}

async fn want(shared: &Arc<ClusterShared>, body: &[u8]) -> Option<Wanted> {
    let want: Want = serde_json::from_slice(body).ok()?;
    let refused = Wanted {
        lent: false,
        begins: None,
    };
    let broadcast = Name::new(&want.broadcast)?;
    let track = TrackName::of_subject(&want.track)?;
    if shared
        .hold(&broadcast)
        .is_none_or(|hold| hold.epoch != want.epoch)
    {
        return Some(refused);
    }
    let lend = |reply| NodeRequest::Lend {
        broadcast: broadcast.clone(),
        track: track.clone(),
        node: want.node.clone(),
        viewers: want.viewers,
        reply,
    };
    let Some(stream) = asked(shared, lend).await? else {
        return Some(refused);
    };
    let key = TapKey {
        epoch: want.epoch,
        broadcast,
        track,
    };
    let begins = origin::lend(shared, &key, &want, || stream.subscribe()).await;
    Some(Wanted { lent: true, begins })
}

async fn claim(shared: &ClusterShared, body: &[u8]) -> Option<Yielded> {
    let request: YieldRequest = serde_json::from_slice(body).ok()?;
    let broadcast = Name::new(&request.broadcast)?;
    let waited = Duration::from_millis(request.waited.min(60_000));
    let question = |reply| NodeRequest::Yield {
        broadcast,
        waited,
        reply,
    };
    Some(Yielded {
        yields: asked(shared, question).await?,
    })
}

fn keyframe(shared: &ClusterShared, body: &[u8]) -> Option<()> {
    let request: KeyframeRequest = serde_json::from_slice(body).ok()?;
    let request = NodeRequest::Keyframe {
        broadcast: Name::new(&request.broadcast)?,
        track: TrackName::of_subject(&request.track)?,
    };
    // Full: whoever needs a keyframe asks again.
    shared.requests.try_send(request).ok()
}

async fn relay(shared: &ClusterShared, body: &[u8]) -> Option<RelayedReply> {
    let request: RelayedRequest = serde_json::from_slice(body).ok()?;
    asked(shared, |reply| NodeRequest::Relay { request, reply }).await
}
