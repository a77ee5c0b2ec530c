//! What happens, as webhooks and the operator's event stream tell it.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use aws_lc_rs::hmac;
use serde_json::Value;

use crate::{
    outputs::{decoded, files, folder, server},
    rtc::{Client, clip},
    support::{PATIENCE, Server, wait_for},
};

const SECRET: &str = "hook-0123456789abcdef";

/// A request as a receiver got it.
struct Delivery {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Delivery {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut headers = Vec::new();
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let delivery = Self {
            headers,
            body: Vec::new(),
        };
        let mut body = vec![0; delivery.header("content-length").parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        Some(Self { body, ..delivery })
    }

    fn header(&self, name: &str) -> &str {
        let mut headers = self.headers.iter();
        let found = headers.find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn event(&self) -> String {
        self.json()["event"].as_str().unwrap().to_owned()
    }
}

/// A small HTTP server that takes webhooks.
struct Receiver {
    address: SocketAddr,
    got: Arc<Mutex<Vec<Delivery>>>,
}

impl Receiver {
    /// Answers the first requests with these statuses, and all others with 204.
    fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::<Mutex<Vec<Delivery>>>::default();
        let copy = Arc::clone(&got);
        let mut statuses: VecDeque<u16> = statuses.iter().copied().collect();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut stream = stream;
                let Some(delivery) = Delivery::read(&stream) else {
                    continue;
                };
                copy.lock().unwrap().push(delivery);
                let status = statuses.pop_front().unwrap_or(204);
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
            }
        });
        Self { address, got }
    }

    /// The configuration for this receiver.
    fn section(&self, events: &str) -> String {
        let address = self.address;
        format!(
            "[[webhooks]]\nname = \"test\"\nurl = \"http://{address}/hook\"\nsecret = \"{SECRET}\"\nevents = [{events}]\n"
        )
    }

    fn events(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter().map(Delivery::event).collect()
    }

    fn wait_for(&self, event: &str) -> Value {
        wait_for(event, || {
            let got = self.got.lock().unwrap();
            let found = got.iter().find(|delivery| delivery.event() == event);
            found.map(Delivery::json)
        })
    }
}

#[test]
fn a_broadcast_is_reported_from_its_start_to_its_end() {
    let receiver = Receiver::start(&[]);
    let config = format!(
        "{}[broadcasts.cam]\noutputs = [\"record-mp4.launch\"]\n[recordings]\ndirectory = \"FOLDER/kept\"\n",
        receiver.section(
            "\"broadcast.*\", \"viewer.*\", \"output.*\", \"recording.*\", \"segment.finished\""
        )
    );
    let folder = folder("events-life", &["record-mp4.launch"], &[]);
    let server = server(&folder, &config, &[]);
    let publisher = Client::live(&server, "cam", &clip::H264);
    let viewer = Client::watch(&server, "cam");
    viewer.wait_for_frames(5);
    let joined = receiver.wait_for("viewer.joined");
    server.delete(&viewer.session).expect(200);
    let left = receiver.wait_for("viewer.left");
    assert_eq!(
        (&left["session"], &left["reason"]),
        (&joined["session"], &"deleted".into())
    );
    receiver.wait_for("output.started");
    server.delete(&publisher.session).expect(200);
    let finished = receiver.wait_for("segment.finished");
    receiver.wait_for("broadcast.ended");
    receiver.wait_for("output.ended");
    let recording = receiver.wait_for("recording.finished");
    assert_eq!(
        (&finished["broadcast"], &finished["pipeline"]),
        (&"cam".into(), &"record-mp4".into())
    );
    let recordings = files(&folder.join("kept"), ".mp4");
    let file = finished["file"].as_str().unwrap();
    assert!(
        recordings.iter().any(|path| path.to_str() == Some(file)),
        "{file}"
    );
    let name = recording["recording"].as_str().unwrap();
    assert!(file.contains(name.strip_suffix(".mp4").unwrap()), "{name}");
    let size = std::fs::metadata(file).unwrap().len();
    assert_eq!(finished["bytes"].as_u64(), Some(size));
    assert!(!decoded(file.as_ref()).is_empty());
    let events = receiver.events();
    let of_broadcast: Vec<_> = events
        .iter()
        .filter(|event| event.starts_with("broadcast."))
        .collect();
    assert_eq!(of_broadcast.first().unwrap().as_str(), "broadcast.started");
    assert_eq!(of_broadcast.get(1).unwrap().as_str(), "broadcast.live");
    assert_eq!(of_broadcast.last().unwrap().as_str(), "broadcast.ended");

    let got = receiver.got.lock().unwrap();
    for delivery in got.iter() {
        let signed = [
            delivery.header("aerial-timestamp").as_bytes(),
            b".",
            &delivery.body,
        ]
        .concat();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = hmac::sign(&key, &signed);
        let tag: Vec<_> = tag
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let tag = tag.concat();
        assert_eq!(delivery.header("aerial-signature"), format!("sha256={tag}"));
        assert_eq!(delivery.header("aerial-event"), delivery.event());
        assert_eq!(delivery.json()["id"], delivery.header("aerial-event-id"));
    }
}

