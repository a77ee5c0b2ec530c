//! Datagrams to a session of the direct engine, for [`crate::fuzz`].

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Instant,
};

use super::{Incoming, Session};
use crate::peer::{
    sdp::{self, Offer, Role},
    udp::{self, Destination, Port, Route},
};

/// Feeds datagrams, each behind its length in two bytes, to a publisher's and a viewer's session.
///
/// # Errors
/// If the offers cannot be used, or the system has no port.
pub(crate) fn datagrams(publish: &str, watch: &str, data: &[u8]) -> io::Result<()> {
    let here = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let port = Port::bind(&udp::Options {
        listen: here(0),
        public_addresses: Vec::new(),
        loopback: true,
    })?;
    let wrong = |error: sdp::Error| io::Error::other(error);
    let publisher = Offer::parse(publish.as_bytes(), Role::Publisher).map_err(wrong)?;
    let viewer = Offer::parse(watch.as_bytes(), Role::Viewer).map_err(wrong)?;
    let choices = publisher.choose_publish().map_err(wrong)?;
    let sent = Incoming::new(&publisher, &choices);
    for (offer, incoming) in [(publisher, sent), (viewer, Incoming::default())] {
        let route = Route {
            session: port.next_session(),
            to: Destination::Worker(0),
        };
        let (mut session, _) = Session::accept(&offer, &port, route, incoming).map_err(wrong)?;
        let (mut rest, mut reports) = (data, Vec::new());
        while let Some((length, tail)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length) & 0x7ff);
            let (datagram, tail) = tail.split_at_checked(length).unwrap_or((tail, &[]));
            udp::stun_nominates(datagram);
            udp::is_stun_success(datagram);
            session.receive(Instant::now(), here(9), datagram, &mut reports);
            rest = tail;
        }
        session.tick(Instant::now(), &mut reports);
        session.close(Instant::now());
    }
    Ok(())
}
