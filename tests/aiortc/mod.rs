//! aiortc, an independent implementation in Python, publishes and watches.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use crate::{
    rtc::Client,
    support::{Server, wait_for},
};

/// A running `peer.py`.
struct Peer {
    child: Child,
    said: Arc<Mutex<Vec<Value>>>,
}

impl Peer {
    fn start(server: &Server, role: &str, path: &str, options: &[&str]) -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let python = tests.join(".venv/bin/python");
        assert!(python.exists(), "aiortc is missing: run `.ci/setup test`");
        let mut child = Command::new(python)
            .arg(tests.join("aiortc/peer.py"))
            .args([role, &format!("http://{}{path}", server.address)])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = Arc::<Mutex<Vec<Value>>>::default();
        let copy = Arc::clone(&said);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                copy.lock()
                    .unwrap()
                    .push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, said }
    }

    /// The latest message on this subject.
    fn last(&self, what: &str) -> Option<Value> {
        let said = self.said.lock().unwrap();
        said.iter()
            .rev()
            .find(|said| !said[what].is_null())
            .cloned()
    }

    fn number(&self, what: &str) -> u64 {
        self.last(what)
            .map_or(0, |said| said[what].as_u64().unwrap())
    }

    fn wait_for_state(&self, state: &str) -> Value {
        wait_for(state, || {
            self.last("state").filter(|said| said["state"] == state)
        })
    }

    /// Waits for sound and for pictures in ascending order.
    fn wait_for_media(&self, pictures: u64) {
        let before = self.number("video");
        wait_for(&format!("{pictures} pictures"), || {
            let audible = self.number("audio") > 50 && self.number("loudest") > LOUD;
            (audible && self.number("video") >= before + pictures).then_some(())
        });
        assert_eq!(self.number("disorder"), 0, "{:?}", self.last("video"));
    }
}

/// The tone's samples reach 12 000; silence and noise stay below this.
const LOUD: u64 = 4_000;

impl Drop for Peer {
    fn drop(&mut self) {
        // It leaves when its standard input closes.
        drop(self.child.stdin.take());
        if thread::panicking() {
            let said = self.said.lock().unwrap();
            println!("aiortc said: {:?}", &said[said.len().saturating_sub(3)..]);
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn publish(server: &Server, codec: &str) -> Peer {
    let publisher = Peer::start(server, "publish", "/whip/a", &["--codec", codec]);
    server.wait_for_state("a", "live");
    let state = publisher.wait_for_state("connected");
    // The only profile that GStreamer supports.
    assert_eq!(state["srtp"], "SRTP_AES128_CM_SHA1_80");
    publisher
}

#[test]
fn vp8_with_every_srtp_profile() {
    let server = Server::start(&["--timeouts.grace=500ms"]);
    let publisher = publish(&server, "VP8");
    let profiles = [
        "SRTP_AEAD_AES_128_GCM",
        "SRTP_AEAD_AES_256_GCM",
        "SRTP_AES128_CM_SHA1_80",
    ];
    let watchers = profiles.map(|profile| {
        let options = ["--codec", "VP8", "--srtp", profile];
        Peer::start(&server, "watch", "/whep/a", &options)
    });
    for (watcher, profile) in watchers.iter().zip(profiles) {
        assert_eq!(watcher.wait_for_state("connected")["srtp"], profile);
        watcher.wait_for_media(60);
    }
    for watcher in &watchers {
        watcher.wait_for_media(30);
    }
    assert_eq!(server.count("viewers"), 3);
    // It leaves by DELETE, and viewers learn that the broadcast is over.
    drop(publisher);
    for watcher in &watchers {
        watcher.wait_for_state("closed");
    }
}

#[test]
fn h264_to_independent_peers() {
    let server = Server::start(&[]);
    let _publisher = publish(&server, "H264");
    let browser = Client::watch(&server, "a");
    let watcher = Peer::start(&server, "watch", "/whep/a", &["--codec", "H264"]);
    watcher.wait_for_media(60);
    browser.wait_for_frames(60);
    browser.wait_for_all();
    watcher.wait_for_media(30);
}
