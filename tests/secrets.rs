//! Nothing secret is in any line that the server writes, whatever is configured or sent, nor in what
//! it answers to those who are not the operator.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{
    outputs::{folder, server},
    support::{Reply, SDP, Server, aerial, fixture, output},
};

/// Begins every secret.
const MARK: &str = "hunter2";
/// Is in every secret, behind its place.
const REST: &str = "0123456789abcdef";

/// A secret of its own for each place that can hold one.
fn secret(place: &str) -> String {
    format!("{MARK}-{place}-{REST}-0123456789")
}

fn file(text: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("secrets-{}-{number}.toml", std::process::id());
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

/// A configuration with every secret that it can have.
fn configuration() -> String {
    let (in_file, key) = (file(&secret("file")), file(&secret("key")));
    format!(
        "demo = false\nlog = \"trace\"\n\
         [auth]\npublish_token = \"{}\"\nwatch_token = \"{}\"\nquery = true\nbasic = true\n\
         jwt_key = \"{}\"\ncallback = \"http://127.0.0.1:1/?key={}\"\ncallback_secret = \"{}\"\n\
         [[auth.tokens]]\ntoken = \"{}\"\nwatch = \"*\"\n\
         [[auth.tokens]]\ntoken_file = \"{}\"\nwatch = \"*\"\n\
         [[auth.tokens]]\ntoken_env = \"SECRET\"\nadmin = true\nmetrics = true\n\
         [webrtc]\nice_servers = [\"turn:user:{}@turn.example:3478\"]\n\
         [broadcasts.pull]\nsource = \"hls-pull.launch\"\n\
         vars = {{ url = \"http://user:{}@127.0.0.1:1/live.m3u8?token={}\", key = \"{}\" }}\n",
        secret("publish"),
        secret("watch"),
        key.display(),
        secret("query"),
        secret("callback"),
        secret("token"),
        in_file.display(),
        secret("turn"),
        secret("userinfo"),
        secret("url"),
        secret("variable"),
    )
}

/// Starts with this configuration, and the environment that it wants.
fn start(config: &Path, format: &str) -> Server {
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--udp",
        "127.0.0.1:0",
        "--log_format",
        format,
        "--config",
        config.to_str().unwrap(),
    ];
    let mut command = aerial(&arguments);
    command.env("SECRET", secret("env"));
    Server::attach(command.stderr(Stdio::piped()).spawn().unwrap())
}

#[track_caller]
fn expect_no_secret(text: &str) {
    let found = text
        .lines()
        .find(|line| line.contains(MARK) || line.contains(REST));
    assert_eq!(found, None, "a secret, or a part of one");
}

fn ask(server: &Server, method: &str, path: &str, token: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [SDP, ("Authorization", bearer.as_str())];
    server.request(method, path, &headers, &fixture("obs-media-level"))
}

#[test]
fn no_line_and_no_answer_has_a_secret() {
    let path = file(&configuration());
    let server = start(&path, "text");
    let tokens = ["publish", "watch", "token", "file", "env", "wrong"];
    for token in tokens.map(secret) {
        for (method, path) in [
            ("POST", "/whip/x"),
            ("POST", "/whep/x"),
            ("GET", "/api/broadcasts"),
            ("GET", "/api/broadcasts/pull"),
            ("GET", "/api/broadcasts/pull/pipelines"),
            ("GET", "/api/server"),
            ("GET", "/metrics"),
        ] {
            let reply = ask(&server, method, path, &token);
            expect_no_secret(reply.text());
            let in_query = format!("{path}?token={token}");
            let reply = server.request(method, &in_query, &[SDP], "");
            expect_no_secret(reply.text());
        }
    }
    // What a failing pipeline says of its URL.
    server.wait_for_line("a failed source", |line| line.field("pause_ms").is_some());
    let operator = secret("env");
    for path in ["/api/broadcasts/pull", "/api/broadcasts/pull/pipelines"] {
        let reply = ask(&server, "GET", path, &operator).expect(200);
        expect_no_secret(reply.text());
    }
    // Clients that may publish get the password of the TURN server, and nobody else does.
    let told = ask(&server, "POST", "/whip/y", &secret("publish")).expect(201);
    assert!(told.header("link").unwrap().contains(&secret("turn")));
    // A mistake beside secrets is named without them.
    let mistake = configuration().replace("basic = true", "basic = \"perhaps\"");
    fs::write(&path, mistake).unwrap();
    let refused = ask(&server, "POST", "/admin/reload", &operator).expect(422);
    assert!(refused.text().contains("auth.basic"), "{}", refused.text());
    expect_no_secret(refused.text());
    server.wait_for_line("the line about the mistake", |line| {
        line.level == "ERROR" && line.target == "aerial::server::reload"
    });
    let log = server.log();
    assert!(log.contains("TRACE") && log.contains("publish_token"));
    expect_no_secret(&log);
}

