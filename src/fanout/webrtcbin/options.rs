//! What a connection is made with, and what it tells whoever feeds it.

use std::{net::IpAddr, sync::Arc, time::Duration};

use crate::peer::{element::Ports, udp::LocalAddresses};

/// How a viewer's connection is made, and when it is given up.
#[derive(Clone, Debug)]
pub struct ConnectionOptions {
    /// ICE candidates are gathered on these addresses only; on all if empty.
    pub addresses: LocalAddresses,
    /// Addresses announced in front of the local ones: 1:1 NAT with the same ports.
    pub public_addresses: Vec<IpAddr>,
    /// The ports to use on these addresses; the system's choice if `None`.
    pub ports: Option<Ports>,
    /// From the answer to ICE and DTLS being up.
    pub connect: Duration,
    /// Without any RTCP from the viewer while media is sent to it.
    pub consent: Duration,
}

/// What a connection reports to its worker, on threads that must not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fanout) enum Feedback {
    /// The outlet is open.
    Connected,
    /// The viewer's decoder needs a keyframe (PLI or FIR).
    KeyframeWanted,
}

/// Where a connection reports it.
pub(super) type OnFeedback = Arc<dyn Fn(Feedback) + Send + Sync>;
