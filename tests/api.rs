//! The API, events, health and metrics.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use crate::support::{PATIENCE, Server, fixture};

#[test]
fn broadcasts() {
    let server = Server::demo(&[]);
    server
        .post_offer("/whep/demo", &fixture("chrome-whep-av"))
        .expect(201);
    let list = server.get("/api/broadcasts").expect(200).json();
    let one = server.get("/api/broadcasts/demo").expect(200).json();
    assert_eq!(list["broadcasts"][0], one);
    assert_eq!(one["name"], "demo");
    assert_eq!(one["state"], "live");
    assert_eq!(one["viewers"], 1);
    assert_eq!(one["source"], "pipeline");
    assert_eq!(one["tracks"][0]["kind"], "video");
    assert_eq!(one["tracks"][0]["codec"], "h264");
    assert_eq!(one["tracks"][1]["codec"], "opus");
    let started = one["started"].as_str().unwrap();
    assert!(started.len() == 20 && started.ends_with('Z'), "{started}");
    server.get("/api/broadcasts/nobody").expect(404);
    server
        .request("POST", "/api/broadcasts", &[], "")
        .expect(405);
}

#[test]
fn server_health_and_metrics() {
    let server = Server::demo(&[]);
    server
        .post_offer("/whep/demo", &fixture("chrome-whep-av"))
        .expect(201);
    let json = server.get("/api/server").expect(200).json();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    for (what, count) in [
        ("broadcasts", 1),
        ("publishers", 0),
        ("viewers", 1),
        ("sessions", 1),
    ] {
        assert_eq!(json[what], count, "{what}");
    }
    assert_eq!(server.get("/healthz").expect(200).text().trim(), "ok");
    let metrics = server.get_as_operator("/metrics").expect(200);
    assert!(
        metrics
            .header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    for line in [
        "aerial_broadcasts_live 1",
        "aerial_viewers 1",
        "aerial_sessions_started_total{role=\"viewer\"} 1",
        "aerial_sessions_ended_total{reason=\"deleted\"} 0",
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn events() {
    let server = Server::start(&[]);
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut next = |event: &str| loop {
        if lines.next().unwrap().strip_prefix("event:") == Some(event) {
            let data = lines.next().unwrap();
            let json: serde_json::Value =
                serde_json::from_str(data.strip_prefix("data:").unwrap()).unwrap();
            return json;
        }
    };
    assert_eq!(next("broadcasts")["broadcasts"], serde_json::json!([]));
    let created = server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201);
    assert_eq!(next("changes")["changed"][0]["name"], "a");
    server.delete(&created.location()).expect(200);
    while next("changes")["removed"] != serde_json::json!(["a"]) {}
}
