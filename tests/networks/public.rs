//! The addresses by which the server is reached from beyond a NAT.

use std::{net::UdpSocket, process::Stdio, thread};

use crate::{
    rtc::{Client, clip},
    support::{PATIENCE, Server, aerial, fixture, wait_for},
};

/// The candidates over UDP in an answer, in order.
fn candidates(answer: &str) -> Vec<String> {
    let lines = answer
        .lines()
        .filter(|line| line.starts_with("a=candidate:"));
    let words = lines.map(|line| line.split(' ').collect::<Vec<_>>());
    words
        .filter(|words| words[2] == "udp")
        .map(|words| format!("{}:{}", words[4], words[5]))
        .collect()
}

/// A STUN server that sees everybody at 192.0.2.7:40000. Answers for as long as it is asked.
fn stun_server() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut request = [0; 100];
        while let Ok((length, source)) = socket.recv_from(&mut request) {
            assert_eq!(
                (length, &request[..2]),
                (20, &[0, 1][..]),
                "a plain question"
            );
            let mut response = request[..20].to_vec();
            response[..4].copy_from_slice(&[1, 1, 0, 12]);
            // RFC 8489 §14.2: combined with the magic cookie.
            response.extend([0, 0x20, 0, 8, 0, 1]);
            response.extend([0x9c ^ 0x21, 0x40 ^ 0x12]);
            response.extend([0xc0 ^ 0x21, 0x12, 0x02 ^ 0xa4, 0x07 ^ 0x42]);
            socket.send_to(&response, source).unwrap();
        }
    });
    port
}

#[test]
fn the_address_that_a_stun_server_sees_is_advertised_before_the_local_one() {
    let stun = format!("127.0.0.1:{}", stun_server());
    let server = Server::start(&["--webrtc.stun_server", &stun]);
    server.wait_for_line("the NAT's port", |line| line.has("public_port", "40000"));
    let publisher = Client::live(&server, "a", &clip::H264);
    let found = candidates(&publisher.answer);
    assert_eq!((found.len(), found[0].as_str()), (2, "192.0.2.7:40000"));
    assert!(found[1].starts_with("127.0.0.1:"), "{found:?}");
}

#[test]
fn names_are_advertised_by_their_addresses_and_can_replace_the_local_ones() {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--udp", "0.0.0.0:0"];
    let public = ["--webrtc.public_addresses", "192.0.2.1,localhost"];
    let only = ["--webrtc.local_addresses", "false", "--demo", "false"];
    let mut command = aerial(&[&arguments[..], &public, &only].concat());
    let server = Server::attach(command.stderr(Stdio::piped()).spawn().unwrap());
    wait_for("the name's addresses", || {
        let reply = server.post_offer("/whip/a", &fixture("obs-session-level"));
        if reply.status == 409 {
            return None; // the previous session is still ending
        }
        let reply = reply.expect(201);
        server.delete(&reply.location()).expect(200);
        let found = candidates(reply.text());
        let [first, second, rest @ ..] = &found[..] else {
            return None;
        };
        let local = |at: &String| at.starts_with("127.0.0.1:") || at.starts_with("::1:");
        let whole = first.starts_with("192.0.2.1:") && local(second) && rest.iter().all(local);
        whole.then_some(())
    });
}

#[test]
fn a_session_that_never_connects_says_how_far_it_has_come() {
    let server = Server::start(&["--timeouts.first_check", "2500ms"]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let (answer, _) = Client::ask_to_watch(&server, "a");
    let line = server.wait_for_line("reason", |line| line.has("stage", "unreached"));
    let advertised = line.field("advertised").unwrap();
    assert_eq!(advertised, candidates(&answer).join(","));
    assert!(line.has("role", "viewer"), "{line:?}");
}
