//! Log lines of sessions say which session of which broadcast they are about.

use crate::{
    rtc::{Client, clip},
    support::Server,
};

/// Modules that log about one session at a time.
const OF_SESSIONS: [&str; 7] = [
    "aerial::broadcast::publisher",
    "aerial::broadcast::viewer",
    "aerial::fanout::direct",
    "aerial::fanout::playout",
    "aerial::fanout::webrtcbin",
    "aerial::ingest",
    "aerial::peer::session",
];

#[test]
fn log_lines_of_a_session_carry_broadcast_role_and_session() {
    for engine in ["webrtcbin", "direct"] {
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
    }
}
