//! Methods, OPTIONS and cross-origin access.

use std::collections::BTreeSet;

use crate::support::{Reply, SDP, Server, fixture};

const ORIGIN: (&str, &str) = ("Origin", "https://a.example");
const ENDPOINTS: [&str; 4] = ["/whip/a", "/whep/a", "/a/whip", "/a/whep"];

fn preflight(server: &Server, path: &str, method: &str, headers: &str) -> Reply {
    let headers = [
        ORIGIN,
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", headers),
    ];
    server.request("OPTIONS", path, &headers, "").expect(200)
}

/// Rows W-02, W-03.
#[test]
fn get_and_head_of_the_whip_endpoint_have_no_content() {
    let server = Server::start(&[]);
    for method in ["GET", "HEAD"] {
        let reply = server.request(method, "/whip/a", &[], "").expect(204);
        assert!(reply.body.is_empty());
        assert_eq!(reply.header("content-length"), None);
    }
}

/// Rows E-01, E-02, E-03.
#[test]
fn get_and_head_of_the_whep_endpoint_are_empty_sdp() {
    let server = Server::start(&[]);
    let [get, head] =
        ["GET", "HEAD"].map(|method| server.request(method, "/whep/a", &[], "").expect(200));
    assert_eq!(get.header("content-type"), Some("application/sdp"));
    assert_eq!(get.header("content-length"), Some("0"));
    let but_date = |reply: &Reply| {
        reply
            .headers
            .iter()
            .filter(|(name, _)| name != "date")
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(but_date(&get), but_date(&head));
}

/// A viewer's tells the state of the broadcast, to pages of other origins, too.
///
/// Rows W-04, E-04.
#[test]
fn get_of_a_session_is_empty() {
    let server = Server::demo(&[]);
    for (path, offer, headers, state) in [
        ("/whip/a", "obs-media-level", &[][..], None),
        ("/whep/demo", "chrome-whep-av", &[ORIGIN], Some("live")),
    ] {
        let session = server
            .post_offer(path, &fixture(offer))
            .expect(201)
            .location();
        for method in ["GET", "HEAD"] {
            let reply = server.request(method, &session, headers, "").expect(204);
            assert!(reply.body.is_empty());
            assert_eq!(reply.header("broadcast-state"), state);
            let exposed = reply.header("access-control-expose-headers");
            let may_read = exposed.is_some_and(|names| names.contains("Broadcast-State"));
            assert_eq!(may_read, state.is_some());
        }
    }
}

/// Rows W-05, E-05.
#[test]
fn other_methods_of_endpoints_are_refused() {
    let server = Server::start(&[]);
    for path in ENDPOINTS {
        for method in ["PUT", "PATCH", "DELETE"] {
            let reply = server.request(method, path, &[SDP], "").expect(405);
            assert_eq!(reply.header("allow"), Some("GET, HEAD, OPTIONS, POST"));
        }
    }
}

/// Rows W-06, E-05.
#[test]
fn other_methods_of_sessions_leave_them_alone() {
    let server = Server::start(&[]);
    let session = server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201)
        .location();
    for method in ["POST", "PUT"] {
        let json = [("Content-Type", "application/json")];
        let reply = server.request(method, &session, &json, "true").expect(405);
        assert_eq!(
            reply.header("allow"),
            Some("GET, HEAD, OPTIONS, PATCH, DELETE")
        );
    }
    server.get(&session).expect(204);
}

/// Row W-07.
#[test]
fn illegal_names_are_not_found() {
    let server = Server::start(&[]);
    let long = "a".repeat(300);
    for name in [
        "..", ".", "a%2Fb", "%00", "a%0ab", ".hidden", "whip", "a/b", "\u{7f}", &long,
    ] {
        for role in ["whip", "whep"] {
            let reply = server.post_offer(&format!("/{role}/{name}"), &fixture("obs-media-level"));
            // The HTTP library itself refuses control characters in a request line.
            assert!(
                matches!(reply.status, 404 | 400),
                "{name:?}: {}",
                reply.status
            );
        }
    }
    // A trailing slash is not a name: the endpoint takes the name from elsewhere.
    let nameless = server.post_offer("/whip/", &fixture("obs-media-level"));
    assert_eq!(nameless.expect(401).problem(), "name-missing");
    assert_eq!(server.count("broadcasts"), 0);
}

