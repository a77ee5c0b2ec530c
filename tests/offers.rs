//! Offers: what is answered and what is refused.

use std::collections::HashSet;

use crate::{
    rtc::{Client, clip},
    support::{Reply, SDP, Server, fixture, wait_for},
};

fn check_created(reply: &Reply, prefix: &str) {
    assert_eq!(reply.header("content-type"), Some("application/sdp"));
    assert_eq!(
        reply.header("content-length").unwrap(),
        reply.body.len().to_string()
    );
    assert_eq!(reply.header("transfer-encoding"), None);
    assert_eq!(reply.header("content-encoding"), None);
    assert_eq!(
        reply.header("accept-patch"),
        Some("application/trickle-ice-sdpfrag")
    );
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert!(reply.location().starts_with(prefix));
    let etag = reply.etag();
    assert!(
        etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2,
        "{etag}"
    );
    // OBS splits the header at its first space.
    assert!(reply.head.contains("\r\nlocation: /"), "{}", reply.head);
    let answer = reply.text();
    assert!(answer.starts_with("v=0\r\n") && answer.ends_with("\r\n"));
    assert!(answer.split("\r\n").all(|line| !line.contains('\n')));
    assert!(answer.len() < 8192);
}

/// Rows W-25 to W-30, W-33, W-34, W-36.
#[test]
fn a_publisher_is_answered_with_everything_it_needs() {
    let server = Server::start(&[]);
    let reply = server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201);
    check_created(&reply, "/whip/s/");
    assert!(reply.head.starts_with("HTTP/1.1 201 Created\r\n"));
}

/// Row E-09.
#[test]
fn a_viewer_is_answered_with_everything_it_needs() {
    let server = Server::demo(&[]);
    let reply = server
        .post_offer("/whep/demo", &fixture("chrome-whep-av"))
        .expect(201);
    check_created(&reply, "/whep/s/");
}

/// Row W-11.
#[test]
fn chunked_bodies_and_expect_100_continue_work() {
    let server = Server::start(&[]);
    let offer = fixture("obs-media-level");
    let head =
        "HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/sdp\r\n";
    let chunked = format!(
        "POST /whip/a {head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{offer}\r\n0\r\n\r\n",
        offer.len()
    );
    server.raw(&[chunked.as_bytes()]).expect(201);
    let expecting = format!(
        "POST /whip/b {head}Expect: 100-continue\r\nContent-Length: {}\r\n\r\n{offer}",
        offer.len()
    );
    server.raw(&[expecting.as_bytes()]).expect(201);
}

/// Rows W-32, W-33.
#[test]
fn ids_and_tags_are_unique() {
    let server = Server::start(&[]);
    let offer = fixture("ffmpeg-av");
    let (mut ids, mut tags) = (HashSet::new(), HashSet::new());
    for _ in 0..20 {
        let reply = server.post_offer("/whip/a", &offer).expect(201);
        let id = reply.location().rsplit_once('/').unwrap().1.to_owned();
        assert!(id.len() >= 32, "{id}");
        assert!(ids.insert(id) && tags.insert(reply.etag()));
    }
    let prefix = |length: usize| {
        ids.iter()
            .map(|id| &id[..length])
            .collect::<HashSet<_>>()
            .len()
    };
    assert!(prefix(6) > 18, "{ids:?}");
}

/// Row W-37.
#[test]
fn a_second_post_is_a_second_session() {
    let server = Server::start(&[]);
    let offer = fixture("obs-media-level");
    let [first, second] =
        [(), ()].map(|()| server.post_offer("/whip/a", &offer).expect(201).location());
    assert_ne!(first, second);
}

/// Rows W-38, W-39, W-40, E-30.
#[test]
fn only_sdp_is_taken_as_an_offer() {
    let server = Server::demo(&[]);
    for (path, offer) in [
        ("/whip/a", "obs-media-level"),
        ("/whep/demo", "chrome-whep-av"),
    ] {
        let offer = fixture(offer);
        for headers in [
            &[][..],
            &[("Content-Type", "application/json")],
            &[("Content-Type", "")],
        ] {
            let reply = server.request("POST", path, headers, &offer).expect(415);
            assert_eq!(reply.header("accept-post"), Some("application/sdp"));
        }
        let headers = [("Content-Type", "Application/SDP; charset=utf-8")];
        server.request("POST", path, &headers, &offer).expect(201);
    }
}

