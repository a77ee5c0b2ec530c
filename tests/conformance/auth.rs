//! Tokens at both endpoints, what is open without one, and what lists show.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::support::{FRAGMENT, PATIENCE, Reply, SDP, Server, fixture, wait_for};

/// Tokens for publishing `live-*` and watching `vip`, for watching, and for one broadcast.
const CONFIG: &str = r#"
[auth]
public = ["lobby"]

[[auth.tokens]]
token = "publisher-secret"
publish = ["live-*"]
watch = "vip"

[[auth.tokens]]
token = "viewer-secret"
watch = ["demo", "live-*"]

[[auth.tokens]]
token = "studio-secret"
publish = ["studio"]
"#;
const CHALLENGE: &str = "Bearer realm=\"aerial\"";
const INVALID: &str = "Bearer realm=\"aerial\", error=\"invalid_token\"";
const INSUFFICIENT: &str = "Bearer realm=\"aerial\", error=\"insufficient_scope\"";
/// Endpoint, offer, a token for it, and a token for the other role.
const ENDPOINTS: [(&str, &str, &str, &str); 2] = [
    (
        "/whip/live-1",
        "obs-media-level",
        "publisher-secret",
        "viewer-secret",
    ),
    (
        "/whep/demo",
        "chrome-whep-av",
        "viewer-secret",
        "publisher-secret",
    ),
];

/// A server with the demo and this configuration; more is appended to its `[auth]`.
fn server(more: &str, arguments: &[&str]) -> Server {
    let config = CONFIG.replace("[auth]\n", &format!("[auth]\n{more}\n"));
    let file = config_file(&config);
    let server = Server::configured(&file, &[&["--demo", "true"], arguments].concat());
    wait_for("demo", || {
        let token = bearer("viewer-secret");
        let path = "/api/broadcasts/demo";
        let reply = server.request("GET", path, &[("Authorization", &token)], "");
        (reply.json()["state"] == "live").then_some(())
    });
    server
}

