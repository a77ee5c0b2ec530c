//! Connectivity checks that are valid, from addresses where their session is not.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use super::{a_broadcast_goes_on, spoofed::status, strangers::port};
use crate::{
    rtc::{Client, wire::Content},
    support::{Server, engines::with_each_engine},
};

/// Copies of a check, each from another address, and how many at once.
const COPIES: u16 = 20_000;
const BURST: u16 = 20;
const PAUSE: Duration = Duration::from_millis(2);
/// How much memory they may cost, in kB. Each used to cost 0.8 kB.
const MEMORY_MAX: u64 = 8000;
/// Bytes that may go to an address that has proven nothing: the answer to a check, and checks.
const UNPROVEN_MAX: usize = 2000;

/// A server with this engine for publishers and viewers.
fn on(engine: &str) -> Server {
    Server::start(&[
        "--webrtc.publisher_engine",
        engine,
        "--webrtc.viewer_engine",
        engine,
    ])
}

#[test]
fn copies_of_a_check_from_many_addresses_cost_nobody_anything() {
    let server = Server::start(&[]);
    a_broadcast_goes_on(&server, |_, viewers| {
        let (answer, check) = Client::ask_to_watch(&server, "live");
        let before = status(&server, "VmRSS:");
        for number in 0..COPIES {
            let [high, low] = number.to_be_bytes();
            let source = SocketAddr::from(([127, 2, high, low], 0));
            let socket = UdpSocket::bind(source).unwrap();
            socket.send_to(&check, port(&answer)).unwrap();
            if number % BURST == 0 {
                thread::sleep(PAUSE);
            }
        }
        for viewer in viewers {
            viewer.wait_for_frames(30);
        }
        let memory = status(&server, "VmRSS:").saturating_sub(before);
        println!("{memory} kB more");
        assert!(memory < MEMORY_MAX, "{memory} kB more");
    });
    assert_eq!(server.metric("aerial_queue_dropped_total"), 0);
    let refused = server.metric("aerial_datagrams_refused_total");
    assert!(refused > u64::from(COPIES) / 2, "{refused} refused");
}

#[test]
fn a_check_in_the_name_of_another_client_does_not_take_its_address() {
    with_each_engine(|engine| {
        no_address_is_taken(&on(engine));
    });
}

fn no_address_is_taken(server: &Server) {
    a_broadcast_goes_on(server, |publisher, viewers| {
        let (_, check) = Client::ask_to_watch(server, "live");
        for client in viewers.iter().chain([publisher]) {
            client.wire().forge(&check);
        }
        for viewer in viewers {
            viewer.wait_for_frames(150);
        }
        assert!(!publisher.is_closed());
    });
}

#[test]
fn a_check_from_elsewhere_brings_no_media_there() {
    with_each_engine(|engine| {
        no_media_goes_elsewhere(&on(engine));
    });
}

fn no_media_goes_elsewhere(server: &Server) {
    a_broadcast_goes_on(server, |publisher, _| {
        let viewer = Client::watch(server, "live");
        viewer.wait_for_frames(10);
        let victims = [publisher, &viewer].map(Victim::of);
        // Meanwhile the publisher gets reports, and requests for keyframes.
        viewer.wait_for_frames(60);
        for victim in victims {
            victim.expect_little();
        }
    });
}

/// An address that the checks of a client seem to come from.
struct Victim {
    socket: UdpSocket,
    checks: usize,
}

impl Victim {
    /// Sends the client's checks, some of which nominate, from elsewhere.
    fn of(client: &Client) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let checks = client.wire().sent(Content::Stun);
        assert!(checks.iter().any(|check| nominates(check)), "{checks:?}");
        for check in &checks {
            socket.send_to(check, port(&client.answer)).unwrap();
        }
        Self {
            socket,
            checks: checks.len(),
        }
    }

    fn expect_little(&self) {
        let mut buffer = [0; 2000];
        let mut bytes = 0;
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let is_media = (128..192).contains(&buffer[0]);
            assert!(!is_media, "{length} bytes of RTP or RTCP");
            bytes += length;
        }
        println!("{bytes} bytes");
        let answers = self.checks * 100;
        assert!(bytes < UNPROVEN_MAX + answers, "{bytes} bytes");
    }
}

/// Whether a check has the attribute USE-CANDIDATE (RFC 8445 §16.1).
fn nominates(check: &[u8]) -> bool {
    const REQUEST: [u8; 2] = [0, 1];
    const USE_CANDIDATE: [u8; 4] = [0, 0x25, 0, 0];
    let mut words = check.chunks_exact(4).skip(5);
    check.starts_with(&REQUEST) && words.any(|word| word == USE_CANDIDATE)
}