/// Rows W-41, W-42, E-30, E-42.
#[test]
fn text_that_is_no_offer_is_refused() {
    let server = Server::demo(&[]);
    let offer = fixture("obs-media-level");
    let truncated = &offer[..offer.find("m=video").unwrap() + 5];
    let session_only = &offer[..offer.find("m=audio").unwrap()];
    for path in ["/whip/a", "/whep/demo"] {
        for body in [
            &b""[..],
            b"hello",
            b"\xff\xfe\x00",
            b"v=0\r\n",
            truncated.as_bytes(),
            session_only.as_bytes(),
        ] {
            server.request_bytes("POST", path, &[SDP], body).expect(400);
        }
    }
    assert_eq!(server.count("sessions"), 0);
}

/// Row W-43.
#[test]
fn large_bodies_are_refused() {
    let server = Server::start(&[]);
    let body = "a".repeat(200 * 1024);
    server.post_offer("/whip/a", &body).expect(413);
    let mut chunked =
        "POST /whip/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n\
                       Transfer-Encoding: chunked\r\n\r\n"
            .to_owned();
    for _ in 0..50 {
        chunked += &format!("1000\r\n{}\r\n", "a".repeat(0x1000));
    }
    server.raw(&[chunked.as_bytes(), b"0\r\n\r\n"]).expect(413);
    // Size is checked before type.
    server.request("POST", "/whip/a", &[], &body).expect(413);
}

/// Row W-44.
#[test]
fn bare_line_feeds_are_accepted() {
    let server = Server::start(&[]);
    let offer = fixture("obs-media-level").replace("\r\n", "\n");
    server.post_offer("/whip/a", &offer).expect(201);
}

/// Rows W-45, W-46, W-69.
#[test]
fn offers_without_ice_or_dtls_are_refused() {
    let server = Server::start(&[]);
    let offer = fixture("obs-media-level");
    let without = |what: &str| {
        offer
            .lines()
            .filter(|line| !line.starts_with(what))
            .fold(String::new(), |text, line| text + line + "\r\n")
    };
    for attribute in ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup"] {
        server
            .post_offer("/whip/a", &without(attribute))
            .expect(400);
    }
}

/// Rows W-50 to W-52, W-56, W-60 to W-63.
#[test]
fn fixtures_are_accepted_or_refused() {
    let server = Server::start(&[]);
    for (name, status) in [
        ("neg-recvonly", 422),
        ("neg-inactive", 422),
        ("neg-nomux", 422),
        ("neg-nobundle", 422),
        ("neg-sendrecv", 201),
        ("neg-lsfirst", 201),
        ("neg-active", 201),
        ("obs-media-level", 201),
        ("obs-session-level", 201),
        ("obs-hevc", 201),
        ("obs-av1", 201),
        ("obs-32.1-simulcast", 201),
        ("ffmpeg-av", 201),
        ("ffmpeg-video-only", 201),
        ("rfc9725-example", 201),
    ] {
        let reply = server.post_offer(&format!("/whip/{name}"), &fixture(name));
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        let reply = reply.expect(status);
        if status == 201 {
            let sections = |text: &str| text.lines().filter(|line| line.starts_with("m=")).count();
            assert_eq!(sections(reply.text()), sections(&fixture(name)), "{name}");
            assert!(!reply.text().contains("a=sendrecv"), "{name}");
        }
    }
}

