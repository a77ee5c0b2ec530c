//! Datagrams to a session of the direct engine, for [`crate::fuzz`].

pub(crate) mod peer;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use str0m::media::Direction;
use tokio::sync::mpsc;

use self::peer::{Adversary, port};
use super::{Incoming, Publisher, PublisherOptions, Session, StreamInput, Task, reorder::JUMP};
use crate::{
    media::{Codec, Packet},
    peer::{
        sdp::{self, Offer, Role},
        udp::{self, Destination, Route},
    },
};

/// What a client does, or what happens meanwhile.
pub(crate) enum Step<'a> {
    /// It sends these bytes as RTCP, encrypted.
    Rtcp(&'a [u8]),
    /// It sends these bytes as RTP, encrypted.
    Rtp(&'a [u8]),
    /// Somebody sends these bytes from its address.
    Forged(&'a [u8]),
    /// Time passes.
    Time(Duration, &'a [u8]),
}

/// The steps that `data` stands for, each behind two bytes: two bits say what, eleven how many bytes
/// belong to it. When time passes, four bits say how many bytes and seven how many milliseconds.
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

/// What a connected publisher may send: no bytes from its address end the session, and packets
/// come out in order. Returns how many.
///
/// # Errors
/// If the connection does not come about.
pub(crate) fn publisher(data: &[u8]) -> io::Result<u64> {
    let (mut now, seen) = (Instant::now(), Arc::default());
    let mut peer = Adversary::new(Direction::SendOnly)?;
    let (mut task, answer) = accept(&peer, &seen)?;
    peer.connect(&mut now, &answer, |now, source, datagram| {
        task.step(now, Some((source, datagram)));
        task.is_connected()
    })?;
    for step in steps(data) {
        let datagram = match step {
            Step::Rtcp(bytes) => peer.rtcp(bytes),
            Step::Rtp(bytes) => peer.rtp(&peer.named(bytes)),
            Step::Forged(bytes) => Some(peer.named(bytes)),
            Step::Time(later, _) => {
                now += later;
                None
            }
        };
        let datagram = datagram.as_ref().map(|it| (peer.address, it.as_slice()));
        let ended = task.step(now, datagram);
        assert!(ended.is_none(), "{ended:?}");
    }
    Ok(seen.load(Ordering::Relaxed))
}

/// The server's end of a publisher, without a runtime, and its answer.
fn accept(peer: &Adversary, seen: &Arc<AtomicU64>) -> io::Result<(Task, String)> {
    let offer = Offer::parse(peer.offer.as_bytes(), Role::Publisher).map_err(io::Error::other)?;
    let options = PublisherOptions {
        jitter: Duration::from_millis(50),
        consent_timeout: Duration::from_hours(1),
        running_time: || Duration::from_secs(1),
    };
    let (events, _) = mpsc::channel(4);
    let inputs = vec![in_order(Codec::Vp8, seen), in_order(Codec::Opus, seen)];
    let (_, task, answer) =
        Publisher::accept(&offer, &port()?, options, inputs, events).map_err(io::Error::other)?;
    Ok((task, answer))
}

/// A stream whose packets must come in order.
fn in_order(codec: Codec, seen: &Arc<AtomicU64>) -> StreamInput {
    let seen = Arc::clone(seen);
    let next = AtomicU64::new(0);
    StreamInput {
        codec,
        rid: None,
        sink: Arc::new(move |packet: Packet| {
            let before = next.swap(packet.sequence + 1, Ordering::Relaxed);
            let back = before.saturating_sub(packet.sequence);
            assert!(back == 0 || back > JUMP, "{before} {}", packet.sequence);
            seen.fetch_add(1, Ordering::Relaxed);
        }),
    }
}

/// Feeds datagrams, each behind its length in two bytes, to a publisher's and a viewer's session.
///
/// # Errors
/// If the offers cannot be used, or the system has no port.
pub(crate) fn datagrams(publish: &str, watch: &str, data: &[u8]) -> io::Result<()> {
    let here = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
    let port = port()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_that_has_failed_is_left_alone() {
        // RFC 5246 §7.2: fatal, and still in clear.
        let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40];
        let mut peer = Adversary::new(Direction::SendOnly).unwrap();
        let (mut task, answer) = accept(&peer, &Arc::default()).unwrap();
        let mut ended = false;
        let connected = peer.connect(&mut Instant::now(), &answer, |now, source, datagram| {
            let dtls = (20..64).contains(&datagram[0]);
            let datagram = if dtls { &alert } else { datagram };
            ended |= task.step(now, Some((source, datagram))).is_some();
            for _ in 0..3 {
                task.step(now + Duration::from_secs(1), None);
            }
            false
        });
        assert!(connected.is_err() && ended);
    }
}
