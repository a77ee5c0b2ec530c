//! The PROXY protocol, versions 1 and 2 (`doc/proxy-protocol.txt` of `HAProxy`): how a proxy that
//! passes bytes on says who has connected to it.
//!
//! It is recognized by its first bytes, which no HTTP request and no TLS handshake begins with.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use tokio::{io::AsyncReadExt as _, net::TcpStream, time::sleep};

/// First bytes of version 1.
const V1: &[u8] = b"PROXY ";
/// First bytes of version 2.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of version 1, its line end included.
const V1_BYTES_MAX: usize = 107;
/// Longest rest of a header of version 2: addresses and extensions. The standard allows more;
/// nobody sends it.
const V2_BYTES_MAX: usize = 2048;
/// Most first bytes that anyone looks for.
const PEEK_BYTES_MAX: usize = 16;
/// Shortest and longest pause before looking again for the rest of the first bytes.
const PEEK_PAUSE_MIN: Duration = Duration::from_millis(5);
const PEEK_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Whom a header speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaker {
    Client(IpAddr),
    /// The proxy itself, or a client that it does not know.
    Proxy,
}

/// Reads the header that a trusted proxy may have sent before anything else. `None` without one,
/// or if the proxy speaks for itself.
///
/// # Errors
/// A header that is not as it should be, or a connection that ends.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    if begins_with(stream, V1).await? {
        let mut line = Vec::with_capacity(V1_BYTES_MAX);
        while !line.ends_with(b"\r\n") {
            if line.len() == V1_BYTES_MAX {
                return Err(malformed());
            }
            // Byte by byte: what follows is not ours. The kernel has it all.
            line.push(stream.read_u8().await?);
        }
        return client(parse_v1(&line));
    }
    if begins_with(stream, V2).await? {
        let mut head = [0; 16];
        stream.read_exact(&mut head).await?;
        let [.., command, family, high, low] = head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > V2_BYTES_MAX {
            return Err(malformed());
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        return client(parse_v2(command, family, &rest));
    }
    Ok(None)
}

/// Whether these are the next bytes. Waits for as many as it takes to know; takes none.
pub(super) async fn begins_with(stream: &TcpStream, expected: &[u8]) -> io::Result<bool> {
    let mut first = [0; PEEK_BYTES_MAX];
    let mut pause = PEEK_PAUSE_MIN;
    loop {
        let count = stream.peek(&mut first).await?;
        let bytes = first.get(..count).unwrap_or_default();
        if bytes.len() >= expected.len() {
            return Ok(bytes.starts_with(expected));
        }
        if bytes.is_empty() || !expected.starts_with(bytes) {
            return Ok(false);
        }
        // The socket is readable and stays so: waiting for more would not wait.
        sleep(pause).await;
        pause = PEEK_PAUSE_MAX.min(pause * 2);
    }
}

fn client(speaker: Option<Speaker>) -> io::Result<Option<IpAddr>> {
    match speaker {
        Some(Speaker::Client(address)) => Ok(Some(address)),
        Some(Speaker::Proxy) => Ok(None),
        None => Err(malformed()),
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "malformed PROXY header")
}

/// A line of version 1.
fn parse_v1(line: &[u8]) -> Option<Speaker> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = line.strip_prefix("PROXY ")?.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(Speaker::Proxy);
    }
    let (client, destination) = (words.next()?, words.next()?);
    let address: IpAddr = match family {
        "TCP4" => client.parse::<Ipv4Addr>().ok()?.into(),
        "TCP6" => client.parse::<Ipv6Addr>().ok()?.into(),
        _ => return None,
    };
    destination.parse::<IpAddr>().ok()?;
    for _ in 0..2 {
        words.next()?.parse::<u16>().ok()?;
    }
    words.next().is_none().then_some(Speaker::Client(address))
}

/// A header of version 2: its 13th and 14th byte, and what follows the length.
fn parse_v2(command: u8, family: u8, rest: &[u8]) -> Option<Speaker> {
    match (command, family) {
        // TCP over IPv4, over IPv6.
        (0x21, 0x11) => {
            let (client, _) = rest.get(..12)?.split_first_chunk::<4>()?;
            Some(Speaker::Client(Ipv4Addr::from(*client).into()))
        }
        (0x21, 0x21) => {
            let (client, _) = rest.get(..36)?.split_first_chunk::<16>()?;
            Some(Speaker::Client(Ipv6Addr::from(*client).into()))
        }
        // Another family, or LOCAL: a health check of the proxy's own.
        (0x20 | 0x21, _) => Some(Speaker::Proxy),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> Speaker {
        Speaker::Client(text.parse().unwrap())
    }

    #[test]
    fn version_1() {
        for (line, expected) in [
            (
                "PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n",
                Some(client("192.0.2.1")),
            ),
            (
                "PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
                Some(client("2001:db8::1")),
            ),
            ("PROXY UNKNOWN\r\n", Some(Speaker::Proxy)),
            (
                "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n",
                Some(Speaker::Proxy),
            ),
            ("PROXY TCP4 2001:db8::1 ::1 1 2\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n", None),
            ("PROXY TCP4  192.0.2.1 10.0.0.1 1 2\r\n", None),
            ("PROXY \r\n", None),
        ] {
            assert_eq!(parse_v1(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn version_2() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0, 1, 0, 2];
        assert_eq!(parse_v2(0x21, 0x11, &v4), Some(client("192.0.2.1")));
        assert_eq!(
            parse_v2(0x21, 0x11, &[&v4[..], &[3, 0, 0]].concat()),
            Some(client("192.0.2.1"))
        );
        assert_eq!(parse_v2(0x21, 0x11, &v4[..11]), None);
        let mut v6 = [0; 36];
        v6[15] = 1;
        assert_eq!(parse_v2(0x21, 0x21, &v6), Some(client("::1")));
        assert_eq!(parse_v2(0x21, 0x21, &v4), None);
        assert_eq!(parse_v2(0x20, 0, &[]), Some(Speaker::Proxy));
        assert_eq!(parse_v2(0x21, 0x31, &[0; 216]), Some(Speaker::Proxy));
        assert_eq!(parse_v2(0x11, 0x11, &v4), None, "another version");
    }
}