/// Rows W-08, E-08.
#[test]
fn unknown_sessions_are_not_found() {
    let server = Server::start(&[]);
    let session = server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201)
        .location();
    let id = session.rsplit_once('/').unwrap().1;
    let other = format!("/whip/s/{}", "0".repeat(id.len()));
    // A session is only found under its own role.
    for path in [other, format!("/whep/s/{id}")] {
        for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
            server.request(method, &path, &[], "").expect(404);
        }
        server.patch(&path, &[], "").expect(404);
    }
}

/// Row W-09.
#[test]
fn no_redirect_that_turns_a_post_into_a_get() {
    let server = Server::start(&[]);
    for path in ["/whip/a/", "/whip//a", "//whip/a"] {
        let status = server.post_offer(path, &fixture("obs-media-level")).status;
        assert!(matches!(status, 201 | 308 | 404), "{path}: {status}");
    }
}

/// Rows W-12, W-13, W-14, E-06.
#[test]
fn plain_options_of_endpoints_say_what_can_be_posted() {
    let server = Server::start(&[]);
    for path in ENDPOINTS {
        let reply = server.request("OPTIONS", path, &[], "").expect(200);
        assert_eq!(reply.header("content-length"), Some("0"));
        assert_eq!(reply.header("allow"), Some("GET, HEAD, OPTIONS, POST"));
        assert_eq!(reply.header("accept-post"), Some("application/sdp"));
        assert!(reply.lists("access-control-allow-methods", "PATCH"));
    }
}

/// Rows W-17 to W-21, W-98e, E-06.
#[test]
fn preflights_allow_what_clients_send() {
    let server = Server::start(&["--http.origins", ORIGIN.1]);
    let paths = ENDPOINTS.into_iter().chain(["/whip/s/00", "/whep/s/00"]);
    for path in paths {
        for method in ["POST", "PATCH", "DELETE", "OPTIONS"] {
            let reply = preflight(
                &server,
                path,
                method,
                "authorization,content-type,if-match,etag",
            );
            let allowed = if path.contains("whep") { "*" } else { ORIGIN.1 };
            assert_eq!(reply.header("access-control-allow-origin"), Some(allowed));
            assert!(reply.lists("access-control-allow-methods", method));
            for header in ["Authorization", "Content-Type", "If-Match", "ETag"] {
                assert!(
                    reply.lists("access-control-allow-headers", header),
                    "{header}"
                );
            }
            let age: u32 = reply
                .header("access-control-max-age")
                .unwrap()
                .parse()
                .unwrap();
            assert!(age > 0);
            assert_eq!(reply.header("link"), None);
        }
    }
}

/// Rows W-22, W-23, E-07.
#[test]
fn pages_of_other_origins_can_read_every_reply() {
    let server = Server::start(&["--http.origins", ORIGIN.1]);
    let offer = fixture("obs-media-level");
    let headers = [ORIGIN, SDP];
    for (method, path, body) in [
        ("POST", "/whip/a", offer.as_str()),
        ("POST", "/whip/a", ""),
        ("POST", "/whep/nobody", offer.as_str()),
        ("GET", "/whip/a", ""),
        ("PUT", "/whip/a", ""),
        ("DELETE", "/whip/s/00", ""),
        ("GET", "/nowhere", ""),
        ("GET", "/api/broadcasts", ""),
    ] {
        let reply = server.request(method, path, &headers, body);
        let allowed = if path.contains("whep") { "*" } else { ORIGIN.1 };
        assert_eq!(
            reply.header("access-control-allow-origin"),
            Some(allowed),
            "{method} {path}"
        );
        for header in [
            "Location",
            "ETag",
            "Link",
            "Accept-Patch",
            "Accept-Post",
            "Allow",
            "Retry-After",
            "WWW-Authenticate",
            "Access-Control-Allow-Methods",
        ] {
            assert!(
                reply.lists("access-control-expose-headers", header),
                "{header}"
            );
        }
    }
}

