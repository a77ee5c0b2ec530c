//! The addresses that are advertised to peers.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::Options;
use crate::words::Listed;

/// How long a list of the machine's addresses counts as present. A new interface is advertised this
/// much later at most; listing takes about 0.1 ms.
const PRESENT: Duration = Duration::from_secs(1);
/// Most addresses of each family that are advertised: each is a candidate for every client to check.
const ADVERTISED_MAX: usize = 16;
/// Most addresses of a listener that are advertised for TCP: each costs clients a connection.
const TCP_ADVERTISED_MAX: usize = 8;

/// The server's addresses that are advertised to peers: fixed, or those that the machine has at the
/// moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LocalAddresses {
    choice: Arc<AddressChoice>,
}

#[derive(Debug)]
enum AddressChoice {
    Fixed(Vec<IpAddr>),
    Machine {
        /// Which of the machine's addresses count.
        wanted: Wanted,
        list: Mutex<AddressList>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    ipv6: bool,
    loopback: bool,
}

#[derive(Debug, Default)]
struct AddressList {
    known: Vec<IpAddr>,
    /// When it was made.
    at: Option<Instant>,
    /// The log has said that some are left out.
    told: bool,
}

impl LocalAddresses {
    /// Always these.
    pub fn fixed(addresses: Vec<IpAddr>) -> Self {
        Self {
            choice: Arc::new(AddressChoice::Fixed(addresses)),
        }
    }

    /// For something that listens on `listen`: this address, or all that the machine has. IPv6 ones
    /// only if it listens on IPv6; loopback ones only if wanted.
    pub fn of_listener(listen: IpAddr, loopback: bool) -> Self {
        if !listen.is_unspecified() {
            return Self::fixed(vec![listen]);
        }
        let wanted = Wanted {
            ipv6: listen.is_ipv6(),
            loopback,
        };
        Self {
            choice: Arc::new(AddressChoice::Machine {
                wanted,
                list: Mutex::default(),
            }),
        }
    }

    /// The addresses as they are now, best first.
    pub fn now(&self) -> Vec<IpAddr> {
        self.at(Instant::now())
    }

    fn at(&self, now: Instant) -> Vec<IpAddr> {
        match &*self.choice {
            AddressChoice::Fixed(addresses) => addresses.clone(),
            AddressChoice::Machine { wanted, list } => {
                let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
                list.refresh(now, *wanted);
                list.known.clone()
            }
        }
    }
}

/// The advertised addresses of one TCP listener.
#[derive(Debug)]
pub(super) struct TcpAddresses {
    addresses: LocalAddresses,
    listener: SocketAddr,
}

impl TcpAddresses {
    /// For a listener at this address. One on loopback is nobody's way in from a public address.
    pub(super) fn new(listener: SocketAddr, options: &Options) -> Self {
        Self {
            addresses: LocalAddresses::of_listener(listener.ip(), options.loopback),
            listener,
        }
    }

    /// The addresses as they are now, best first, with these public ones, or only them.
    pub(super) fn now(&self, public: &[IpAddr], only: bool) -> Vec<SocketAddr> {
        let has_public = !public.is_empty();
        let mut addresses = Vec::new();
        if !self.listener.ip().is_loopback() {
            addresses.extend_from_slice(public);
        }
        if !(has_public && (only || self.listener.ip().is_loopback())) {
            addresses.extend(self.addresses.now());
        }
        addresses
            .into_iter()
            .take(TCP_ADVERTISED_MAX)
            .map(|ip| SocketAddr::new(ip, self.listener.port()))
            .collect()
    }
}

impl AddressList {
    fn refresh(&mut self, now: Instant, wanted: Wanted) {
        let present = |at: Instant| now.saturating_duration_since(at) < PRESENT;
        if self.at.is_some_and(present) {
            return;
        }
        let first = self.at.replace(now).is_none();
        match of_machine(wanted) {
            Ok(mut addresses) => {
                let left_out = limit(&mut addresses);
                if left_out > 0 && !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(
                        left_out,
                        "too many addresses: some are not advertised; webrtc.local_addresses turns them off"
                    );
                }
                if addresses == self.known {
                    return;
                }
                if !first {
                    tracing::info!(addresses = %Listed(&addresses), "network interfaces have changed");
                }
                self.known = addresses;
            }
            Err(error) => tracing::warn!(%error, "cannot list the network interfaces"),
        }
    }
}

