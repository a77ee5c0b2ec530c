//! Rows that need media or a connection.

use std::{
    thread,
    time::{Duration, Instant},
};

use aerial::for_tests::packets;

use super::{on_both_engines, server};
use crate::{
    rtc::{Client, Mode, clip, obs},
    support::{Server, engines::with_each_engine, fixture, wait_for},
};

/// Frames to wait for.
const FRAMES: usize = 20;

fn ended(server: &Server, session: &str) {
    wait_for("end of the session", || {
        (server.get(session).status == 404).then_some(())
    });
}

/// Rows W-62, W-64, W-114.
#[test]
fn obs_publishes_without_candidates() {
    on_both_engines(|server, _| {
        // Its packets carry header extensions that were never negotiated.
        let publisher = obs::publish(server, "a");
        server.wait_for_state("a", "live");
        let viewer = Client::watch(server, "a");
        viewer.wait_for_frames(FRAMES);
        viewer.wait_for_all();
        assert!(!publisher.is_closed() && publisher.sent_extensions());
    });
}

/// Row E-28.
#[test]
fn a_viewer_without_candidates_plays() {
    let server = Server::start(&[]);
    let _publisher = Client::talk(&server, "a");
    server.wait_for_state("a", "live");
    let viewer = Client::listen_without_candidates(&server, "a");
    viewer.wait_for_sound(10);
}

/// Row E-32.
#[test]
fn the_first_picture_waits_for_no_keyframe() {
    // The publisher is silent, so whatever arrives was kept by the server.
    let server = Server::start(&["--timeouts.stale", "1m", "--timeouts.ended", "2m"]);
    let publisher = Client::live(&server, "a", &clip::H264);
    let sent = publisher.pictures();
    wait_for("pictures", || {
        (publisher.pictures() > sent + clip::GOP).then_some(())
    });
    publisher.set(Mode::Mute);
    for _ in 0..2 {
        let viewer = Client::watch(&server, "a");
        wait_for("a picture", || {
            (!viewer.video().frames.is_empty()).then_some(())
        });
        let beginning = viewer.video().beginning;
        assert!(packets::has_parameter_sets(&beginning), "{beginning:?}");
    }
}

