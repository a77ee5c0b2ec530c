//! Who may publish under a name, and what viewers see when the publisher changes.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    rtc::{Client, Mode, clip},
    support::{Server, fixture, wait_for},
};

/// A live publisher of sound.
fn live(server: &Server) -> Client {
    let publisher = Client::talk(server, "a");
    server.wait_for_state("a", "live");
    publisher
}

/// Row W-101.
#[test]
fn a_live_publisher_is_protected() {
    let server = Server::start(&[]);
    let publisher = live(&server);
    let reply = server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(409);
    assert_eq!(reply.header("retry-after"), Some("2"));
    server.get(&publisher.session).expect(204);
    let viewer = Client::listen(&server, "a");
    viewer.wait_for_sound(10);
}

/// Row W-101.
#[test]
fn a_slide_show_is_protected() {
    // Between two pictures, only RTCP and consent checks show that the publisher is there.
    let servers =
        ["webrtcbin", "direct"].map(|engine| Server::start(&["--webrtc.publisher_engine", engine]));
    let _shows = servers
        .each_ref()
        .map(|server| Client::show(server, "a", &clip::VP8));
    for server in &servers {
        server.wait_for_state("a", "live");
    }
    let end = Instant::now() + Duration::from_secs(9);
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(500));
        for server in &servers {
            assert_eq!(server.state("a").as_deref(), Some("live"));
            server
                .post_offer("/whip/a", &fixture("obs-media-level"))
                .expect(409);
        }
    }
}

/// Row W-101.
#[test]
fn a_source_is_protected() {
    let server = Server::demo(&[]);
    server
        .post_offer("/whip/demo", &fixture("obs-media-level"))
        .expect(409);
}

/// Row W-102.
#[test]
fn replacing_can_be_allowed() {
    let server = Server::start(&["--webrtc.replace_live", "true"]);
    let publisher = live(&server);
    let _second = Client::talk(&server, "a");
    server.get(&publisher.session).expect(404);
}

/// Row W-102.
#[test]
fn a_stale_publisher_is_replaced_and_viewers_survive() {
    let server = Server::start(&[]);
    let first = live(&server);
    let viewer = Client::listen(&server, "a");
    viewer.wait_for_sound(10);
    first.set(Mode::Mute);
    server.wait_for_state("a", "stale");
    server.wait_for_line("line about it", |line| {
        line.target.ends_with("::supply") && line.level == "INFO" && line.field("session").is_some()
    });
    wait_for("a refusal", || {
        // What was on its way makes it live again.
        server.wait_for_state("a", "stale");
        let reply = server.post_offer("/whep/a", &fixture("chrome-whep-av"));
        (reply.status == 409).then_some(())
    });
    let _second = live(&server);
    server.get(&first.session).expect(404);
    viewer.wait_for_sound(10);
    assert!(!viewer.is_closed());
    server.get(&viewer.session).expect(204);
    wait_for("goodbye", || first.is_closed().then_some(()));
}

/// Row W-103.
#[test]
fn of_two_racing_publishers_one_wins() {
    let server = Server::start(&[]);
    for round in 0..5 {
        let path = format!("/whip/race{round}");
        let statuses: Vec<_> = thread::scope(|scope| {
            let post = || server.post_offer(&path, &fixture("obs-media-level")).status;
            let posts: Vec<_> = (0..2).map(|_| scope.spawn(post)).collect();
            posts.into_iter().map(|post| post.join().unwrap()).collect()
        });
        assert!(
            statuses.contains(&201) && statuses.contains(&409),
            "{statuses:?}"
        );
    }
}

/// Row W-107.
#[test]
fn a_connection_without_media_ends() {
    let server = Server::start(&["--timeouts.media", "1s"]);
    let publisher = Client::publish_in(Mode::Mute, &server, "a", &clip::VP8);
    wait_for("connection", || publisher.is_connected().then_some(()));
    assert_eq!(server.state("a").as_deref(), Some("waiting"));
    wait_for("end", || {
        (server.get(&publisher.session).status == 404).then_some(())
    });
    wait_for("goodbye", || publisher.is_closed().then_some(()));
    wait_for("reason", || (server.ended("no_media") == 1).then_some(()));
}

