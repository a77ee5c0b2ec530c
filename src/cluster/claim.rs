//! Which node is the origin of which broadcast: the entries of the registry, this node's copy of
//! them, and what follows from both. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    media::{Codec, Kind},
    plan::About,
};

/// Longest text of a claim or a lease, in bytes: most of it is the title, the description and the
/// tags.
pub(super) const ENTRY_BYTES_MAX: usize = 16 << 10;
/// Entries of each kind that a node keeps.
const ENTRIES_MAX: usize = 100_000;

/// Says that a node is alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLease {
    /// Tells restarts of a node apart.
    pub incarnation: String,
    /// Its version.
    pub version: String,
    /// Of its configuration of broadcasts.
    pub digest: String,
}

/// Says that a node is the origin of a broadcast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginClaim {
    /// The node.
    pub node: String,
    /// Its incarnation.
    pub incarnation: String,
    /// Of two claims to a broadcast, the later one has the greater epoch.
    pub epoch: u64,
    /// The state that it announces.
    #[serde(flatten)]
    pub shown: Shown,
}

/// The state of a broadcast, as its origin announces it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// Whether it can be watched.
    pub live: bool,
    /// Whether its publisher is silent.
    pub stale: bool,
    /// Whether a pipeline feeds it.
    pub pipeline: bool,
    /// Since when it has been live, in seconds since 1970.
    pub started: Option<u64>,
    /// Viewers at all nodes.
    pub viewers: usize,
    /// Its tracks.
    pub tracks: Vec<ShownTrack>,
    /// Its title, description and tags.
    #[serde(default)]
    pub about: About,
}

/// A track of a broadcast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownTrack {
    /// Video or audio.
    pub kind: Kind,
    /// How it is encoded.
    pub codec: Codec,
}

/// A claim with the revision that it has in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revised {
    pub(super) claim: OriginClaim,
    pub(super) revision: u64,
}

/// What to do about a broadcast that somebody wants to publish here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody has it: create the claim.
    Create,
    /// Its node is gone, or it is this node's own: replace this revision.
    Replace(u64),
    /// Its node is alive: ask whether it yields.
    Ask { node: String, revision: u64 },
}

/// The registry as this node knows it.
#[derive(Debug, Default)]
pub(super) struct Replica {
    leases: BTreeMap<String, Kept<NodeLease>>,
    claims: BTreeMap<String, Kept<Revised>>,
    /// The greatest epoch that was seen.
    epoch: u64,
}

#[derive(Debug)]
struct Kept<T> {
    value: T,
    /// Not confirmed since the registry is being read again.
    old: bool,
}

impl<T> Kept<T> {
    const fn new(value: T) -> Self {
        Self { value, old: false }
    }
}

impl Replica {
    /// The registry is about to be read again, from the start.
    pub(super) fn begin(&mut self) {
        self.leases.values_mut().for_each(|kept| kept.old = true);
        self.claims.values_mut().for_each(|kept| kept.old = true);
    }

    /// The claims have been read: those that were missing no longer exist.
    pub(super) fn complete_claims(&mut self) {
        self.claims.retain(|_, kept| !kept.old);
    }

    /// Every node that lives has renewed its lease since.
    pub(super) fn complete_leases(&mut self) {
        self.leases.retain(|_, kept| !kept.old);
    }

    /// A node's lease is this now.
    pub(super) fn set_lease(&mut self, node: &str, lease: Option<NodeLease>) {
        match lease {
            Some(lease) if self.leases.len() < ENTRIES_MAX || self.leases.contains_key(node) => {
                self.leases.insert(node.to_owned(), Kept::new(lease));
            }
            Some(_) => {}
            None => drop(self.leases.remove(node)),
        }
    }

    /// A node's lease is over, but it may be about to renew it.
    pub(super) fn doubt_lease(&mut self, node: &str) {
        if let Some(kept) = self.leases.get_mut(node) {
            kept.old = true;
        }
    }

    /// The claim to a broadcast is this now.
    pub(super) fn set_claim(&mut self, broadcast: &str, claim: Option<Revised>) {
        let Some(revised) = claim else {
            self.claims.remove(broadcast);
            return;
        };
        self.epoch = self.epoch.max(revised.claim.epoch);
        if self.claims.len() < ENTRIES_MAX || self.claims.contains_key(broadcast) {
            self.claims.insert(broadcast.to_owned(), Kept::new(revised));
        }
    }

    /// Every node that lives.
    pub(super) fn leases(&self) -> impl Iterator<Item = (&str, &NodeLease)> {
        self.leases
            .iter()
            .map(|(node, kept)| (node.as_str(), &kept.value))
    }

    /// The node with this incarnation.
    pub(super) fn node_of(&self, incarnation: &str) -> Option<&str> {
        let mut leases = self.leases();
        let (node, _) = leases.find(|(_, lease)| lease.incarnation == incarnation)?;
        Some(node)
    }

    /// The claim to a broadcast, if its node lives.
    pub(super) fn claim(&self, broadcast: &str) -> Option<&OriginClaim> {
        let claim = &self.claims.get(broadcast)?.value.claim;
        self.lives(claim).then_some(claim)
    }

    /// All broadcasts whose origins live, by name.
    pub(super) fn claims(&self) -> impl Iterator<Item = (&str, &OriginClaim)> {
        self.claims
            .iter()
            .map(|(name, kept)| (name.as_str(), &kept.value.claim))
            .filter(|(_, claim)| self.lives(claim))
    }

