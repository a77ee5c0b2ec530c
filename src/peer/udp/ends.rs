//! The two ends of a connection.

use std::net::{IpAddr, SocketAddr};

/// Where a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemoteEnd {
    /// Its address.
    pub address: SocketAddr,
    /// The number of its TCP connection; `None` over UDP.
    pub connection: Option<u64>,
}

impl From<SocketAddr> for RemoteEnd {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
        }
    }
}

/// The two ends of a peer's datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPair {
    /// The peer's end.
    pub remote: RemoteEnd,
    /// The server's address that the peer uses; `None` leaves the choice to the kernel.
    pub local: Option<IpAddr>,
}

impl<R: Into<RemoteEnd>> From<R> for AddressPair {
    fn from(remote: R) -> Self {
        Self {
            remote: remote.into(),
            local: None,
        }
    }
}
