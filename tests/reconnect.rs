//! A publisher reconnects and its viewers keep playing.

use crate::{
    outputs::{folder, server as shaping},
    rtc::{Client, Mode, clip, wait_for_frames_of_all},
    support::{Server, wait_for},
};

const VIEWERS: usize = 3;

/// A live broadcast and its viewers.
fn audience(server: &Server) -> (Client, Vec<Client>) {
    let publisher = Client::live(server, "a", &clip::H264);
    let viewers: Vec<_> = (0..VIEWERS).map(|_| Client::watch(server, "a")).collect();
    wait_for_frames_of_all(&viewers, 20);
    (publisher, viewers)
}

/// Every viewer keeps playing on the session it negotiated at first.
fn goes_on(server: &Server, viewers: &[Client]) {
    wait_for_frames_of_all(viewers, 45);
    for viewer in viewers {
        assert!(!viewer.is_closed() && !viewer.heard_goodbye());
        server.get(&viewer.session).expect(204);
    }
}

#[test]
fn viewers_go_on_when_the_publisher_starts_anew() {
    let server = Server::start(&[]);
    let (mut publisher, viewers) = audience(&server);
    for _ in 0..2 {
        server.delete(&publisher.session).expect(200);
        publisher = Client::live(&server, "a", &clip::H264);
        goes_on(&server, &viewers);
    }
    assert_eq!(server.count("viewers"), VIEWERS as u64);
}

#[test]
fn viewers_go_on_when_the_publisher_was_killed() {
    let server = Server::start(&["--timeouts.stale=500ms"]);
    let (publisher, viewers) = audience(&server);
    drop(publisher);
    server.wait_for_state("a", "stale");
    let _publisher = Client::live(&server, "a", &clip::H264);
    goes_on(&server, &viewers);
}

#[test]
fn viewers_go_on_when_the_codec_is_another() {
    let server = Server::start(&[]);
    let (publisher, viewers) = audience(&server);
    server.delete(&publisher.session).expect(200);
    let _publisher = Client::live(&server, "a", &clip::VP8);
    goes_on(&server, &viewers);
    let viewer = Client::watch_only(&server, "a", &clip::VP8);
    viewer.wait_for_frames(20);
}

#[test]
fn viewers_are_closed_when_the_codec_is_another_and_nothing_is_transcoded() {
    let folder = folder("closed", &[], &[]);
    let server = shaping(&folder, "[defaults]\ntranscode = false\n", &[]);
    let (publisher, viewers) = audience(&server);
    server.delete(&publisher.session).expect(200);
    let _publisher = Client::live(&server, "a", &clip::VP8);
    for viewer in &viewers {
        wait_for("goodbye", || viewer.heard_goodbye().then_some(()));
        wait_for("end", || viewer.is_closed().then_some(()));
        server.get(&viewer.session).expect(404);
    }
    let viewer = Client::watch(&server, "a");
    assert!(viewer.answer.contains(" VP8/90000"), "{}", viewer.answer);
    viewer.wait_for_frames(20);
}

#[test]
fn a_publisher_that_says_goodbye_can_come_back_at_once() {
    let server = Server::start(&[]);
    let (publisher, viewers) = audience(&server);
    publisher.set(Mode::Close);
    // Without a DELETE, the DTLS close_notify tells the server.
    wait_for("end", || {
        (server.get(&publisher.session).status == 404).then_some(())
    });
    let _publisher = Client::live(&server, "a", &clip::H264);
    goes_on(&server, &viewers);
}
