//! Pipelines over HTTP: figures, graphs, keyframes, properties, and who may use them.

use std::{
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::{
    outputs::{folder, server},
    rtc::{Client, clip},
    support::{Reply, Server, aerial, exchange, wait_for},
};

fn get(server: &Server, path: &str) -> Reply {
    server.get_as_operator(path)
}

fn patch(server: &Server, path: &str, body: &str) -> Reply {
    let kind = [("Content-Type", "application/json")];
    server.operate("PATCH", path, &kind, body)
}

fn pipelines(server: &Server, broadcast: &str) -> Vec<Value> {
    let path = format!("/api/broadcasts/{broadcast}/pipelines");
    let list = server.get(&path).expect(200).json();
    list["pipelines"].as_array().unwrap().clone()
}

fn wait_for_running(server: &Server, broadcast: &str, pipeline: &str) -> Value {
    wait_for("running pipeline", || {
        let all = pipelines(server, broadcast);
        let found = all.into_iter().find(|found| found["name"] == pipeline)?;
        let some = |list: &str| found[list][0]["frames"].as_u64() > Some(0);
        (found["state"] == "running" && some("outputs")).then_some(found)
    })
}

#[test]
fn every_pipeline_shows_its_figures() {
    let built_in = ["demo.launch", "h264.launch", "record-mkv.launch"];
    let folder = folder("figures", &built_in, &[]);
    let config = "[broadcasts.card]\nsource = \"demo.launch\"\nrenditions = [\"h264.launch\"]\n\
                  outputs = [\"record-mkv.launch\"]\nvars = { directory = \"FOLDER\" }\n";
    let server = server(&folder, config, &[]);
    server.wait_for_state("card", "live");
    let source = wait_for_running(&server, "card", "demo");
    assert_eq!(
        (&source["file"], &source["kind"], &source["restarts"]),
        (&"demo.launch".into(), &"source".into(), &0.into())
    );
    let bytes = |it: &Value, list: &str| it[list][0]["bytes"].as_u64() > Some(1000);
    assert!(bytes(&source, "outputs"), "{source}");
    let output = wait_for_running(&server, "card", "record-mkv");
    assert_eq!(output["kind"], "output");
    assert!(bytes(&output, "inputs"), "{output}");
    assert_eq!(output["inputs"][0]["dropped"], 0);

    let idle = pipelines(&server, "card").remove(1);
    assert_eq!(
        (&idle["name"], &idle["kind"], &idle["state"]),
        (&"h264".into(), &"renditions".into(), &"idle".into())
    );
    let base = "/api/broadcasts/card/pipelines/h264";
    get(&server, &format!("{base}/graph.dot")).expect(409);
    get(&server, &format!("{base}/properties")).expect(409);
    server
        .operate("POST", &format!("{base}/force-keyframe"), &[], "")
        .expect(409);
    let viewer = Client::watch(&server, "card?rendition=h264");
    viewer.wait_for_frames(5);
    let rendition = wait_for("time per frame", || {
        let found = wait_for_running(&server, "card", "h264");
        found["outputs"][0]["time_per_frame_ms"]
            .is_number()
            .then_some(found)
    });
    assert!(rendition["queues"].is_array(), "{rendition}");
    server.get("/api/broadcasts/none/pipelines").expect(404);
    get(&server, "/api/broadcasts/card/pipelines/none/graph.svg").expect(404);
}

#[test]
fn a_graph_carries_the_figures() {
    let server = Server::demo(&[]);
    wait_for_running(&server, "demo", "demo");
    let base = "/api/broadcasts/demo/pipelines/demo";
    let dot = get(&server, &format!("{base}/graph.dot")).expect(200);
    assert!(dot.text().starts_with("digraph"), "{}", dot.text());
    let figures = dot.text().lines().find(|line| line.contains(" bytes"));
    assert!(
        figures.is_some_and(|line| line.contains("video")),
        "{}",
        dot.text()
    );
    assert!(dot.text().contains("GstX264Enc"), "{}", dot.text());
    let svg = get(&server, &format!("{base}/graph.svg")).expect(200);
    assert_eq!(svg.header("content-type"), Some("image/svg+xml"));
    assert!(svg.text().contains("<svg") && svg.text().contains(" bytes"));
}

#[test]
fn without_graphviz_the_graph_says_what_is_missing() {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
    let mut command = aerial(&arguments);
    command.env("PATH", "/nowhere").stderr(Stdio::piped());
    let server = Server::attach(command.spawn().unwrap());
    wait_for_running(&server, "demo", "demo");
    let base = "/api/broadcasts/demo/pipelines/demo";
    let refused = get(&server, &format!("{base}/graph.svg")).expect(501);
    assert_eq!(refused.problem(), "missing-program");
    assert!(refused.text().contains("graphviz"), "{}", refused.text());
    get(&server, &format!("{base}/graph.dot")).expect(200);
}

#[test]
fn properties_change_within_what_the_file_declares() {
    let server = Server::demo(&[]);
    wait_for_running(&server, "demo", "demo");
    let path = "/api/broadcasts/demo/pipelines/demo/properties";
    let value = |reply: &Reply, name: &str| {
        let all = reply.json()["properties"].as_array().unwrap().clone();
        let found = all.into_iter().find(|found| found["name"] == name).unwrap();
        found["value"].clone()
    };
    let before = get(&server, path).expect(200);
    assert_eq!(value(&before, "encoder.bitrate"), 2500);
    assert_eq!(before.json()["properties"][1]["unit"], "kbit/s");
    let wanted = json!({ "encoder.bitrate": 800, "title.text": "Hello, \"world\"" });
    let after = patch(&server, path, &wanted.to_string()).expect(200);
    assert_eq!(value(&after, "encoder.bitrate"), 800);
    assert_eq!(value(&after, "title.text"), "Hello, \"world\"");

    // The problem names the property and, if there is a range, its bounds.
    for (status, body, names) in [
        (
            422,
            json!({ "encoder.bitrate": 50 }),
            &["encoder.bitrate", "100", "20000 kbit/s"][..],
        ),
        (
            422,
            json!({ "encoder.bitrate": "much" }),
            &["encoder.bitrate"],
        ),
        (422, json!({ "encoder.tune": 1 }), &["encoder.tune"]),
        (
            422,
            json!({ "title.text": "x".repeat(81) }),
            &["title.text", "80"],
        ),
        (422, json!({ "title.text": "a\u{7}" }), &["title.text"]),
        (
            422,
            json!({ "title.text": "no", "encoder.bitrate": 1 }),
            &["encoder.bitrate"],
        ),
        (400, json!({ "encoder.bitrate": [] }), &["encoder.bitrate"]),
        (400, json!([]), &[]),
    ] {
        let refused = patch(&server, path, &body.to_string()).expect(status);
        for name in names {
            assert!(refused.text().contains(name), "{name}: {}", refused.text());
        }
    }
    patch(&server, path, "{").expect(400);
    patch(&server, path, &" ".repeat(20_000)).expect(413);
    server.operate("PATCH", path, &[], "{}").expect(415);
    server.operate("DELETE", path, &[], "").expect(405);
    let same = get(&server, path).expect(200);
    assert_eq!(value(&same, "encoder.bitrate"), 800);
    assert_eq!(value(&same, "title.text"), "Hello, \"world\"");
}

#[test]
fn a_keyframe_can_be_forced() {
    let rare = "appsrc name=video ! decodebin ! videoconvert\n\
                ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=100000\n\
                ! video/x-h264,profile=constrained-baseline ! appsink name=video_rare\n";
    let files = [("rare.launch", rare)];
    let folder = folder("keyframe", &["record-mkv.launch"], &files);
    let config = "[defaults]\nrenditions = [\"rare.launch\"]\n\
                  outputs = [\"record-mkv.launch\"]\nvars = { directory = \"FOLDER\" }\n";
    let server = server(&folder, config, &[]);
    let publisher = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a?rendition=rare");
    viewer.wait_for_frames(5);
    let base = "/api/broadcasts/a/pipelines";
    let force = |pipeline: &str| {
        let path = format!("{base}/{pipeline}/force-keyframe");
        server.operate("POST", &path, &[], "")
    };
    force("rare").expect(202);
    // For an output, the keyframe is requested from the publisher.
    let asked = publisher.keyframe_requests().len();
    force("record-mkv").expect(202);
    wait_for("request", || {
        (publisher.keyframe_requests().len() > asked).then_some(())
    });
    force("none").expect(404);
    viewer.wait_for_frames(10);
}

/// An address that refuses connections, with a token.
const SECRET_URL: &str = "http://127.0.0.1:1/x.m3u8?token=hunter2-secret";

#[test]
fn secrets_stay_out_of_texts_and_viewers_see_no_reasons() {
    let folder = folder("secrets", &["hls-pull.launch"], &[]);
    let config = format!(
        "[broadcasts.a]\nsource = \"hls-pull.launch\"\nvars = {{ url = \"{SECRET_URL}\" }}\n"
    );
    let server = server(&folder, &config, &["--log", "debug"]);
    let path = "/api/broadcasts/a/pipelines";
    let error = wait_for("failure", || {
        let list = server.get_as_operator(path).json();
        Some(list["pipelines"][0]["error"].as_str()?.to_owned())
    });
    assert!(!error.contains("hunter2"), "{error}");
    // Viewers get a word that programs can rely on.
    let list = server.get(path).expect(200).json();
    assert_eq!(list["pipelines"][0]["failure"], "failed", "{list}");
    for path in ["/api/broadcasts", "/api/broadcasts/a", path] {
        let shown = server.get(path).expect(200).json().to_string();
        assert!(!shown.contains("error"), "{shown}");
    }
    let log = server.log();
    assert!(!log.contains("hunter2"), "{log}");
}

const PARTS: [(&str, &str); 5] = [
    ("GET", "graph.dot"),
    ("GET", "graph.svg"),
    ("GET", "properties"),
    ("PATCH", "properties"),
    ("POST", "force-keyframe"),
];

/// Nothing about a request makes an operator of somebody without a token: proxies and tunnels to
/// this machine send `Host: localhost` from a loopback address.
#[test]
fn without_a_token_nobody_is_the_operator() {
    let server = Server::demo(&[]);
    wait_for_running(&server, "demo", "demo");
    let base = "/api/broadcasts/demo/pipelines/demo";
    for (method, part) in PARTS {
        let path = format!("{base}/{part}");
        let refused = server.request(method, &path, &[], "").expect(401);
        assert_eq!(refused.problem(), "token-missing");
        let wrong = [("Authorization", "Bearer wrong")];
        server.request(method, &path, &wrong, "").expect(401);
    }
    server.get("/metrics").expect(401);
    // The token of the operator's port is for that port only.
    let admin = server.admin.as_ref().unwrap();
    let token = format!("Bearer {}", admin.token);
    let headers = [("Authorization", token.as_str())];
    server.request("GET", "/metrics", &headers, "").expect(401);

    let there = |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        exchange(admin.address, &[head.as_bytes()])
    };
    there("/healthz").expect(200);
    there("/metrics").expect(401);
    there("/api/broadcasts").expect(401);
    there(&format!("/api/broadcasts?token={}", admin.token)).expect(200);
    let metrics = there(&format!("/metrics?token={}", admin.token)).expect(200);
    assert_eq!(metrics.header("access-control-allow-origin"), None);
    // Only what the operator needs.
    for path in ["/", "/whep/demo", "/watch/demo", "/publish/demo"] {
        get(&server, path).expect(404);
    }
    for path in ["/admin", "/js/admin.js", "/css/aerial.css", "/favicon.svg"] {
        get(&server, path).expect(200);
    }
}

