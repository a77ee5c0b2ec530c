//! Recordings are listed, played, downloaded and deleted.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use crate::{
    outputs::{decoded, files, folder, server},
    rtc::{Client, clip},
    support::{Reply, Server, output, wait_for},
    workers::{signal, workers},
};

/// How many pieces `record-mp4` writes in a second.
const CHUNKS: usize = 4;
const JSON: (&str, &str) = ("Content-Type", "application/json");

fn list(server: &Server) -> Vec<Value> {
    let reply = server.get_as_operator("/api/v1/recordings").expect(200);
    reply.json()["recordings"].as_array().unwrap().clone()
}

fn switch(server: &Server, output: &str, running: bool) {
    let path = format!("/api/v1/broadcasts/cam/outputs/{output}");
    let body = json!({ "running": running }).to_string();
    server.operate("PATCH", &path, &[JSON], &body).expect(200);
}

fn delete(server: &Server, recording: &Value) -> Reply {
    let path = format!("/api/v1/recordings/{}", recording["id"].as_str().unwrap());
    server.operate("DELETE", &path, &[], "")
}

/// The path of a file, which needs no token.
fn link(recording: &Value, file: &str) -> String {
    format!("{}{file}", recording["link"].as_str().unwrap())
}

fn video_frames(what: &str) -> u64 {
    let streams = decoded(Path::new(what));
    let video = streams.iter().find(|(codec, _)| codec == "h264");
    video.unwrap_or_else(|| panic!("{what}: {streams:?}")).1
}

/// The frames of the video that FFmpeg decodes from this address.
fn played_frames(url: &str) -> u64 {
    let mut probe = Command::new("ffprobe");
    probe
        .args(["-v", "error", "-count_frames", "-select_streams", "v:0"])
        .args(["-of", "csv=p=0", "-show_entries", "stream=nb_read_frames"])
        .arg(url);
    let result = output(probe);
    let text = String::from_utf8_lossy(&result.stdout);
    let mut lines = text.lines();
    let count = lines.find_map(|line| line.trim_matches(',').parse().ok());
    count.unwrap_or_else(|| panic!("{text} {}", String::from_utf8_lossy(&result.stderr)))
}

/// How many bytes of a file the playlist names.
fn covered(playlist: &str, file: &str) -> u64 {
    let map = format!("#EXT-X-MAP:URI=\"{file}\",BYTERANGE=\"");
    let (_, after) = playlist.split_once(&map).unwrap();
    let mut sum: u64 = after.split_once('@').unwrap().0.parse().unwrap();
    let mut range = 0;
    for line in playlist.lines() {
        if let Some(written) = line.strip_prefix("#EXT-X-BYTERANGE:") {
            range = written.split_once('@').unwrap().0.parse().unwrap();
        } else if line == file {
            sum += range;
        }
    }
    sum
}

