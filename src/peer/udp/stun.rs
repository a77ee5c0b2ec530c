//! What the port reads of STUN (RFC 8489 §5) to find a datagram's session.

use std::net::{IpAddr, SocketAddr};

use super::UFRAG_CHARS;

/// Bytes of a transaction id.
const TRANSACTION_BYTES: usize = 12;

/// Identifies a request and its response.
pub(crate) type Transaction = [u8; TRANSACTION_BYTES];

/// A STUN message by which a session is found from whatever address it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stun {
    /// A binding request: the user name begins with the session's fragment (RFC 8445 §7.1.1).
    Request([u8; UFRAG_CHARS]),
    /// A success response to a session's own binding request.
    Success(Transaction),
}

/// Reads the beginning of a datagram; `None` if it is anything else.
pub(super) fn read(datagram: &[u8]) -> Option<Stun> {
    const BINDING_REQUEST: u16 = 0x0001;
    const BINDING_SUCCESS: u16 = 0x0101;
    const USERNAME: u16 = 0x0006;
    let [t0, t1, _, _, 0x21, 0x12, 0xa4, 0x42, ..] = *datagram else {
        return None;
    };
    match u16::from_be_bytes([t0, t1]) {
        BINDING_REQUEST => {
            let (ufrag, rest) = attribute(datagram, USERNAME)?.split_first_chunk()?;
            rest.starts_with(b":").then_some(Stun::Request(*ufrag))
        }
        BINDING_SUCCESS => transaction(datagram).map(Stun::Success),
        _ => None,
    }
}

/// The transaction id in a STUN message.
pub(crate) fn transaction(message: &[u8]) -> Option<Transaction> {
    let (_, rest) = message.split_at_checked(8)?;
    rest.first_chunk().copied()
}

/// A binding request that is not a check: it asks a server where it comes from (RFC 8489 §2).
/// `None` if the system has no random numbers.
pub(super) fn question() -> Option<[u8; 20]> {
    let mut request = [0; 20];
    request[1] = 0x01;
    request[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
    getrandom::fill(&mut request[8..]).ok()?;
    Some(request)
}

/// The same as a response, which the port takes for the one it expects.
pub(super) const fn as_response(mut question: [u8; 20]) -> [u8; 20] {
    question[0] = 0x01;
    question
}

/// The response to a request says where it came from (RFC 8489 §14.2).
pub(super) fn mapped_address(response: &[u8]) -> Option<SocketAddr> {
    const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    let mask = response.get(4..20)?;
    let value = attribute(response, XOR_MAPPED_ADDRESS)?;
    let [_, family, p0, p1, address @ ..] = value else {
        return None;
    };
    let port = u16::from_be_bytes([p0 ^ mask.first()?, p1 ^ mask.get(1)?]);
    let bytes: Vec<u8> = address
        .iter()
        .zip(mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    let ip = match family {
        1 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        2 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Whether a datagram is STUN (RFC 7983 §7).
pub(crate) const fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram, [0..4, ..])
}

fn attribute(message: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = message.get(20..)?;
    while let Some(([a0, a1, l0, l1], after)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if u16::from_be_bytes([*a0, *a1]) == wanted {
            return after.get(..length);
        }
        rest = after.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// Everything read from a datagram before its session is known.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn look(datagram: &[u8]) {
    let _ = (read(datagram), transaction(datagram), is_stun(datagram));
    let _ = mapped_address(datagram);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: [u8; 2], username: &[u8]) -> Vec<u8> {
        let mut message = vec![kind[0], kind[1], 0, 0, 0x21, 0x12, 0xa4, 0x42];
        message.extend([7; TRANSACTION_BYTES]);
        message.extend([0x80, 0x22, 0, 1, b'x', 0, 0, 0]);
        message.extend([0, 6]);
        message.extend(u16::try_from(username.len()).unwrap().to_be_bytes());
        message.extend(username);
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    #[test]
    fn a_binding_request_names_its_session() {
        let request = message([0, 1], b"abcdefgh:xyzz");
        assert_eq!(read(&request), Some(Stun::Request(*b"abcdefgh")));
    }

    #[test]
    fn a_response_names_its_request() {
        let response = message([1, 1], b"");
        assert_eq!(read(&response), Some(Stun::Success([7; 12])));
        assert_eq!(transaction(&response), Some([7; 12]));
        assert_eq!(read(&response[..19]), None);
    }

    /// RFC 5769 §2.2 and §2.3.
    #[test]
    fn a_response_says_where_the_request_came_from() {
        let header = [
            1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86,
            0xfa, 0x87, 0xdf, 0xae,
        ];
        let ipv4 = [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        let ipv6 = [
            0, 0x20, 0, 20, 0, 2, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc,
            0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        for (attribute, expected) in [
            (&ipv4[..], "192.0.2.1:32853"),
            (&ipv6[..], "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        ] {
            let response = [&header[..], attribute].concat();
            assert_eq!(mapped_address(&response), expected.parse().ok());
            assert_eq!(mapped_address(&response[..response.len() - 1]), None);
        }
        assert_eq!(mapped_address(&header), None);
    }

    #[test]
    fn other_datagrams_name_none() {
        let mut cut = message([0, 1], b"abcdefgh:xyzz");
        cut.truncate(40);
        for datagram in [
            message([0, 1], b"abcdefghi:x"),
            message([0, 1], b"abc:x"),
            message([0, 0x11], b"abcdefgh:x"),
            vec![22, 254, 253],
            vec![0x90; 40],
            Vec::new(),
            cut,
        ] {
            assert_eq!(read(&datagram), None, "{datagram:?}");
        }
    }
}
