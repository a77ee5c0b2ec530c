//! Several nodes as one service, on NATS: who is the origin of which broadcast, its frames at the
//! nodes whose viewers want them, and what else crosses from node to node. The only room that names
//! NATS; a server without `cluster.nats` never comes here.
//!
//! - `claim`, `registry`, `hold`: leases and claims, by compare-and-set in the registry.
//! - `frames`, `sequence`, `clock`: frames as bytes, in order, and on this node's clock.
//! - `origin`: lends the tracks of this node's broadcasts; `edge`: follows those of others.
//! - `control`, `want`: requests between nodes. `connection`, `subject`: the way there.

mod claim;
mod clock;
mod connection;
mod control;
mod counters;
mod edge;
mod frames;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) use self::frames::fuzz;
mod hold;
mod origin;
mod registry;
mod sequence;
mod subject;
mod want;

use std::{
    collections::HashMap,
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::{claim::Replica, connection::Connection, origin::Taps, registry::Stores};
pub use self::{
    claim::{OriginClaim, Shown, ShownTrack},
    control::{NodeRequest, RelayedReply, RelayedRequest},
    counters::ClusterCounters,
    edge::{FollowRequest, Followed},
    hold::{ClaimHold, ClaimRefusal},
    subject::TrackName,
};
use crate::plan::Name;

/// Requests of other nodes that wait for this one.
const REQUESTS_MAX: usize = 256;
/// Length of an incarnation, in bytes.
const INCARNATION_BYTES: usize = 8;

/// Why a node cannot be part of a cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Correct `cluster.nats`.
    #[error("cluster.nats: `{0}` is not the address of a NATS server")]
    Address(String),
    /// Correct the file.
    #[error("{path}: cannot be used: {cause}", path = .0.display(), cause = .1)]
    File(PathBuf, io::Error),
    /// Find out why.
    #[error("cannot use NATS: {0}")]
    Connect(String),
}

/// What to do with publishers while the registry cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    /// Accept them, for this node's own viewers.
    Accept,
    /// Refuse them.
    Refuse,
}

/// How a node is part of a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses of NATS servers.
    pub servers: Vec<String>,
    /// This node's name: unique, and one part of a subject.
    pub node: String,
    /// File with the credentials, or with the seed of an nkey.
    pub credentials: Option<PathBuf>,
    /// Certificates of the authorities that are trusted.
    pub ca: Option<PathBuf>,
    /// This node's own certificate.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// How long a node counts as alive without a sign of life.
    pub lease: Duration,
    /// How long a live track may deliver nothing before its NATS server is suspected.
    pub silence: Duration,
    /// What to do with publishers while the registry cannot be reached.
    pub alone: Alone,
    /// Copies of the registry.
    pub replicas: usize,
    /// Identifies the configuration of broadcasts, which all nodes should share.
    pub digest: String,
    /// The clock of frames.
    pub clock: fn() -> Duration,
}

/// This node, as part of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    shared: Arc<ClusterShared>,
}

struct ClusterShared {
    options: Options,
    incarnation: String,
    /// This node's lease has been seen in the registry.
    entered: AtomicBool,
    /// Another server has this node's name.
    has_namesake: AtomicBool,
    /// When this node's lease could last not be renewed.
    renewal_failed: Mutex<Option<Instant>>,
    connection: Connection,
    /// The registry's buckets, while they are known to exist.
    stores: watch::Sender<Option<Stores>>,
    /// Never locked across an await.
    replica: Mutex<Replica>,
    /// Changes whenever the replica does.
    changes: watch::Sender<u64>,
    /// Counts how often the registry has been read from the start.
    readings: watch::Sender<u64>,
    /// The broadcasts whose origin this node is.
    held: Mutex<HashMap<Name, Weak<ClaimHold>>>,
    /// Held while a claim to the broadcast is decided.
    claiming: Mutex<HashMap<Name, Arc<tokio::sync::Mutex<()>>>>,
    taps: Taps,
    requests: mpsc::Sender<NodeRequest>,
    counters: ClusterCounters,
    /// The tasks that maintain claims, lend tracks and answer requests.
    tasks: Mutex<JoinSet<()>>,
    stopping: CancellationToken,
}