/// Row E-33.
#[test]
fn streams_are_continuous_and_have_reports() {
    let server = Server::start(&[]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a");
    let begun = Instant::now();
    wait_for("sender reports", || {
        (viewer.video().reported && viewer.audio().reported).then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(5));
    viewer.wait_for_frames(FRAMES);
    viewer.wait_for_all();
    // Media from before the viewer joined is played fast; from then on the stream runs in real
    // time.
    let frames: Vec<_> = viewer.video().frames.into_iter().collect();
    for two in frames[frames.len() - FRAMES / 2..].windows(2) {
        // 30 frames a second in units of 1/90 000 s, which GStreamer's clock recovery shifts a bit.
        let step = two[1] - two[0];
        assert!((2000..4000).contains(&step), "{step}");
    }
}

/// Rows W-97d, W-97f.
#[test]
fn whoever_leaves_hears_and_says_goodbye() {
    on_both_engines(|server, engine| {
        let publisher = Client::live(server, "a", &clip::VP8);
        let begun = Instant::now();
        server.delete(&publisher.session).expect(200);
        wait_for("alert", || publisher.heard_goodbye().then_some(()));
        assert!(begun.elapsed() < Duration::from_secs(1), "{engine}");

        let publisher = Client::live(server, "b", &clip::VP8);
        let begun = Instant::now();
        publisher.set(Mode::Close);
        ended(server, &publisher.session);
        assert!(begun.elapsed() < Duration::from_secs(2), "{engine}");
        // OBS sends DELETE only after it has closed the connection.
        server.delete(&publisher.session).expect(404);
    });
}

/// Rows W-97g, E-55.
#[test]
fn a_vanished_peer_is_noticed() {
    with_each_engine(|engine| {
        let times = ["--timeouts.ended=2s", "--timeouts.consent=2s"];
        let server = server(engine, &times);
        let publisher = Client::live(&server, "a", &clip::VP8);
        let viewer = Client::watch(&server, "a");
        viewer.wait_for_frames(FRAMES);
        let session = viewer.session.clone();
        drop(viewer);
        ended(&server, &session);
        assert_eq!(server.count("viewers"), 0);
        let session = publisher.session.clone();
        drop(publisher);
        ended(&server, &session);
    });
}

/// Row W-112.
#[test]
fn a_session_outlives_every_timeout() {
    with_each_engine(|engine| {
        let times = [
            "--timeouts.connect=2s",
            "--timeouts.media=1s",
            "--timeouts.stale=1s",
            "--timeouts.ended=1s",
            "--timeouts.consent=2s",
        ];
        let server = server(engine, &times);
        let publisher = Client::live(&server, "a", &clip::VP8);
        let viewer = Client::watch(&server, "a");
        thread::sleep(Duration::from_secs(3));
        viewer.wait_for_frames(FRAMES);
        for session in [&publisher.session, &viewer.session] {
            server.get(session).expect(204);
            server.delete(session).expect(200);
        }
    });
}

/// Rows W-106, W-107, W-108.
#[test]
fn publishers_that_do_not_go_on_lose_the_name() {
    with_each_engine(|engine| {
        let times = ["--timeouts.connect=1s", "--timeouts.media=1s"];
        let server = server(engine, &times);
        let silent = server
            .post_offer("/whip/a", &fixture("obs-media-level"))
            .expect(201)
            .location();
        let mute = Client::publish_in(Mode::Mute, &server, "b", &clip::VP8);
        ended(&server, &silent);
        ended(&server, &mute.session);
        wait_for("reason", || (server.ended("no_media") == 1).then_some(()));
        let [first, second] = [(), ()].map(|()| {
            let reply = server.post_offer("/whip/c", &fixture("obs-32.1-simulcast"));
            reply.expect(201).location()
        });
        server.get(&first).expect(404);
        server.get(&second).expect(204);
        assert_eq!(server.count("sessions"), 1);
    });
}

/// Rows W-101, W-102, W-103.
#[test]
fn a_live_publisher_holds_its_name() {
    with_each_engine(|engine| {
        let server = server(engine, &["--timeouts.stale=500ms"]);
        let first = Client::live(&server, "a", &clip::VP8);
        let offer = fixture("obs-media-level");
        let reply = server.post_offer("/whip/a", &offer).expect(409);
        assert!(reply.header("retry-after").is_some());
        first.set(Mode::Silent);
        server.wait_for_state("a", "stale");
        server.post_offer("/whip/a", &offer).expect(201);
        server.get(&first.session).expect(404);
        wait_for("goodbye", || first.heard_goodbye().then_some(()));
        let statuses: Vec<_> = thread::scope(|scope| {
            let post = || server.post_offer("/whip/race", &offer).status;
            let posts: Vec<_> = (0..2).map(|_| scope.spawn(post)).collect();
            posts.into_iter().map(|post| post.join().unwrap()).collect()
        });
        assert!(
            statuses.contains(&201) && statuses.contains(&409),
            "{engine}: {statuses:?}"
        );
    });
}

/// A fragment with credentials that the session does not know yet.
const RESTART: &str = "a=ice-ufrag:new1new1\r\na=ice-pwd:nnnnnnnnnnnnnnnnnnnnnnnn\r\n\
     m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=end-of-candidates\r\n";

/// Row W-96a.
#[test]
fn media_flows_on_during_a_restart() {
    on_both_engines(|server, _| media_flows_on(server));
}

fn media_flows_on(server: &Server) {
    let publisher = Client::talk(server, "a");
    server.wait_for_state("a", "live");
    let viewer = Client::listen(server, "a");
    viewer.wait_for_sound(10);
    let mid = publisher.answer.split("a=mid:").nth(1).unwrap();
    let mid = mid.lines().next().unwrap();
    let fragment = RESTART.replace("a=mid:0", &format!("a=mid:{mid}"));
    let any = [("If-Match", "*")];
    server
        .patch(&publisher.session, &any, &fragment)
        .expect(200);
    viewer.wait_for_sound(50);
    server.get(&publisher.session).expect(204);
}

/// Rows W-96b, W-96c.
#[test]
fn a_publisher_restarts_ice() {
    on_both_engines(|server, _| restarts(server));
}

fn restarts(server: &Server) {
    let created = server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201);
    let session = created.location();
    server.patch(&session, &[], RESTART).expect(428);
    let stale = [("If-Match", "\"stale\"")];
    server.patch(&session, &stale, RESTART).expect(412);
    let etag = created.etag();
    let present = [("If-Match", etag.as_str())];
    let reply = server.patch(&session, &present, RESTART).expect(200);
    assert_eq!(
        reply.header("content-type"),
        Some("application/trickle-ice-sdpfrag")
    );
    assert_ne!(reply.etag(), etag);
    for part in [
        "a=ice-lite\r\n",
        "a=ice-ufrag:",
        "a=ice-pwd:",
        "a=candidate:",
        "a=end-of-candidates\r\n",
    ] {
        assert!(reply.text().contains(part), "{part} in {}", reply.text());
    }
    let line = |text: &str| {
        let mut lines = text.lines();
        let found = lines.find(|line| line.starts_with("a=ice-pwd:"));
        found.unwrap().to_owned()
    };
    assert_ne!(line(reply.text()), line(created.text()));
    server.patch(&session, &present, RESTART).expect(412);
}
