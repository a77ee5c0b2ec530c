//! Leases and claims in the registry: two buckets that every node reads into its replica, and
//! writes by compare-and-set.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use async_nats::jetstream::{
    self,
    kv::{self, Entry, Operation, Store},
    stream::StorageType,
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{
    ClusterShared,
    claim::{ENTRY_BYTES_MAX, NodeLease, Revised},
};
use crate::awake;

/// The bucket of leases.
const NODES: &str = "AERIAL_NODES";
/// The bucket of claims.
const BROADCASTS: &str = "AERIAL_BROADCASTS";
/// How long an operation of the registry may take.
pub(super) const OPERATION_MAX: Duration = Duration::from_millis(1500);
/// How long the renewal of a lease may take before the NATS server is suspected.
const RENEWAL_MAX: Duration = Duration::from_millis(400);
/// Pause before the registry is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the registry may take to say that it is empty.
const READING_MAX: Duration = Duration::from_millis(500);
/// A claim whose node has had no lease for this long is deleted.
const ORPHAN_AFTER: Duration = Duration::from_secs(10);

/// The buckets.
#[derive(Clone, Debug)]
pub(super) struct Stores {
    pub(super) nodes: Store,
    pub(super) broadcasts: Store,
}

/// As it goes to other nodes.
pub(super) fn text(value: &impl Serialize) -> Bytes {
    // Plain data, whose maps have text for keys.
    serde_json::to_vec(value).unwrap_or_default().into()
}

pub(super) fn claim_of(entry: &Entry) -> Option<Revised> {
    let is_put = entry.operation == Operation::Put && entry.value.len() <= ENTRY_BYTES_MAX;
    let claim = is_put.then(|| serde_json::from_slice(&entry.value))?;
    Some(Revised {
        claim: claim.ok()?,
        revision: entry.revision,
    })
}

fn lease_of(entry: &Entry) -> Option<NodeLease> {
    let is_put = entry.operation == Operation::Put && entry.value.len() <= ENTRY_BYTES_MAX;
    is_put.then(|| serde_json::from_slice(&entry.value))?.ok()
}

/// Renews this node's lease until the node stops.
pub(super) async fn renew(shared: Arc<ClusterShared>) {
    let lease = text(&NodeLease {
        incarnation: shared.incarnation.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        digest: shared.options.digest.clone(),
    });
    let mut tick = interval(shared.options.lease / 4);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stores = shared.stores.subscribe();
    let mut failures = 0_u32;
    loop {
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            _ = tick.tick() => {}
            Ok(()) = stores.changed() => {}
        }
        let bucket = stores
            .borrow_and_update()
            .as_ref()
            .map(|stores| stores.nodes.clone());
        let Some(bucket) = bucket else {
            continue;
        };
        if !shared.connection.is_up() {
            continue;
        }
        let put = bucket.put(&shared.options.node, lease.clone());
        if let Ok(Ok(_)) = timeout(RENEWAL_MAX, put).await {
            failures = 0;
            continue;
        }
        failures = failures.saturating_add(1);
        shared.note_failed_renewal();
        // The server may have died, or be cut off from the others. While these choose a leader, a
        // change does not help, and is tried more and more rarely.
        if failures.is_power_of_two() {
            shared.connection.change().await;
        }
    }
}

/// Gives back this node's lease and claims, so that others need not wait for their ends.
pub(super) async fn leave(shared: &ClusterShared) {
    let stores = shared.stores.borrow().clone();
    if let Some(stores) = stores
        && shared.connection.is_up()
    {
        let _ = timeout(RENEWAL_MAX, stores.nodes.delete(&shared.options.node)).await;
        let _ = timeout(RENEWAL_MAX, shared.connection.client.flush()).await;
    }
}

/// Reads the registry into the replica until the node stops; from the start after each loss of the
/// connection.
pub(super) async fn read(shared: Arc<ClusterShared>) {
    let mut connected = shared.connection.connected.clone();
    let mut said = None;
    loop {
        let reading = async {
            // Err: the connection is gone for good.
            let _ = connected.wait_for(|times| *times > 0).await;
            connected.mark_unchanged();
            let outcome = tokio::select! {
                outcome = read_once(&shared) => outcome,
                _ = connected.changed() => return,
            };
            if let Err(error) = outcome {
                if said.as_ref() != Some(&error) {
                    tracing::warn!(error, "cannot read the registry");
                }
                said = Some(error);
            }
            sleep(PAUSE).await;
        };
        tokio::select! {
            () = reading => {}
            () = shared.stopping.cancelled() => return,
        }
    }
}

