//! PATCH: trickled candidates and ICE restarts.

use std::thread;

use crate::support::{Reply, Server, fixture};

struct Session {
    server: Server,
    path: String,
    etag: String,
    ufrag: String,
    pwd: String,
}

fn value(offer: &str, name: &str) -> String {
    let prefix = format!("a={name}:");
    offer
        .lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap()
        .to_owned()
}

impl Session {
    fn of(server: Server, path: &str, offer: &str) -> Self {
        let offer = fixture(offer);
        let reply = server.post_offer(path, &offer).expect(201);
        Self {
            path: reply.location(),
            etag: reply.etag(),
            ufrag: value(&offer, "ice-ufrag"),
            pwd: value(&offer, "ice-pwd"),
            server,
        }
    }

    fn publisher() -> Self {
        Self::of(Server::start(&[]), "/whip/a", "obs-media-level")
    }

    fn viewer() -> Self {
        Self::of(Server::demo(&[]), "/whep/demo", "chrome-whep-av")
    }

    fn fragment(&self) -> String {
        Self::fragment_with(&self.ufrag, &self.pwd, "0")
    }

    fn fragment_with(ufrag: &str, pwd: &str, mid: &str) -> String {
        format!(
            "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n\
             a=mid:{mid}\r\na=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n\
             a=end-of-candidates\r\n"
        )
    }

    fn patch(&self, if_match: &str, fragment: &str) -> Reply {
        self.server
            .patch(&self.path, &[("If-Match", if_match)], fragment)
    }
}

fn both(check: impl Fn(&Session)) {
    check(&Session::publisher());
    check(&Session::viewer());
}

/// Rows W-95a, W-95b, W-95e, E-50.
#[test]
fn trickled_candidates_are_accepted() {
    both(|session| {
        for if_match in [
            &session.etag,
            "*",
            "\"*\"",
            &format!("\"x\", {}", session.etag),
        ] {
            let reply = session.patch(if_match, &session.fragment()).expect(204);
            assert!(reply.body.is_empty());
            assert_eq!(reply.header("etag"), None);
        }
    });
}

/// Rows W-95c, W-95d.
#[test]
fn patches_need_the_present_entity_tag() {
    both(|session| {
        session
            .server
            .patch(&session.path, &[], &session.fragment())
            .expect(428);
        for if_match in ["\"stale\"", &format!("W/{}", session.etag)] {
            session.patch(if_match, &session.fragment()).expect(412);
        }
        session.server.get(&session.path).expect(204);
    });
    let lenient = Server::start(&["--http.lenient_etag", "true"]);
    let session = Session::of(lenient, "/whip/a", "obs-media-level");
    session
        .server
        .patch(&session.path, &[], &session.fragment())
        .expect(204);
}

/// Rows W-95f, E-41.
#[test]
fn only_fragments_are_taken_as_patches() {
    both(|session| {
        let viewer = session.path.starts_with("/whep");
        let types = [
            ("application/json", 415),
            ("application/sdp", if viewer { 422 } else { 415 }),
        ];
        for (kind, status) in types {
            let headers = [("Content-Type", kind), ("If-Match", "*")];
            let fragment = session.fragment();
            let reply = session
                .server
                .request("PATCH", &session.path, &headers, &fragment);
            if reply.expect(status).status == 415 {
                let reply = session
                    .server
                    .request("PATCH", &session.path, &[], &fragment);
                let accept = reply.expect(415);
                let accept = accept.header("accept-patch");
                assert_eq!(accept, Some("application/trickle-ice-sdpfrag"));
            }
        }
    });
}

/// Rows W-95g, W-95j, W-96d.
#[test]
fn text_that_is_no_fragment_is_refused() {
    both(|session| {
        let wrong_mid = Session::fragment_with(&session.ufrag, &session.pwd, "nope");
        let half = Session::fragment_with("new1", &session.pwd, "0");
        let other_half = Session::fragment_with(&session.ufrag, &"n".repeat(22), "0");
        for body in [
            "",
            "{\"candidate\":\"\"}",
            "garbage",
            &wrong_mid,
            &half,
            &other_half,
        ] {
            session.patch(&session.etag, body).expect(400);
        }
        // 400 takes precedence over 428.
        session
            .server
            .patch(&session.path, &[], "garbage")
            .expect(400);
    });
}

/// Rows W-95h, W-95i.
#[test]
fn fragments_of_real_clients_are_accepted() {
    both(|session| {
        let (ufrag, pwd) = (&session.ufrag, &session.pwd);
        let credentials = format!("a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
        let candidate = "a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n";
        for fragment in [
            format!("{credentials}m=audio 9 RTP/AVP 0\r\na=mid:0\r\n{candidate}"),
            format!("m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\na=mid:1\r\n{credentials}{candidate}"),
            format!(
                "a=group:BUNDLE 0 1\r\na=ice-options:trickle\r\n{credentials}\
                 m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n{candidate}\
                 m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:1\r\n{candidate}"
            ),
            format!("{credentials}m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=end-of-candidates\r\n"),
            format!(
                "{credentials}m=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
                 a=candidate:1 1 udp 1 0f3c.local 5000 typ host\r\n\
                 a=candidate:2 1 tcp 1 192.0.2.1 9 typ host tcptype active\r\n\
                 a=candidate:3 1 sctp 1 192.0.2.1 9 typ host\r\n\
                 a=candidate:4 0 udp 1 192.0.2.1 9 typ host\r\n{candidate}"
            ),
        ] {
            session.patch("*", &fragment).expect(204);
        }
    });
}

/// Row W-95k.
#[test]
fn large_fragments_are_refused() {
    let session = Session::publisher();
    session.patch("*", &"a".repeat(70 * 1024)).expect(413);
}

/// Row W-95l.
#[test]
fn overlapping_patches_are_all_answered() {
    both(|session| {
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| session.patch("*", &session.fragment()).expect(204));
            }
        });
    });
}

/// Row W-95m.
#[test]
fn patches_of_ended_sessions_are_not_found() {
    both(|session| {
        session.server.delete(&session.path).expect(200);
        session.patch("*", &session.fragment()).expect(404);
        session.server.patch(&session.path, &[], "").expect(404);
    });
}

/// Rows W-96b, W-96c, E-51.
#[test]
fn ice_is_restarted() {
    both(restarts);
}

fn restarts(session: &Session) {
    let restart = Session::fragment_with("new1new1", &"n".repeat(24), "0");
    session
        .server
        .patch(&session.path, &[], &restart)
        .expect(428);
    session.patch("\"stale\"", &restart).expect(412);
    let reply = session.patch("*", &restart).expect(200);
    assert_eq!(
        reply.header("content-type"),
        Some("application/trickle-ice-sdpfrag")
    );
    assert_ne!(reply.etag(), session.etag);
    let text = reply.text();
    for part in [
        "a=ice-ufrag:",
        "a=ice-pwd:",
        "a=candidate:",
        "a=end-of-candidates\r\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    session.patch(&session.etag, &restart).expect(412);
    session.patch(&reply.etag(), &restart).expect(204);
}

/// Row W-96e.
#[test]
fn floods_are_answered_with_429() {
    let session = Session::publisher();
    let statuses: Vec<_> = (0..60)
        .map(|_| session.patch("*", &session.fragment()).status)
        .collect();
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 204 | 429)));
    session.server.get(&session.path).expect(204);
}
