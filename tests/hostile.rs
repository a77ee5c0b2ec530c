//! Nothing that a client or an outsider does affects the other clients.

mod bans;
mod candidates;
mod checks;
mod http2;
mod proxies;
mod requests;
mod seats;
pub(crate) mod spoofed;
pub(crate) mod strangers;

use std::time::{Duration, Instant};

use crate::{
    rtc::{Client, Mode, clip, wait_for_frames_of_all},
    support::{Server, engines::with_each_engine, wait_for},
};

/// What viewers may make a publisher send together: so many keyframes at once, and one in this time
/// in the long run (docs/architecture.md).
const KEYFRAMES_AT_ONCE: u128 = 4;
const KEYFRAME_INTERVAL: Duration = Duration::from_secs(2);

/// Checks that well-behaved viewers see everything while another one misbehaves.
fn others_lose_nothing(mode: Mode, engine: &str) -> (Server, Client, Client) {
    let server = Server::start(&["--timeouts.consent=30s", "--webrtc.viewer_engine", engine]);
    let publisher = Client::live(&server, "a", &clip::H264);
    let bad = Client::watch(&server, "a");
    let good: Vec<_> = (0..3).map(|_| Client::watch(&server, "a")).collect();
    bad.wait_for_frames(10);
    bad.set(mode);
    let seen = || good.iter().map(|viewer| viewer.video().frames.len());
    let (before, sent) = (seen().collect::<Vec<_>>(), publisher.pictures());
    // 100 frames of sound are two seconds.
    wait_for_frames_of_all(&good, 100);
    let sent = publisher.pictures() - sent;
    // As many frames as were sent in the meantime; those in flight may arrive first.
    wait_for("every frame", || {
        let came = seen().zip(&before).map(|(now, before)| now - before);
        came.min().filter(|&came| came >= sent)
    });
    // A viewer that joins now is served as well.
    let late = Client::watch(&server, "a");
    late.wait_for_frames(30);
    late.wait_for_all();
    assert_eq!(server.metric("aerial_queue_dropped_total"), 0);
    (server, publisher, bad)
}

/// Checks that viewers see everything while `harm` runs, which gets the publisher and the viewers.
pub(crate) fn a_broadcast_goes_on(server: &Server, harm: impl FnOnce(&Client, &[Client])) {
    let publisher = Client::live(server, "live", &clip::H264);
    let viewers: Vec<_> = (0..2).map(|_| Client::watch(server, "live")).collect();
    wait_for_frames_of_all(&viewers, 10);
    let seen = || viewers.iter().map(|viewer| viewer.video().frames.len());
    let (before, sent) = (seen().collect::<Vec<_>>(), publisher.pictures());
    harm(&publisher, &viewers);
    let sent = publisher.pictures() - sent;
    wait_for("every frame", || {
        let came = seen().zip(&before).map(|(now, before)| now - before);
        came.min().filter(|&came| came >= sent)
    });
    let late = Client::watch(server, "live");
    late.wait_for_frames(30);
    for viewer in &viewers {
        server.get(&viewer.session).expect(204);
    }
    server.get(&publisher.session).expect(204);
}

#[test]
fn a_viewer_that_does_not_read_costs_the_others_nothing() {
    let (server, _publisher, bad) = others_lose_nothing(Mode::Deaf, "direct");
    server.get(&bad.session).expect(204);
}

/// Rows W-113, E-34.
#[test]
fn a_viewer_that_floods_feedback_costs_the_others_nothing() {
    a_flood_is_capped("direct");
}

/// Rows W-113, E-34.
#[test]
fn a_viewer_on_webrtcbin_that_floods_feedback_costs_the_others_nothing() {
    a_flood_is_capped("webrtcbin");
}

fn a_flood_is_capped(engine: &str) {
    let (server, publisher, bad) = others_lose_nothing(Mode::Flood(20), engine);
    wait_for("flood", || (bad.flooded() > 10_000).then_some(()));
    server.get(&bad.session).expect(204);
    let sent = server.metric("aerial_sent_packets_total");
    server.delete(&bad.session).expect(200);
    // It requested thousands of packets; retransmissions may be at most half of what it is sent.
    wait_for("count of refusals", || {
        (server.metric("aerial_retransmissions_refused_total") > 1000).then_some(())
    });
    let again = server.metric("aerial_retransmitted_packets_total");
    assert!(0 < again && again < sent, "{again} again beside {sent}");
    // Nearly all of its requests for keyframes come too soon, or a fresh keyframe answers them.
    assert!(server.metric("aerial_keyframe_requests_capped_total") > 0);
    keyframes_are_within_the_budget(&publisher);
}

/// Any of the requests may have been delayed, so only their number counts.
fn keyframes_are_within_the_budget(publisher: &Client) {
    let requests = publisher.keyframe_requests();
    if let (Some(first), Some(last)) = (requests.first(), requests.last()) {
        let time = last.duration_since(*first).as_millis();
        let allowed = KEYFRAMES_AT_ONCE + 1 + time / KEYFRAME_INTERVAL.as_millis();
        assert!(requests.len() as u128 <= allowed, "{requests:?}");
    }
}

/// Row W-113.
#[test]
fn viewers_that_ask_all_the_time_cause_few_keyframes() {
    with_each_engine(|engine| {
        let server = Server::start(&["--webrtc.viewer_engine", engine]);
        // Every request counts: no keyframe comes without one.
        let publisher = Client::live_on_demand(&server, "a", &clip::H264);
        let good = Client::watch(&server, "a");
        let bad: Vec<_> = (0..5).map(|_| Client::watch(&server, "a")).collect();
        wait_for_frames_of_all(&bad, 10);
        let (before, begun) = (publisher.keyframe_requests().len(), Instant::now());
        for viewer in &bad {
            viewer.set(Mode::Flood(4));
        }
        // 8 s.
        good.wait_for_frames(240);
        good.wait_for_all();
        keyframes_are_within_the_budget(&publisher);
        let caused = publisher.keyframe_requests().len() - before;
        let time = begun.elapsed().as_millis();
        let allowed = 2 + time / KEYFRAME_INTERVAL.as_millis();
        assert!(
            (1..=allowed).contains(&(caused as u128)),
            "{engine}: {caused} in {time} ms"
        );
    });
}
