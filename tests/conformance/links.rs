//! What the server tells clients about other servers, and how much it accepts from one client.

use std::{
    collections::BTreeSet,
    process::Command,
    time::{Duration, UNIX_EPOCH},
};

use crate::support::{Reply, SDP, Server, aerial, fixture, output};

const ICE_SERVERS: &str = "stun:stun.example:3478,turn:user:pa\"ss@turn.example:3478?transport=udp";
const LINKS: [&str; 2] = [
    "<stun:stun.example:3478>; rel=\"ice-server\"",
    "<turn:turn.example:3478?transport=udp>; rel=\"ice-server\"; username=\"user\"; \
     credential=\"pa\\\"ss\"; credential-type=\"password\"",
];

/// The `Link` lines that name ICE servers, and the others.
fn links(reply: &Reply) -> (Vec<&str>, Vec<&str>) {
    reply
        .headers
        .iter()
        .filter(|(name, _)| name == "link")
        .map(|(_, value)| value.as_str())
        .partition(|value| value.contains("ice-server"))
}

/// Rows W-15, W-18, W-92, W-93, E-54.
#[test]
fn ice_servers_are_links_of_their_own() {
    let server = Server::demo(&["--webrtc.ice_servers", ICE_SERVERS]);
    for (path, offer) in [
        ("/whip/a", "obs-media-level"),
        ("/whep/demo", "chrome-whep-av"),
    ] {
        let created = server.post_offer(path, &fixture(offer)).expect(201);
        assert_eq!(links(&created).0, LINKS, "{path}");
        assert_eq!(created.header("cache-control"), Some("no-store"));
        let options = server.request("OPTIONS", path, &[], "").expect(200);
        // MediaMTX treats any other link here as an error.
        assert_eq!(links(&options), (LINKS.to_vec(), Vec::new()), "{path}");
        let method = ("Access-Control-Request-Method", "POST");
        let preflight = server.request("OPTIONS", path, &[method], "").expect(200);
        assert_eq!(preflight.header("link"), None, "{path}");
    }
    assert!(!server.log().contains("pa\"ss"));
}

/// Rows W-15, W-92, W-93.
#[test]
fn turn_passwords_are_made_for_each_session() {
    let arguments = [
        &[
            "--webrtc.turn_secret",
            "north",
            "--webrtc.turn_lifetime",
            "1h",
        ][..],
        &[
            "--webrtc.ice_servers",
            "stun:stun.example,turn:turn.example:3478",
        ],
    ];
    let server = Server::start(&arguments.concat());
    let mut users = BTreeSet::new();
    for path in ["/whip/a", "/whip/b"] {
        let created = server.post_offer(path, &fixture("obs-media-level"));
        let options = server.request("OPTIONS", path, &[], "");
        for reply in [created.expect(201), options.expect(200)] {
            let [stun, turn] = links(&reply).0[..] else {
                panic!("{}", reply.head)
            };
            assert_eq!(stun, "<stun:stun.example>; rel=\"ice-server\"");
            let parts: Vec<_> = turn.split('"').collect();
            let [
                "<turn:turn.example:3478>; rel=",
                "ice-server",
                "; username=",
                user,
                _,
                password,
                ..,
            ] = parts[..]
            else {
                panic!("{turn}")
            };
            let (expiry, session) = user.split_once(':').unwrap();
            let left = Duration::from_secs(expiry.parse().unwrap())
                .saturating_sub(UNIX_EPOCH.elapsed().unwrap());
            assert!(left > Duration::from_mins(50) && left <= Duration::from_hours(1));
            assert_eq!(password, hmac(user, "north"));
            users.insert(session.to_owned());
        }
    }
    assert_eq!(users.len(), 3, "two sessions, and who has none: {users:?}");
    assert!(!server.log().contains("north"));
}

/// What a TURN server computes from its secret, in base64.
fn hmac(text: &str, secret: &str) -> String {
    let command = "printf %s \"$1\" | openssl dgst -sha1 -hmac \"$2\" -binary | base64";
    let arguments = ["-c", command, "sh", text, secret];
    let output = Command::new("sh").args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_turn_server_without_a_user_name_needs_a_secret_and_the_other_way_round() {
    for (flags, said) in [
        (
            ["--webrtc.ice_servers", "turn:a.example"],
            "webrtc.turn_secret",
        ),
        (["--webrtc.turn_secret", "north"], "webrtc.ice_servers"),
    ] {
        let refused = output(aerial(&[&["serve"][..], &flags].concat()));
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(said), "{text}");
        assert!(!text.contains("north"), "{text}");
    }
}

/// Rows W-94, W-111, E-68.
#[test]
fn nothing_needs_a_link() {
    let server = Server::demo(&[]);
    let created = server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201);
    assert_eq!(created.header("link"), None, "no WHIP extension");
    // Every other test ignores the links.
    let created = server
        .post_offer("/whep/demo", &fixture("chrome-whep-av"))
        .expect(201);
    let (ice_servers, extensions) = links(&created);
    assert!(ice_servers.is_empty());
    assert!(extensions.iter().all(|link| link.contains("whep:ext:")));
    server.get(&created.location()).expect(204);
}

/// Rows W-99a, W-99b, W-99c, E-49.
#[test]
fn offers_are_redirected_and_sessions_are_not() {
    let elsewhere = "https://other.example";
    let server = Server::start(&[
        "--http.redirect_publishers",
        elsewhere,
        "--http.redirect_viewers",
        elsewhere,
    ]);
    for path in ["/whip/a", "/whep/a", "/a/whip", "/whip/a?key=secret"] {
        let reply = server.post_offer(path, &fixture("obs-media-level"));
        assert_eq!(reply.status, 307, "{path}");
        let location = reply.header("location").unwrap();
        assert_eq!(location, format!("{elsewhere}{path}"));
        if path.contains("whep") {
            assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
            assert!(reply.lists("access-control-expose-headers", "Location"));
        }
    }
    for path in ["/whip/s/00", "/whep/s/00"] {
        server.delete(path).expect(404);
        server.patch(path, &[], "").expect(404);
    }
    assert_eq!(server.count("sessions"), 0);
}

/// Row W-31.
#[test]
fn a_redirected_client_gets_a_whole_url() {
    let server = Server::start(&["--http.public_url", "https://edge.example"]);
    let reply = server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201);
    let location = reply.header("location").unwrap();
    assert!(location.starts_with("https://edge.example/whip/s/"));
}

/// Row W-100b.
#[test]
fn a_flood_of_offers_from_one_client_is_limited() {
    let server = Server::start(&["--limits.source_offers", "1"]);
    let replies: Vec<_> = (0..15)
        .map(|_| server.request("POST", "/whep/nobody", &[SDP], ""))
        .collect();
    assert!(replies.iter().take(10).all(|reply| reply.status == 400));
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert!(!refused.is_empty());
    for reply in refused {
        let seconds = reply.header("retry-after").unwrap();
        assert!(seconds.parse::<u32>().unwrap() > 0);
    }
    // Only offers count.
    server.get("/api/server").expect(200);
    server.get("/whip/a").expect(204);
}
