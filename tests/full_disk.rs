//! Outputs on a full disk.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    kill::Watched,
    outputs::{folder, server, status},
    rtc::{Client, clip},
    support::{Server, output, wait_for},
};

/// Takes up all room but this many bytes of the disk.
fn fill_up_to(free: usize) -> String {
    format!(
        "truncate -s 0 \"$1/reserve\"; head -c {free} /dev/zero > \"$1/reserve\"
         cat /dev/zero > \"$1/fill\" 2> /dev/null || rm \"$1/reserve\""
    )
}

/// A server whose outputs go to a small file system on `folder/disk`, which this script prepares;
/// `None` where such a file system cannot be mounted.
fn server_on_small_disk(folder: &Path, size: &str, prepare: &str) -> Option<Server> {
    let disk = folder.join("disk");
    fs::create_dir_all(&disk).unwrap();
    let isolated = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-ec", script, "sh"]);
        command.arg(&disk);
        command
    };
    let mount = format!("mount -t tmpfs -o size={size} tmpfs \"$1\"");
    if !output(isolated(&mount)).status.success() {
        println!("skipped: a small file system cannot be mounted here");
        return None;
    }
    let config = folder.join("aerial.toml");
    let arguments = [
        "--webrtc.publisher_engine=direct",
        "--pipelines",
        folder.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
    ];
    let command = isolated(&format!("{mount}\n{prepare}\nshift; exec \"$@\""));
    Some(Server::executed_by(command, &arguments))
}

/// Configures these outputs, which write to the small file system.
fn configure(folder: &Path, outputs: &[String]) {
    let directory = folder.join("disk").display().to_string();
    let config = format!(
        "[defaults]\noutputs = {outputs:?}\n\
         vars = {{ directory = \"{directory}\", fragment = \"1\", every = \"1\" }}\n"
    );
    fs::write(folder.join("aerial.toml"), config).unwrap();
}

#[test]
fn a_disk_that_fills_stops_only_the_recording() {
    let count = "appsrc name=video ! fakesink async=false";
    let files = [("count.launch", count)];
    let folder = folder("full", &["record-mp4.launch"], &files);
    configure(
        &folder,
        &["record-mp4.launch", "count.launch"].map(str::to_owned),
    );
    let Some(server) = server_on_small_disk(&folder, "256k", "") else {
        return;
    };
    let watched = Watched::new(&server, "a");
    let full = wait_for("full disk", || {
        let recording = status(&server, "a", "record-mp4")?;
        let error = recording["error"].as_str()?.to_owned();
        (recording["state"] == "failed").then_some(error)
    });
    assert!(full.contains("No space left"), "{full}");
    watched.wait_for_frames(30);
    let other = status(&server, "a", "count").unwrap();
    assert_eq!(
        (
            &other["state"],
            &other["restarts"],
            &other["inputs"][0]["dropped"]
        ),
        (&"running".into(), &0.into(), &0.into()),
        "{other}"
    );
    watched.assert_complete();
}

/// Waits until each of these outputs has been restarted twice. None may be said to run meanwhile.
fn wait_for_failures(server: &Server, outputs: &[&str]) {
    wait_for("two restarts of each", || {
        let statuses: Vec<Value> = outputs
            .iter()
            .map(|name| status(server, "a", name))
            .collect::<Option<_>>()?;
        let mut again = 0;
        for status in &statuses {
            assert_ne!(status["state"], "running", "{status}");
            again += usize::from(status["restarts"].as_u64() >= Some(2));
        }
        (again == statuses.len()).then_some(())
    });
}

#[test]
fn an_output_that_writes_nothing_is_not_said_to_run() {
    let full = "appsrc name=video ! h264parse ! matroskamux streamable=true\n\
                ! filesink location=/dev/full buffer-mode=unbuffered\n";
    let folder = folder("full-device", &[], &[("full.launch", full)]);
    let server = server(&folder, "[defaults]\noutputs = [\"full.launch\"]\n", &[]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    wait_for_failures(&server, &["full"]);
}

/// With not a byte of room, and with room for small files, but not for media.
#[test]
fn no_output_is_said_to_run_on_a_full_disk_and_playlists_stay_whole() {
    let names = ["record-mkv", "record-mp4", "hls", "snapshot"];
    for (free, outputs) in [(0, &names[..]), (4 << 10, &names[2..3])] {
        let files: Vec<_> = outputs
            .iter()
            .map(|name| format!("{name}.launch"))
            .collect();
        let built_in: Vec<_> = files.iter().map(String::as_str).collect();
        let folder = folder(&format!("full-from-the-start-{free}"), &built_in, &[]);
        configure(&folder, &files);
        let playlists = ["video.m3u8", "audio.m3u8"];
        let old = playlists.map(|name| format!("echo '#EXTM3U' > \"$1/{name}\""));
        let prepare = format!("{}\n{}", old.join("\n"), fill_up_to(free));
        let Some(server) = server_on_small_disk(&folder, "64k", &prepare) else {
            return;
        };
        let publisher = Client::live(&server, "a", &clip::H264);
        let viewer = Client::watch(&server, "a");
        wait_for_failures(&server, outputs);
        let disk = format!(
            "/proc/{}/root{}",
            server.pid(),
            folder.join("disk").display()
        );
        for name in playlists {
            let text = fs::read_to_string(format!("{disk}/{name}")).unwrap();
            assert_eq!(text, "#EXTM3U\n", "{name}");
        }
        viewer.wait_for_frames(30);
        viewer.wait_for_all();
        assert!(!publisher.is_closed());
    }
}
