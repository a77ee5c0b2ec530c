//! Datagrams of unknown senders on the UDP port, while a broadcast runs.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use super::a_broadcast_goes_on;
use crate::support::{Server, damage, damage::Random};

/// How many datagrams, and how many at once.
const DATAGRAMS: usize = 30_000;
const BURST: usize = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// The rest of the first line of an answer with this prefix.
pub(crate) fn line<'a>(answer: &'a str, start: &str) -> &'a str {
    let line = answer.lines().find_map(|line| line.strip_prefix(start));
    line.unwrap_or_else(|| panic!("no {start} in {answer}"))
}

pub(crate) fn port(answer: &str) -> SocketAddr {
    let mut words = line(answer, "a=candidate:").split_whitespace().skip(4);
    let (ip, port) = (words.next().unwrap(), words.next().unwrap());
    format!("{ip}:{port}").parse().unwrap()
}

/// A nominating binding request (RFC 8489 §5) with this user name and a random integrity value.
pub(super) fn binding(user: &str, random: &mut Random) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut add = |kind: u16, value: &[u8]| {
        attributes.extend(kind.to_be_bytes());
        attributes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        attributes.extend(value);
        attributes.resize(attributes.len().next_multiple_of(4), 0);
    };
    add(0x0006, user.as_bytes());
    add(0x0025, &[]);
    add(0x802a, &[1; 8]);
    add(0x0008, &random.bytes(20));
    let mut request = vec![0, 1];
    request.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
    request.extend(0x2112_a442_u32.to_be_bytes());
    request.extend(random.bytes(12));
    request.extend(attributes);
    request
}

/// A datagram of a kind that the port accepts, or of no known kind.
pub(crate) fn datagram(ufrag: &str, random: &mut Random) -> Vec<u8> {
    let known = format!("{ufrag}:stranger");
    let (length, rest) = (random.below(1200), random.below(60));
    let mut datagram = match random.below(6) {
        0 => binding(&known, random),
        1 => binding("nobody:stranger", random),
        // A handshake record of DTLS 1.2 that is not a ClientHello.
        2 => [
            &[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 60][..],
            &random.bytes(rest),
        ]
        .concat(),
        3 => [&[0x80, 96][..], &random.bytes(length)].concat(),
        // Reports and feedback.
        4 => [
            &[0x81, 200 + u8::try_from(rest % 8).unwrap()][..],
            &random.bytes(length),
        ]
        .concat(),
        _ => random.bytes(length),
    };
    if random.below(2) == 0 {
        datagram = damage::bytes(&datagram, random);
    }
    datagram
}

#[test]
fn datagrams_of_strangers_cost_nobody_anything() {
    let server = Server::start(&[]);
    a_broadcast_goes_on(&server, |_, viewers| {
        let answer = &viewers[0].answer;
        let (port, ufrag) = (port(answer), line(answer, "a=ice-ufrag:"));
        let mut random = Random(0x5eed);
        // All of 127.0.0.0/8 is this machine, so the senders have several addresses.
        let from = |last: usize| UdpSocket::bind(format!("127.0.0.{last}:0")).unwrap();
        let sockets: Vec<_> = (1..=8).map(from).collect();
        let before = server.count("sessions");
        for number in 0..DATAGRAMS {
            let socket = &sockets[number % sockets.len()];
            // Err: the kernel's buffer is full, or an earlier datagram was answered with an error.
            let _ = socket.send_to(&datagram(ufrag, &mut random), port);
            if number % BURST == 0 {
                thread::sleep(PAUSE);
            }
        }
        assert_eq!(server.count("sessions"), before);
    });
    assert!(server.metric("aerial_unknown_datagrams_total") > 1000);
}