/// Rows W-70, E-23.
#[test]
fn without_a_codec_in_common_offers_are_refused() {
    let server = Server::demo(&[]);
    let offer = fixture("obs-media-level");
    let only_pcmu = offer
        .replace("opus/48000/2", "PCMU/8000")
        .replace("H264/90000", "H263/90000");
    server.post_offer("/whip/a", &only_pcmu).expect(422);
    // Neither a codec of the broadcast nor one that it can be transcoded into.
    let others = fixture("chrome-whep-av")
        .replace("H264/90000", "H263/90000")
        .replace("VP8/90000", "VP7/90000");
    let reply = server.post_offer("/whep/demo", &others).expect(422);
    assert_eq!(reply.problem(), "codec-mismatch");
    assert_eq!(server.count("sessions"), 0);
}

/// Rows E-15, E-16, E-17.
#[test]
fn viewers_must_receive_over_one_multiplexed_transport() {
    let server = Server::demo(&[]);
    let offer = fixture("chrome-whep-av");
    for (from, to, status) in [
        ("a=recvonly", "a=sendrecv", 201),
        ("a=recvonly", "a=sendonly", 422),
        ("a=recvonly", "a=inactive", 422),
        ("a=rtcp-mux\r\n", "", 422),
        ("a=group:BUNDLE", "a=group:NONE", 422),
    ] {
        let reply = server.post_offer("/whep/demo", &offer.replace(from, to));
        assert_eq!(reply.status, status, "{from} -> {to}");
        if status == 201 {
            assert!(!reply.text().contains("a=sendrecv"));
            assert!(reply.text().contains("a=sendonly"));
        }
    }
}

/// Row E-20.
#[test]
fn data_channels_are_declined() {
    let server = Server::demo(&[]);
    let reply = server
        .post_offer("/whep/demo", &fixture("chrome-whep-datachannel"))
        .expect(201);
    assert!(
        reply.text().contains("m=application 0 "),
        "{}",
        reply.text()
    );
}

/// Row E-29.
#[test]
fn viewers_do_not_touch_each_other() {
    let server = Server::demo(&[]);
    let offer = fixture("chrome-whep-av");
    let [first, second] = [(), ()].map(|()| {
        server
            .post_offer("/whep/demo", &offer)
            .expect(201)
            .location()
    });
    assert_eq!(server.count("viewers"), 2);
    server.delete(&first).expect(200);
    server.get(&first).expect(404);
    server.get(&second).expect(204);
    assert_eq!(server.count("viewers"), 1);
}

/// Row E-43.
#[test]
fn watching_is_a_conflict_while_nobody_publishes() {
    let server = Server::start(&[]);
    let reply = server
        .post_offer("/whep/nobody", &fixture("chrome-whep-av"))
        .expect(409);
    assert_eq!(reply.header("retry-after"), Some("2"));
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    // Asking for a broadcast does not create it.
    assert_eq!(server.count("broadcasts"), 0);
}

/// Row E-45.
#[test]
fn players_that_know_no_409_can_have_404() {
    let server = Server::start(&["--http.missing_is_404", "true"]);
    server
        .post_offer("/whep/nobody", &fixture("chrome-whep-av"))
        .expect(404);
}

/// Row E-46.
#[test]
fn a_publisher_without_media_cannot_be_watched() {
    let server = Server::start(&[]);
    server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201);
    let reply = server
        .post_offer("/whep/a", &fixture("chrome-whep-av"))
        .expect(409);
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(server.state("a").as_deref(), Some("waiting"));
}

