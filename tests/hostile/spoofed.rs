//! Datagrams that seem to come from the publisher and the viewers of a running broadcast.

use std::{fs, thread, time::Duration};

use super::{
    a_broadcast_goes_on,
    strangers::{binding, line},
};
use crate::{
    rtc::{Client, wire::Content},
    support::{Server, damage, damage::Random},
};

/// Datagrams sent in the name of each client, and how many at once.
const DATAGRAMS: usize = 3000;
const BURST: usize = 10;
const PAUSE: Duration = Duration::from_millis(10);
/// How much each of the server's figures may have grown afterwards.
const MEMORY_MAX: u64 = 60_000;
const THREADS_MAX: u64 = 4;
const LOG_LINES_MAX: usize = 20;

/// A number from `/proc/PID/status`.
pub(crate) fn status(server: &Server, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let mut words = line(&status, name).split_whitespace();
    words.next().unwrap().parse().unwrap()
}

/// A DTLS 1.2 record (RFC 6347 §4.1).
fn record(content: u8, epoch: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let mut record = vec![content, 0xfe, 0xfd];
    record.extend(epoch.to_be_bytes());
    record.extend(&sequence.to_be_bytes()[2..]);
    record.extend(length);
    record.extend(body);
    record
}

fn byte(random: &mut Random) -> u8 {
    u8::try_from(random.below(256)).unwrap()
}

/// DTLS records that an attacker can make without keys.
fn dtls(random: &mut Random) -> Vec<u8> {
    const CLOSE_NOTIFY: [u8; 2] = [1, 0];
    let epoch = u16::try_from(random.below(4)).unwrap();
    let sequence = [0, 1, 2, 1 << 40][random.below(4)];
    let length = random.below(400);
    match random.below(8) {
        // Alerts that would end a session if the server trusted them.
        0 => record(21, epoch, sequence, &CLOSE_NOTIFY),
        1 => record(21, epoch, sequence, &[2, byte(random)]),
        // HelloRequest, and fragments of handshake messages that are never completed.
        2 => record(22, epoch, sequence, &[0; 12]),
        3 => {
            let mut body = vec![byte(random) % 21, 0xff, 0xff, 0xff, 0, 0];
            body.extend(random.bytes(6 + length));
            record(22, epoch, sequence, &body)
        }
        4 => record(20, epoch, sequence, &[1]),
        5 => record(23, epoch, sequence, &random.bytes(length)),
        // Records that are shorter than they claim.
        6 => {
            let mut cut = record(22, epoch, sequence, &random.bytes(length));
            cut.truncate(random.below(cut.len()));
            cut
        }
        // As long as a datagram can be.
        _ => {
            let length = [15_000, 17_000, 31_000, 60_000][random.below(4)];
            record(23, epoch, sequence, &random.bytes(length))
        }
    }
}

/// RTP or RTCP that resembles a real packet, with an authentication tag that cannot be right.
fn media(real: &[u8], answer: &str, random: &mut Random) -> Vec<u8> {
    let mut packet = real.to_vec();
    let tag = packet.len().saturating_sub(10);
    match random.below(5) {
        0 => {}
        // A sequence number or an index far ahead.
        1 => packet[2] = packet[2].wrapping_add(byte(random)),
        2 => packet[tag.saturating_sub(2)] ^= byte(random),
        // An unknown stream, with or without the mid of a section.
        3 => packet[8..12].copy_from_slice(&random.bytes(4)),
        _ => {
            let mut forged = vec![0x90, packet[1] & 0x7f];
            forged.extend(random.bytes(10));
            forged.extend(section_name(answer, random));
            forged.extend(random.bytes(300));
            return forged;
        }
    }
    packet[tag..].copy_from_slice(&random.bytes(real.len() - tag));
    packet
}

/// A header extension with the mid of one of the sections of an answer (RFC 8285, RFC 9143 §15).
fn section_name(answer: &str, random: &mut Random) -> Vec<u8> {
    let values = |name| {
        answer
            .lines()
            .filter_map(move |line| line.strip_prefix(name))
    };
    let mids: Vec<_> = values("a=mid:").collect();
    let mid = mids[random.below(mids.len())].as_bytes();
    let id = values("a=extmap:").find(|value| value.ends_with("sdes:mid"));
    let id = id.map_or(1, |value| {
        value.split([' ', '/']).next().unwrap().parse().unwrap()
    });
    let mut element = vec![(id << 4) | (u8::try_from(mid.len()).unwrap() - 1)];
    element.extend(mid);
    element.resize(element.len().next_multiple_of(4), 0);
    let words = u8::try_from(element.len() / 4).unwrap();
    [&[0xbe, 0xde, 0, words][..], &element].concat()
}

/// A forged datagram, made from what the client has sent.
pub(crate) fn datagram(client: &Client, number: usize, random: &mut Random) -> Vec<u8> {
    let content = Content::ALL[number % Content::ALL.len()];
    let real = client.wire().sent(content);
    let real = real.get(random.below(real.len())).cloned();
    let length = random.below(1200);
    let ufrag = line(&client.answer, "a=ice-ufrag:");
    match (random.below(8), content, real) {
        // Replayed.
        (0 | 1, _, Some(real)) => real,
        // With a few bytes changed.
        (2, _, Some(real)) => damage::bytes(&real, random),
        (3, _, _) => {
            let first = [0, 22, 128, 255][number % 4];
            [&[first][..], &random.bytes(length)].concat()
        }
        (4 | 5, Content::Stun, Some(mut real)) => {
            // The right user name with the wrong key.
            let tag = real.len() - random.below(20) - 1;
            real[tag] ^= byte(random) | 1;
            real
        }
        (_, Content::Stun, _) => binding(&format!("{ufrag}:stranger"), random),
        (_, Content::Dtls, _) => dtls(random),
        (_, _, Some(real)) => media(&real, &client.answer, random),
        (_, _, None) => random.bytes(length),
    }
}

/// Forges datagrams of every client while the broadcast runs.
fn spoof(arguments: &[&str]) {
    let server = Server::start(arguments);
    a_broadcast_goes_on(&server, |publisher, viewers| {
        let clients: Vec<_> = viewers.iter().chain([publisher]).collect();
        let lines = || server.lines().len();
        let before = (
            server.count("sessions"),
            status(&server, "VmRSS:"),
            status(&server, "Threads:"),
            lines(),
        );
        let mut random = Random(0x5eed);
        for number in 0..DATAGRAMS {
            for client in &clients {
                client.wire().forge(&datagram(client, number, &mut random));
            }
            if number % BURST == 0 {
                thread::sleep(PAUSE);
            }
        }
        assert_eq!(server.count("sessions"), before.0);
        assert!(clients.iter().all(|client| !client.is_closed()));
        let memory = status(&server, "VmRSS:").saturating_sub(before.1);
        assert!(memory < MEMORY_MAX, "{memory} kB more");
        let threads = status(&server, "Threads:").saturating_sub(before.2);
        assert!(threads <= THREADS_MAX, "{threads} threads more");
        let lines = lines() - before.3;
        assert!(lines < LOG_LINES_MAX, "{lines} lines more");
        println!("{memory} kB, {threads} threads, {lines} lines more");
        // Media still arrives.
        for viewer in viewers {
            viewer.wait_for_frames(30);
        }
    });
}

#[test]
fn datagrams_in_the_name_of_clients_do_nothing() {
    spoof(&["--webrtc.publisher_engine", "direct"]);
}

#[test]
fn datagrams_in_the_name_of_clients_of_webrtcbin_do_nothing() {
    spoof(&["--webrtc.viewer_engine", "webrtcbin"]);
}