#[test]
fn a_recording_is_played_while_it_is_written_and_afterwards() {
    let folder = folder(
        "recordings",
        &["record-mp4.launch", "record-mkv.launch"],
        &[],
    );
    let config = "[recordings]\ndirectory = \"FOLDER/kept\"\n\
                  [defaults]\nvars = { segment = 3, fragment = 1 }\n";
    let server = server(&folder, config, &[]);
    assert_eq!(list(&server), [] as [Value; 0]);
    let _publisher = Client::live(&server, "cam", &clip::H264);
    switch(&server, "record-mp4", true);
    let growing = wait_for("a second file", || {
        let recording = list(&server).into_iter().next()?;
        (recording["files"].as_array()?.len() == 2).then_some(recording)
    });
    assert_eq!(growing["growing"], true, "{growing}");
    assert_eq!(growing["broadcast"], "cam", "{growing}");
    assert_eq!(growing["files"][0]["growing"], false, "{growing}");
    assert_eq!(
        delete(&server, &growing).expect(409).problem(),
        "being-written"
    );
    let text = server.get(&link(&growing, "index.m3u8")).expect(200);
    assert!(text.text().contains("TYPE:EVENT"), "{}", text.text());
    switch(&server, "record-mp4", false);
    let recording = wait_for("the end", || {
        let recording = list(&server).into_iter().next()?;
        (recording["growing"] == false).then_some(recording)
    });
    assert_eq!(recording["video"]["codec"], "h264", "{recording}");
    let recorded = files(&folder.join("kept"), ".mp4");
    let playlist = link(&recording, "index.m3u8");
    let text = server.get(&playlist).expect(200).text().to_owned();
    assert!(text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
    for file in &recorded {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert_eq!(
            covered(&text, name),
            fs::metadata(file).unwrap().len(),
            "{text}"
        );
        assert!(video_frames(file.to_str().unwrap()) > 10);
    }
    // FFmpeg knows no discontinuities, and drops some frames after them; it plays on, however.
    let first = video_frames(recorded.iter().min().unwrap().to_str().unwrap());
    let played = played_frames(&format!("http://{}{playlist}", server.address));
    assert!(played > first + 10, "{played} of {first} and more: {text}");

    switch(&server, "record-mkv", true);
    let archive = wait_for("the archive", || {
        let is_archive = |one: &Value| one["id"].as_str().unwrap().contains(".mkv");
        list(&server).into_iter().find(is_archive)
    });
    let refused = server.get(&link(&archive, "index.m3u8")).expect(422);
    assert_eq!(refused.problem(), "unsupported");
    let name = recording["files"][0]["name"].as_str().unwrap();
    server.get(&link(&archive, name)).expect(404);
    let path = link(&recording, name);
    assert_file(
        &server,
        &path,
        &fs::read(folder.join("kept").join(name)).unwrap(),
    );
    delete(&server, &recording).expect(204);
    server.get(&path).expect(404);
    delete(&server, &recording).expect(404);
    assert!(files(&folder.join("kept"), ".mp4").is_empty());
    let stranger = server.get("/api/v1/recordings");
    assert!([401, 403].contains(&stranger.status));
}

#[test]
fn a_recording_that_a_crash_has_cut_is_listed_and_played_after_it() {
    let folder = folder("recordings-cut", &["record-mp4.launch"], &[]);
    let config = "[recordings]\ndirectory = \"FOLDER/kept\"\n\
                  [defaults]\nvars = { fragment = 1 }\n";
    let mut crashing = server(&folder, config, &[]);
    let _publisher = Client::live(&crashing, "cam", &clip::H264);
    switch(&crashing, "record-mp4", true);
    let file = wait_for("three seconds on the disk", || {
        let file = files(&folder.join("kept"), ".mp4").pop()?;
        let text = fs::read(&file).ok()?;
        let fragments = text.windows(4).filter(|name| name == b"moof");
        (fragments.count() >= 3 * CHUNKS).then_some(file)
    });
    // As when the machine stops: the worker has no time to complete its file.
    signal("KILL", [workers(&crashing)["cam-record-mp4"]]);
    crashing.signal("KILL");
    crashing.wait_for_exit();

    let server = server(&folder, config, &[]);
    let [recording] = &list(&server)[..] else {
        panic!("{:?}", list(&server));
    };
    assert_eq!(recording["growing"], false, "{recording}");
    assert_eq!(recording["video"]["codec"], "h264", "{recording}");
    let playlist = link(recording, "index.m3u8");
    let text = server.get(&playlist).expect(200).text().to_owned();
    assert!(text.ends_with("#EXT-X-ENDLIST\n"), "{text}");
    let played = played_frames(&format!("http://{}{playlist}", server.address));
    assert!(played > 60, "{played}: {text}");
    delete(&server, recording).expect(204);
    assert!(!file.exists());
}

/// Whole, in part, and only with its key.
fn assert_file(server: &Server, path: &str, content: &[u8]) {
    let whole = server.get(path).expect(200);
    assert_eq!(whole.header("content-type"), Some("video/mp4"));
    assert_eq!(whole.body.len(), content.len());
    assert!(whole.body == content);
    let part = server.request("GET", path, &[("Range", "bytes=10-19")], "");
    let part = part.expect(206);
    assert_eq!(part.body, content[10..20]);
    let range = format!("bytes 10-19/{}", content.len());
    assert_eq!(part.header("content-range"), Some(range.as_str()));
    let beyond = server.request("GET", path, &[("Range", "bytes=999999999-")], "");
    assert_eq!(beyond.expect(416).problem(), "no-such-range");
    let length = content.len().to_string();
    let head = server.request("HEAD", path, &[], "").expect(200);
    assert_eq!(head.header("content-length"), Some(length.as_str()));
    let saved = server.get(&format!("{path}?download=1")).expect(200);
    assert!(
        saved
            .header("content-disposition")
            .unwrap()
            .starts_with("attachment")
    );
    let (before, _) = path.split_once(".mp4/").unwrap();
    let (_, name) = path.rsplit_once('/').unwrap();
    server
        .get(&format!("{before}.mp4/9999999999.AAAA/{name}"))
        .expect(404);
}

#[test]
fn old_recordings_are_deleted_and_nothing_else() {
    let folder = folder("recordings-old", &[], &[]);
    let old = [
        "a-20260101T000000Z.mkv",
        "a-20260101T000000Z-00000.mp4",
        "a.mkv",
        "notes.txt",
    ];
    let day = Duration::from_hours(24);
    for file in old {
        fs::write(folder.join(file), "x").unwrap();
        let file = fs::File::options()
            .write(true)
            .open(folder.join(file))
            .unwrap();
        file.set_modified(SystemTime::now() - day).unwrap();
    }
    fs::write(folder.join("b-20260101T000000Z.mkv"), "x").unwrap();
    let directory = format!("--recordings.directory={}", folder.display());
    let server = server(&folder, "", &[&directory, "--recordings.max_age=1h"]);
    wait_for("the old ones to go", || {
        (list(&server).len() == 1).then_some(())
    });
    assert_eq!(list(&server)[0]["broadcast"], "b");
    assert!(folder.join("a.mkv").exists() && folder.join("notes.txt").exists());
}
