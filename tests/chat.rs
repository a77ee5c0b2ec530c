//! Chat and data over HTTP, and who may do what.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
};

use serde_json::{Value, json};

use crate::support::{PATIENCE, Server};

const JSON: (&str, &str) = ("Content-Type", "application/json");
const AUTH: &str = "[auth]\npublish_token = \"publisher-of-tests\"\n";
const SPEAKERS: &str = "[[auth.tokens]]\ntoken = \"speaker-of-tests\"\nchat = \"members\"\n";
const BROADCASTS: &str = "[broadcasts.room]\nchat = true\ndata = true\n\
                          [broadcasts.members]\nchat = true\n";

fn configured(name: &str, parts: &[&str]) -> Server {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    fs::write(&file, parts.concat()).unwrap();
    Server::configured(&file, &["--demo", "false"])
}

/// Somebody who listens.
struct Listener {
    lines: std::io::Lines<BufReader<TcpStream>>,
    events: Vec<Value>,
}

impl Listener {
    fn new(server: &Server, name: &str, headers: &str) -> Self {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "GET /api/broadcasts/{name}/chat HTTP/1.1\r\nHost: {}\r\n{headers}\r\n",
            server.address
        )
        .unwrap();
        Self {
            lines: BufReader::new(stream).lines(),
            events: Vec::new(),
        }
    }

    /// The next event of this kind.
    fn next(&mut self, kind: &str) -> Value {
        loop {
            if let Some(at) = self.events.iter().position(|event| event["type"] == kind) {
                return self.events.remove(at);
            }
            let line = self.lines.next().unwrap().unwrap();
            if let Some(events) = line.strip_prefix("data:") {
                let events: Vec<Value> = serde_json::from_str(events).unwrap();
                self.events.extend(events);
            }
        }
    }
}

fn post(server: &Server, path: &str, token: Option<&str>, body: &Value) -> u16 {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![JSON];
    headers.extend(
        bearer
            .iter()
            .map(|bearer| ("Authorization", bearer.as_str())),
    );
    let path = format!("/api/broadcasts/{path}");
    server
        .request("POST", &path, &headers, &body.to_string())
        .status
}

#[test]
fn people_chat_over_http_and_moderators_keep_order() {
    let server = configured("chat-room", &[AUTH, BROADCASTS]);
    let (mut mina, mut june) = (
        Listener::new(&server, "room", ""),
        Listener::new(&server, "room", ""),
    );
    let hello = mina.next("hello");
    let key = hello["key"].clone();
    assert_eq!((&hello["v"], &hello["speaks"]), (&json!(1), &json!(true)));
    june.next("hello");
    let as_mina = |mut request: Value| {
        request["key"] = key.clone();
        post(&server, "room/chat", None, &request)
    };
    assert_eq!(
        as_mina(json!({"type": "say", "text": "hi"})),
        400,
        "no name"
    );
    assert_eq!(as_mina(json!({"type": "join", "name": "Mina"})), 204);
    assert_eq!(as_mina(json!({"type": "say", "text": "hi <b>"})), 204);
    let message = june.next("message");
    assert_eq!(
        (&message["name"], &message["text"]),
        (&json!("Mina"), &json!("hi <b>"))
    );
    let mut late = Listener::new(&server, "room", "");
    let past = late.next("hello")["history"][0].clone();
    assert_eq!(
        (&past["id"], &past["text"]),
        (&message["id"], &message["text"])
    );

    // Not everybody moderates.
    let ban = json!({"type": "ban", "member": message["from"]});
    assert_eq!(as_mina(ban.clone()), 403);
    assert_eq!(post(&server, "room/chat", None, &ban), 401);
    let token = Some("publisher-of-tests");
    assert_eq!(post(&server, "room/chat", token, &ban), 204);
    assert_eq!(june.next("removed")["from"], message["from"]);
    assert_eq!(mina.next("standing")["name"], "Mina");
    assert_eq!(as_mina(json!({"type": "say", "text": "still"})), 403);
    assert_eq!(mina.next("refused")["reason"], "name-missing");
    assert_eq!(mina.next("refused")["reason"], "not-moderator");
    assert_eq!(mina.next("refused")["reason"], "banned");

    // Data from a script.
    let score = json!({"score": [1, 0]});
    assert_eq!(post(&server, "room/data", token, &score), 204);
    assert_eq!(june.next("data")["data"], score);
    assert_eq!(post(&server, "room/data", None, &score), 401);
}

#[test]
fn the_right_to_chat_is_open_until_it_is_granted() {
    let server = configured("chat-members", &[AUTH, SPEAKERS, BROADCASTS]);
    let bearer = "Authorization: Bearer speaker-of-tests\r\n";
    for (name, headers, speaks) in [
        ("members", "", false),
        ("members", bearer, true),
        ("room", bearer, false),
    ] {
        let hello = Listener::new(&server, name, headers).next("hello");
        assert_eq!(hello["speaks"], speaks, "{name} {headers}");
    }
    // Off unless it is switched on.
    server.get("/api/broadcasts/elsewhere/chat").expect(404);
    let data = post(
        &server,
        "members/data",
        Some("publisher-of-tests"),
        &json!(1),
    );
    assert_eq!(data, 404);
}
