//! How much one client may send: offers (RFC 9725 §5), wrong tokens. It only counts, and knows
//! nothing about requests.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use crate::media::TokenBucket;

/// Offers per second from one client, if nothing is configured.
const OFFERS: usize = 20;
/// Seconds' worth of offers that may come at once: an audience behind one address starts together.
const OFFERS_BURST: f64 = 10.0;
/// Wrong tokens per minute from one client, if nothing is configured; all may come at once.
const FAILURES: usize = 60;
/// Clients that are remembered. With more at once, none is counted: such a flood comes from
/// everywhere.
const CLIENTS_MAX: usize = 10_000;
/// The smallest part of the IPv6 addresses that a network gives to one customer: a /64.
const NETWORK: u128 = !0 << 64;

/// How much each client has sent.
pub(super) struct ClientLimits {
    /// Per second.
    rate: f64,
    /// At once.
    burst: f64,
    /// Whether this machine is exempt: behind a proxy, every request comes from it.
    trusts_loopback: bool,
    buckets: Mutex<HashMap<IpAddr, TokenBucket>>,
}

impl ClientLimits {
    /// Counts offers; `configured` are those per second.
    pub(super) fn of_offers(configured: Option<usize>) -> Self {
        let rate = count(configured.unwrap_or(OFFERS));
        Self::new(rate, rate * OFFERS_BURST, configured.is_none())
    }

    /// Counts wrong tokens; `configured` are those per minute.
    pub(super) fn of_failures(configured: Option<usize>) -> Self {
        let burst = count(configured.unwrap_or(FAILURES));
        Self::new(burst / 60.0, burst, configured.is_none())
    }

    fn new(rate: f64, burst: f64, trusts_loopback: bool) -> Self {
        Self {
            rate,
            burst,
            trusts_loopback,
            buckets: Mutex::default(),
        }
    }

    /// Counts one; false if the client has sent too many.
    pub(super) fn allow(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        self.trusts(client) || self.take(client, Instant::now())
    }

    /// Whether the next one would be allowed. Counts nothing.
    pub(super) fn would_allow(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        if self.trusts(client) {
            return true;
        }
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get(&network(client));
        bucket.is_none_or(|bucket| bucket.left(Instant::now()) >= 1.0)
    }

    fn trusts(&self, client: IpAddr) -> bool {
        self.trusts_loopback && client.is_loopback()
    }

    fn take(&self, client: IpAddr, now: Instant) -> bool {
        let network = network(client);
        // Never half-changed.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= CLIENTS_MAX && !buckets.contains_key(&network) {
            buckets.retain(|_, bucket| !bucket.is_full(now));
            if buckets.len() >= CLIENTS_MAX {
                return true;
            }
        }
        let bucket = buckets.entry(network);
        let new = || TokenBucket::new(self.rate, self.burst, now);
        bucket.or_insert_with(new).take(1.0, now)
    }
}

/// A count, at least one.
fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX).max(1))
}

/// The addresses that are counted together.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & NETWORK).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_source_has_its_own_allowance() {
        let clients = ClientLimits::of_offers(Some(2));
        let now = Instant::now();
        let taken = |client, now| (0..100).filter(|_| clients.take(ip(client), now)).count();
        assert_eq!(taken("192.0.2.1", now), 20);
        assert_eq!(taken("192.0.2.2", now), 20);
        assert_eq!(taken("2001:db8::1", now), 20);
        assert_eq!(taken("2001:db8::2", now), 0, "the same network");
        assert_eq!(taken("2001:db8:0:1::2", now), 20);
        assert_eq!(taken("192.0.2.1", now + Duration::from_secs(1)), 2);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let clients = ClientLimits::of_offers(None);
        let now = Instant::now();
        for number in 0..20_000_u32 {
            assert!(clients.take(IpAddr::V4(number.into()), now));
        }
        assert!(clients.buckets.lock().unwrap().len() <= CLIENTS_MAX);
        // A client that has been quiet is forgotten.
        assert!(clients.take(ip("192.0.2.1"), now + Duration::from_mins(1)));
        assert_eq!(clients.buckets.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_proxy_on_this_machine_is_not_limited_unless_asked_for() {
        let clients = ClientLimits::of_offers(None);
        for loopback in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!((0..1000).all(|_| clients.allow(ip(loopback))));
        }
        let clients = ClientLimits::of_offers(Some(1));
        assert!((0..1000).any(|_| !clients.allow(ip("127.0.0.1"))));
    }

    #[test]
    fn looking_counts_nothing() {
        let clients = ClientLimits::of_failures(Some(3));
        let client = ip("192.0.2.1");
        assert!((0..100).all(|_| clients.would_allow(client)));
        assert!((0..3).all(|_| clients.allow(client)));
        assert!(!clients.would_allow(client));
        assert!(clients.would_allow(ip("192.0.2.2")));
    }
}
