//! How many of something are held at once: by everyone, by each network, with each token. Pure.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::client::Network;

/// What is counted for: all clients, or some of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QuotaHolder {
    /// All clients together.
    Everyone,
    /// The clients of one network.
    Network(Network),
    /// Those with one token, by its name.
    Token(String),
}

/// A request for one more, and the maximum.
#[derive(Clone, Debug)]
pub struct QuotaRequest {
    /// Whom it counts for.
    pub holder: QuotaHolder,
    /// How many in all.
    pub max: usize,
}

/// How much each holder has. Remembers only those that have something, so what is counted
/// bounds its size. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Quota(Arc<Mutex<HashMap<QuotaHolder, usize>>>);

impl Quota {
    /// Counts one for all of these holders, or for none.
    ///
    /// # Errors
    /// The first holder that has its maximum.
    pub fn take(&self, requests: &[QuotaRequest]) -> Result<Share, QuotaHolder> {
        let mut counts = self.counts();
        let is_full = |request: &&QuotaRequest| {
            let held = counts.get(&request.holder).copied().unwrap_or(0);
            held >= request.max
        };
        if let Some(full) = requests.iter().find(is_full) {
            return Err(full.holder.clone());
        }
        let holders: Vec<_> = requests
            .iter()
            .map(|request| request.holder.clone())
            .collect();
        for holder in &holders {
            *counts.entry(holder.clone()).or_default() += 1;
        }
        Ok(Share {
            quota: self.clone(),
            holders,
        })
    }

    /// How much this holder has.
    pub fn held(&self, holder: &QuotaHolder) -> usize {
        self.counts().get(holder).copied().unwrap_or(0)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<QuotaHolder, usize>> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts for some holders until it is dropped.
#[derive(Debug)]
pub struct Share {
    quota: Quota,
    holders: Vec<QuotaHolder>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.quota.counts();
        for holder in &self.holders {
            let Some(count) = counts.get_mut(holder) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                counts.remove(holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientAddress;

    fn requests(address: &str) -> [QuotaRequest; 2] {
        let client = ClientAddress::new(address.parse().unwrap());
        [
            QuotaRequest {
                holder: QuotaHolder::Everyone,
                max: 5,
            },
            QuotaRequest {
                holder: QuotaHolder::Network(client.network()),
                max: 2,
            },
        ]
    }

    #[test]
    fn each_has_its_maximum_and_all_have_one() {
        let quota = Quota::default();
        let mut held = Vec::new();
        let mut take = |address| quota.take(&requests(address)).map(|share| held.push(share));
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.2"] {
            take(address).unwrap();
        }
        let [_, first] = requests("192.0.2.1");
        assert_eq!(take("192.0.2.1"), Err(first.holder.clone()));
        take("192.0.2.3").unwrap();
        assert_eq!(take("192.0.2.4"), Err(QuotaHolder::Everyone));
        assert_eq!(quota.held(&QuotaHolder::Everyone), 5);
        held.truncate(1);
        assert_eq!(quota.held(&first.holder), 1);
        held.clear();
        assert!(quota.counts().is_empty(), "nobody is remembered");
    }
}
