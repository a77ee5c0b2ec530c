//! The examples work as they are.

use std::{fs, path::Path, process::Stdio};

use crate::{
    outputs::{files, folder, wait_for_output},
    rtc::{Client, clip},
    support::{SDP, Server, aerial, fixture},
};

/// Runs `aerial serve` in a copy of the example's folder, as its README says, but on free ports.
fn serve(name: &str, flags: &[&str]) -> Server {
    let example = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name);
    let copy = folder(&format!("example-{name}"), &[], &[]);
    for entry in fs::read_dir(example).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let mut command = aerial(&["serve", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"]);
    command.args(flags).current_dir(copy).stderr(Stdio::piped());
    Server::attach(command.spawn().unwrap())
}

#[test]
fn the_overlay_titles_the_picture_of_a_publisher() {
    let server = serve("overlay", &[]);
    let _publisher = Client::live(&server, "studio", &clip::H264);
    Client::watch(&server, "studio?rendition=titled").wait_for_frames(30);
}

#[test]
fn the_channel_shows_its_slate_and_admits_only_its_publisher() {
    let server = serve("channel", &["--auth.query", "true"]);
    Client::watch(&server, "channel").wait_for_frames(30);
    server
        .post_offer("/whip/channel", &fixture("obs-session-level"))
        .expect(401);
    let _publisher = Client::publish(&server, "channel?token=change-me-publisher", &clip::H264);
    wait_for_output(&server, "channel", "record-mkv", "running");
    wait_for_output(&server, "channel", "hls", "running");
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("example-channel");
    assert_eq!(files(&copy, ".mkv").len(), 1);
}

/// The variables of `aerial` in the compose file, with the values of its `env.example` and these.
fn composed(secrets: &[(&str, &str)]) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/container");
    let compose = fs::read_to_string(folder.join("compose.yaml")).unwrap();
    let given = fs::read_to_string(folder.join("env.example")).unwrap();
    let given = given.lines().filter_map(|line| line.split_once('='));
    let given: Vec<_> = given.chain(secrets.iter().copied()).collect();
    let (_, service) = compose.split_once("\n  aerial:\n").unwrap();
    let (service, _) = service.split_once("\n\n").unwrap();
    let (_, variables) = service.split_once("    environment:\n").unwrap();
    let lines = variables
        .lines()
        .take_while(|line| line.starts_with("      "));
    let variables = lines.map(|line| {
        let (name, value) = line.trim().split_once(": ").unwrap();
        let filled = given.iter().rfold(value.to_owned(), |value, (name, text)| {
            value.replace(&format!("${{{name}}}"), text)
        });
        (name.to_owned(), filled)
    });
    variables.collect()
}

#[test]
fn the_composed_container_lets_its_tokens_in() {
    let secrets = [
        ("PUBLISH_TOKEN", "publish-0123456789abcdef"),
        ("METRICS_TOKEN", "metrics-0123456789abcdef"),
        ("TURN_SECRET", "turn-0123456789abcdef"),
    ];
    let variables = composed(&secrets);
    assert!(variables.len() > 6, "{variables:?}");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/container/aerial.toml");
    let mut command = aerial(&["serve", "--config", config.to_str().unwrap()]);
    command
        .args(["--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"])
        .args(["--webrtc.tcp", "127.0.0.1:0"])
        .envs(variables)
        .stderr(Stdio::piped());
    let server = Server::attach(command.spawn().unwrap());
    let offer = fixture("obs-session-level");
    server.post_offer("/whip/show", &offer).expect(401);
    let [(_, publish), (_, metrics), _] = secrets;
    let bearer = |token: &str| format!("Bearer {token}");
    let publish = bearer(publish);
    let headers = [SDP, ("Authorization", publish.as_str())];
    let created = server.request("POST", "/whip/show", &headers, &offer);
    let created = created.expect(201);
    let location = created.header("location").unwrap();
    assert!(location.starts_with("https://stream.example.org/whip/s/"));
    let turn = "<turn:stream.example.org:3478>";
    assert!(created.head.contains(turn), "{}", created.head);
    assert!(created.text().contains("203.0.113.7"), "{}", created.text());
    let metrics = bearer(metrics);
    let headers = [("Authorization", metrics.as_str())];
    server.request("GET", "/metrics", &headers, "").expect(200);
}