/// Row W-24.
#[test]
fn plain_options_of_a_session_say_what_can_be_patched() {
    let server = Server::start(&[]);
    let session = server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201)
        .location();
    let reply = server.request("OPTIONS", &session, &[], "").expect(200);
    assert_eq!(
        reply.header("allow"),
        Some("GET, HEAD, OPTIONS, PATCH, DELETE")
    );
    assert_eq!(
        reply.header("accept-patch"),
        Some("application/trickle-ice-sdpfrag")
    );
}

/// Without tokens, being in the visitor's network is all that publishing takes: no page may use it.
#[test]
fn pages_of_other_sites_may_only_watch() {
    let server = Server::demo(&[]);
    let (own, foreign) = (
        server.post_offer("/whip/own", &fixture("obs-media-level")),
        ORIGIN,
    );
    own.expect(201);
    let requests = |headers: &[(&str, &str)]| {
        let headers = [headers, &[SDP]].concat();
        let offer = fixture("obs-media-level");
        let post = server.request("POST", "/whip/foreign", &headers, &offer);
        let list = server.request("GET", "/api/broadcasts", &headers, "");
        [post, list]
    };
    for refused in requests(&[foreign]) {
        let refused = refused.expect(403);
        assert_eq!(refused.problem(), "foreign-page");
        assert_eq!(refused.header("access-control-allow-origin"), None);
    }
    // As a picture or a frame of another site.
    for refused in requests(&[
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "no-cors"),
    ]) {
        refused.expect(403);
    }
    // A preflight succeeds (RFC 9725 §4.2), but does not name the page.
    let answer = preflight(&server, "/whip/foreign", "POST", "content-type");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(server.count("publishers"), 0);

    let own = format!("http://localhost:{}", server.address.port());
    let host = server.address.to_string();
    let same = server.raw(&[format!(
        "GET /api/broadcasts HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\
         Connection: close\r\n\r\n"
    )
    .as_bytes()]);
    same.expect(200);
    // Another port of this machine is another origin.
    server
        .request("GET", "/api/broadcasts", &[("Origin", &own)], "")
        .expect(403);

    // Watching is for everyone, from the endpoint to the end of the session.
    let offer = fixture("chrome-whep-av");
    let watched = server.request("POST", "/whep/demo", &[SDP, foreign], &offer);
    let watched = watched.expect(201);
    assert_eq!(watched.header("access-control-allow-origin"), Some("*"));
    let session = watched.location();
    let ended = server
        .request("DELETE", &session, &[foreign], "")
        .expect(200);
    assert_eq!(ended.header("access-control-allow-origin"), Some("*"));
}

/// Where watching needs a token, embedding needs `http.origins` as well.
#[test]
fn pages_of_other_sites_may_not_watch_what_needs_a_token() {
    let server = Server::start(&["--auth.watch_token=a-secret-of-viewers"]);
    let token = ("Authorization", "Bearer a-secret-of-viewers");
    let offer = fixture("chrome-whep-av");
    let post = |more: &[(&str, &str)]| {
        let headers = [&[SDP, token], more].concat();
        server.request("POST", "/whep/nobody", &headers, &offer)
    };
    let refused = post(&[ORIGIN]).expect(403);
    assert_eq!(refused.problem(), "foreign-page");
    post(&[]).expect(409); // offline
}

/// After DNS rebinding, a browser takes a foreign page for the server's own.
#[test]
fn on_loopback_the_server_answers_under_its_own_names() {
    let url = "https://live.example/tv";
    let server = Server::start(&["--http.public_url", url]);
    let get = |host: &str, path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        server.raw(&[head.as_bytes()])
    };
    for path in ["/", "/api/broadcasts", "/whep/a"] {
        let refused = get("rebound.example:8080", path).expect(421);
        assert_eq!(refused.problem(), "wrong-host");
        for host in ["localhost", "127.0.0.1:8080", "[::1]", "live.example"] {
            get(host, path).expect(200);
        }
    }
    get("rebound.example", "/healthz").expect(200);
}
