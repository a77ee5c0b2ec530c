//! ICE candidate lines (RFC 8839 §5.1): which ones are usable, and how ours are written.

use std::net::{IpAddr, SocketAddr};

/// Most candidates kept of an answer of webrtcbin: several interfaces and address families, with room.
pub(super) const CANDIDATES_MAX: usize = 64;

/// A usable candidate of someone else's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) address: SocketAddr,
    /// `typ host`.
    pub(super) host: bool,
}

impl Candidate {
    /// Reads the text after `a=candidate:`. `None` for unusable ones: TCP and unknown transports,
    /// components other than 1, host names (mDNS), addresses to which nothing can be sent. Such
    /// candidates are dropped silently (RFC 9725 §4.3.2).
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let _foundation = words.next()?;
        let component: u16 = words.next()?.parse().ok()?;
        let transport = words.next()?;
        let _priority = words.next()?;
        let ip: IpAddr = words.next()?.parse().ok()?;
        let port: u16 = words.next()?.parse().ok()?;
        let kind = (words.next()? == "typ").then(|| words.next()).flatten()?;
        let usable = component == 1
            && transport.eq_ignore_ascii_case("udp")
            && port != 0
            && is_destination(ip);
        usable.then(|| Self {
            address: SocketAddr::new(ip, port),
            host: kind == "host",
        })
    }
}

/// Whether packets can be sent to this address as it stands. Link-local IPv6 needs a zone, which
/// a candidate cannot carry.
fn is_destination(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local(),
    }
}

/// Adds a candidate unless it is already listed or the list is full.
pub(super) fn add(list: &mut Vec<SocketAddr>, address: SocketAddr) {
    if list.len() < CANDIDATES_MAX && !list.contains(&address) {
        list.push(address);
    }
}

/// The text after `a=candidate:` for a host candidate of ours; `index` is its place in the order of
/// preference. Lower-case `udp` before `typ host`: `FFmpeg` looks for both words.
pub(super) fn host_line(index: usize, address: SocketAddr) -> String {
    // RFC 8445 §5.1.2.1 with type preference 126 and component 1.
    let local_preference = 65_535 - u32::try_from(index).unwrap_or(u32::MAX).min(65_535);
    let priority = (126 << 24) | (local_preference << 8) | 255;
    format!(
        "{} 1 udp {priority} {} {} typ host",
        index + 1,
        address.ip(),
        address.port()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row W-65.
    #[test]
    fn only_usable_candidates_are_kept() {
        let good = [
            "1 1 udp 2122260223 192.0.2.1 61764 typ host",
            "a 1 UDP 1 2001:db8::1 5 typ relay raddr 0.0.0.0 rport 0",
        ];
        for line in good {
            assert!(Candidate::parse(line).is_some(), "{line}");
        }
        let bad = [
            "1 1 udp 2122260223 0d1a2b3c-aaaa.local 61764 typ host",
            "1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active",
            "1 2 udp 2122260222 192.0.2.1 61765 typ host",
            "1 0 udp 2122260222 192.0.2.1 61765 typ host",
            "1 1 udp 2122260223 fe80::1%eth0 61764 typ host",
            "1 1 udp 2122260223 fe80::1 61764 typ host",
            "1 1 sctp 2122260223 192.0.2.1 61764 typ host",
            "1 1 udp 2122260223 192.0.2.1 99999 typ host",
            "1 1 udp 2122260223 0.0.0.0 9 typ host",
            "1 1 udp",
            "",
        ];
        for line in bad {
            assert_eq!(Candidate::parse(line), None, "{line}");
        }
    }

    #[test]
    fn host_candidates_are_written_in_order_of_preference() {
        let address = "192.0.2.1:8000".parse().unwrap();
        assert_eq!(
            host_line(0, address),
            "1 1 udp 2130706431 192.0.2.1 8000 typ host"
        );
        assert_eq!(
            host_line(1, address),
            "2 1 udp 2130706175 192.0.2.1 8000 typ host"
        );
    }
}
