//! Output pipelines run while a broadcast is live, without disturbing it.

use std::{
    io::Read as _,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    rtc::{Client, clip},
    support::{Server, output, wait_for},
    workers::workers,
};

/// Creates a folder for the test with these built-in pipelines and these files.
pub(crate) fn folder(name: &str, built_in: &[&str], own: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // Err: no earlier run has left one.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for file in built_in {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        std::fs::copy(from.join(file), folder.join(file)).unwrap();
    }
    for (file, text) in own {
        std::fs::write(folder.join(file), text).unwrap();
    }
    folder
}

/// Starts a server with this configuration, in which `FOLDER` stands for the folder's path.
pub(crate) fn server(folder: &Path, config: &str, arguments: &[&str]) -> Server {
    let path = folder.display().to_string();
    let file = folder.join("aerial.toml");
    std::fs::write(&file, config.replace("FOLDER", &path)).unwrap();
    let fixed = ["--config", file.to_str().unwrap(), "--pipelines", &path];
    let arguments: Vec<_> = fixed.iter().chain(arguments).copied().collect();
    Server::start(&arguments)
}

/// An output as the API shows it.
pub(crate) fn status(server: &Server, broadcast: &str, output: &str) -> Option<Value> {
    let path = format!("/api/broadcasts/{broadcast}");
    let reply = server.get_as_operator(&path).json();
    let outputs = reply.get("outputs")?.as_array()?;
    outputs
        .iter()
        .find(|status| status["name"] == output)
        .cloned()
}

pub(crate) fn wait_for_output(
    server: &Server,
    broadcast: &str,
    output: &str,
    state: &str,
) -> Value {
    wait_for(&format!("{state} {output}"), || {
        status(server, broadcast, output).filter(|status| status["state"] == state)
    })
}

pub(crate) fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect()
}

/// Codec and number of frames of each stream, which FFmpeg must decode without an error.
pub(crate) fn decoded(file: &Path) -> Vec<(String, u64)> {
    let mut probe = Command::new("ffprobe");
    probe
        .args(["-v", "error", "-count_frames", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=codec_name,nb_read_frames"])
        .arg(file);
    let result = output(probe);
    assert_eq!(
        String::from_utf8_lossy(&result.stderr),
        "",
        "{}",
        file.display()
    );
    let text = String::from_utf8(result.stdout).unwrap();
    text.lines()
        .map(|line| line.split_once(',').unwrap())
        .map(|(codec, frames)| (codec.to_owned(), frames.trim_matches(',').parse().unwrap()))
        .collect()
}

#[test]
fn a_publisher_is_recorded_across_its_reconnect() {
    let folder = folder("record", &["record-mkv.launch"], &[]);
    let config = "[broadcasts.\"rec-*\"]\noutputs = [\"record-mkv.launch\"]\n\
                  vars = { directory = \"FOLDER\" }\n";
    let server = server(&folder, config, &["--timeouts.grace=2s"]);
    let publisher = Client::live(&server, "rec-a", &clip::H264);
    let other = Client::live(&server, "other", &clip::H264);
    let running = wait_for_output(&server, "rec-a", "record-mkv", "running");
    assert_eq!(running["restarts"], 0, "{running}");
    let written = wait_for("30 frames", || {
        let status = status(&server, "rec-a", "record-mkv")?;
        let frames = status["inputs"][0]["frames"].as_u64()?;
        (frames > 30).then_some(status)
    });
    assert_eq!(written["inputs"].as_array().unwrap().len(), 2, "{written}");
    assert!(
        written["outputs"][0]["bytes"].as_u64() > Some(1000),
        "{written}"
    );
    let list = server.get("/api/broadcasts").json();
    let listed = &list["broadcasts"][1]["outputs"][0];
    assert_eq!(listed["state"], "running", "{list}");
    assert!(listed["inputs"].is_null(), "{list}");

    server.delete(&publisher.session).expect(200);
    let publisher = Client::live(&server, "rec-a", &clip::H264);
    let viewer = Client::watch(&server, "rec-a");
    viewer.wait_for_frames(60);
    assert_eq!(files(&folder, ".mkv").len(), 1);
    server.delete(&publisher.session).expect(200);
    wait_for("end", || {
        (server.get("/api/broadcasts/rec-a").status == 404).then_some(())
    });
    let recorded = files(&folder, ".mkv");
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    let name = recorded[0].file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("rec-a-2"), "{name}");
    let streams = decoded(&recorded[0]);
    assert_eq!(streams[0].0, "h264");
    assert_eq!(streams[1].0, "opus");
    assert!(streams[0].1 >= 90 && streams[1].1 >= 100, "{streams:?}");
    drop(other);
}

#[test]
fn a_failing_output_is_started_again_and_disturbs_nobody() {
    let broken = "appsrc name=video ! h264parse ! matroskamux ! filesink location=/nowhere/x.mkv";
    let folder = folder(
        "failing",
        &["record-mkv.launch"],
        &[("broken.launch", broken)],
    );
    let config = "[defaults]\noutputs = [\"broken.launch\", \"record-mkv.launch\"]\n\
                  vars = { directory = \"FOLDER\" }\n";
    let server = server(&folder, config, &["--timeouts.grace=500ms"]);
    let publisher = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(10);
    let failed = wait_for("two restarts", || {
        let failed = status(&server, "a", "broken")?;
        (failed["restarts"].as_u64()? >= 2 && failed["state"] == "failed").then_some(failed)
    });
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("/nowhere/x.mkv"), "{error}");
    viewer.wait_for_frames(20);
    viewer.wait_for_all();
    assert!(!viewer.is_closed() && !publisher.is_closed());
    let good = status(&server, "a", "record-mkv").unwrap();
    assert_eq!(
        (&good["state"], &good["restarts"]),
        (&"running".into(), &0.into())
    );
    assert_eq!(good["inputs"][0]["dropped"], 0, "{good}");
    // The pauses grow, so this is not a busy loop.
    let failed = status(&server, "a", "broken").unwrap();
    assert!(failed["restarts"].as_u64() < Some(10), "{failed}");
}

