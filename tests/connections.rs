//! Many connections, idle ones, deaf ones, and HTTP/2 on them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use crate::{
    conformance::tls::Certificate,
    support::{PATIENCE, Server, fixture, output, wait_for},
};

/// A connection that has sent this and stays open.
fn open(server: &Server, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// An event stream that stays open, with the status of the answer.
fn listen(server: &Server, path: &str, headers: &str) -> (TcpStream, u16) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    let mut stream = open(server, &request);
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    let status = std::str::from_utf8(&status[9..]).unwrap().parse().unwrap();
    (stream, status)
}

/// Waits for the next event on a stream; returns its name and its data.
fn next_event(lines: &mut impl Iterator<Item = String>) -> (String, serde_json::Value) {
    loop {
        let line = lines.next().unwrap();
        let Some(name) = line.strip_prefix("event:") else {
            continue;
        };
        let data = lines.next().unwrap();
        let data = serde_json::from_str(data.strip_prefix("data:").unwrap());
        return (name.to_owned(), data.unwrap());
    }
}

fn refused(server: &Server, limit: &str) -> u64 {
    server.metric(&format!("aerial_http_refused_total{{limit=\"{limit}\"}}"))
}

#[test]
fn a_full_server_still_begins_and_ends_sessions_and_says_how_it_is() {
    let server = Server::start(&["--http.connections", "24"]);
    let session = server.post_offer("/whip/a", &fixture("obs-media-level"));
    let session = session.expect(201).location();
    let streams: Vec<_> = (0..30)
        .map(|_| listen(&server, "/api/events", ""))
        .collect();
    let running = streams.iter().filter(|(_, status)| *status == 200).count();
    assert!((18..=21).contains(&running), "{running} streams");
    // Whatever is over the limit is gone at once; the streams stay.
    let refusal = server.get("/").expect(503);
    assert!(refusal.header("retry-after").is_some());
    server.get("/healthz").expect(200);
    assert!(refused(&server, "connections") > 0);
    assert_eq!(server.metric("aerial_http_event_streams"), running as u64);
    server.delete(&session).expect(200);
    let again = server.post_offer("/whip/a", &fixture("obs-media-level"));
    server.delete(&again.expect(201).location()).expect(200);
    server.wait_for_line("warning", |line| line.field("limit") == Some("connections"));
    drop(streams);
    wait_for("room", || (server.get("/").status == 200).then_some(()));
}

#[test]
fn one_client_cannot_take_every_connection() {
    let server = Server::start(&[
        "--limits.source_connections=16",
        "--limits.source_streams=4",
        "--http.trusted_proxies=127.0.0.1",
    ]);
    // A proxy is not limited; the clients that it names are.
    let idle = |client: &str| open(&server, &format!("PROXY TCP4 {client} 10.0.0.1 1 2\r\n"));
    let greedy: Vec<_> = (0..40).map(|_| idle("192.0.2.1")).collect();
    wait_for("refusals", || {
        (refused(&server, "client_connections") >= 22).then_some(())
    });
    let mut other = idle("192.0.2.2");
    other
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut status = [0; 12];
    other.read_exact(&mut status).unwrap();
    assert_eq!(&status[9..], b"200");
    drop(greedy);
    // Event streams, by the address that a header names.
    let stream = |client| {
        let header = format!("X-Forwarded-For: {client}\r\n");
        listen(&server, "/api/events", &header)
    };
    let greedy: Vec<_> = (0..6).map(|_| stream("192.0.2.3")).collect();
    let statuses: Vec<_> = greedy.iter().map(|(_, status)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 429, 429]);
    assert_eq!(stream("192.0.2.4").1, 200);
}