#[test]
fn a_failing_receiver_gets_the_same_event_again_and_media_goes_on() {
    let receiver = Receiver::start(&[500, 503, 204, 410]);
    let config = receiver.section("\"broadcast.started\", \"broadcast.live\"");
    let server = server(&folder("events-retry", &[], &[]), &config, &[]);
    let _publisher = Client::live(&server, "cam", &clip::H264);
    let viewer = Client::watch(&server, "cam");
    viewer.wait_for_frames(5);
    let metric = |result: &str| {
        server.metric(&format!(
            "aerial_webhook_events_total{{webhook=\"test\",result=\"{result}\"}}"
        ))
    };
    // The second event meets a receiver that is gone for good.
    wait_for("two events", || {
        (metric("delivered") + metric("failed") == 2).then_some(())
    });
    assert_eq!(
        (metric("delivered"), metric("failed"), metric("lost")),
        (1, 1, 0)
    );
    let got = receiver.got.lock().unwrap();
    let ids: Vec<_> = got
        .iter()
        .map(|delivery| delivery.header("aerial-event-id").to_owned())
        .collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
    assert!(
        ids[..3].iter().all(|id| *id == ids[0]) && ids[3] != ids[0],
        "{ids:?}"
    );
    drop(got);
    server.wait_for_line("a line about it", |line| {
        line.field("webhook") == Some("test")
    });
    assert!(!server.log().contains(SECRET));
}

/// Reads an event stream until an event of this name; returns everything so far.
fn follow(server: &Server, path: &str, known: &str, event: &str) -> String {
    let admin = server.admin.as_ref().unwrap();
    let mut stream = TcpStream::connect(admin.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let token = &admin.token;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nLast-Event-ID: {known}\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut lines = BufReader::new(stream).lines();
    while !text.contains(&format!("event:{event}\n")) || !text.ends_with("}\n") {
        text += &(lines.next().unwrap().unwrap() + "\n");
    }
    text
}

#[test]
fn operators_follow_the_same_events_and_get_what_they_missed() {
    let folder = folder(
        "events-stream",
        &[],
        &[(
            "broken.launch",
            "appsrc name=video ! filesink location=/nowhere/file",
        )],
    );
    let server = server(
        &folder,
        "[broadcasts.cam]\noutputs = [\"broken.launch\"]\n",
        &[],
    );
    assert_eq!(server.get("/admin/events").status, 401);
    assert_eq!(
        server.get_as_operator("/admin/events?events=sing").status,
        400
    );
    let publisher = Client::live(&server, "cam", &clip::H264);
    let seen = follow(
        &server,
        "/admin/events?events=pipeline.failed,broadcast.*",
        "",
        "pipeline.failed",
    );
    let id = seen
        .lines()
        .find_map(|line| line.strip_prefix("id:"))
        .unwrap();
    server.delete(&publisher.session).expect(200);
    let later = follow(
        &server,
        "/admin/events?events=broadcast.*",
        id,
        "broadcast.ended",
    );
    assert!(
        later.contains("\"event\":\"broadcast.ended\",\"broadcast\":\"cam\""),
        "{later}"
    );
    assert!(!later.contains("pipeline.failed"), "{later}");
}