/// A file of its own for this configuration.
fn config_file(text: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("auth-{}-{number}.toml", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn post(server: &Server, path: &str, offer: &str, authorization: &str) -> Reply {
    let headers = [SDP, ("Authorization", authorization)];
    server.request("POST", path, &headers, &fixture(offer))
}

fn challenge(reply: &Reply) -> &str {
    reply.header("www-authenticate").expect("a challenge")
}

/// Rows W-98a, W-98b, W-98c, W-98d, E-53.
#[test]
fn endpoints_take_the_right_token_alone() {
    let server = server("", &[]);
    let before = server.count("sessions");
    for (path, offer, right, other) in ENDPOINTS {
        let none = server.post_offer(path, &fixture(offer)).expect(401);
        assert_eq!(challenge(&none), CHALLENGE, "{path}");
        for wrong in ["wrong", "", &right.to_uppercase(), &format!("{right}x")] {
            let reply = post(&server, path, offer, &bearer(wrong)).expect(401);
            let wanted = if wrong.is_empty() { CHALLENGE } else { INVALID };
            assert_eq!(challenge(&reply), wanted, "{path} {wrong:?}");
        }
        let reply = post(&server, path, offer, &bearer(other)).expect(403);
        assert_eq!(challenge(&reply), INSUFFICIENT, "{path}");
    }
    // The right token for another broadcast.
    post(
        &server,
        "/whip/other",
        "obs-media-level",
        &bearer("publisher-secret"),
    )
    .expect(403);
    post(
        &server,
        "/whep/vip",
        "chrome-whep-av",
        &bearer("viewer-secret"),
    )
    .expect(403);
    assert_eq!(server.count("sessions"), before, "nothing was begun");
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        for (path, offer, right, _) in ENDPOINTS {
            let session = post(&server, path, offer, &format!("{scheme} {right}"));
            server.delete(&session.expect(201).location()).expect(200);
        }
    }
    for secret in ["publisher-secret", "viewer-secret", "wrong"] {
        assert!(!server.log().contains(secret), "{secret} is in the log");
    }
}

/// Rows W-98e, E-53.
#[test]
fn preflights_need_no_token() {
    let server = server("", &[]);
    for path in [
        "/whip/live-1",
        "/whep/demo",
        "/whip/s/00",
        "/api/broadcasts/demo",
    ] {
        let headers = [
            ("Origin", "https://a.example"),
            ("Access-Control-Request-Method", "POST"),
            (
                "Access-Control-Request-Headers",
                "authorization,content-type",
            ),
        ];
        let reply = server.request("OPTIONS", path, &headers, "").expect(200);
        assert!(reply.lists("access-control-allow-headers", "Authorization"));
    }
}

/// Rows W-98f, W-98g, E-53.
#[test]
fn session_urls_are_the_capability() {
    let server = server("", &[]);
    for (path, offer, right, other) in ENDPOINTS {
        let created = post(&server, path, offer, &bearer(right)).expect(201);
        let session = created.location();
        for (wrong, status) in [("wrong", 401), (other, 403)] {
            let token = bearer(wrong);
            let headers = [FRAGMENT, ("If-Match", "*"), ("Authorization", &token)];
            for method in ["PATCH", "DELETE"] {
                server
                    .request(method, &session, &headers, "")
                    .expect(status);
            }
        }
        server.get(&session).expect(204);
        server.delete(&session).expect(200);
        let session = post(&server, path, offer, &bearer(right))
            .expect(201)
            .location();
        let token = bearer(right);
        let headers = [("Authorization", token.as_str())];
        server.request("DELETE", &session, &headers, "").expect(200);
    }
}

/// Rows W-98f, E-53.
#[test]
fn a_switch_makes_session_urls_need_the_token() {
    let server = server("sessions = true", &[]);
    for (path, offer, right, _) in ENDPOINTS {
        let session = post(&server, path, offer, &bearer(right))
            .expect(201)
            .location();
        let reply = server.delete(&session).expect(401);
        assert_eq!(challenge(&reply), CHALLENGE);
        let token = bearer(right);
        let headers = [("Authorization", token.as_str())];
        if path.starts_with("/whep") {
            // What its event streams say is as secret as the session.
            let events = format!("{session}/events");
            server.get(&events).expect(401);
            server.get(&format!("{events}/1")).expect(401);
            server.request("HEAD", &events, &headers, "").expect(200);
        }
        server.request("DELETE", &session, &headers, "").expect(200);
    }
}

/// Rows W-98h, E-53.
#[test]
fn tokens_do_not_matter_where_access_is_open() {
    let server = Server::demo(&[]);
    for token in ["Bearer undefined", "Bearer wrong", "Basic dTpw", "x"] {
        for (path, offer) in [
            ("/whip/a", "obs-media-level"),
            ("/whep/demo", "chrome-whep-av"),
        ] {
            let session = post(&server, path, offer, token).expect(201).location();
            let headers = [("Authorization", token)];
            server.request("DELETE", &session, &headers, "").expect(200);
        }
    }
    // Only publishing is restricted.
    let server = Server::demo(&["--auth.publish_token", "secret"]);
    post(&server, "/whep/demo", "chrome-whep-av", "Bearer undefined").expect(201);
    post(&server, "/whip/a", "obs-media-level", "Bearer undefined").expect(401);
    post(&server, "/whip/a", "obs-media-level", "Bearer secret").expect(201);
}

/// Rows W-98i, E-53.
#[test]
fn tokens_in_the_query_work_if_configured() {
    for (more, status) in [("", 401), ("query = true", 201)] {
        let server = server(more, &[]);
        for (path, offer, right, _) in ENDPOINTS {
            let path = format!("{path}?x=1&token={}", right.replace('-', "%2D"));
            let reply = server.post_offer(&path, &fixture(offer)).expect(status);
            if status == 201 {
                reply.location();
            } else {
                assert_eq!(challenge(&reply), CHALLENGE);
            }
        }
    }
}

/// Rows W-98j, E-53.
#[test]
fn wrong_tokens_are_limited_per_source() {
    let server = server("", &["--limits.source_failures", "5"]);
    let (path, offer, right, _) = ENDPOINTS[1];
    for _ in 0..5 {
        post(&server, path, offer, &bearer("wrong")).expect(401);
    }
    // One attempt is returned every 12 s.
    let reply = post(&server, path, offer, &bearer("wrong")).expect(429);
    assert!(reply.header("retry-after").is_some());
    // Somebody else at the same address has the right one.
    post(&server, path, offer, &bearer(right)).expect(201);
    // Requests that need no token still work.
    server.get("/api/server").expect(200);
    server.post_offer(path, &fixture(offer)).expect(401);
}

/// Rows W-98k, E-53.
#[test]
fn basic_authentication_works_if_configured() {
    // u:viewer-secret and u:wrong
    let (right, wrong) = ("Basic dTp2aWV3ZXItc2VjcmV0", "Basic dTp3cm9uZw==");
    let (path, offer, ..) = ENDPOINTS[1];
    let off = server("", &[]);
    let reply = post(&off, path, offer, right).expect(401);
    assert_eq!(challenge(&reply), CHALLENGE);
    drop(off);
    let server = server("basic = true", &[]);
    post(&server, path, offer, right).expect(201);
    assert_eq!(
        challenge(&post(&server, path, offer, wrong).expect(401)),
        INVALID
    );
    for malformed in ["Basic", "Basic !", "Basic dQ=="] {
        let reply = post(&server, path, offer, malformed).expect(401);
        assert_eq!(challenge(&reply), CHALLENGE, "{malformed}");
    }
}

/// Rows W-15, W-16.
#[test]
fn turn_passwords_are_for_those_who_may_begin() {
    let turn = "turn:user:password@turn.example:3478";
    let server = server("", &["--webrtc.ice_servers", turn]);
    for (path, _, right, other) in ENDPOINTS {
        let links = |authorization: Option<&str>| {
            let token = authorization.map(bearer).unwrap_or_default();
            let headers = [("Authorization", token.as_str())];
            let reply = server.request("OPTIONS", path, &headers, "").expect(200);
            reply
                .headers
                .iter()
                .filter(|(name, _)| name == "link")
                .count()
        };
        assert_eq!(links(Some(right)), 1, "{path}");
        for without in [None, Some(other), Some("wrong")] {
            assert_eq!(links(without), 0, "{path} {without:?}");
        }
    }
}

/// The broadcast's name as bearer token works only on servers without tokens.
#[test]
fn endpoints_without_a_name_take_it_from_the_query_or_the_token() {
    let server = server("", &[]);
    let publish = |path: &str, token: &str| post(&server, path, "obs-media-level", &bearer(token));
    let reply = publish("/whip", "live-1").expect(401);
    assert_eq!(challenge(&reply), INVALID);
    assert!(reply.text().contains("?broadcast="), "{}", reply.text());
    let several = publish("/whip", "publisher-secret").expect(400);
    assert!(several.text().contains("?broadcast="), "{}", several.text());
    publish("/whip", "viewer-secret").expect(403);
    publish("/whip?broadcast=live-7", "publisher-secret").expect(201);
    publish("/whip?broadcast=other", "publisher-secret").expect(403);
    publish("/whip?broadcast=..", "publisher-secret").expect(404);
    publish("/whip", "studio-secret").expect(201);
    let names = names(&server, Some("studio-secret"));
    assert!(names.contains(&"studio".to_owned()), "{names:?}");
}

/// The names that a list shows to the holder of this token.
fn names(server: &Server, token: Option<&str>) -> Vec<String> {
    let token = token.map(bearer);
    let headers: Vec<_> = token
        .iter()
        .map(|token| ("Authorization", token.as_str()))
        .collect();
    let list = server
        .request("GET", "/api/broadcasts", &headers, "")
        .expect(200)
        .json();
    let list = list["broadcasts"].as_array().unwrap();
    list.iter()
        .map(|one| one["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn lists_have_what_the_caller_may_watch_or_publish() {
    let server = server("", &[]);
    post(
        &server,
        "/whip/live-1",
        "obs-media-level",
        &bearer("publisher-secret"),
    )
    .expect(201);
    post(
        &server,
        "/whip",
        "obs-media-level",
        &bearer("studio-secret"),
    )
    .expect(201);
    let nothing: [&str; 0] = [];
    assert_eq!(names(&server, None), nothing);
    assert_eq!(names(&server, Some("viewer-secret")), ["demo", "live-1"]);
    assert_eq!(names(&server, Some("publisher-secret")), ["live-1"]);
    assert_eq!(names(&server, Some("studio-secret")), ["studio"]);
    let wrong = [("Authorization", "Bearer wrong")];
    server
        .request("GET", "/api/broadcasts", &wrong, "")
        .expect(401);
    server.request("GET", "/api/events", &wrong, "").expect(401);
    // A hidden name looks the same whether it exists or not.
    for path in ["/api/broadcasts/demo", "/api/broadcasts/nothing"] {
        server.get(path).expect(401);
        let other = [("Authorization", "Bearer publisher-secret")];
        server.request("GET", path, &other, "").expect(403);
    }
    server.get("/api/broadcasts/lobby").expect(404);
    let needed = &server.get("/api/server").expect(200).json()["needs_token"];
    assert_eq!(
        (&needed["publish"], &needed["watch"]),
        (&true.into(), &true.into())
    );
    server.get("/watch/demo").expect(200);
}

#[test]
fn events_have_what_the_caller_may_watch_or_publish() {
    let server = server("", &[]);
    for (token, sees) in [
        ("", false),
        ("viewer-secret", true),
        ("publisher-secret", false),
    ] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        let request = format!("GET /api/events HTTP/1.1\r\n{head}");
        stream.write_all(request.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let data = lines.find(|line| line.starts_with("data:")).unwrap();
        assert_eq!(data.contains("demo"), sees, "{token}: {data}");
    }
}

/// A token for something else closes nothing.
#[test]
fn only_what_grants_a_right_closes_it() {
    let config = "[[auth.tokens]]\ntoken = \"metrics-secret\"\nmetrics = true\n\
                  [[auth.tokens]]\ntoken = \"viewer-secret\"\nwatch = \"vip\"\n";
    let server = Server::configured(&config_file(config), &["--demo", "true"]);
    let published = server.post_offer("/whip/a", &fixture("obs-media-level"));
    server.delete(&published.expect(201).location()).expect(200);
    let watched = server.post_offer("/whep/demo", &fixture("chrome-whep-av"));
    assert_eq!(challenge(&watched.expect(401)), CHALLENGE);
    let needed = &server.get("/api/server").expect(200).json()["needs_token"];
    assert_eq!(
        (&needed["publish"], &needed["watch"]),
        (&false.into(), &true.into())
    );
    // A bearer token names a broadcast where publishing is open, unless it is a secret.
    post(&server, "/whip", "obs-media-level", "Bearer studio").expect(201);
    post(&server, "/whip", "obs-media-level", "Bearer viewer-secret").expect(401);
}

#[test]
fn networks_need_no_token_and_limit_where_tokens_work() {
    let config = "[[auth.tokens]]\nallow = \"127.0.0.0/8\"\npublish = \"cam-*\"\n\
                  [[auth.tokens]]\ntoken = \"publisher-secret\"\nallow = \"192.0.2.0/24\"\npublish = \"*\"\n";
    let server = Server::configured(&config_file(config), &[]);
    let offer = fixture("obs-media-level");
    server.post_offer("/whip/cam-1", &offer).expect(201);
    server.post_offer("/whip/other", &offer).expect(401);
    let token = bearer("publisher-secret");
    let reply = post(&server, "/whip/other", "obs-media-level", &token).expect(403);
    assert_eq!(challenge(&reply), INSUFFICIENT);
    post(&server, "/whip/cam-2", "obs-media-level", &token).expect(201);
}
