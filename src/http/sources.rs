//! How many offers one source may send (RFC 9725 §5). Counts; knows nothing about requests.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::reply::Problem;
use crate::error::Error;

/// Offers per second from one source, if nothing is configured.
const RATE: usize = 20;
/// Seconds whose offers may come at once: an audience behind one address begins together.
const BURST_SECONDS: f64 = 10.0;
/// Sources that are remembered. With more at once nobody is counted: such a flood comes from
/// everywhere.
const SOURCES_MAX: usize = 10_000;
/// Of an IPv6 address, the part that a network gives to one customer at least: a /64.
const NETWORK: u128 = !0 << 64;

/// Who has sent how much.
pub(super) struct Sources {
    rate: f64,
    /// Whether this machine is exempt: behind a proxy everybody comes from here.
    trusts_loopback: bool,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Sources {
    pub(super) fn new(rate: Option<usize>) -> Self {
        let per_second = u32::try_from(rate.unwrap_or(RATE)).unwrap_or(u32::MAX);
        Self {
            rate: f64::from(per_second.max(1)),
            trusts_loopback: rate.is_none(),
            buckets: Mutex::default(),
        }
    }

    /// Counts an offer.
    ///
    /// # Errors
    /// 429 if the source has sent too many.
    pub(super) fn allow(&self, source: IpAddr) -> Result<(), Problem> {
        let source = source.to_canonical();
        if (self.trusts_loopback && source.is_loopback()) || self.take(source, Instant::now()) {
            Ok(())
        } else {
            Err(Error::TooOften.into())
        }
    }

    fn take(&self, source: IpAddr, now: Instant) -> bool {
        let burst = self.rate * BURST_SECONDS;
        let network = match source {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & NETWORK).into(),
            ip @ IpAddr::V4(_) => ip,
        };
        // Never half-changed.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let refilled = |bucket: &Bucket| {
            let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * self.rate;
            (bucket.left + gained).min(burst)
        };
        if buckets.len() >= SOURCES_MAX && !buckets.contains_key(&network) {
            buckets.retain(|_, bucket| refilled(bucket) < burst);
            if buckets.len() >= SOURCES_MAX {
                return true;
            }
        }
        let bucket = buckets.entry(network).or_insert(Bucket {
            left: burst,
            at: now,
        });
        let left = refilled(bucket);
        let allowed = left >= 1.0;
        *bucket = Bucket {
            left: if allowed { left - 1.0 } else { left },
            at: now,
        };
        allowed
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
        let sources = Sources::new(Some(2));
        let now = Instant::now();
        let taken = |source, now| (0..100).filter(|_| sources.take(ip(source), now)).count();
        assert_eq!(taken("192.0.2.1", now), 20);
        assert_eq!(taken("192.0.2.2", now), 20);
        assert_eq!(taken("2001:db8::1", now), 20);
        assert_eq!(taken("2001:db8::2", now), 0, "the same network");
        assert_eq!(taken("2001:db8:0:1::2", now), 20);
        assert_eq!(taken("192.0.2.1", now + Duration::from_secs(1)), 2);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let sources = Sources::new(None);
        let now = Instant::now();
        for number in 0..20_000_u32 {
            assert!(sources.take(IpAddr::V4(number.into()), now));
        }
        assert!(sources.buckets.lock().unwrap().len() <= SOURCES_MAX);
        // Who has been quiet is forgotten.
        assert!(sources.take(ip("192.0.2.1"), now + Duration::from_mins(1)));
        assert_eq!(sources.buckets.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_proxy_on_this_machine_is_not_limited_unless_asked_for() {
        let sources = Sources::new(None);
        for loopback in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!((0..1000).all(|_| sources.allow(ip(loopback)).is_ok()));
        }
        let sources = Sources::new(Some(1));
        assert!((0..1000).any(|_| sources.allow(ip("127.0.0.1")).is_err()));
    }
}
