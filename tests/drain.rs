//! The end of a server in use: new sessions are refused, and running ones may go on for a while.

use crate::{
    rtc::{Client, clip},
    support::{Server, fixture, wait_for},
};

/// A server with a publisher and a viewer, which may continue for this long.
fn busy(time: &str) -> (Server, Client, Client) {
    let server = Server::start(&["--timeouts.drain_sessions", time]);
    let publisher = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(5);
    (server, publisher, viewer)
}

/// Waits until the server refuses new sessions, and checks how.
fn expect_refusals(server: &Server) {
    let refusal = wait_for("drain", || {
        let reply = server.get("/readyz");
        (reply.status == 503).then_some(reply)
    });
    assert_eq!(refusal.expect(503).problem(), "unready");
    for path in ["/whip/b", "/whep/a"] {
        let refusal = server.post_offer(path, &fixture("obs-media-level"));
        let refusal = refusal.expect(503);
        assert_eq!(refusal.problem(), "stopping");
        assert!(refusal.header("retry-after").is_some(), "{refusal:?}");
    }
    server.get("/healthz").expect(200);
}

#[test]
fn a_signal_lets_running_sessions_end() {
    let (mut server, publisher, viewer) = busy("10m");
    server.signal("TERM");
    expect_refusals(&server);
    viewer.wait_for_frames(20);
    server.delete(&viewer.session).expect(200);
    server.delete(&publisher.session).expect(200);
    assert!(server.wait_for_exit().success());
}

#[test]
fn a_second_signal_ends_the_sessions() {
    let (mut server, publisher, viewer) = busy("10m");
    server.signal("TERM");
    expect_refusals(&server);
    server.signal("INT");
    viewer.wait_for_goodbye();
    publisher.wait_for_goodbye();
    assert!(server.wait_for_exit().success());
}

#[test]
fn sessions_end_when_their_time_is_over() {
    let (mut server, _publisher, viewer) = busy("1s");
    server.signal("TERM");
    viewer.wait_for_goodbye();
    assert!(server.wait_for_exit().success());
}

#[test]
fn the_operator_drains_the_server() {
    let (mut server, _publisher, viewer) = busy("10m");
    let answer = server.request("POST", "/admin/drain", &[], "");
    assert_eq!(answer.expect(401).problem(), "token-missing");
    server.get("/readyz").expect(200);
    server.operate("GET", "/admin/drain", &[], "").expect(405);
    server.operate("POST", "/admin/drain", &[], "").expect(202);
    expect_refusals(&server);
    viewer.wait_for_frames(20);
    server.signal("TERM");
    viewer.wait_for_goodbye();
    assert!(server.wait_for_exit().success());
}

#[test]
fn a_server_without_sessions_stops_at_once() {
    let mut server = Server::demo(&["--timeouts.drain_sessions=10m"]);
    server.signal("TERM");
    assert!(server.wait_for_exit().success());
}