/// Row W-108.
#[test]
fn a_publisher_that_never_connected_is_replaced_at_once() {
    let server = Server::start(&[]);
    let first = server
        .post_offer("/whip/a", &fixture("obs-32.1-simulcast"))
        .expect(201);
    server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201);
    server.get(&first.location()).expect(404);
}

/// Row E-47.
#[test]
fn viewers_outlive_the_publisher_for_the_grace_period() {
    let server = Server::start(&["--timeouts.grace", "2s"]);
    let publisher = live(&server);
    let viewer = Client::listen(&server, "a");
    viewer.wait_for_sound(10);
    server.delete(&publisher.session).expect(200);
    server.wait_for_state("a", "waiting");
    server.get(&viewer.session).expect(204);
    // It comes back, and the same session continues.
    let publisher = live(&server);
    viewer.wait_for_sound(10);
    server.delete(&publisher.session).expect(200);
    wait_for("goodbye", || viewer.is_closed().then_some(()));
    server.get(&viewer.session).expect(404);
    wait_for("end of the broadcast", || {
        server.state("a").is_none().then_some(())
    });
}

/// Row W-109.
#[test]
fn a_broadcast_is_live_at_its_first_picture() {
    let server = Server::start(&[]);
    let publisher = Client::publish_in(Mode::Blind, &server, "a", &clip::VP8);
    wait_for("sound", || (server.count("publishers") == 1).then_some(()));
    thread::sleep(Duration::from_millis(200)); // ten frames of sound
    assert_eq!(server.state("a").as_deref(), Some("waiting"));
    let reply = server
        .post_offer("/whep/a", &fixture("chrome-whep-av"))
        .expect(409);
    assert_eq!(reply.header("retry-after"), Some("1"));
    publisher.set(Mode::Normal);
    server.wait_for_state("a", "live");
    let tracks = server.get("/api/broadcasts/a").json()["tracks"].to_string();
    assert!(
        tracks.contains("vp8") && tracks.contains("opus"),
        "{tracks}"
    );
    server
        .post_offer("/whep/a", &fixture("chrome-whep-av"))
        .expect(201);
}

/// Row E-35.
#[test]
fn viewers_are_closed_when_the_tracks_have_changed() {
    let server = Server::start(&[]);
    let publisher = live(&server);
    let all = Client::watch(&server, "a");
    // Its offer asks for sound only.
    let listener = Client::listen(&server, "a");
    listener.wait_for_sound(10);
    server.delete(&publisher.session).expect(200);
    let _publisher = Client::live(&server, "a", &clip::VP8);
    // It asked for a picture that did not exist then but does now.
    wait_for("goodbye", || all.is_closed().then_some(()));
    server.get(&all.session).expect(404);
    listener.wait_for_sound(10);
    let viewer = Client::listen(&server, "a");
    viewer.wait_for_sound(10);
}

/// Rows E-52, W-97d.
#[test]
fn delete_says_goodbye() {
    let server = Server::start(&[]);
    let publisher = live(&server);
    let viewer = Client::listen(&server, "a");
    viewer.wait_for_sound(10);
    server.delete(&viewer.session).expect(200);
    wait_for("goodbye to the viewer", || viewer.is_closed().then_some(()));
    server.delete(&publisher.session).expect(200);
    wait_for("goodbye to the publisher", || {
        publisher.is_closed().then_some(())
    });
}

/// Row W-97g.
#[test]
fn a_publisher_that_vanishes_is_noticed() {
    let server = Server::start(&["--timeouts.stale", "500ms", "--timeouts.ended", "2s"]);
    let publisher = live(&server);
    let session = publisher.session.clone();
    drop(publisher);
    server.wait_for_state("a", "stale");
    wait_for("end", || (server.get(&session).status == 404).then_some(()));
    wait_for("reason", || (server.ended("vanished") == 1).then_some(()));
}

/// Row W-97h.
#[test]
fn stop_says_goodbye() {
    let mut server = Server::start(&[]);
    let publisher = live(&server);
    let viewer = Client::listen(&server, "a");
    viewer.wait_for_sound(10);
    server.signal("TERM");
    assert!(server.wait_for_exit().success());
    wait_for("goodbye", || {
        (publisher.is_closed() && viewer.is_closed()).then_some(())
    });
}