/// Rows W-100a, E-48.
#[test]
fn sessions_beyond_a_limit_are_refused() {
    let server = Server::demo(&["--limits.viewers", "1", "--limits.broadcasts", "1"]);
    let offer = fixture("chrome-whep-av");
    let viewer = Client::watch(&server, "demo");
    viewer.wait_for_frames(1);
    let reply = server.post_offer("/whep/demo", &offer).expect(503);
    assert!(reply.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(503);
    let server = Server::start(&["--limits.sessions", "1"]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    server
        .post_offer("/whip/b", &fixture("obs-media-level"))
        .expect(503);
    assert_eq!(server.count("sessions"), 1);
}

#[test]
fn on_a_full_server_the_oldest_session_that_has_not_connected_makes_room() {
    let server = Server::demo(&["--limits.sessions", "2"]);
    let publish = |name| server.post_offer(&format!("/whip/{name}"), &fixture("obs-media-level"));
    let first = publish("a").expect(201).location();
    let offer = fixture("chrome-whep-av");
    let second = server.post_offer("/whep/demo", &offer).expect(201);
    let third = publish("b").expect(201).location();
    server.get(&first).expect(404);
    server.get(&second.location()).expect(204);
    server.get(&third).expect(204);
    wait_for("end", || (server.ended("yielded") == 1).then_some(()));
    let viewer = Client::watch(&server, "demo");
    viewer.wait_for_frames(1);
    server.get(&second.location()).expect(404);
    assert_eq!(server.count("sessions"), 2);
}

#[test]
fn aliases_name_the_same_broadcast() {
    let server = Server::start(&[]);
    let offer = fixture("obs-media-level");
    for (path, token) in [
        ("/whip/a", None),
        ("/a/whip", None),
        ("/whip", Some("bearer a")),
    ] {
        let headers: Vec<_> = [SDP]
            .into_iter()
            .chain(token.map(|token| ("Authorization", token)))
            .collect();
        let reply = server.request("POST", path, &headers, &offer).expect(201);
        assert!(server.state("a").is_some(), "{path}");
        server.delete(&reply.location()).expect(200);
    }
    let reply = server.request("POST", "/whip", &[SDP], &offer).expect(401);
    assert!(
        reply
            .header("www-authenticate")
            .unwrap()
            .starts_with("Bearer ")
    );
    let headers = [SDP, ("Authorization", "Bearer ../etc")];
    server
        .request("POST", "/whip", &headers, &offer)
        .expect(404);
    let headers = [SDP, ("Authorization", "Bearer nobody")];
    server
        .request("POST", "/whep", &headers, &fixture("chrome-whep-av"))
        .expect(409);
}

/// Row W-98h.
#[test]
fn tokens_that_nobody_asked_for_are_ignored() {
    let server = Server::start(&[]);
    let headers = [SDP, ("Authorization", "Bearer undefined")];
    server
        .request("POST", "/whip/a", &headers, &fixture("obs-media-level"))
        .expect(201);
}

/// Row W-31.
#[test]
fn a_public_url_makes_locations_absolute() {
    let server = Server::start(&["--http.public_url", "https://live.example"]);
    let reply = server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201);
    assert!(
        reply
            .header("location")
            .unwrap()
            .starts_with("https://live.example/whip/s/")
    );
}

#[test]
fn urls_keep_the_path_that_a_trusted_proxy_has_removed() {
    let server = Server::start(&["--http.trusted_proxies", "127.0.0.1"]);
    let offer = fixture("chrome-whep-av");
    let prefix = ("X-Forwarded-Prefix", "/live");
    let _publisher = Client::live(&server, "a", &clip::H264);
    let reply = server
        .request("POST", "/whep/a", &[SDP, prefix], &offer)
        .expect(201);
    let location = reply.header("location").unwrap();
    assert!(location.starts_with("/live/whep/"), "{location}");
    let links = reply.headers.iter().filter(|(name, _)| name == "link");
    let links: Vec<_> = links.map(|(_, value)| value).collect();
    for extension in ["events", "layer"] {
        let link = format!("<{location}/{extension}>");
        assert!(
            links.iter().any(|found| found.starts_with(&link)),
            "{links:?}"
        );
    }
    let path = location.strip_prefix("/live").unwrap();
    let json = ("Content-Type", "application/json");
    let stream = server.request(
        "POST",
        &format!("{path}/events"),
        &[json, prefix],
        "[\"active\"]",
    );
    let stream = stream.expect(201).header("location").unwrap().to_owned();
    assert!(
        stream.starts_with(&format!("{location}/events/")),
        "{stream}"
    );

    // From anyone else, the header means nothing.
    let server = Server::start(&[]);
    let reply = server.request(
        "POST",
        "/whip/a",
        &[SDP, prefix],
        &fixture("obs-media-level"),
    );
    let location = reply.expect(201).header("location").unwrap().to_owned();
    assert!(location.starts_with("/whip/"), "{location}");
}
