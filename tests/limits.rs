//! Limits of what clients can make the server do, and what it says about those it turns away.

use std::fs;

use crate::{
    rtc::{Client, clip},
    support::{SDP, Server, engines::with_each_engine, fixture, wait_for},
};

/// What each UDP socket should get in each direction, in bytes.
const UDP_BUFFER: u64 = 4 << 20;

#[test]
fn a_limit_of_the_kernel_on_udp_buffers_is_named_with_its_option() {
    let server = Server::start(&[]);
    let named = server.lines();
    for (metric, option) in [
        ("aerial_udp_send_buffer_bytes", "wmem_max"),
        ("aerial_udp_receive_buffer_bytes", "rmem_max"),
    ] {
        let limit = fs::read_to_string(format!("/proc/sys/net/core/{option}")).unwrap();
        let limit: u64 = limit.trim().parse().unwrap();
        assert_eq!(server.metric(metric), UDP_BUFFER.min(limit), "{option}");
        let option = format!("net.core.{option}");
        let is_named = named
            .iter()
            .any(|line| line.level == "WARN" && line.field("option") == Some(&*option));
        assert_eq!(is_named, limit < UDP_BUFFER, "{option} is {limit}");
    }
}

#[test]
fn a_publisher_above_its_bit_rate_is_asked_for_less_and_then_ended() {
    with_each_engine(|engine| {
        let server = Server::start(&[
            "--limits.publisher_bitrate=60",
            "--webrtc.publisher_engine",
            engine,
        ]);
        let publisher = Client::live(&server, "a", &clip::H264_LARGE);
        wait_for("request for less", || {
            (publisher.asked_bitrate() > 0).then_some(())
        });
        assert_eq!(publisher.asked_bitrate(), 54_000, "{engine}");
        publisher.wait_for_goodbye();
        wait_for("end", || {
            (server.ended("bitrate_exceeded") == 1).then_some(())
        });
    });
}

