//! The wire below a client: what it has sent, and a way for others to send from its address, which
//! looks like a forged source address to the server.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{Mutex, MutexGuard},
};

/// How many of the first and of the last datagrams of each kind are kept.
const KEPT: usize = 16;

/// A kind of datagram (RFC 7983 §7, RFC 5761 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
}

impl Content {
    pub(crate) const ALL: [Self; 4] = [Self::Stun, Self::Dtls, Self::Rtp, Self::Rtcp];

    fn of(datagram: &[u8]) -> Self {
        match datagram {
            [20..64, ..] => Self::Dtls,
            [128..192, 192..224, ..] => Self::Rtcp,
            [128..192, ..] => Self::Rtp,
            _ => Self::Stun,
        }
    }
}

#[derive(Default)]
pub(crate) struct Wire {
    /// `None` in a client that never ran.
    socket: Option<UdpSocket>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    target: Option<SocketAddr>,
    sent: [Vec<Vec<u8>>; 4],
}

impl Wire {
    pub(super) fn new(socket: &UdpSocket) -> Self {
        Self {
            socket: Some(socket.try_clone().unwrap()),
            log: Mutex::default(),
        }
    }

    pub(super) fn note(&self, datagram: &[u8], target: SocketAddr) {
        let mut log = self.log();
        log.target = Some(target);
        let sent = &mut log.sent[Content::of(datagram) as usize];
        if sent.len() == 2 * KEPT {
            sent.remove(KEPT);
        }
        sent.push(datagram.to_vec());
    }

    /// The first and the last datagrams of this kind that were sent.
    pub(crate) fn sent(&self, content: Content) -> Vec<Vec<u8>> {
        self.log().sent[content as usize].clone()
    }

    /// Sends a datagram to the server, from the client's own address.
    pub(crate) fn forge(&self, datagram: &[u8]) {
        let target = self.log().target.unwrap();
        // Err: the kernel's buffer is full.
        let _ = self.socket.as_ref().unwrap().send_to(datagram, target);
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }
}
