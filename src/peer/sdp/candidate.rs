//! ICE candidate lines (RFC 8839 §5.1): webrtcbin's, and how ours are written.

use std::net::{IpAddr, SocketAddr};

use super::Transport;

/// Type preference of host candidates over UDP (RFC 8445 §5.1.2.2).
const UDP_HOST: u32 = 126;
/// The same over TCP, below every other type over UDP that is not relayed (RFC 6544 §4.2); browsers
/// have the same.
const TCP_HOST: u32 = 90;
/// Direction preference of a passive candidate.
const PASSIVE: u32 = 4;

/// Reads the text after `a=candidate:` of webrtcbin's: its address if it is a host candidate for UDP
/// on loopback.
pub(super) fn engine_host(value: &str) -> Option<SocketAddr> {
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
        && ip.is_loopback()
        && kind == "host";
    usable.then(|| SocketAddr::new(ip, port))
}

/// The texts after `a=candidate:` for the candidates of ours, best first.
pub(super) fn lines(transport: &Transport) -> impl Iterator<Item = String> {
    let udp = transport.candidates.iter().enumerate();
    let tcp = transport.tcp_candidates.iter().enumerate();
    let before = transport.candidates.len();
    udp.map(|(index, address)| udp_line(index, *address))
        .chain(tcp.map(move |(index, address)| tcp_line(before, index, *address)))
}

/// `index` is its place in the order of preference. Lower-case `udp` before `typ host`: `FFmpeg` looks
/// for both words.
fn udp_line(index: usize, address: SocketAddr) -> String {
    // RFC 8445 §5.1.2.1 with component 1.
    let local_preference = 65_535 - u32::try_from(index).unwrap_or(u32::MAX).min(65_535);
    let priority = (UDP_HOST << 24) | (local_preference << 8) | 255;
    format!(
        "{} 1 udp {priority} {} {} typ host",
        index + 1,
        address.ip(),
        address.port()
    )
}

/// `before` candidates have lower foundations. Firefox needs the `tcptype`.
fn tcp_line(before: usize, index: usize, address: SocketAddr) -> String {
    // RFC 6544 §4.2: the direction, passive, is the upper part of the local preference.
    let other_preference = 8191 - u32::try_from(index).unwrap_or(u32::MAX).min(8191);
    let local_preference = (PASSIVE << 13) | other_preference;
    let priority = (TCP_HOST << 24) | (local_preference << 8) | 255;
    format!(
        "{} 1 tcp {priority} {} {} typ host tcptype passive",
        before + index + 1,
        address.ip(),
        address.port()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webrtcbin_is_reached_on_loopback_only() {
        let good = "4 1 UDP 2015363327 127.0.0.1 50001 typ host";
        let address = "127.0.0.1:50001".parse().unwrap();
        assert_eq!(engine_host(good), Some(address));
        let bad = [
            "4 1 UDP 2015363327 192.0.2.1 50001 typ host",
            "4 1 TCP 1015021823 127.0.0.1 9 typ host tcptype active",
            "4 2 UDP 2015363327 127.0.0.1 50001 typ host",
            "4 1 UDP 2015363327 127.0.0.1 50001 typ srflx raddr 0.0.0.0 rport 0",
            "4 1 UDP 2015363327 127.0.0.1 0 typ host",
            "4 1 UDP 2015363327 127.0.0.1 99999 typ host",
            "4 1 UDP 2015363327 localhost 50001 typ host",
            "4 1 UDP",
            "",
        ];
        for line in bad {
            assert_eq!(engine_host(line), None, "{line}");
        }
    }

    #[test]
    fn candidates_are_written_in_order_of_preference() {
        let address = |text: &str| text.parse().unwrap();
        let transport = Transport {
            candidates: vec![address("192.0.2.1:8000"), address("[2001:db8::1]:8000")],
            tcp_candidates: vec![address("192.0.2.1:443"), address("[2001:db8::1]:443")],
            ..Transport::default()
        };
        let lines: Vec<_> = lines(&transport).collect();
        let expected = [
            "1 1 udp 2130706431 192.0.2.1 8000 typ host",
            "2 1 udp 2130706175 2001:db8::1 8000 typ host",
            "3 1 tcp 1520435199 192.0.2.1 443 typ host tcptype passive",
            "4 1 tcp 1520434943 2001:db8::1 443 typ host tcptype passive",
        ];
        assert_eq!(lines, expected);
    }
}