/// The machine's addresses that a peer could reach: no link-local ones.
fn of_machine(wanted: Wanted) -> io::Result<Vec<IpAddr>> {
    let is_usable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => wanted.ipv6 && !ip.is_unicast_link_local(),
    };
    let mut addresses: Vec<_> = if_addrs::get_if_addrs()?
        .into_iter()
        .map(|interface| interface.ip())
        .filter(is_usable)
        .filter(|ip| wanted.loopback || !ip.is_loopback())
        .collect();
    // Real interfaces first: FFmpeg takes the first host candidate only.
    addresses.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    if addresses.is_empty() {
        addresses.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    Ok(addresses)
}

/// Keeps the first addresses of each family; returns how many it has left out.
fn limit(addresses: &mut Vec<IpAddr>) -> usize {
    let before = addresses.len();
    let (mut ipv4, mut ipv6) = (0, 0);
    addresses.retain(|ip| {
        let count = if ip.is_ipv6() { &mut ipv6 } else { &mut ipv4 };
        *count += 1;
        *count <= ADVERTISED_MAX
    });
    before - addresses.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ip, run_in_namespace};

    #[test]
    fn many_container_bridges_leave_room_for_ipv6() {
        let bridges = (0..30).map(|bridge| IpAddr::from([10, 77, bridge, 1]));
        let ipv6 = IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, 1]);
        let mut addresses: Vec<_> = bridges.chain([ipv6]).collect();
        let first = addresses[0];
        assert_eq!(limit(&mut addresses), 30 - ADVERTISED_MAX);
        assert_eq!(addresses.len(), ADVERTISED_MAX + 1);
        assert_eq!((addresses[0], addresses.last()), (first, Some(&ipv6)));
    }

    #[test]
    fn changed_interfaces_are_noticed() {
        run_in_namespace("peer::udp::addresses::tests::inside_a_namespace");
    }

    #[test]
    #[ignore = "changes interfaces: run by `changed_interfaces_are_noticed`"]
    fn inside_a_namespace() {
        let addresses = |list: &LocalAddresses, at| -> Vec<String> {
            list.at(at).iter().map(ToString::to_string).collect()
        };
        ip("link set lo up");
        let unspecified = |text: &str| text.parse().unwrap();
        let ipv4 = LocalAddresses::of_listener(unspecified("0.0.0.0"), false);
        let both = LocalAddresses::of_listener(unspecified("::"), true);
        let begin = Instant::now();
        assert_eq!(addresses(&ipv4, begin), ["127.0.0.1"]);
        assert_eq!(addresses(&both, begin), ["127.0.0.1", "::1"]);
        ip("addr add 10.77.0.1/32 dev lo");
        ip("addr add fd77::1/128 dev lo");
        let earlier = begin + PRESENT / 2;
        assert_eq!(addresses(&ipv4, earlier), ["127.0.0.1"], "listed seldom");
        let later = begin + PRESENT;
        assert_eq!(addresses(&ipv4, later), ["10.77.0.1"]);
        let all = ["10.77.0.1", "fd77::1", "127.0.0.1", "::1"];
        assert_eq!(addresses(&both, later), all);
        ip("addr del 10.77.0.1/32 dev lo");
        ip("addr add 10.77.0.2/32 dev lo");
        assert_eq!(addresses(&ipv4, later + PRESENT), ["10.77.0.2"]);
    }
}