#[test]
fn connections_of_clients_that_do_not_read_or_do_not_send_end() {
    let server = Server::start(&["--http.write_timeout=1s", "--http.header_timeout=1s"]);
    let pipelined = "GET /js/player.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2000);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut deaf = TcpStream::connect(server.address).unwrap();
        deaf.set_write_timeout(Some(Duration::from_secs(1)))
            .unwrap();
        // Err: the server does not take it all, as it cannot answer.
        let _ = deaf.write_all(pipelined.as_bytes());
        held.push(deaf);
        held.push(open(&server, ""));
        held.push(open(&server, "GET / HTT"));
        held.push(open(&server, "PRI * HTTP/2.0\r\n"));
        held.push(open(&server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    }
    let stream = listen(&server, "/api/events", "");
    wait_for("end of all but the event stream", || {
        (server.metric("aerial_http_connections") == 1).then_some(())
    });
    assert_eq!(server.metric("aerial_http_event_streams"), 1);
    drop((held, stream));
}

#[test]
fn events_about_one_broadcast_are_about_no_other() {
    let server = Server::start(&[]);
    let (stream, status) = listen(&server, "/api/events?broadcast=b", "");
    assert_eq!(status, 200);
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let nothing = ("broadcast".to_owned(), serde_json::Value::Null);
    assert_eq!(next_event(&mut lines), nothing);
    let publish = |name: &str| {
        let reply = server.post_offer(&format!("/whip/{name}"), &fixture("obs-media-level"));
        reply.expect(201).location()
    };
    publish("a");
    let session = publish("b");
    let (name, data) = next_event(&mut lines);
    assert_eq!((name.as_str(), &data["name"]), ("broadcast", &"b".into()));
    server.delete(&session).expect(200);
    while next_event(&mut lines) != nothing {}
    assert_eq!(listen(&server, "/api/events?broadcast=..", "").1, 404);
}

/// How many of these answers curl got, as `version status`, over one connection.
fn curl(arguments: &[&str], url: &str, times: usize) -> Vec<String> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--insecure", "--parallel", "--max-time", "20"]);
    command.args(arguments);
    for _ in 0..times {
        command.args(["--output", "/dev/null", url]);
    }
    command.args(["--write-out", "%{http_version} %{response_code}\n"]);
    let output = output(command);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn http_2_is_there_with_and_without_tls() {
    let server = Server::start(&[]);
    let url = format!("http://{}/healthz", server.address);
    assert_eq!(curl(&["--http2-prior-knowledge"], &url, 1), ["2 200"]);
    assert_eq!(curl(&["--http1.1"], &url, 1), ["1.1 200"]);
    drop(server);
    let certificate = Certificate::new("connections");
    let server = certificate.server(&[]);
    let url = format!("https://{}/healthz", server.address);
    assert_eq!(curl(&["--http2"], &url, 8), ["2 200"; 8]);
    assert_eq!(curl(&["--http1.1"], &url, 1), ["1.1 200"]);
    // Many event streams over one connection leave it usable.
    let events = format!("https://{}/api/events", server.address);
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--insecure",
        "--http2",
        "--parallel",
        "--parallel-max",
        "20",
    ]);
    for _ in 0..10 {
        command.args(["--output", "/dev/null", &events]);
    }
    let mut streams = command.spawn().unwrap();
    wait_for("ten streams over one connection", || {
        let count = |name: &str| server.metric(&format!("aerial_http_{name}"));
        (count("event_streams") == 10 && count("connections") == 1).then_some(())
    });
    streams.kill().unwrap();
    streams.wait().unwrap();
}

#[test]
fn a_request_has_one_host() {
    let server = Server::start(&[]);
    let ask = |hosts: &str| {
        let request = format!("GET /healthz HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        server.raw(&[request.as_bytes()]).status
    };
    assert_eq!(ask("Host: localhost\r\n"), 200);
    assert_eq!(ask("Host: localhost\r\nHost: localhost\r\n"), 400);
    assert_eq!(ask("Host: localhost\r\nhost: b\r\n"), 400);
    assert_eq!(ask(""), 400);
}
