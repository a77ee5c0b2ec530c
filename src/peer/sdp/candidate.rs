//! ICE candidate lines (RFC 8839 §5.1): webrtcbin's, and how ours are written.

use std::net::{IpAddr, SocketAddr};

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
