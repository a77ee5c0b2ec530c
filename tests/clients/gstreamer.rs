//! The WHIP and WHEP clients of gst-plugins-rs, launched as GStreamer's users do.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    rtc::Client,
    support::{Server, wait_for},
};

/// `tests/gstreamer` running a pipeline until dropped.
struct Launched {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Buffers of video and audio so far.
    counts: Arc<Mutex<(u64, u64)>>,
}

impl Launched {
    fn new(description: &str) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("target/gstreamer-clients/debug/gstreamer-clients");
        assert!(program.exists(), "it is missing: run `.ci/setup test`");
        let mut child = Command::new(program)
            .arg(description)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // These elements are not ours: their criticals must not end the program.
            .env_remove("G_DEBUG")
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let counts = Arc::<Mutex<(u64, u64)>>::default();
        let copy = Arc::clone(&counts);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let words: Vec<_> = line.split(' ').collect();
                let ["video", video, "audio", audio] = words[..] else {
                    continue;
                };
                *copy.lock().unwrap() = (video.parse().unwrap(), audio.parse().unwrap());
            }
        });
        Self {
            child,
            stdin,
            counts,
        }
    }

    fn wait_for_pictures(&self, more: u64) {
        let before = *self.counts.lock().unwrap();
        wait_for(&format!("{more} pictures after {before:?}"), || {
            let now = *self.counts.lock().unwrap();
            (now.0 >= before.0 + more && now.1 >= before.1 + more).then_some(())
        });
    }

    /// Lets it end on its own.
    fn quit(mut self) {
        drop(self.stdin.take());
        let status = wait_for("end of the clients", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        // Err: it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// By default they query a STUN server on the Internet.
const NO_STUN: &str = "stun-server=\"\"";

/// Checks that they publish and watch with one codec, and leave by DELETE.
fn carries(codec: &str, caps: &str, engines: [&str; 2]) {
    let [publisher, viewer] = engines;
    let server = Server::start(&[
        "--webrtc.publisher_engine",
        publisher,
        "--webrtc.viewer_engine",
        viewer,
    ]);
    let address = server.address;
    let publisher = Launched::new(&format!(
        "videotestsrc is-live=true horizontal-speed=5
             ! video/x-raw,width=320,height=180,framerate=30/1 ! publishing.
         audiotestsrc is-live=true ! publishing.
         whipclientsink name=publishing {NO_STUN} video-caps={caps} audio-caps=audio/x-opus
             signaller::whip-endpoint=http://{address}/whip/a"
    ));
    server.wait_for_state("a", "live");
    let tracks = server.get("/api/broadcasts/a").json()["tracks"].clone();
    assert_eq!(tracks[0]["codec"], codec);
    let viewer = Launched::new(&format!(
        "whepclientsrc name=watched {NO_STUN} signaller::whep-endpoint=http://{address}/whep/a"
    ));
    viewer.wait_for_pictures(60);
    let browser = Client::watch(&server, "a");
    browser.wait_for_frames(60);
    viewer.wait_for_pictures(30);
    viewer.quit();
    wait_for("no more than one viewer", || {
        (server.count("viewers") == 1).then_some(())
    });
    publisher.quit();
    wait_for("no publisher", || {
        (server.count("publishers") == 0).then_some(())
    });
}

#[test]
fn gst_plugins_rs_with_h264() {
    carries("h264", "video/x-h264", ["webrtcbin", "direct"]);
}

#[test]
fn gst_plugins_rs_with_vp8_on_the_other_engines() {
    carries("vp8", "video/x-vp8", ["direct", "webrtcbin"]);
}
