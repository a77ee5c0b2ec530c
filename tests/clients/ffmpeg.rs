//! FFmpeg's WHIP muxer, from a Python wheel that contains a current FFmpeg.

use std::{
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    rtc::Client,
    support::{Server, output, wait_for},
    webrtcbin::{H264, OPUS, Peer},
};

/// The version in the wheel.
pub(super) const VERSION: &str = "9.0";

const INPUTS: &str = "-re -f lavfi -i testsrc2=size=320x180:rate=30 \
                      -re -f lavfi -i sine=frequency=500:sample_rate=48000";
const ENCODERS: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -bf 0 -g 30 \
                        -pix_fmt yuv420p -c:a libopus -ac 2 -ar 48000";

/// A running FFmpeg that publishes.
struct Ffmpeg {
    child: Child,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Ffmpeg {
    fn publish(server: &Server, path: &str) -> Self {
        let url = format!("http://{}{path}", server.address);
        let mut child = Command::new(program())
            .args(["-hide_banner", "-loglevel", "verbose", "-nostats"])
            .args(INPUTS.split_whitespace())
            .args(ENCODERS.split_whitespace())
            .args(["-f", "whip", &url])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let said = Arc::<Mutex<Vec<u8>>>::default();
        let copy = Arc::clone(&said);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stderr.read(&mut buffer) {
                copy.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self { child, said }
    }

    /// Ends it as a user would.
    fn quit(mut self) {
        self.child.stdin.take().unwrap().write_all(b"q").unwrap();
        let status = wait_for("end of FFmpeg", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

impl Drop for Ffmpeg {
    fn drop(&mut self) {
        // Err: it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let said = self.said.lock().unwrap();
            println!("FFmpeg said:\n{}", String::from_utf8_lossy(&said));
        }
    }
}

fn program() -> String {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/bin/python");
    assert!(python.exists(), "FFmpeg is missing: run `.ci/setup test`");
    let mut command = Command::new(python);
    command.env_remove("IMAGEIO_FFMPEG_EXE").args([
        "-c",
        "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())",
    ]);
    let found = output(command);
    let program = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    assert!(program.contains(&format!("-v{VERSION}.")), "{program}");
    program
}

/// Checks that it publishes what others can decode, and leaves by DELETE.
fn publishes(engine: &str) {
    let server = Server::start(&["--webrtc.publisher_engine", engine]);
    let publisher = Ffmpeg::publish(&server, "/whip/a");
    server.wait_for_state("a", "live");
    let tracks = server.get("/api/broadcasts/a").json()["tracks"].clone();
    assert_eq!(tracks[0]["codec"], "h264");
    assert_eq!(tracks[1]["codec"], "opus");
    let watcher = Peer::watch(&server, "/whep/a", &[H264, OPUS]);
    watcher.wait_for_pictures(60);
    let browser = Client::watch(&server, "a");
    browser.wait_for_frames(60);
    browser.wait_for_all();
    watcher.wait_for_pictures(30);
    publisher.quit();
    wait_for("end by DELETE", || {
        (server.ended("deleted") == 1).then_some(())
    });
    assert_eq!(server.count("publishers"), 0);
}

#[test]
fn ffmpeg_publishes() {
    publishes("webrtcbin");
}

/// It loses the first packet of the DTLS handshake while it waits for the ICE response, so the
/// engine has to repeat it.
#[test]
fn ffmpeg_publishes_to_the_direct_engine() {
    publishes("direct");
}