    /// Claims of nodes that are gone, with their revisions.
    pub(super) fn orphans(&self) -> Vec<(String, u64)> {
        self.claims
            .iter()
            .filter(|(_, kept)| !self.lives(&kept.value.claim))
            .map(|(name, kept)| (name.clone(), kept.value.revision))
            .collect()
    }

    /// An epoch for a new claim, `millis` after 1970.
    pub(super) fn next_epoch(&mut self, millis: u64) -> u64 {
        self.epoch = millis.max(self.epoch + 1);
        self.epoch
    }

    /// What to do about a broadcast with this entry in the registry.
    pub(super) fn judge(&mut self, entry: Option<&Revised>, incarnation: &str) -> Verdict {
        let Some(Revised { claim, revision }) = entry else {
            return Verdict::Create;
        };
        self.epoch = self.epoch.max(claim.epoch);
        if claim.incarnation == incarnation || !self.lives(claim) {
            return Verdict::Replace(*revision);
        }
        Verdict::Ask {
            node: claim.node.clone(),
            revision: *revision,
        }
    }

    fn lives(&self, claim: &OriginClaim) -> bool {
        self.leases
            .get(&claim.node)
            .is_some_and(|kept| kept.value.incarnation == claim.incarnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(incarnation: &str) -> NodeLease {
        NodeLease {
            incarnation: incarnation.to_owned(),
            version: String::new(),
            digest: String::new(),
        }
    }

    fn revised(node: &str, incarnation: &str, epoch: u64) -> Revised {
        Revised {
            claim: OriginClaim {
                node: node.to_owned(),
                incarnation: incarnation.to_owned(),
                epoch,
                shown: Shown::default(),
            },
            revision: 7,
        }
    }

    fn replica() -> Replica {
        let mut replica = Replica::default();
        replica.set_lease("a", Some(lease("a1")));
        replica.set_lease("b", Some(lease("b1")));
        replica
    }

    #[test]
    fn only_a_node_that_lives_is_asked() {
        let mut replica = replica();
        let theirs = revised("a", "a1", 5);
        let ask = Verdict::Ask {
            node: "a".to_owned(),
            revision: 7,
        };
        assert_eq!(replica.judge(None, "b1"), Verdict::Create);
        assert_eq!(replica.judge(Some(&theirs), "b1"), ask);
        let own = revised("b", "b1", 5);
        assert_eq!(replica.judge(Some(&own), "b1"), Verdict::Replace(7));
        for gone in [revised("a", "a0", 5), revised("c", "c1", 5)] {
            assert_eq!(replica.judge(Some(&gone), "b1"), Verdict::Replace(7));
        }
        replica.set_lease("a", None);
        assert_eq!(replica.judge(Some(&theirs), "b1"), Verdict::Replace(7));
    }

    #[test]
    fn a_claim_counts_while_its_node_lives() {
        let mut replica = replica();
        replica.set_claim("x", Some(revised("a", "a1", 5)));
        assert_eq!(replica.claim("x").map(|claim| claim.epoch), Some(5));
        replica.set_lease("a", Some(lease("a2")));
        assert_eq!((replica.claim("x"), replica.claims().count()), (None, 0));
        assert_eq!(replica.orphans(), [("x".to_owned(), 7)]);
        replica.set_claim("x", None);
        assert!(replica.orphans().is_empty());
        assert_eq!(replica.node_of("a2"), Some("a"));
        assert_eq!(replica.node_of("a1"), None);
    }

    #[test]
    fn epochs_grow_even_if_clocks_step_back() {
        let mut replica = replica();
        assert_eq!(replica.next_epoch(1000), 1000);
        assert_eq!(replica.next_epoch(900), 1001);
        replica.set_claim("x", Some(revised("a", "a1", 5000)));
        assert_eq!(replica.next_epoch(2000), 5001);
        replica.judge(Some(&revised("a", "a1", 7000)), "b1");
        assert_eq!(replica.next_epoch(2000), 7001);
    }

    #[test]
    fn a_lease_in_doubt_counts_until_its_node_had_time_to_renew_it() {
        let mut replica = replica();
        replica.set_claim("x", Some(revised("a", "a1", 5)));
        for node in ["a", "b", "nobody"] {
            replica.doubt_lease(node);
        }
        assert!(replica.claim("x").is_some());
        replica.set_lease("a", Some(lease("a1")));
        replica.complete_leases();
        assert!(replica.claim("x").is_some());
        assert_eq!(replica.leases().count(), 1);
    }

    #[test]
    fn claims_missing_from_a_new_reading_are_forgotten() {
        let mut replica = replica();
        replica.set_claim("x", Some(revised("a", "a1", 5)));
        replica.set_claim("y", Some(revised("b", "b1", 6)));
        replica.begin();
        assert!(replica.claim("x").is_some(), "until it has been read");
        replica.set_lease("a", Some(lease("a1")));
        replica.set_claim("x", Some(revised("a", "a1", 5)));
        replica.complete_claims();
        assert_eq!(
            replica.leases().count(),
            2,
            "b may be about to renew its lease"
        );
        replica.complete_leases();
        assert!(replica.claim("x").is_some());
        assert_eq!(replica.claims().count(), 1);
        assert_eq!(replica.leases().count(), 1);
    }
}
