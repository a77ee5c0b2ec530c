//! Connectivity checks that are valid, from addresses where their session is not.

use std::{
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use super::{a_broadcast_goes_on, spoofed::status, strangers::port};
use crate::{
    rtc::{Client, wire::Content},
    support::Server,
};

/// Copies of a check, each from another address, and how many at once.
const COPIES: u16 = 20_000;
const BURST: u16 = 20;
const PAUSE: Duration = Duration::from_millis(2);
/// How much memory they may cost, in kB. Each used to cost 0.8 kB.
const MEMORY_MAX: u64 = 8000;
/// Bytes that may go to an address that has proven nothing: the answer to a check, and checks.
const UNPROVEN_MAX: usize = 2000;

/// What carries publishers and viewers.
const ENGINES: [&str; 2] = ["direct", "webrtcbin"];

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
    for engine in ENGINES {
        no_address_is_taken(&on(engine));
    }
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
    for engine in ENGINES {
        no_media_goes_elsewhere(&on(engine));
    }
}

fn no_media_goes_elsewhere(server: &Server) {
    a_broadcast_goes_on(server, |_, _| {
        let viewer = Client::watch(server, "live");
        viewer.wait_for_frames(10);
        let victim = UdpSocket::bind("127.0.0.1:0").unwrap();
        victim.set_nonblocking(true).unwrap();
        for check in viewer.wire().sent(Content::Stun) {
            victim.send_to(&check, port(&viewer.answer)).unwrap();
        }
        viewer.wait_for_frames(60);
        let mut buffer = [0; 2000];
        let mut bytes = 0;
        while let Ok(length) = victim.recv(&mut buffer) {
            bytes += length;
        }
        println!("{bytes} bytes");
        let answers = viewer.wire().sent(Content::Stun).len() * 100;
        assert!(bytes < UNPROVEN_MAX + answers, "{bytes} bytes");
    });
}