/// Graphs name variables in place of their values, however long these are and however GStreamer
/// quotes them, and show URLs of files without what is secret in them.
#[test]
fn no_graph_has_a_secret() {
    // It takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let source = format!(
        "videotestsrc is-live=true ! x264enc tune=zerolatency ! appsink name=video\n\
         souphttpsrc is-live=true location=\"${{url}}\" user-agent=\"${{key}}\"\n\
         extra-headers=\"headers,secret=(string)\\\"${{key}}\\\"\" ! fakesink async=false\n\
         souphttpsrc is-live=true location=\"http://user:{}@127.0.0.1:{port}/x?key={}\"\n\
         ! fakesink async=false\n",
        secret("file-user"),
        secret("file-query")
    );
    let folder = folder("secret-graph", &[], &[("graph.launch", &source)]);
    let config = format!(
        "[broadcasts.a]\nsource = \"graph.launch\"\n[broadcasts.a.vars]\n\
         url = \"http://user:{}@127.0.0.1:{port}/live/{}?token={}\"\nkey = \"{}&{}={}\"\n",
        secret("user"),
        secret("stream"),
        secret("token"),
        secret("key"),
        secret("other-key"),
        secret("last-key"),
    );
    let server = server(&folder, &config, &["--log=trace"]);
    server.wait_for_state("a", "live");
    let pipeline = "/api/v1/broadcasts/a/pipelines/graph";
    let dot = format!("{pipeline}/graph.dot");
    let graph = server.get_as_operator(&dot).expect(200);
    assert!(graph.text().contains("GstSoupHTTPSrc"), "{}", graph.text());
    assert!(graph.text().contains("${url}") && graph.text().contains("${key}"));
    expect_no_secret(graph.text());
    let svg = format!("{pipeline}/graph.svg");
    expect_no_secret(server.get_as_operator(&svg).expect(200).text());
    for path in [dot, svg] {
        let status = server.get(&path).status;
        assert!([401, 403].contains(&status), "{status}");
    }
    // What it says when it fails is stored and logged.
    drop(silent);
    server.wait_for_line("a failed source", |line| line.field("pause_ms").is_some());
    for path in ["/api/broadcasts/a", "/api/broadcasts/a/pipelines"] {
        expect_no_secret(server.get_as_operator(path).expect(200).text());
        expect_no_secret(server.get(path).text());
    }
    expect_no_secret(&server.log());
}

/// A secret in the wrong place is not repeated.
#[test]
fn mistakes_are_told_without_the_secret() {
    for (key, value) in [
        ("auth.publish_token", "hunter2 hunter2"),
        ("auth.watch_token", "hunter2 hunter2"),
        ("auth.callback_secret", "hunter2 hunter2"),
        ("auth.callback", "hunter2"),
        ("auth.jwt_url", "https://user:hunter2@issuer.example/"),
        ("webrtc.ice_servers", "turn:user:hunter2,;@turn.example"),
    ] {
        let text = output(aerial(&["serve", &format!("--{key}"), value]));
        let text = [text.stdout, text.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains(key), "{text}");
        expect_no_secret(&text);
    }
}

/// Lines as programs read them: one object each, with level, message and fields.
#[test]
fn lines_can_be_json() {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
    let more = ["--demo", "false", "--log_format", "json"];
    let mut command = aerial(&[&arguments[..], &more].concat());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok).map(|line| {
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert!(line["level"].is_string() && line["message"].is_string());
        line
    });
    let listening = lines.find(|line| line["message"] == "listening");
    child.kill().unwrap();
    child.wait().unwrap();
    let url = listening.unwrap()["url"].as_str().unwrap().to_owned();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
}
