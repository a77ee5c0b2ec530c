//! Sessions that take the room of others and never connect.

use std::{net::UdpSocket, thread, time::Duration};

use super::strangers::port;
use crate::{
    rtc::{Client, clip},
    support::{Server, engines::with_each_engine, fixture, wait_for},
};

/// Viewers of one broadcast.
const VIEWERS: usize = 10;

/// Row E-56.
#[test]
fn sessions_that_never_connect_do_not_shut_out_who_connects() {
    with_each_engine(|engine| {
        let maximum = format!("--limits.viewers={VIEWERS}");
        let server = Server::start(&[&maximum, "--webrtc.viewer_engine", engine]);
        let _publisher = Client::live(&server, "a", &clip::H264);
        let seats = || server.count("viewers");
        for _ in 0..VIEWERS {
            let offer = fixture("chrome-whep-av");
            server.post_offer("/whep/a", &offer).expect(201);
        }
        let viewer = Client::watch(&server, "a");
        viewer.wait_for_frames(10);
        assert!(server.ended("yielded") > 0, "{engine}");
        // Long before `timeouts.connect`.
        wait_for("free seats", || (seats() == 1).then_some(()));
        assert_eq!(server.ended("connect_timeout"), 0, "{engine}");
        wait_for("reasons", || {
            let ended = server.ended("yielded") + server.ended("no_check");
            (ended == VIEWERS as u64).then_some(())
        });
        viewer.wait_for_frames(30);
        server.get(&viewer.session).expect(204);
    });
}

/// Row E-56.
///
/// After its first check, the client has `timeouts.connect` to connect.
#[test]
fn a_check_gives_a_session_time_to_connect() {
    with_each_engine(|engine| {
        let times = ["--timeouts.first_check=1s", "--timeouts.connect=4s"];
        let engine = ["--webrtc.viewer_engine", engine];
        let server = Server::start(&[times, engine].concat());
        let _publisher = Client::live(&server, "a", &clip::H264);
        let (answer, check) = Client::ask_to_watch(&server, "a");
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&check, port(&answer)).unwrap();
        wait_for("end", || {
            (server.ended("connect_timeout") == 1).then_some(())
        });
        assert_eq!(server.ended("no_check"), 0);
    });
}

/// Row W-106.
///
/// A client behind slow signalling trickles its candidates for longer than its first check may
/// take.
#[test]
fn a_patch_keeps_a_session_that_has_not_connected() {
    with_each_engine(|engine| {
        let engine = ["--webrtc.publisher_engine", engine];
        let server = Server::start(&[&engine[..], &["--timeouts.first_check=500ms"]].concat());
        let offer = fixture("obs-media-level");
        let created = server.post_offer("/whip/a", &offer).expect(201);
        let (session, etag) = (created.location(), created.etag());
        let value = |name| {
            let mut lines = offer.lines().filter_map(|line| line.strip_prefix(name));
            lines.next().unwrap().to_owned()
        };
        let (ufrag, pwd) = (value("a=ice-ufrag:"), value("a=ice-pwd:"));
        let fragment = format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
        for _ in 0..10 {
            thread::sleep(Duration::from_millis(100));
            let patch = server.patch(&session, &[("If-Match", &etag)], &fragment);
            patch.expect(204);
        }
        wait_for("end", || (server.ended("no_check") == 1).then_some(()));
        server.get(&session).expect(404);
    });
}
