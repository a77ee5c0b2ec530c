//! Output pipelines run while a broadcast is live, without disturbing it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    pushes::widths,
    rtc::{Client, clip},
    support::{Server, output, wait_for},
    workers::{signal, workers},
};

/// Creates a folder for the test with these built-in pipelines and these files.
pub(crate) fn folder(name: &str, built_in: &[&str], own: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // Err: no earlier run has left one.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for file in built_in {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        fs::copy(from.join(file), folder.join(file)).unwrap();
    }
    for (file, text) in own {
        fs::write(folder.join(file), text).unwrap();
    }
    folder
}

/// Starts a server with this configuration, in which `FOLDER` stands for the folder's path.
pub(crate) fn server(folder: &Path, config: &str, arguments: &[&str]) -> Server {
    let path = folder.display().to_string();
    let file = folder.join("aerial.toml");
    fs::write(&file, config.replace("FOLDER", &path)).unwrap();
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
    let entries = fs::read_dir(folder).unwrap();
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
    let names = ["record-mkv", "record-mp4", "hls", "snapshot"];
    let outputs = names.map(|name| format!("{name}.launch"));
    let folder = folder("resized", &outputs.each_ref().map(String::as_str), &[]);
    let config = format!(
        "[defaults]\noutputs = {outputs:?}\n\
         vars = {{ directory = \"FOLDER\", fragment = 1, target = 1, length = 20, every = 1 }}\n"
    );
    let mut server = server(&folder, &config, &["--timeouts.grace=30s"]);
    let small = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a");
    for output in names {
        wait_for_output(&server, "a", output, "running");
    }
    let before = small.pictures();
    viewer.wait_for_frames(60);
    let sent_small = small.pictures() - before;
    // By then, those have come.
    viewer.wait_for_frames(10);
    server.delete(&small.session).expect(200);
    let snapshots = |server: &Server| {
        let status = status(server, "a", "snapshot").unwrap();
        status["outputs"][0]["frames"].as_u64().unwrap()
    };
    let snapshots_before = snapshots(&server);
    let large = Client::live(&server, "a", &clip::H264_LARGE);
    viewer.wait_for_frames(90);
    let sent_large = large.pictures();
    viewer.wait_for_frames(10);
    wait_for("a snapshot of the large picture", || {
        (snapshots(&server) >= snapshots_before + 2).then_some(())
    });
    server.delete(&large.session).expect(200);
    for output in names {
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
    // One playlist goes on, and no segment is written over.
    let pictures = widths(&folder.join("video.m3u8"));
    let large = pictures.iter().filter(|width| **width == 640).count();
    let small = pictures.len() - large;
    assert!(small >= sent_small, "{sent_small} of {pictures:?}");
    assert!(large >= sent_large, "{sent_large} of {pictures:?}");
    for name in ["video.m3u8", "audio.m3u8"] {
        let playlist = fs::read_to_string(folder.join(name)).unwrap();
        let tags = |tag: &str| playlist.lines().filter(|line| *line == tag).count();
        assert_eq!(tags("#EXT-X-DISCONTINUITY"), 1, "{playlist}");
        assert_eq!(tags("#EXT-X-ENDLIST"), 1, "{playlist}");
    }
    let pictures = files(&folder, ".jpg");
    assert_eq!(decoded(&pictures[0]), [("mjpeg".to_owned(), 1)]);
}

/// What players of a playlist rely on (RFC 8216, section 6.2.2): its number, and its segments.
fn listed(folder: &Path) -> Option<(u64, Vec<String>)> {
    let playlist = fs::read_to_string(folder.join("video.m3u8")).ok()?;
    assert!(!playlist.contains("#EXT-X-ENDLIST"), "{playlist}");
    let number = |line: &str| line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:")?.parse().ok();
    let segments = playlist.lines().filter(|line| !line.starts_with('#'));
    let segments: Vec<_> = segments.map(str::to_owned).collect();
    Some((playlist.lines().find_map(number).unwrap_or(0), segments))
}

#[test]
fn a_playlist_goes_on_when_its_process_was_killed() {
    let folder = folder("playlist", &["hls.launch"], &[]);
    let config = "[defaults]\noutputs = [\"hls.launch\"]\n\
                  vars = { directory = \"FOLDER\", target = 1, length = 4 }\n";
    let server = server(&folder, config, &["--webrtc.publisher_engine=direct"]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let (first, before) = wait_for("segments", || {
        let (first, segments) = listed(&folder)?;
        (segments.len() >= 2).then_some((first, segments))
    });
    let bytes = fs::read(folder.join(&before[0])).unwrap();
    assert_eq!(first, 0, "{before:?}");
    signal("KILL", [workers(&server)["a-hls"]]);
    // Every list on the way has each segment under its own number.
    let mut numbers: BTreeMap<u64, String> = (0..).zip(before.iter().cloned()).collect();
    wait_for("the first segments to leave", || {
        let (first, segments) = listed(&folder)?;
        assert!(segments.len() <= 4, "{segments:?}");
        for (number, segment) in (first..).zip(segments) {
            let known = numbers.entry(number).or_insert_with(|| segment.clone());
            assert_eq!(*known, segment, "segment {number}");
        }
        (first >= 2).then_some(())
    });
    let names: BTreeSet<_> = numbers.values().collect();
    assert_eq!(names.len(), numbers.len(), "{numbers:?}");
    assert_eq!(fs::read(folder.join(&before[0])).unwrap(), bytes);
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