/// Makes this process a node, and returns the requests of other nodes.
///
/// # Errors
/// A file or an address that cannot be used. A server that cannot be reached is tried again.
pub async fn start(
    options: Options,
    tasks: &mut JoinSet<()>,
) -> Result<(Cluster, mpsc::Receiver<NodeRequest>), Error> {
    let mut bytes = [0; INCARNATION_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Error::Connect(error.to_string()))?;
    let number = u64::from_be_bytes(bytes);
    let connection = Connection::open(&options, number).await?;
    let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
    let shared = Arc::new(ClusterShared {
        incarnation: format!("{number:016x}"),
        entered: AtomicBool::new(false),
        has_namesake: AtomicBool::new(false),
        renewal_failed: Mutex::default(),
        connection,
        stores: watch::Sender::new(None),
        replica: Mutex::default(),
        changes: watch::Sender::new(0),
        readings: watch::Sender::new(0),
        held: Mutex::default(),
        claiming: Mutex::default(),
        taps: Taps::default(),
        requests,
        counters: ClusterCounters::default(),
        tasks: Mutex::default(),
        stopping: CancellationToken::new(),
        options,
    });
    tracing::info!(node = shared.options.node, "joined the cluster");
    tasks.spawn(registry::renew(Arc::clone(&shared)));
    tasks.spawn(registry::read(Arc::clone(&shared)));
    tasks.spawn(control::serve(Arc::clone(&shared)));
    Ok((Cluster { shared }, receiver))
}

impl Cluster {
    /// This node's incarnation, which the ids of its sessions begin with.
    pub fn incarnation(&self) -> &str {
        &self.shared.incarnation
    }

    /// Sessions of this node have numbers from here on, which no other node's sessions have. A
    /// JavaScript number holds them.
    pub fn first_number(&self) -> u64 {
        let head = self.incarnation().get(..8);
        let head = head.and_then(|head| u32::from_str_radix(head, 16).ok());
        u64::from(head.unwrap_or_default()) << 20
    }

    /// This node's name.
    pub fn node(&self) -> &str {
        &self.shared.options.node
    }

    /// The claim of another node to a broadcast.
    pub fn claim_elsewhere(&self, name: &Name) -> Option<OriginClaim> {
        let replica = self.shared.replica();
        let claim = replica.claim(&subject::token(name.as_str()))?;
        (claim.incarnation != self.shared.incarnation).then(|| claim.clone())
    }

    /// All broadcasts that have an origin, this node's own among them.
    pub fn claims(&self) -> Vec<(Name, OriginClaim)> {
        let replica = self.shared.replica();
        replica
            .claims()
            .filter_map(|(key, claim)| Some((subject::name_of(key)?, claim.clone())))
            .collect()
    }

    /// How many nodes live.
    pub fn nodes(&self) -> usize {
        self.shared.replica().leases().count()
    }

    /// Changes whenever a claim or a lease does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Whether the connection to NATS is up.
    pub fn is_connected(&self) -> bool {
        self.shared.connection.is_up()
    }

    /// The traffic so far.
    pub fn counters(&self) -> &ClusterCounters {
        &self.shared.counters
    }

    /// Gives back lease and claims, and ends what runs.
    pub async fn stop(&self) {
        self.shared.stopping.cancel();
        let tasks = self.shared.tasks.lock();
        let mut tasks = std::mem::take(&mut *tasks.unwrap_or_else(PoisonError::into_inner));
        // Claims are given back.
        while tasks.join_next().await.is_some() {}
        registry::leave(&self.shared).await;
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cluster").field(&self.node()).finish()
    }
}

impl ClusterShared {
    fn replica(&self) -> MutexGuard<'_, Replica> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.replica.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Name, Weak<ClaimHold>>> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This node's claim to a broadcast, while somebody holds it.
    fn hold(&self, name: &Name) -> Option<Arc<ClaimHold>> {
        self.held().get(name).and_then(Weak::upgrade)
    }

    /// Runs a task that ends by itself, or with the node.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        // A poisoned lock is fine: nothing is ever left half-changed.
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    fn changed(&self) {
        self.changes.send_modify(|times| *times += 1);
    }
}
