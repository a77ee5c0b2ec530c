//! Pipelines over HTTP: figures, graphs, keyframes, properties, and who may use them.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::{
    outputs::{folder, server},
    rtc::{Client, clip},
    support::{Reply, Server, aerial, wait_for},
};

/// Sends a request as curl on the same machine would.
fn operate(server: &Server, method: &str, path: &str, headers: &[&str], body: &str) -> Reply {
    let headers: String = headers.iter().flat_map(|line| [*line, "\r\n"]).collect();
    let host = if headers.starts_with("Host: ") {
        ""
    } else {
        "Host: localhost\r\n"
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    server.raw(&[head.as_bytes(), body.as_bytes()])
}

fn get(server: &Server, path: &str) -> Reply {
    operate(server, "GET", path, &[], "")
}

fn patch(server: &Server, path: &str, body: &str) -> Reply {
    let kind = "Content-Type: application/json";
    operate(server, "PATCH", path, &[kind], body)
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
    operate(&server, "POST", &format!("{base}/force-keyframe"), &[], "").expect(409);
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
    for part in ["GstX264Enc", "out video:", " frames, "] {
        assert!(dot.text().contains(part), "{part} in {}", dot.text());
    }
    let svg = get(&server, &format!("{base}/graph.svg")).expect(200);
    assert_eq!(svg.header("content-type"), Some("image/svg+xml"));
    assert!(svg.text().contains("<svg") && svg.text().contains("out video:"));
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
    operate(&server, "PATCH", path, &[], "{}").expect(415);
    operate(&server, "DELETE", path, &[], "").expect(405);
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
        operate(&server, "POST", &path, &[], "")
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
    for path in ["/api/broadcasts", "/api/broadcasts/a", path] {
        let shown = server.get(path).expect(200).json().to_string();
        assert!(!shown.contains("error"), "{shown}");
    }
    let log = server.log();
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn only_the_operator_looks_into_pipelines_and_changes_them() {
    let server = Server::demo(&[]);
    wait_for_running(&server, "demo", "demo");
    let base = "/api/broadcasts/demo/pipelines/demo";
    let parts = [
        ("GET", "graph.dot"),
        ("GET", "graph.svg"),
        ("GET", "properties"),
        ("PATCH", "properties"),
        ("POST", "force-keyframe"),
    ];
    for (method, part) in parts {
        let path = format!("{base}/{part}");
        for header in [
            "Host: example.org",
            "Origin: https://example.org",
            "Origin: null",
            "X-Forwarded-For: 203.0.113.9",
            "Forwarded: for=203.0.113.9",
            "Via: 1.1 proxy",
        ] {
            let refused = operate(&server, method, &path, &[header], "{}").expect(403);
            assert_eq!(refused.problem(), "not-allowed", "{header}");
        }
    }
    let origin = "Origin: http://localhost";
    let path = format!("{base}/force-keyframe");
    operate(&server, "POST", &path, &[origin], "").expect(202);
    drop(server);

    let server = Server::demo(&["--http.local_control=false"]);
    wait_for_running(&server, "demo", "demo");
    get(&server, &format!("{base}/graph.dot")).expect(403);
}
