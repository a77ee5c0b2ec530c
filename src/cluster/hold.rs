//! The claims of this node: how a broadcast is claimed, and the task that maintains the claim until
//! nobody holds it.

use std::{
    fmt,
    sync::{Arc, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_nats::jetstream::kv::{CreateErrorKind, Store, UpdateErrorKind};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Alone, ClusterShared,
    claim::{OriginClaim, Shown, Verdict},
    control,
    registry::{OPERATION_MAX, Stores, claim_of, text},
    subject,
};
use crate::{awake, cluster::Cluster, plan::Name};

/// Shortest time between two changes of a claim in which nothing but the viewers changed.
const VIEWERS_INTERVAL: Duration = Duration::from_secs(1);
/// Attempts to make a claim while others change it at the same time.
const ATTEMPTS_MAX: usize = 5;
/// How long a publisher waits for a node that has just started to read the registry.
const START_MAX: Duration = Duration::from_secs(2);

/// Why a broadcast cannot be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimRefusal {
    /// Another node has it, and it is live.
    Taken,
    /// The registry cannot be reached.
    Away,
}

/// While this is held, this node is the origin of a broadcast.
pub struct ClaimHold {
    /// Distinguishes this claim from all others to the broadcast.
    pub epoch: u64,
    shown: watch::Sender<Shown>,
    /// Nobody keeps it any more.
    released: CancellationToken,
    /// Another node has it now.
    lost: CancellationToken,
}

impl ClaimHold {
    /// Says what the broadcast shows now.
    pub fn show(&self, shown: Shown) {
        self.shown.send_if_modified(|before| {
            let changed = *before != shown;
            *before = shown;
            changed
        });
    }

    /// Whether another node has the broadcast.
    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Resolves when another node has the broadcast.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }
}

impl Drop for ClaimHold {
    fn drop(&mut self) {
        self.released.cancel();
    }
}

impl fmt::Debug for ClaimHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClaimHold").field(&self.epoch).finish()
    }
}

