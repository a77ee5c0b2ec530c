//! WHEP extensions: events and layer selection.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
};

use crate::{
    rtc::{Client, obs},
    support::{PATIENCE, Server, fixture},
};

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// The lines of an event stream as they arrive.
fn stream(server: &Server, path: &str) -> impl Iterator<Item = String> + use<> {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    BufReader::new(stream).lines().map_while(Result::ok)
}

fn viewer(server: &Server) -> (String, String) {
    let reply = server
        .post_offer("/whep/demo", &fixture("chrome-whep-av"))
        .expect(201);
    (reply.location(), reply.head)
}

/// Rows E-57, E-64.
#[test]
fn links_are_announced_on_lines_of_their_own() {
    let server = Server::demo(&[]);
    let (session, head) = viewer(&server);
    let head = head.to_ascii_lowercase();
    let links: Vec<_> = head
        .lines()
        .filter(|line| line.starts_with("link: "))
        .collect();
    assert_eq!(links.len(), 2, "{head}");
    assert!(links[0].contains(&format!(
        "<{session}/events>; rel=\"urn:ietf:params:whep:ext:core:server-sent-events\"; events=\""
    )));
    assert!(links[0].contains("active,inactive,viewercount,layers"));
    assert!(links[1].contains(&format!(
        "<{session}/layer>; rel=\"urn:ietf:params:whep:ext:core:layer\""
    )));
    let publisher = server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201);
    assert_eq!(publisher.header("link"), None, "W-111");
}

/// Rows E-58, E-60, E-63.
#[test]
fn a_viewer_gets_the_events_it_selected() {
    let server = Server::demo(&[]);
    let (session, _) = viewer(&server);
    let events = format!("{session}/events");
    let reply = server
        .request("POST", &events, &[JSON], r#"["viewercount"]"#)
        .expect(201);
    let selection = reply.location();
    let mut lines = stream(&server, &selection);
    let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let head = head.join("\n").to_ascii_lowercase();
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("cache-control: no-cache"), "{head}");
    let second = viewer(&server).0;
    let data = lines.find(|line| line.contains(r#"{"viewercount":2}"#));
    assert!(data.is_some(), "the second viewer is told");
    server.delete(&second).expect(200);
    let named = lines.find(|line| line.starts_with("event:")).unwrap();
    assert_eq!(
        named.trim_start_matches("event:").trim(),
        "viewercount",
        "only what was asked for"
    );
    server.delete(&selection).expect(200);
    server.get(&selection).expect(404);
    server.delete(&session).expect(200);
    server.get(&events).expect(404);
}

/// Row E-59.
#[test]
fn unknown_events_are_refused() {
    let server = Server::demo(&[]);
    let events = format!("{}/events", viewer(&server).0);
    for body in [r#"["nonsense"]"#, r#"{"active":1}"#, "[1]", "{"] {
        server.request("POST", &events, &[JSON], body).expect(400);
    }
    server
        .request("POST", &events, &[("Content-Type", "text/plain")], "[]")
        .expect(415);
    server.request("PUT", &events, &[], "").expect(405);
    for _ in 0..8 {
        server.request("POST", &events, &[], "").expect(201);
    }
    server.request("POST", &events, &[], "").expect(503);
}

/// Rows E-61, E-62.
#[test]
fn without_a_selection_all_events_come() {
    let server = Server::start(&["--timeouts.grace", "20s"]);
    let publisher = Client::talk(&server, "show");
    server.wait_for_state("show", "live");
    let watching = Client::listen(&server, "show");
    let mut lines = stream(&server, &format!("{}/events", watching.session));
    let first = lines.find(|line| line.starts_with("event:")).unwrap();
    assert!(
        first.ends_with("active") && !first.ends_with("inactive"),
        "{first}"
    );
    server.delete(&publisher.session).expect(200);
    assert!(lines.any(|line| line.trim_end().ends_with("inactive")));
}

/// Rows E-66, E-67.
#[test]
fn a_layer_is_selected_by_its_rid() {
    let server = Server::demo(&[]);
    let layer = format!("{}/layer", viewer(&server).0);
    let post = |body| server.request("POST", &layer, &[JSON], body);
    post(r#"{"mediaId":"0"}"#).expect(200);
    post(r#"{"mediaId":"0","rid":"x"}"#).expect(422);
    post("[]").expect(400);
    server.delete(&layer).expect(200);
    server.get(&layer).expect(405);
}

/// Rows W-74, E-65.
#[test]
fn the_layers_of_a_simulcast_broadcast_are_listed() {
    let server = Server::start(&[]);
    let _publisher = obs::publish_simulcast(&server, "show");
    server.wait_for_state("show", "live");
    let reply = server.post_offer("/whep/show", &fixture("chrome-whep-av"));
    let session = reply.expect(201).location();
    let mut lines = stream(&server, &format!("{session}/events"));
    let mut named = lines.by_ref().filter(|line| line.starts_with("event:"));
    assert!(named.any(|line| line.ends_with("layers")));
    let data = lines.next().unwrap();
    // The picture is the first section of the offer.
    let data = data.trim_start_matches("data:").trim();
    assert_eq!(data, r#"{"0":[{"rid":"0"},{"rid":"1"},{"rid":"2"}]}"#);
    let layer = format!("{session}/layer");
    let chosen = r#"{"mediaId":"0","rid":"1"}"#;
    server.request("POST", &layer, &[JSON], chosen).expect(200);
}
