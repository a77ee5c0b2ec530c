//! Pauses of the process, as of a suspended or migrating machine: nobody is given up for one.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Duration,
};

use crate::{
    conformance::tls::Certificate,
    outputs::{folder, server},
    rtc::{Client, clip},
    support::{PATIENCE, Server},
};

/// Twice what anybody may be silent for.
const PAUSE: Duration = Duration::from_secs(4);
const TIMEOUTS: &[&str] = &[
    "--timeouts.consent=2s",
    "--timeouts.stale=1s",
    "--timeouts.ended=2s",
];

#[test]
fn sessions_and_sources_survive_a_pause() {
    let folder = folder("pauses", &["demo.launch"], &[]);
    let config = "[broadcasts.card]\nsource = \"demo.launch\"\n\
        [broadcasts.direct]\npublisher_engine = \"direct\"\nviewer_engine = \"direct\"\n\
        [broadcasts.bin]\npublisher_engine = \"webrtcbin\"\nviewer_engine = \"webrtcbin\"\n";
    let server = server(&folder, config, TIMEOUTS);
    server.wait_for_state("card", "live");
    let _publishers = ["direct", "bin"].map(|name| Client::live(&server, name, &clip::H264));
    let viewers = ["direct", "bin", "card"].map(|name| Client::watch(&server, name));
    for viewer in &viewers {
        viewer.wait_for_frames(30);
    }

    server.signal("STOP");
    thread::sleep(PAUSE);
    server.signal("CONT");

    for viewer in &viewers {
        // What was sent during the pause, and more.
        viewer.wait_for_frames(60);
        assert!(!viewer.is_closed());
    }
    for why in ["vanished", "no_media", "connect_timeout", "failed"] {
        assert_eq!(server.ended(why), 0, "{why}");
    }
    assert_eq!(server.metric("aerial_source_restarts_total"), 0);
    assert_eq!(server.count("sessions"), 5);
}

/// Stops a server for twice as long as its HTTP waits for anything.
fn pause(server: &Server) {
    server.signal("STOP");
    thread::sleep(HTTP_PAUSE);
    server.signal("CONT");
    // Whatever ran out during the pause would have ended by now.
    thread::sleep(AFTERWARDS);
}

/// Twice what HTTP waits for anything.
const HTTP_PAUSE: Duration = Duration::from_secs(3);
const HTTP_TIMEOUTS: &[&str] = &[
    "--http.header_timeout=1500ms",
    "--http.write_timeout=1500ms",
];
const AFTERWARDS: Duration = Duration::from_millis(250);

#[test]
fn connections_survive_a_pause() {
    let server = Server::start(HTTP_TIMEOUTS);
    let open = |head: &str| {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let heads = ["", "GET /healthz HTTP/1.1\r\nHost: local"];
    let streams = heads.map(|head| (head, open(head)));
    pause(&server);
    let whole = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    for (head, mut stream) in streams {
        let rest = whole.strip_prefix(head).unwrap();
        // Err: it has been closed.
        let _ = stream.write_all(rest.as_bytes());
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply);
        assert!(reply.starts_with("HTTP/1.1 200"), "{head:?}: {reply}");
    }
}

#[test]
fn tls_handshakes_survive_a_pause() {
    let certificate = Certificate::new("pauses");
    let server = certificate.server(HTTP_TIMEOUTS);
    let mut stream = TcpStream::connect(server.address).unwrap();
    pause(&server);
    stream.set_read_timeout(Some(AFTERWARDS)).unwrap();
    // The server still waits for the client to begin.
    let waited = stream.read(&mut [0]).unwrap_err();
    assert_eq!(waited.kind(), std::io::ErrorKind::WouldBlock);
}