#[test]
fn a_source_has_outputs_too_and_stopping_finishes_their_files() {
    let folder = folder("source", &["demo.launch", "record-mkv.launch"], &[]);
    let config = "[broadcasts.card]\nsource = \"demo.launch\"\n\
                  outputs = [\"record-mkv.launch\"]\nvars = { directory = \"FOLDER\" }\n";
    let mut server = server(&folder, config, &[]);
    wait_for("a second of recording", || {
        let status = status(&server, "card", "record-mkv")?;
        (status["inputs"][0]["frames"].as_u64()? > 30).then_some(())
    });
    let begun = Instant::now();
    server.signal("TERM");
    assert!(server.wait_for_exit().success());
    assert!(begun.elapsed() < Duration::from_secs(6));
    let streams = decoded(&files(&folder, ".mkv")[0]);
    assert!(streams[0].1 > 30, "{streams:?}");
}

#[test]
fn a_change_of_resolution_begins_the_next_file_and_loses_nothing() {
    let outputs = ["record-mkv.launch", "record-mp4.launch", "hls.launch"];
    let folder = folder("resized", &outputs, &[]);
    let config = "[defaults]\nvars = { directory = \"FOLDER\", fragment = 1, target = 1 }\n\
                  outputs = [\"record-mkv.launch\", \"record-mp4.launch\", \"hls.launch\"]\n";
    let mut server = server(&folder, config, &["--timeouts.grace=30s"]);
    let small = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a");
    for output in ["record-mkv", "record-mp4", "hls"] {
        wait_for_output(&server, "a", output, "running");
    }
    let before = small.pictures();
    viewer.wait_for_frames(60);
    let sent_small = small.pictures() - before;
    // By then, those have come.
    viewer.wait_for_frames(10);
    server.delete(&small.session).expect(200);
    let large = Client::live(&server, "a", &clip::H264_LARGE);
    viewer.wait_for_frames(90);
    let sent_large = large.pictures();
    viewer.wait_for_frames(10);
    server.delete(&large.session).expect(200);
    for output in ["record-mkv", "record-mp4", "hls"] {
        let status = status(&server, "a", output).unwrap();
        assert_eq!(status["restarts"], 0, "{status}");
        assert!(status["error"].is_null(), "{status}");
    }
    // Stopped in order, it finishes its files.
    server.signal("TERM");
    server.wait_for_exit();
    for ending in [".mkv", ".mp4"] {
        let mut recorded = files(&folder, ending);
        recorded.retain(|path| !path.to_str().unwrap().contains("init"));
        recorded.sort();
        assert_eq!(recorded.len(), 2, "{recorded:?}");
        for (file, sent) in recorded.iter().zip([sent_small, sent_large]) {
            let streams = decoded(file);
            let file = file.display();
            assert!(streams[0].1 >= sent as u64, "{file}: {sent} of {streams:?}");
        }
    }
}

/// FFmpeg, which takes a stream and says how large each picture is.
struct StreamReceiver(Child);