#[test]
fn rights_of_tokens_open_metrics_and_pipelines() {
    let text = "[[auth.tokens]]\ntoken = \"operator-secret-1\"\nadmin = true\n\
                [[auth.tokens]]\ntoken = \"scraper-secret-12\"\nmetrics = true\n\
                [[auth.tokens]]\ntoken = \"studio-secret-123\"\npublish = \"*\"\nwatch = \"*\"\n";
    let folder = folder("rights", &[], &[("aerial.toml", text)]);
    let server = Server::configured(&folder.join("aerial.toml"), &[]);
    let with = |token: &str, method: &str, path: &str| {
        let token = format!("Bearer {token}");
        server.request(method, path, &[("Authorization", &token)], "")
    };
    wait_for("running pipeline", || {
        let path = "/api/broadcasts/demo/pipelines";
        let list = with("operator-secret-1", "GET", path).expect(200).json();
        (list["pipelines"][0]["state"] == "running").then_some(())
    });
    let graph = "/api/broadcasts/demo/pipelines/demo/graph.dot";
    for (token, metrics, graphs) in [
        ("operator-secret-1", 200, 200),
        ("scraper-secret-12", 200, 403),
        ("studio-secret-123", 403, 403),
    ] {
        with(token, "GET", "/metrics").expect(metrics);
        with(token, "GET", graph).expect(graphs);
    }
    let refused = with("scraper-secret-12", "GET", graph);
    assert_eq!(refused.problem(), "token-insufficient");
    with("operator-secret-1", "GET", "/api/broadcasts/demo").expect(200);
    with("scraper-secret-12", "GET", "/api/broadcasts/demo").expect(403);
    // No token is made, because one is configured.
    assert!(server.admin.is_none());
    server.wait_for_line("operator's port", |line| line.field("admin").is_some());
}

#[test]
fn the_operators_port_can_be_a_socket_of_the_servers_user() {
    let folder = folder("socket", &[], &[]);
    let path = folder.join("admin.sock");
    let option = format!("unix:{}", path.display());
    let mut server = Server::start(&["--admin.listen", &option]);
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("aerial_viewers 0"), "{answer}");
    server.signal("TERM");
    assert!(server.wait_for_exit().success());
    assert!(!path.exists());
}
