//! Makes the server a node of a cluster, if the configuration says so.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use tokio::{sync::mpsc, task::JoinSet};

use super::StartError;
use crate::{
    broadcast::{Broadcasts, Relayed},
    cluster::{self, Alone},
    config::{AlonePolicy, ClusterOptions, Config},
    fanout::Fanout,
    pipeline,
    webhooks::Webhooks,
    worker::PeerWorkers,
};

/// Where Linux says what the machine is called.
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// Requests for sessions of this node that wait for it.
const RELAYED_MAX: usize = 256;
/// Copies of the registry where there are as many servers.
const REPLICAS: usize = 3;

/// The nodes at the start.
pub(super) struct NodeStart {
    pub(super) broadcasts: Broadcasts,
    /// Requests for sessions of this node that came in at others, if there are any.
    pub(super) relayed: Option<mpsc::Receiver<Relayed>>,
    pub(super) webhooks: Webhooks,
    /// The tasks that serve other nodes.
    pub(super) tasks: JoinSet<()>,
}

/// Makes the broadcasts, of this server alone or of the cluster that the configuration names.
pub(super) async fn start(
    config: &Config,
    fanout: Fanout,
    workers: &PeerWorkers,
) -> Result<NodeStart, StartError> {
    let broadcasts = super::options::broadcasts(config, workers);
    let mut tasks = JoinSet::new();
    let (broadcasts, relayed) = if let Some(options) = options(config)? {
        let (cluster, requests) = cluster::start(options, &mut tasks).await?;
        let broadcasts = Broadcasts::new(broadcasts, fanout, Some(cluster));
        let (sender, relayed) = mpsc::channel(RELAYED_MAX);
        tasks.spawn(broadcasts.clone().serve_nodes(requests, sender));
        (broadcasts, Some(relayed))
    } else {
        (Broadcasts::new(broadcasts, fanout, None), None)
    };
    let webhooks = super::start_sources(config, &broadcasts)?;
    Ok(NodeStart {
        broadcasts,
        relayed,
        webhooks,
        tasks,
    })
}

fn options(config: &Config) -> Result<Option<cluster::Options>, StartError> {
    let options = &config.cluster;
    if options.nats.is_empty() {
        return Ok(None);
    }
    let node = match &options.node {
        Some(node) => node.0.clone(),
        None => fs::read_to_string(HOST_NAME).map_err(|cause| StartError::System {
            what: "read the host name",
            cause,
        })?,
    };
    let all = if options.nats.len() >= REPLICAS {
        REPLICAS
    } else {
        1
    };
    Ok(Some(cluster::Options {
        servers: options
            .nats
            .iter()
            .map(|server| server.url.clone())
            .collect(),
        // One part of a subject.
        node: node.trim().replace('.', "="),
        credentials: options.credentials.clone(),
        ca: options.ca.clone(),
        certificate: options.certificate.clone(),
        key: options.key.clone(),
        tls: needs_tls(options),
        lease: options.lease,
        silence: options.silence,
        alone: match options.alone {
            AlonePolicy::Accept => Alone::Accept,
            AlonePolicy::Refuse => Alone::Refuse,
        },
        replicas: options.replicas.unwrap_or(all),
        digest: digest(config),
        clock: pipeline::running_time,
    }))
}

/// Whether connections to NATS are encrypted.
fn needs_tls(options: &ClusterOptions) -> bool {
    let own = options.ca.is_some() || options.certificate.is_some();
    let mut servers = options.nats.iter();
    own || servers.any(|server| server.is_tls || !server.is_loopback)
}

/// The same for two nodes if their broadcasts are configured alike.
fn digest(config: &Config) -> String {
    let mut hasher = DefaultHasher::new();
    format!("{:?}", config.plans).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