impl StreamReceiver {
    fn start(url: &str) -> Self {
        let mut command = Command::new("ffprobe");
        command
            .args(["-v", "error", "-select_streams", "v", "-of", "csv=p=0"])
            .args(["-show_entries", "frame=width"])
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// The widths of the pictures, once the stream has ended.
    fn widths(mut self) -> Vec<u32> {
        let mut lines = String::new();
        let mut output = self.0.stdout.take().unwrap();
        output.read_to_string(&mut lines).unwrap();
        // Side data leaves empty lines.
        let widths = lines.lines().map(|line| line.trim_matches(','));
        let widths = widths.filter(|width| !width.is_empty()).map(str::parse);
        widths.collect::<Result<_, _>>().unwrap()
    }
}

impl Drop for StreamReceiver {
    fn drop(&mut self) {
        // Err: it has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A UDP port that is free at the moment.
fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

#[test]
fn a_change_of_resolution_interrupts_no_push() {
    let srt = format!("srt://127.0.0.1:{}", free_udp_port());
    let receiver = StreamReceiver::start(&format!("{srt}?mode=listener"));
    // Each has an address of its own. FFmpeg's RTMP server confuses GStreamer's client, so that what
    // would be pushed goes into a file.
    let changes = [
        (
            "rtmp-push",
            "rtmp2sink location=${url}",
            "filesink location=${directory}/a.flv",
        ),
        ("srt-push", "${url}", &srt),
    ];
    let texts = changes.map(|(name, from, to)| {
        let path = format!("{}/pipelines/{name}.launch", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.contains(from), "{text}");
        (format!("{name}.launch"), text.replace(from, to))
    });
    let own = texts.each_ref().map(|(name, text)| (&**name, &**text));
    let folder = folder("resized-pushes", &[], &own);
    let names = texts.each_ref().map(|(name, _)| name);
    let config =
        format!("[broadcasts.a]\noutputs = {names:?}\nvars = {{ directory = \"FOLDER\" }}\n");
    let mut server = server(&folder, &config, &["--timeouts.grace=30s"]);
    let small = Client::live(&server, "a", &clip::H264);
    for output in ["rtmp-push", "srt-push"] {
        wait_for_output(&server, "a", output, "running");
    }
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(60);
    server.delete(&small.session).expect(200);
    let large = Client::live(&server, "a", &clip::H264_LARGE);
    viewer.wait_for_frames(90);
    server.delete(&large.session).expect(200);
    for output in ["rtmp-push", "srt-push"] {
        let status = status(&server, "a", output).unwrap();
        assert_eq!(status["restarts"], 0, "{status}");
        assert!(status["error"].is_null(), "{status}");
    }
    server.signal("TERM");
    server.wait_for_exit();
    let file = folder.join("a.flv");
    let pushed = StreamReceiver::start(file.to_str().unwrap());
    for (receiver, name) in [(receiver, "srt"), (pushed, "rtmp")] {
        let widths = receiver.widths();
        let changes = widths.windows(2).filter(|two| two[0] != two[1]).count();
        assert_eq!(changes, 1, "{name}: {widths:?}");
        for width in [320, 640] {
            let count = widths.iter().filter(|of| **of == width).count();
            assert!(count >= 60, "{name}: {count} of {width}");
        }
    }
}

#[test]
fn an_output_that_writes_nothing_is_not_said_to_run() {
    let full = "appsrc name=video ! h264parse ! matroskamux streamable=true\n\
                ! filesink location=/dev/full buffer-mode=unbuffered\n";
    let folder = folder("full-disk", &[], &[("full.launch", full)]);
    let server = server(&folder, "[defaults]\noutputs = [\"full.launch\"]\n", &[]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    wait_for("two restarts", || {
        let status = status(&server, "a", "full")?;
        assert_ne!(status["state"], "running", "{status}");
        (status["restarts"].as_u64() >= Some(2)).then_some(())
    });
}

#[test]
fn an_output_that_cannot_take_the_codec_says_so_and_waits_for_another() {
    let folder = folder("unfit", &["hls.launch"], &[]);
    let config = "[defaults]\noutputs = [\"hls.launch\"]\nvars = { directory = \"FOLDER\" }\n";
    let server = server(&folder, config, &["--timeouts.grace=30s"]);
    let vp8 = Client::live(&server, "a", &clip::VP8);
    let failed = wait_for_output(&server, "a", "hls", "failed");
    let error = failed["error"].as_str().unwrap();
    assert_eq!(failed["failure"], "unfit", "{failed}");
    server.wait_for_line("reason", |line| {
        line.level == "WARN" && line.has("pipeline", "hls") && line.has("error", error)
    });
    server.delete(&vp8.session).expect(200);
    let _h264 = Client::live(&server, "a", &clip::H264);
    let running = wait_for_output(&server, "a", "hls", "running");
    assert_eq!(running["restarts"], 0, "{running}");
}

#[test]
fn a_limit_on_the_size_of_files_ends_an_output_and_not_the_server() {
    let folder = folder("file-limit", &["record-mkv.launch"], &[]);
    let config =
        "[defaults]\noutputs = [\"record-mkv.launch\"]\nvars = { directory = \"FOLDER\" }\n";
    let server = server(&folder, config, &[]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    wait_for_output(&server, "a", "record-mkv", "running");
    let mut limit = Command::new("prlimit");
    let worker = workers(&server)["a-record-mkv"].to_string();
    limit.args(["--fsize=1000", "--pid", &worker]);
    assert!(output(limit).status.success());
    let failed = wait_for_output(&server, "a", "record-mkv", "failed");
    assert!(failed["error"].is_string(), "{failed}");
    assert_eq!(server.state("a").as_deref(), Some("live"));
}
