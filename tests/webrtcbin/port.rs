//! webrtcbin behind the one UDP port.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    process::Stdio,
};

use crate::{
    hostile::strangers,
    networks::{Path, Relay},
    rtc::{Client, clip},
    support::{Server, aerial},
    workers,
};

/// Publishers and viewers on webrtcbin.
const ENGINES: [&str; 4] = [
    "--webrtc.publisher_engine",
    "webrtcbin",
    "--webrtc.viewer_engine",
    "webrtcbin",
];

/// The local addresses of the UDP sockets of a server and its workers (IPv4).
fn sockets(server: &Server) -> Vec<SocketAddrV4> {
    let own: Vec<_> = workers::all_workers(server)
        .into_iter()
        .map(|(_, pid)| pid)
        .chain([server.pid()])
        .flat_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).unwrap())
        .filter_map(|file| fs::read_link(file.unwrap().path()).ok())
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    let table = fs::read_to_string(format!("/proc/{}/net/udp", server.pid())).unwrap();
    let address = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (ip, port) = words[1].split_once(':').unwrap();
        // The kernel writes the bytes as the machine orders them.
        let ip = u32::from_str_radix(ip, 16).unwrap().to_ne_bytes();
        let port = u16::from_str_radix(port, 16).unwrap();
        let is_own = own.contains(&format!("socket:[{}]", words[9]));
        is_own.then(|| SocketAddrV4::new(Ipv4Addr::from(ip), port))
    };
    table.lines().skip(1).filter_map(address).collect()
}

#[test]
fn nothing_else_is_open_to_the_network() {
    let arguments = [
        &["serve", "--listen", "127.0.0.1:0", "--udp", "0.0.0.0:0"][..],
        &["--demo", "false"],
        &ENGINES,
    ];
    let mut command = aerial(&arguments.concat());
    let server = Server::attach(command.stderr(Stdio::piped()).spawn().unwrap());
    let publisher = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(30);
    let port = strangers::port(&publisher.answer).port();
    for answer in [&publisher.answer, &viewer.answer] {
        let candidates = answer
            .lines()
            .filter(|line| line.starts_with("a=candidate:") && line.contains(" udp "));
        let ports: Vec<_> = candidates.map(|line| line.split(' ').nth(5)).collect();
        let expected = port.to_string();
        let all = ports.iter().all(|port| *port == Some(&expected));
        assert!(all && !ports.is_empty(), "{answer}");
    }
    let sockets = sockets(&server);
    let (inside, outside): (Vec<_>, Vec<_>) =
        sockets.into_iter().partition(|at| at.ip().is_loopback());
    assert!(outside.iter().all(|at| at.port() == port), "{outside:?}");
    assert!(!outside.is_empty());
    assert_eq!(
        inside.len(),
        4,
        "one for each relay and each webrtcbin: {inside:?}"
    );
}

#[test]
fn publishers_and_viewers_that_move_are_followed() {
    let server = Server::start(&ENGINES);
    let [near, far] = [0, 1].map(|_| Relay::start(Path::default()));
    let publisher = Client::publish_through(&server, "a", &clip::H264, &near);
    server.wait_for_state("a", "live");
    let viewer = Client::watch_through(&server, "a", &far);
    viewer.wait_for_frames(30);
    for relay in [&near, &far] {
        relay.rebind();
        viewer.wait_for_frames(150);
    }
    assert!(!publisher.is_closed() && !viewer.is_closed());
    for session in [&publisher.session, &viewer.session] {
        server.get(session).expect(204);
    }
}
