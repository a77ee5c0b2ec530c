//! What the port reads of STUN (RFC 8489 §5) to find a datagram's session.

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