impl Cluster {
    /// Makes this node the origin of a broadcast, if nobody else is, or whoever is yields.
    ///
    /// # Errors
    /// Another node has it, or the registry cannot be reached.
    pub async fn claim(
        &self,
        name: &Name,
        arrived: Instant,
    ) -> Result<Arc<ClaimHold>, ClaimRefusal> {
        let shared = &self.shared;
        let turn = {
            let mut claiming = shared
                .claiming
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            claiming.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(claiming.entry(name.clone()).or_default())
        };
        let _turn = turn.lock().await;
        if let Some(hold) = shared.hold(name) {
            return Ok(hold);
        }
        match shared.enter(name, arrived).await {
            Ok((claim, revision)) => Ok(shared.keep(name, claim, Some(revision))),
            Err(ClaimRefusal::Away) if shared.options.alone == Alone::Accept => {
                tracing::warn!(
                    %name,
                    "NATS is unavailable: publishing to the viewers of this node only"
                );
                Ok(shared.keep(name, shared.new_claim(), None))
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Whether this node is claiming a broadcast or holds its claim. A publisher holds the claim
    /// before its broadcast knows of it.
    pub fn has_claim(&self, name: &Name) -> bool {
        let claiming = self
            .shared
            .claiming
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_claiming = claiming
            .get(name)
            .is_some_and(|turn| Arc::strong_count(turn) > 1);
        drop(claiming);
        is_claiming || self.shared.hold(name).is_some()
    }
}

impl ClusterShared {
    fn new_claim(&self) -> OriginClaim {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        OriginClaim {
            node: self.options.node.clone(),
            incarnation: self.incarnation.clone(),
            epoch: self
                .replica()
                .next_epoch(u64::try_from(millis).unwrap_or(u64::MAX)),
            shown: Shown::default(),
        }
    }

    async fn stores(&self) -> Option<Stores> {
        let mut readings = self.readings.subscribe();
        let read = readings.wait_for(|readings| *readings > 0);
        timeout(START_MAX, read).await.ok()?.ok()?;
        if self.connection.is_up() {
            self.stores.borrow().clone()
        } else {
            None
        }
    }

    /// Enters a claim to a broadcast into the registry.
    async fn enter(
        &self,
        name: &Name,
        arrived: Instant,
    ) -> Result<(OriginClaim, u64), ClaimRefusal> {
        let stores = self.stores().await.ok_or(ClaimRefusal::Away)?;
        let key = subject::token(name.as_str());
        for _ in 0..ATTEMPTS_MAX {
            let entry = timeout(OPERATION_MAX, stores.broadcasts.entry(key.as_str())).await;
            let Ok(Ok(entry)) = entry else {
                return Err(ClaimRefusal::Away);
            };
            let present = entry.as_ref().and_then(claim_of);
            let verdict = self.replica().judge(present.as_ref(), &self.incarnation);
            let revision = match verdict {
                // A deleted entry has a revision too.
                Verdict::Create => None,
                Verdict::Replace(revision) => Some(revision),
                Verdict::Ask { node, revision } => {
                    let waited = awake::since(arrived);
                    if !control::asks_to_yield(self, &node, name, waited).await {
                        return Err(ClaimRefusal::Taken);
                    }
                    Some(revision)
                }
            };
            let claim = self.new_claim();
            match write(&stores.broadcasts, &key, &claim, revision).await {
                Written::Done(revision) => return Ok((claim, revision)),
                Written::Overtaken => {}
                Written::Failed => return Err(ClaimRefusal::Away),
            }
        }
        Err(ClaimRefusal::Taken)
    }

    /// Maintains a claim until nobody holds it.
    fn keep(
        self: &Arc<Self>,
        name: &Name,
        claim: OriginClaim,
        revision: Option<u64>,
    ) -> Arc<ClaimHold> {
        let (shown, receiver) = watch::channel(Shown::default());
        let hold = Arc::new(ClaimHold {
            epoch: claim.epoch,
            shown,
            released: CancellationToken::new(),
            lost: CancellationToken::new(),
        });
        let kept = KeptClaim {
            shared: Arc::clone(self),
            key: subject::token(name.as_str()),
            claim,
            revision,
            shown: receiver,
            released: hold.released.clone(),
            lost: hold.lost.clone(),
        };
        let mut holds = self.held();
        holds.retain(|_, hold| hold.strong_count() > 0);
        holds.insert(name.clone(), Arc::downgrade(&hold));
        drop(holds);
        self.spawn(kept.run());
        hold
    }
}

/// A claim of this node, and what it has to say.
struct KeptClaim {
    shared: Arc<ClusterShared>,
    key: String,
    claim: OriginClaim,
    /// Its revision; `None` while it is not in the registry.
    revision: Option<u64>,
    shown: watch::Receiver<Shown>,
    released: CancellationToken,
    lost: CancellationToken,
}

impl KeptClaim {
    async fn run(mut self) {
        let mut readings = self.shared.readings.subscribe();
        let mut changes = self.shared.changes.subscribe();
        let mut retry = interval(VIEWERS_INTERVAL);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut dirty = self.revision.is_none();
        let released = self.released.clone();
        loop {
            tokio::select! {
                () = released.cancelled() => break,
                Ok(()) = self.shown.changed() => {
                    let shown = self.shown.borrow_and_update().clone();
                    let viewers = shown.viewers;
                    let urgent = Shown { viewers, ..self.claim.shown.clone() } != shown;
                    self.claim.shown = shown;
                    dirty = !(urgent && self.revision.is_some() && self.update().await);
                }
                Ok(()) = readings.changed() => dirty = !self.enter_again().await,
                Ok(()) = changes.changed() => if self.is_overtaken() {
                    dirty = !self.enter_again().await;
                },
                _ = retry.tick() => if dirty {
                    dirty = !(if self.revision.is_some() {
                        self.update().await
                    } else {
                        self.enter_again().await
                    });
                },
            }
            if self.lost.is_cancelled() {
                return;
            }
        }
        if let (Some(stores), Some(revision)) = (self.bucket(), self.revision) {
            let deleted = stores.delete_expect_revision(&self.key, Some(revision));
            // Otherwise it is an orphan, or another node has it already.
            let _ = timeout(OPERATION_MAX, deleted).await;
        }
    }

    /// Whether another node has claimed the broadcast, while this one could not be asked.
    fn is_overtaken(&self) -> bool {
        let replica = self.shared.replica();
        let claim = replica.claim(&self.key);
        claim.is_some_and(|claim| claim.epoch > self.claim.epoch)
    }

    fn bucket(&self) -> Option<Store> {
        if !self.shared.connection.is_up() {
            return None;
        }
        Some(self.shared.stores.borrow().as_ref()?.broadcasts.clone())
    }

    /// Writes what it shows now. Returns whether it is written.
    async fn update(&mut self) -> bool {
        let Some(bucket) = self.bucket() else {
            return false;
        };
        match write(&bucket, &self.key, &self.claim, self.revision).await {
            Written::Done(revision) => {
                self.revision = Some(revision);
                true
            }
            Written::Overtaken => self.enter_again().await,
            Written::Failed => false,
        }
    }

    /// Enters it again into a registry that may have changed without this node. Returns whether it
    /// is there.
    async fn enter_again(&mut self) -> bool {
        let Some(bucket) = self.bucket() else {
            return false;
        };
        let entry = timeout(OPERATION_MAX, bucket.entry(self.key.as_str())).await;
        let Ok(Ok(entry)) = entry else {
            return false;
        };
        let present = entry.as_ref().and_then(claim_of);
        let revision = match present {
            None => None,
            // An older claim gives way. The value may also be old: after a cut, a NATS server can
            // answer with an earlier state.
            Some(present) if present.claim.epoch <= self.claim.epoch => Some(present.revision),
            Some(present) => {
                let verdict = self
                    .shared
                    .replica()
                    .judge(Some(&present), &self.shared.incarnation);
                match verdict {
                    Verdict::Ask { node, .. } => {
                        tracing::warn!(
                            %node, broadcast = self.key,
                            "another node has taken over the broadcast"
                        );
                        self.lost.cancel();
                        return true;
                    }
                    Verdict::Create | Verdict::Replace(_) => Some(present.revision),
                }
            }
        };
        let written = write(&bucket, &self.key, &self.claim, revision).await;
        if let Written::Done(revision) = written {
            self.revision = Some(revision);
            return true;
        }
        false
    }
}

/// The outcome of a change to the registry.
enum Written {
    Done(u64),
    /// Somebody else was first.
    Overtaken,
    Failed,
}

async fn write(bucket: &Store, key: &str, claim: &OriginClaim, revision: Option<u64>) -> Written {
    let value = text(claim);
    let written = async {
        match revision {
            Some(revision) => match bucket.update(key, value, revision).await {
                Ok(revision) => Written::Done(revision),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                    Written::Overtaken
                }
                Err(_) => Written::Failed,
            },
            None => match bucket.create(key, value).await {
                Ok(revision) => Written::Done(revision),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Written::Overtaken,
                Err(_) => Written::Failed,
            },
        }
    };
    timeout(OPERATION_MAX, written)
        .await
        .unwrap_or(Written::Failed)
}
