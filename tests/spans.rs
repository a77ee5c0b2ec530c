//! Log lines of sessions say which session of which broadcast they are about.

use crate::{
    rtc::{Client, clip},
    support::{SDP, Server, engines::with_each_engine, fixture},
};

/// Modules that log about one session at a time.
const OF_SESSIONS: [&str; 9] = [
    "aerial::broadcast::publisher",
    "aerial::broadcast::viewer",
    "aerial::fanout::direct",
    "aerial::fanout::webrtcbin",
    "aerial::ingest",
    "aerial::peer::session",
    "aerial::playout",
    "aerial::webrtcbin",
    "aerial::worker::receiver",
];

#[test]
fn log_lines_of_a_session_carry_broadcast_role_and_session() {
    with_each_engine(|engine| {
        let server = Server::start(&[
            "--log=aerial=debug",
            &format!("--webrtc.publisher_engine={engine}"),
            &format!("--webrtc.viewer_engine={engine}"),
        ]);
        let publisher = Client::live(&server, "a", &clip::VP8);
        let viewer = Client::watch(&server, "a");
        viewer.wait_for_frames(30);
        server.delete(&viewer.session).expect(200);
        server.delete(&publisher.session).expect(200);
        viewer.wait_for_goodbye();
        publisher.wait_for_goodbye();
        let lines = server.lines();
        let of_sessions = || {
            let is_of_one = |target: &str| OF_SESSIONS.iter().any(|room| target.starts_with(room));
            lines.iter().filter(move |line| is_of_one(&line.target))
        };
        for line in of_sessions() {
            assert!(line.has("name", "a"), "{engine}: {line:?}");
            assert!(line.field("id").is_some(), "{engine}: {line:?}");
            assert!(line.field("role").is_some(), "{engine}: {line:?}");
        }
        for role in ["publisher", "viewer"] {
            let found = of_sessions().any(|line| line.has("role", role));
            assert!(found, "{engine}: no line of a {role}");
        }
    });
}

#[test]
fn the_log_says_who_began_and_ended_a_session_and_who_had_a_wrong_token() {
    let text =
        "[[auth.tokens]]\nname = \"studio\"\ntoken = \"studio-secret-123\"\npublish = \"*\"\n";
    let folder = crate::outputs::folder("who", &[], &[("aerial.toml", text)]);
    let server = Server::configured(&folder.join("aerial.toml"), &["--demo", "false"]);
    let post = |token: &str| {
        let token = format!("Bearer {token}");
        let headers = [
            SDP,
            ("Authorization", token.as_str()),
            ("User-Agent", "OBS \"31\""),
        ];
        let offer = fixture("obs-media-level");
        server.request("POST", "/whip/a", &headers, &offer)
    };
    post("wrong").expect(401);
    let session = post("studio-secret-123").expect(201).location();
    server.delete(&session).expect(200);
    let ended = server.wait_for_line("end", |line| line.has("end", "deleted"));
    let refused = server.wait_for_line("wrong token", |line| line.target == "aerial::http::auth");
    assert_eq!(refused.level, "WARN");
    assert!(refused.has("client", "127.0.0.1"), "{refused:?}");
    let began = server.wait_for_line("begin", |line| line.target == "aerial::broadcast::session");
    for line in [began, ended] {
        for (name, value) in [
            ("client", "127.0.0.1"),
            ("token", "studio"),
            ("user_agent", "OBS \"31\""),
        ] {
            assert!(line.has(name, value), "{name}: {line:?}");
        }
    }
    let log = server.log();
    assert!(
        !log.contains("studio-secret-123") && !log.contains("Bearer"),
        "{log}"
    );
}