#[test]
fn an_offer_alone_starts_no_encoder() {
    let server = Server::start(&["--timeouts.first_check=15s"]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let source = Client::watch(&server, "a");
    let offer = fixture("chrome-whep-av");
    for _ in 0..4 {
        let offer = offer.replace("H264/90000", "other/90000");
        server.post_offer("/whep/a", &offer).expect(201);
    }
    source.wait_for_frames(60);
    assert_eq!(server.pipeline_starts("renditions"), 0);
}

#[test]
fn a_viewer_that_ends_by_itself_gives_its_place_back() {
    let server = Server::start(&["--limits.source_viewers=1", "--timeouts.first_check=1s"]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let offer = fixture("chrome-whep-av");
    for ended in 1..=2 {
        server.post_offer("/whep/a", &offer).expect(201);
        server.post_offer("/whep/a", &offer).expect(429);
        wait_for("end", || (server.ended("no_check") == ended).then_some(()));
    }
}

#[test]
fn a_refused_publisher_leaves_a_trace() {
    let server = Server::start(&[]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let offer = fixture("obs-session-level");
    let agent = ("User-Agent", "OBS-Studio/32.1");
    let nothing = server.get("/api/broadcasts/a/refusal").expect(200).json();
    assert!(nothing["reason"].is_null(), "{nothing}");
    let useless = offer
        .replace("opus/48000/2", "PCMU/8000")
        .replace("H264/90000", "H263/90000");
    for (method, path, body, status, reason) in [
        ("POST", "/whip/a", offer.as_str(), 409, "name-taken"),
        ("PUT", "/whip/a", "", 405, "method-not-allowed"),
        ("POST", "/whip/a%20b", offer.as_str(), 404, "not-found"),
        ("POST", "/whip", offer.as_str(), 401, "name-missing"),
        ("POST", "/whip/b", useless.as_str(), 422, "codec-mismatch"),
        ("POST", "/whip/a", "v=0", 400, "malformed"),
    ] {
        let request = server.request(method, path, &[SDP, agent], body);
        request.expect(status);
        let metric = format!("aerial_publishers_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(server.metric(&metric), 1, "{reason}");
        server.wait_for_line(&format!("line about {status}"), |line| {
            line.target.ends_with("refusals")
                && line.has("status", &status.to_string())
                && line.has("user_agent", agent.1)
                && line.has("client", "127.0.0.1")
        });
    }
    let last = server.get("/api/broadcasts/a/refusal").expect(200).json();
    assert_eq!(
        (&last["status"], &last["reason"]),
        (&400.into(), &"malformed".into())
    );
    assert_eq!(last["user_agent"], agent.1, "{last}");
}

#[test]
fn only_who_may_publish_sees_the_last_refusal() {
    let server = Server::start(&[
        "--auth.publish_token=secret-of-mine",
        "--auth.watch_token=secret-of-all",
    ]);
    let offer = fixture("obs-session-level");
    let watching = ("Authorization", "Bearer secret-of-all");
    server
        .request("POST", "/whip/a", &[watching, SDP], &offer)
        .expect(403);
    server.post_offer("/whip/a", &offer).expect(401);
    for (status, reason) in [("403", "token-insufficient"), ("401", "token-missing")] {
        let metric = format!("aerial_publishers_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(server.metric(&metric), 1, "{reason}");
        server.wait_for_line(&format!("line about {status}"), |line| {
            line.target.ends_with("refusals") && line.has("status", status)
        });
    }
    server.get("/api/broadcasts/a/refusal").expect(401);
    let token = ("Authorization", "Bearer secret-of-mine");
    let request = server.request("GET", "/api/broadcasts/a/refusal", &[token], "");
    let last = request.expect(200).json();
    assert_eq!(last["reason"], "token-missing", "{last}");
    // Whoever succeeds leaves nothing to explain.
    let request = server.request("POST", "/whip/a", &[token, SDP], &offer);
    request.expect(201);
    let request = server.request("GET", "/api/broadcasts/a/refusal", &[token], "");
    let last = request.expect(200).json();
    assert!(last["reason"].is_null(), "{last}");
}

#[test]
fn a_broadcast_may_be_called_s() {
    let server = Server::start(&[]);
    let publisher = Client::live(&server, "s", &clip::H264);
    let viewer = Client::watch(&server, "s");
    viewer.wait_for_frames(10);
    server.get(&publisher.session).expect(204);
    assert_eq!(server.state("s").as_deref(), Some("live"));
    server.get("/watch/s").expect(200);
    // By its alias it is the same broadcast, which is taken.
    let offer = fixture("obs-session-level");
    server.post_offer("/s/whip", &offer).expect(409);
    server
        .post_offer("/s/whep", &fixture("chrome-whep-av"))
        .expect(201);
}

#[test]
fn a_slash_at_the_end_of_an_endpoint_does_not_matter() {
    let server = Server::start(&[]);
    let offer = fixture("obs-session-level");
    for path in ["/whip/a/", "/b/whip/"] {
        server.post_offer(path, &offer).expect(201);
    }
}

#[test]
fn a_token_publishes_so_many_broadcasts() {
    let server = Server::start(&[
        "--auth.publish_token=secret-of-mine",
        "--limits.token_broadcasts=2",
    ]);
    let offer = fixture("obs-session-level");
    let sdp = ("Content-Type", "application/sdp");
    let token = ("Authorization", "Bearer secret-of-mine");
    let publish = |name: &str| {
        let path = format!("/whip/{name}");
        server.request("POST", &path, &[sdp, token], &offer)
    };
    let first = publish("a").expect(201);
    publish("b").expect(201);
    publish("c").expect(503);
    // Taking over one's own broadcast needs no more room.
    publish("b").expect(201);
    server
        .request("DELETE", &first.location(), &[token], "")
        .expect(200);
    publish("c").expect(201);
}
