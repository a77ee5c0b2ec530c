//! How many of something are held at once: by everyone, by each network, with each token. Pure.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::client::Network;

/// A holder.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Claimant {
    /// All clients together.
    Everyone,
    /// The clients of one network.
    Network(Network),
    /// Those with one token, by its name.
    Token(String),
}

/// A request for one more, and the maximum.
#[derive(Clone, Debug)]
pub struct QuotaClaim {
    /// Who.
    pub claimant: Claimant,
    /// How many in all.
    pub max: usize,
}

/// How many each claimant holds. Remembers only those that hold something, so what is counted
/// bounds its size. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Quota(Arc<Mutex<HashMap<Claimant, usize>>>);

impl Quota {
    /// Counts one for all of these claimants, or for none.
    ///
    /// # Errors
    /// The first claimant that holds its maximum.
    pub fn take(&self, claims: &[QuotaClaim]) -> Result<Share, Claimant> {
        let mut counts = self.counts();
        let is_full = |claim: &&QuotaClaim| {
            let held = counts.get(&claim.claimant).copied().unwrap_or(0);
            held >= claim.max
        };
        if let Some(full) = claims.iter().find(is_full) {
            return Err(full.claimant.clone());
        }
        let claimants: Vec<_> = claims.iter().map(|claim| claim.claimant.clone()).collect();
        for claimant in &claimants {
            *counts.entry(claimant.clone()).or_default() += 1;
        }
        Ok(Share {
            quota: self.clone(),
            claimants,
        })
    }

    /// How many this claimant holds.
    pub fn held(&self, claimant: &Claimant) -> usize {
        self.counts().get(claimant).copied().unwrap_or(0)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Claimant, usize>> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts for some claimants until it is dropped.
#[derive(Debug)]
pub struct Share {
    quota: Quota,
    claimants: Vec<Claimant>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.quota.counts();
        for claimant in &self.claimants {
            let Some(count) = counts.get_mut(claimant) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                counts.remove(claimant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientAddress;

    fn claims(address: &str) -> [QuotaClaim; 2] {
        let client = ClientAddress::new(address.parse().unwrap());
        [
            QuotaClaim {
                claimant: Claimant::Everyone,
                max: 5,
            },
            QuotaClaim {
                claimant: Claimant::Network(client.network()),
                max: 2,
            },
        ]
    }

    #[test]
    fn each_has_its_maximum_and_all_have_one() {
        let quota = Quota::default();
        let mut held = Vec::new();
        let mut take = |address| quota.take(&claims(address)).map(|share| held.push(share));
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"] {
            take(address).unwrap();
        }
        let [_, first] = claims("192.0.2.1");
        assert_eq!(take("192.0.2.1"), Err(first.claimant.clone()));
        take("192.0.2.3").unwrap();
        assert_eq!(take("192.0.2.4"), Err(Claimant::Everyone));
        assert_eq!(quota.held(&Claimant::Everyone), 5);
        held.truncate(1);
        assert_eq!(quota.held(&first.claimant), 1);
        held.clear();
        assert!(quota.counts().is_empty(), "nobody is remembered");
    }
}
