//! Media over TCP, on the port of HTTP: for clients whose network lets no UDP through (RFC 6544).

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::Relay;
use crate::{
    rtc::{Client, Mode, clip},
    support::{Server, wait_for},
    webrtcbin::{H264, OPUS, Peer},
};

const CONNECTIONS: &str = "aerial_media_tcp_connections";

/// The server's candidates over TCP, as the answer tells them.
fn tcp_candidates(answer: &str) -> Vec<SocketAddr> {
    let lines = answer
        .lines()
        .filter(|line| line.ends_with(" typ host tcptype passive"));
    let address = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        assert_eq!(words[2], "tcp", "{line}");
        SocketAddr::new(words[4].parse().unwrap(), words[5].parse().unwrap())
    };
    lines.map(address).collect()
}

/// Row W-85a.
#[test]
fn publishers_and_viewers_need_no_udp_on_the_direct_engine() {
    need_no_udp("direct");
}

#[test]
fn publishers_and_viewers_need_no_udp_on_webrtcbin() {
    need_no_udp("webrtcbin");
}

fn need_no_udp(engine: &str) {
    let engines = [
        "--webrtc.publisher_engine",
        engine,
        "--webrtc.viewer_engine",
        engine,
    ];
    let server = Server::start(&engines);
    let relays = [Relay::start_tcp(), Relay::start_tcp(), Relay::start_tcp()];
    let publisher = Client::publish_through(&server, "a", &clip::H264, &relays[0]);
    server.wait_for_state("a", "live");
    assert_eq!(tcp_candidates(&publisher.answer), [server.address]);
    let viewer = Client::watch_through(&server, "a", &relays[1]);
    let decoder = Peer::watch_through(&server, "/whep/a", &[H264, OPUS], &relays[2]);
    viewer.wait_for_frames(60);
    viewer.wait_for_all();
    decoder.wait_for_pictures(30);
    assert_eq!(server.metric(CONNECTIONS), 3);
    // Connections end with their sessions, after the goodbye.
    server.delete(&viewer.session).expect(200);
    viewer.wait_for_goodbye();
    publisher.set(Mode::Close);
    server.delete(&decoder.session).expect(200);
    wait_for("end of the connections", || {
        (server.metric(CONNECTIONS) == 0).then_some(())
    });
}

#[test]
fn a_viewer_that_reads_nothing_costs_the_others_nothing() {
    let server = Server::start(&[]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let (relay, stuck) = (Relay::start_tcp(), Relay::start_tcp());
    let viewer = Client::watch_through(&server, "a", &relay);
    let deaf = Client::watch_through(&server, "a", &stuck);
    deaf.wait_for_frames(5);
    stuck.stop_reading();
    let dropped = "aerial_send_dropped_total";
    wait_for("frames dropped", || {
        (server.metric(dropped) > 0).then_some(())
    });
    viewer.wait_for_frames(60);
    viewer.wait_for_all();
}

#[test]
fn strangers_are_shown_the_door() {
    let server = Server::start(&["--timeouts.first_check", "1m"]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let (answer, check) = Client::ask_to_watch(&server, "a");
    let framed = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length, bytes].concat()
    };
    let talk = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(bytes).unwrap();
        let mut said = Vec::new();
        // Err: a reset, because it has said more than was read.
        let _ = stream.read_to_end(&mut said);
        said
    };
    let mut stranger = check.clone();
    // Another user name: it begins after the header and the attribute's own.
    let mut attributes = stranger[20..].windows(2);
    let at = 20 + attributes.position(|two| two == [0, 6]).unwrap() + 4;
    stranger[at] ^= 1;
    let too_long = [0, 255]
        .iter()
        .chain(&[7; 255])
        .copied()
        .collect::<Vec<_>>();
    for bytes in [&framed(&stranger)[..], &framed(&[22; 40]), &too_long] {
        assert_eq!(talk(bytes), b"");
    }
    // The right name without the password: the time for a proof runs out.
    let mut forged = check.clone();
    // The last byte of MESSAGE-INTEGRITY, before FINGERPRINT (RFC 8489 §14.5, §14.7).
    let last = forged.len() - 9;
    forged[last] ^= 1;
    assert_eq!(talk(&framed(&forged)), b"");
    // A proper one is answered, with a response (RFC 8489 §5).
    let mut stream = TcpStream::connect(tcp_candidates(&answer)[0]).unwrap();
    stream.write_all(&framed(&check)).unwrap();
    let mut said = [0; 4];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(said[2..], [1, 1]);
}

#[test]
fn clients_behind_a_proxy_that_passes_tcp_on_are_limited_one_by_one() {
    let limits = [
        "--http.trusted_proxies",
        "127.0.0.1",
        "--limits.source_connections",
        "1",
    ];
    let server = Server::start(&limits);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let (_, check) = Client::ask_to_watch(&server, "a");
    let length = u16::try_from(check.len()).unwrap().to_be_bytes();
    let connect = |client: &str| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let hello = format!("PROXY TCP4 {client} 10.0.0.1 50000 443\r\n");
        let all = [hello.as_bytes(), &length, &check].concat();
        stream.write_all(&all).unwrap();
        let mut said = [0; 4];
        let answered = stream.read_exact(&mut said).is_ok();
        (stream, answered)
    };
    let first = connect("192.0.2.1");
    let second = connect("192.0.2.1");
    let other = connect("192.0.2.2");
    assert_eq!((first.1, second.1, other.1), (true, false, true));
}

#[test]
fn media_over_tcp_can_be_refused_or_have_a_port_of_its_own() {
    let server = Server::start(&["--webrtc.tcp", "false"]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let (answer, check) = Client::ask_to_watch(&server, "a");
    assert_eq!(tcp_candidates(&answer), []);
    drop((server, check));

    let server = Server::start(&["--webrtc.tcp", "127.0.0.1:0"]);
    let publisher = Client::live(&server, "a", &clip::H264);
    let own = tcp_candidates(&publisher.answer);
    assert_eq!((own.len(), own[1]), (2, server.address));
    let relay = Relay::start_tcp();
    Client::watch_through(&server, "a", &relay).wait_for_frames(30);
    let mut stream = TcpStream::connect(own[0]).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert_eq!(said, b"", "no HTTP there");
}
