//! The address of a client, and the networks that limits count together. Pure.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Where a request really comes from: the address of the connection, or the one that a trusted
/// proxy reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// IPv4 addresses in IPv6 form become plain ones.
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The address itself.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// The smallest network that one customer gets: an IPv4 address, or a /64 of IPv6.
    pub fn network(self) -> Network {
        Network::of(self.0, 32, 64)
    }

    /// A site's network, of which one attacker may own all addresses: a /24 of IPv4, or a /48 of
    /// IPv6.
    pub fn site(self) -> Network {
        Network::of(self.0, 24, 48)
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Addresses that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    bits: u32,
}

impl Network {
    fn of(address: IpAddr, bits_of_v4: u32, bits_of_v6: u32) -> Self {
        match address {
            IpAddr::V4(ip) => Self {
                first: Ipv4Addr::from_bits(ip.to_bits() & !u32::MAX.unbounded_shr(bits_of_v4))
                    .into(),
                bits: bits_of_v4,
            },
            IpAddr::V6(ip) => Self {
                first: Ipv6Addr::from_bits(ip.to_bits() & !u128::MAX.unbounded_shr(bits_of_v6))
                    .into(),
                bits: bits_of_v6,
            },
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first {
            IpAddr::V4(ip) if self.bits == u32::BITS => ip.fmt(f),
            first => write!(f, "{first}/{}", self.bits),
        }
    }
}

/// The header in which trusted proxies name their clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> ClientAddress {
        ClientAddress::new(text.parse().unwrap())
    }

    #[test]
    fn networks_of_addresses() {
        for (address, network, site) in [
            ("192.0.2.77", "192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.77", "192.0.2.0/24"),
            (
                "2001:db8:1:2:3:4:5:6",
                "2001:db8:1:2::/64",
                "2001:db8:1::/48",
            ),
            ("::1", "::/64", "::/48"),
        ] {
            let client = client(address);
            assert_eq!(client.network().to_string(), network);
            assert_eq!(client.site().to_string(), site);
        }
    }
}
