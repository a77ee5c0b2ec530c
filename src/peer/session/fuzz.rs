//! Datagrams to a session on the direct engine, for [`crate::fuzz`].

pub(crate) mod peer;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use self::peer::port;
use super::{Incoming, PeerSession};
use crate::peer::{
    sdp::{self, Offer, Role},
    udp::{DatagramLimits, DatagramRoute},
};

/// What a client does, or what happens meanwhile.
pub(crate) enum Step<'a> {
    /// It sends these bytes as RTCP, encrypted.
    Rtcp(&'a [u8]),
    /// It sends these bytes as RTP, encrypted.
    Rtp(&'a [u8]),
    /// An attacker sends these bytes from its address.
    Forged(&'a [u8]),
    /// Time passes.
    Time(Duration, &'a [u8]),
}

/// The steps that `data` stands for, each after two bytes: two bits for the kind, eleven for how
/// many bytes belong to it. When time passes, four bits give the bytes and seven the milliseconds.
pub(crate) fn steps(data: &[u8]) -> impl Iterator<Item = Step<'_>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let (head, tail) = rest.split_first_chunk::<2>()?;
        let head = u16::from_be_bytes(*head);
        let time = head >> 14 == 3;
        let length = usize::from(if time { head >> 7 & 0xf } else { head & 0x7ff });
        let (bytes, tail) = tail.split_at_checked(length).unwrap_or((tail, &[]));
        rest = tail;
        Some(match head >> 14 {
            0 => Step::Rtcp(bytes),
            1 => Step::Rtp(bytes),
            2 => Step::Forged(bytes),
            _ => Step::Time(Duration::from_millis(u64::from(head & 0x7f)), bytes),
        })
    })
}

/// Feeds datagrams, each preceded by its length in two bytes, to a publisher's and a viewer's
/// session.
///
/// # Errors
/// If the offers cannot be used, or the system has no port.
pub(crate) fn datagrams(publish: &str, watch: &str, data: &[u8]) -> io::Result<()> {
    let here = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let port = port()?;
    let wrong = |error: sdp::Error| io::Error::other(error);
    let publisher = Offer::parse(publish.as_bytes(), Role::Publisher).map_err(wrong)?;
    let viewer = Offer::parse(watch.as_bytes(), Role::Viewer).map_err(wrong)?;
    let sent = Incoming::new(&publisher, &publisher.choose_publish().map_err(wrong)?);
    for (offer, incoming) in [(publisher, sent), (viewer, Incoming::default())] {
        let route = DatagramRoute::new(port.next_session(), DatagramLimits::VIEWER, |_| true);
        let (mut session, _) =
            PeerSession::accept(&offer, &port, route, incoming).map_err(wrong)?;
        let (mut rest, mut reports) = (data, Vec::new());
        while let Some((length, tail)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length) & 0x7ff);
            let (datagram, tail) = tail.split_at_checked(length).unwrap_or((tail, &[]));
            session.receive(Instant::now(), here(9).into(), datagram, &mut reports);
            rest = tail;
        }
        session.tick(Instant::now(), &mut reports);
        session.close(Instant::now());
    }
    Ok(())
}
