//! How often one client may do something: send offers (RFC 9725 §5) or wrong tokens. It only
//! counts, and knows nothing about requests.
//!
//! Each address has an allowance (IPv6: each /64), and each site (a /24 or /48) a larger one, so
//! that nobody gets more by changing addresses within a network of their own. The table is bounded;
//! while it is full, new clients share the allowances of a few groups.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    client::{ClientAddress, Network},
    media::TokenBucket,
};

/// Seconds' worth of offers that may come at once: an audience behind one address starts together.
const OFFERS_BURST: f64 = 10.0;
/// How many times the allowance of an address its site has.
const SITE_FACTOR: f64 = 16.0;
/// Networks that are remembered: each address, and each site.
const NETWORKS_MAX: usize = 20_000;
/// Groups of clients while the table is full. Each group has the allowance of a site.
const GROUPS: u64 = 256;
/// Shortest time between two sweeps of a full table.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How much each client may still send.
pub(super) struct ClientLimits(Mutex<Table>);

struct Table {
    /// The allowance of an address.
    per_second: f64,
    /// At once.
    burst: f64,
    networks: HashMap<Network, TokenBucket>,
    /// By number, while the table is full.
    groups: HashMap<u64, TokenBucket>,
    /// Unknown to clients, so that nobody can choose a group.
    hasher: RandomState,
    swept_at: Option<Instant>,
}

impl ClientLimits {
    /// Counts offers.
    pub(super) fn of_offers(per_second: usize) -> Self {
        let per_second = number(per_second);
        Self::new(per_second, per_second * OFFERS_BURST)
    }

    /// Counts wrong tokens. All of a minute's may come at once.
    pub(super) fn of_failures(per_minute: usize) -> Self {
        let burst = number(per_minute);
        Self::new(burst / 60.0, burst)
    }

    fn new(per_second: f64, burst: f64) -> Self {
        Self(Mutex::new(Table {
            per_second,
            burst,
            networks: HashMap::new(),
            groups: HashMap::new(),
            hasher: RandomState::new(),
            swept_at: None,
        }))
    }

    /// Counts as these do from now on. Every client starts with a full allowance.
    pub(super) fn become_like(&self, new: Self) {
        let new = new.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |one: f64, other: f64| (one - other).abs() < f64::EPSILON;
        if !is_same(table.per_second, new.per_second) || !is_same(table.burst, new.burst) {
            *table = new;
        }
    }

    /// Counts one; false if the client has sent too many.
    pub(super) fn allow(&self, client: ClientAddress) -> bool {
        self.take(client, Instant::now())
    }

    fn take(&self, client: ClientAddress, now: Instant) -> bool {
        // A poisoned lock is fine: nothing is ever left half-changed.
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (network, site) = (client.network(), client.site());
        // Looked at first, so that a site that is over its limit adds nothing to the table.
        table.bucket(site, SITE_FACTOR, now).left(now) >= 1.0
            && table.bucket(network, 1.0, now).take(1.0, now)
            && table.bucket(site, SITE_FACTOR, now).take(1.0, now)
    }
}

impl Table {
    /// The bucket of a network; if there is no room for it, that of a group.
    fn bucket(&mut self, network: Network, factor: f64, now: Instant) -> &mut TokenBucket {
        let (per_second, burst) = (self.per_second, self.burst);
        let new = |factor: f64| TokenBucket::new(per_second * factor, burst * factor, now);
        if self.networks.contains_key(&network) || self.has_room(now) {
            return self.networks.entry(network).or_insert_with(|| new(factor));
        }
        let group = self.hasher.hash_one(network) % GROUPS;
        self.groups.entry(group).or_insert_with(|| new(SITE_FACTOR))
    }

    /// Whether another network fits, perhaps after those that have been quiet are forgotten.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.networks.len() < NETWORKS_MAX {
            return true;
        }
        let due = |at| now.saturating_duration_since(at) >= SWEEP_INTERVAL;
        if self.swept_at.is_none_or(due) {
            self.swept_at = Some(now);
            self.networks.retain(|_, bucket| !bucket.is_full(now));
        }
        self.networks.len() < NETWORKS_MAX
    }
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn client(text: &str) -> ClientAddress {
        ClientAddress::new(text.parse().unwrap())
    }

    fn v6(bits: u128) -> ClientAddress {
        ClientAddress::new(Ipv6Addr::from_bits(0x2001_0db8 << 96 | bits).into())
    }

    #[test]
    fn each_address_has_its_own_allowance() {
        let clients = ClientLimits::of_offers(2);
        let now = Instant::now();
        let taken = |text, now| (0..100).filter(|_| clients.take(client(text), now)).count();
        assert_eq!(taken("192.0.2.1", now), 20);
        assert_eq!(taken("192.0.2.2", now), 20);
        assert_eq!(taken("2001:db8::1", now), 20);
        assert_eq!(taken("2001:db8::2", now), 0, "the same network");
        assert_eq!(taken("2001:db8:0:1::2", now), 20);
        assert_eq!(taken("192.0.2.1", now + Duration::from_secs(1)), 2);
        assert_eq!(taken("127.0.0.1", now), 20, "this machine is no exception");
    }

    #[test]
    fn a_site_has_no_more_than_its_own_allowance() {
        let clients = ClientLimits::of_failures(60);
        let now = Instant::now();
        // One attempt from each /64 of a /48.
        let allowed = (0..60_000_u128).filter(|&net| clients.take(v6(net << 64), now));
        assert_eq!(allowed.count(), 16 * 60);
        // Another site is not affected.
        assert!(clients.take(client("192.0.2.1"), now));
        let entries = clients.0.lock().unwrap().networks.len();
        assert!(entries < 1000, "{entries}");
    }

    #[test]
    fn a_refused_client_takes_nothing_from_its_neighbours() {
        let clients = ClientLimits::of_failures(60);
        let now = Instant::now();
        assert_eq!((0..10_000).filter(|_| clients.take(v6(1), now)).count(), 60);
        assert!(clients.take(v6(1 << 64), now));
    }

    #[test]
    fn a_full_table_still_limits() {
        let clients = ClientLimits::of_failures(60);
        let now = Instant::now();
        // From everywhere: each attempt from a site of its own.
        let allowed = (0..200_000_u128).filter(|&site| clients.take(v6(site << 80), now));
        // Each attempt of a client without a place of its own counts twice.
        let allowed = allowed.count();
        assert!(allowed <= NETWORKS_MAX / 2 + 256 * 16 * 60 / 2, "{allowed}");
        let table = clients.0.lock().unwrap();
        assert_eq!(table.networks.len(), NETWORKS_MAX);
        assert_eq!(table.groups.len(), 256);
        drop(table);
        assert!((0..10_000).any(|_| !clients.take(client("192.0.2.1"), now)));
        // Networks that have been quiet make room.
        let later = now + Duration::from_mins(2);
        assert!(clients.take(client("198.51.100.1"), later));
        assert_eq!(clients.0.lock().unwrap().networks.len(), 2);
    }
}