async fn read_once(shared: &Arc<ClusterShared>) -> Result<(), String> {
    let stores = open(shared).await?;
    let failed = |error: kv::WatchError| error.to_string();
    let mut nodes = stores.nodes.watch_with_history(">").await.map_err(failed)?;
    let mut broadcasts = stores
        .broadcasts
        .watch_with_history(">")
        .await
        .map_err(failed)?;
    shared.replica().begin();
    shared.stores.send_replace(Some(stores.clone()));
    let begun = Instant::now();
    let mut claims_read = false;
    // When every node that lives has renewed its lease since; `None` if that has been so.
    let lives = shared.options.lease * 2;
    let mut leases_due = Some(begun + lives);
    let mut orphans = HashMap::new();
    let mut tick = interval(PAUSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let changed = tokio::select! {
            entry = nodes.next() => {
                let entry = entry.ok_or("the leases end")?.map_err(|error| error.to_string())?;
                let news = shared.note_lease(&entry);
                if news == LeaseNews::Doubtful {
                    leases_due = Some(Instant::now() + lives);
                }
                news == LeaseNews::Changed
            }
            entry = broadcasts.next() => {
                let entry = entry.ok_or("the claims end")?.map_err(|error| error.to_string())?;
                shared.replica().set_claim(&entry.key, claim_of(&entry));
                true
            }
            _ = tick.tick() => {
                let before = (claims_read, leases_due);
                if !claims_read && begun.elapsed() >= READING_MAX {
                    claims_read = true;
                    shared.replica().complete_claims();
                    shared.readings.send_modify(|readings| *readings += 1);
                }
                if leases_due.is_some_and(|due| Instant::now() >= due) {
                    leases_due = None;
                    shared.replica().complete_leases();
                }
                if leases_due.is_none() {
                    delete_orphans(shared, &stores.broadcasts, &mut orphans).await;
                }
                before != (claims_read, leases_due)
            }
        };
        if changed {
            shared.changed();
        }
    }
}

/// The news in a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeaseNews {
    /// Nothing new.
    Same,
    /// A node has come or gone.
    Changed,
    /// A lease is over, and perhaps only because nobody could renew one.
    Doubtful,
}

impl ClusterShared {
    fn note_failed_renewal(&self) {
        let failed = self.renewal_failed.lock();
        *failed.unwrap_or_else(PoisonError::into_inner) = Some(awake::now());
    }

    /// Whether this node could not renew its own lease, a moment ago: then others could not either.
    fn registry_was_away(&self) -> bool {
        let failed = self
            .renewal_failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|failed| awake::since(failed) < self.options.lease)
    }

    /// Notes a node's lease.
    fn note_lease(&self, entry: &Entry) -> LeaseNews {
        let lease = lease_of(entry);
        if entry.operation == Operation::Purge && self.registry_was_away() {
            self.replica().doubt_lease(&entry.key);
            return LeaseNews::Doubtful;
        }
        let mut replica = self.replica();
        let known = replica.leases().any(|(node, known)| {
            node == entry.key && lease.as_ref().is_some_and(|lease| lease == known)
        });
        replica.set_lease(&entry.key, lease.clone());
        drop(replica);
        let node = &entry.key;
        match lease {
            Some(lease) if !known => {
                if *node == self.options.node {
                    self.note_own_name(&lease);
                } else {
                    tracing::info!(node, version = lease.version, "node joined");
                    if lease.digest != self.options.digest {
                        tracing::warn!(node, "the node's broadcasts are configured differently");
                    }
                }
            }
            Some(_) => return LeaseNews::Same,
            None => tracing::info!(node, "node left"),
        }
        LeaseNews::Changed
    }

    /// Notes a lease under this node's name: its own, or that of an earlier process, or, once its
    /// own has been there, that of another server.
    fn note_own_name(&self, lease: &NodeLease) {
        if lease.incarnation == self.incarnation {
            self.entered.store(true, Relaxed);
        } else if self.entered.load(Relaxed) && !self.has_namesake.swap(true, Relaxed) {
            let node = &self.options.node;
            tracing::warn!(node, "another server has the same cluster.node");
        }
    }
}

/// Deletes the claims of nodes that have been gone for long.
async fn delete_orphans(
    shared: &ClusterShared,
    bucket: &Store,
    since: &mut HashMap<(String, u64), Instant>,
) {
    let orphans = shared.replica().orphans();
    since.retain(|orphan, _| orphans.contains(orphan));
    for orphan in orphans {
        let first = *since.entry(orphan.clone()).or_insert_with(Instant::now);
        if first.elapsed() >= ORPHAN_AFTER {
            let deleted = bucket.delete_expect_revision(&orphan.0, Some(orphan.1));
            // Otherwise another node was first.
            let _ = timeout(OPERATION_MAX, deleted).await;
        }
    }
}

/// The buckets; they are made if they are missing.
async fn open(shared: &ClusterShared) -> Result<Stores, String> {
    let mut context = jetstream::new(shared.connection.client.clone());
    context.set_timeout(OPERATION_MAX);
    let options = &shared.options;
    let nodes = kv::Config {
        bucket: NODES.to_owned(),
        description: "Aerial: nodes that live".to_owned(),
        history: 1,
        max_age: options.lease,
        storage: StorageType::Memory,
        num_replicas: options.replicas,
        // So that watchers learn when a lease expires.
        limit_markers: Some(options.lease.max(Duration::from_secs(1))),
        ..kv::Config::default()
    };
    let broadcasts = kv::Config {
        bucket: BROADCASTS.to_owned(),
        description: "Aerial: origins of broadcasts".to_owned(),
        history: 1,
        storage: StorageType::File,
        num_replicas: options.replicas,
        ..kv::Config::default()
    };
    Ok(Stores {
        nodes: bucket(&context, nodes).await?,
        broadcasts: bucket(&context, broadcasts).await?,
    })
}

async fn bucket(context: &jetstream::Context, config: kv::Config) -> Result<Store, String> {
    if let Ok(store) = context.get_key_value(&config.bucket).await {
        return Ok(store);
    }
    context
        .create_key_value(config)
        .await
        .map_err(|error| error.to_string())
}
