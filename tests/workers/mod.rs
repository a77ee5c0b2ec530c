//! The processes of pipelines and peer connections: how they start, what they use, how they end.

mod bounds;
mod commands;
mod excess;
pub(crate) mod faults;
mod figures;
mod sandbox;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use serde_json::Value;

use crate::{
    outputs::{folder, server, status, wait_for_output},
    rtc::{Client, clip},
    support::{Server, wait_for},
};

const SOURCE: &str = "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=15/1\n\
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15\n\
    ! video/x-h264,profile=constrained-baseline ! appsink name=video\n";
const RENDITION: &str = "appsrc name=video ! decodebin ! videoconvert ! videoscale\n\
    ! video/x-raw,format=I420,width=160,height=90\n\
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30\n\
    ! video/x-h264,profile=constrained-baseline ! appsink name=video_small\n";

/// The workers of a server, by the names of their pipelines.
pub(crate) fn workers(server: &Server) -> BTreeMap<String, u32> {
    all_workers(server).into_iter().collect()
}

/// The same, with those that have a name in common.
pub(crate) fn all_workers(server: &Server) -> Vec<(String, u32)> {
    let server = server.pid().to_string();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let entry = entry.ok()?;
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat
            .rsplit_once(')')?
            .1
            .split_whitespace()
            .nth(1)?
            .to_owned();
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let name = line
            .split('\0')
            .find_map(|word| word.strip_prefix("--name="))?;
        (parent == server).then(|| (name.to_owned(), pid))
    });
    processes.collect()
}

/// How a process is, as the kernel says: `Z` for a zombie.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

pub(crate) fn signal(name: &str, pids: impl IntoIterator<Item = u32>) {
    for pid in pids {
        let mut command = Command::new("kill");
        command.args(["-s", name, &pid.to_string()]);
        assert!(command.status().unwrap().success());
    }
}

/// A broadcast's pipelines, by name.
fn pipelines(server: &Server, broadcast: &str) -> BTreeMap<String, Value> {
    let path = format!("/api/broadcasts/{broadcast}/pipelines");
    let reply = server.get_as_operator(&path).json();
    let pipelines = reply["pipelines"].as_array().unwrap();
    let named = |pipeline: &Value| {
        (
            pipeline["name"].as_str().unwrap().to_owned(),
            pipeline.clone(),
        )
    };
    pipelines.iter().map(named).collect()
}

/// The pipelines of the tests: broadcast and pipeline file.
const PIPELINES: [(&str, &str); 4] = [
    ("made", "made"),
    ("slated", "slated"),
    ("taken", "small"),
    ("taken", "record-mkv"),
];

/// Once all of them run: how often each has been restarted.
fn restarts(server: &Server) -> Option<Vec<u64>> {
    let restarts = PIPELINES.iter().map(|(broadcast, name)| {
        let pipeline = pipelines(server, broadcast).remove(*name)?;
        let restarts = pipeline["restarts"].as_u64()?;
        (pipeline["state"] == "running").then_some(restarts)
    });
    restarts.collect()
}

/// A server with a source, a slate, a rendition and an output, and viewers that keep them running.
fn full_house(name: &str) -> (Server, Vec<Client>) {
    let files = [
        ("made.launch", SOURCE),
        ("slated.launch", SOURCE),
        ("small.launch", RENDITION),
    ];
    let folder = folder(name, &["record-mkv.launch"], &files);
    let config = "[broadcasts.made]\nsource = \"made.launch\"\n\
                  [broadcasts.slated]\nslate = \"slated.launch\"\n\
                  [broadcasts.taken]\nrenditions = [\"small.launch\"]\n\
                  outputs = [\"record-mkv.launch\"]\nvars = { directory = \"FOLDER\" }\n";
    let arguments = ["--timeouts.grace=1m", "--webrtc.publisher_engine=direct"];
    let server = server(&folder, config, &arguments);
    let clients = vec![
        Client::live(&server, "taken", &clip::H264),
        Client::watch(&server, "taken?rendition=small"),
        Client::watch(&server, "slated"),
    ];
    server.wait_for_state("made", "live");
    wait_for("all pipelines", || restarts(&server));
    assert_eq!(workers(&server).len(), PIPELINES.len());
    (server, clients)
}

#[test]
fn a_killed_server_leaves_no_worker() {
    let (server, _clients) = full_house("workers-orphans");
    let pids: Vec<_> = workers(&server).into_values().collect();
    // A stopped one cannot notice by itself.
    signal("STOP", workers(&server).get("source-made").copied());
    signal("KILL", [server.pid()]);
    wait_for("the end of all workers", || {
        pids.iter().all(|pid| state(*pid).is_none()).then_some(())
    });
}

#[test]
fn a_pipelines_process_shows_its_resources() {
    let folder = folder("workers-figures", &[], &[("made.launch", SOURCE)]);
    let server = server(
        &folder,
        "[broadcasts.made]\nsource = \"made.launch\"\n",
        &[],
    );
    server.wait_for_state("made", "live");
    let figures = wait_for("figures", || {
        let made = pipelines(&server, "made").remove("made")?;
        let process = made.get("process")?.clone();
        (process["cpu_ms"].as_u64() > Some(0)).then_some(process)
    });
    assert!(
        figures["memory_bytes"].as_u64() > Some(1 << 20),
        "{figures}"
    );
    assert!(figures["threads"].as_u64() >= Some(2), "{figures}");
    // Those of sessions, too.
    let _publisher = Client::live(&server, "a", &clip::H264);
    let figures = wait_for("a publisher's figures", || {
        let sessions = server.get_as_operator("/api/broadcasts/a/sessions").json();
        sessions["sessions"][0].get("process").cloned()
    });
    assert!(
        figures["memory_bytes"].as_u64() > Some(1 << 20),
        "{figures}"
    );
    for _ in 0..3 {
        let before = pipelines(&server, "made").remove("made").unwrap()["restarts"].as_u64();
        signal("KILL", workers(&server).remove("source-made"));
        wait_for("a restart", || {
            let made = pipelines(&server, "made").remove("made")?;
            let restarted = made["restarts"].as_u64() > before && made["state"] == "running";
            restarted.then_some(())
        });
    }
    the_time_of_all_processes_is_complete(&server);
}

/// What the server's children have used in all is what the kernel has charged it for.
fn the_time_of_all_processes_is_complete(server: &Server) {
    // Of each process the kernel shows full hundredths.
    const TOLERANCE: f64 = 0.08;
    let collected = cpu_seconds(server.pid(), 13);
    let metrics = server.get_as_operator("/metrics").expect(200);
    let name = "aerial_pipeline_cpu_seconds_total{";
    let lines = metrics.text().lines().filter(|line| line.starts_with(name));
    let values = lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>());
    let told: f64 = values.map(Result::unwrap).sum();
    let running = all_workers(server).into_iter();
    let running: f64 = running.map(|(_, pid)| cpu_seconds(pid, 11)).sum();
    let all = cpu_seconds(server.pid(), 13) + running;
    assert!(collected > 0.2, "{collected}");
    assert!(told >= collected - TOLERANCE, "{told} of {collected}");
    assert!(told <= all + TOLERANCE, "{told} of {all}");
}

/// Two times in `/proc/PID/stat`, after the name, which are in hundredths of a second.
fn cpu_seconds(pid: u32, field: usize) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let times = fields.split_whitespace().skip(field).take(2);
    times
        .map(|ticks| ticks.parse::<f64>().unwrap() / 100.0)
        .sum()
}

#[test]
fn an_output_completes_its_file_when_the_server_is_gone() {
    let folder = folder("workers-finish", &["record-mp4.launch"], &[]);
    let config = "[broadcasts.\"*\"]\noutputs = [\"record-mp4.launch\"]\n\
                  vars = { directory = \"FOLDER\" }\n";
    let server = server(&folder, config, &["--webrtc.publisher_engine=direct"]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    wait_for_output(&server, "a", "record-mp4", "running");
    wait_for("frames", || {
        let output = status(&server, "a", "record-mp4")?;
        (output["inputs"][0]["frames"].as_u64()? > 45).then_some(())
    });
    let pids: Vec<_> = workers(&server).into_values().collect();
    signal("KILL", [server.pid()]);
    wait_for("the end of the worker", || {
        pids.iter().all(|pid| state(*pid).is_none()).then_some(())
    });
    let files = crate::outputs::files(&folder, ".mp4");
    let decoded = crate::outputs::decoded(&files[0]);
    assert!(
        decoded
            .iter()
            .any(|(codec, frames)| codec == "h264" && *frames > 10),
        "{decoded:?}"
    );
}

/// The processes of the peer connections on webrtcbin, the one that is kept ready included.
fn peers(server: &Server) -> BTreeSet<u32> {
    all_workers(server)
        .into_iter()
        .filter(|(name, _)| name == "webrtcbin")
        .map(|(_, pid)| pid)
        .collect()
}

/// The process that receives a broadcast's publisher: the newest one.
fn publishers_worker(server: &Server, broadcast: &str) -> u32 {
    wait_for("the worker", || {
        let mut lines = server.lines().into_iter().rev();
        let line = lines.find(|line| {
            line.has("name", broadcast)
                && line.has("role", "publisher")
                && line.field("pid").is_some()
        });
        line?.field("pid")?.parse().ok()
    })
}

/// The processes that have served a broadcast's viewers on webrtcbin, the newest last.
fn viewers_workers(server: &Server, broadcast: &str) -> Vec<u32> {
    let lines = server.lines();
    let of_viewers = lines
        .iter()
        .filter(|line| line.has("name", broadcast) && line.field("role").is_none());
    of_viewers
        .filter_map(|line| line.field("pid")?.parse().ok())
        .collect()
}

/// The process that is kept ready, once there is one besides these.
fn spare(server: &Server, others: &[u32]) -> u32 {
    wait_for("a spare worker", || {
        let peers = peers(server);
        let mut spares = peers.into_iter().filter(|pid| !others.contains(pid));
        spares.next()
    })
}

#[test]
fn a_worker_that_is_kept_ready_is_replaced_when_it_ends_or_hangs() {
    let server = Server::start(&[]);
    let first = spare(&server, &[]);
    signal("KILL", [first]);
    let second = spare(&server, &[first]);
    wait_for("the end of the first", || {
        state(first).is_none().then_some(())
    });
    signal("STOP", [second]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    wait_for("the end of the second", || {
        state(second).is_none().then_some(())
    });
}

/// What GStreamer has loaded into a process: its plugins. The library itself is linked.
fn plugins(pid: u32) -> BTreeSet<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    maps.lines()
        .filter_map(|line| line.split(' ').next_back())
        .filter(|file| file.contains("gstreamer-1.0/"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_server_itself_does_not_start_gstreamer() {
    let files = [("made.launch", SOURCE), ("small.launch", RENDITION)];
    let folder = folder("workers-none", &["record-mkv.launch"], &files);
    let config = "[broadcasts.made]\nsource = \"made.launch\"\n\
                  [broadcasts.taken]\nviewer_engine = \"webrtcbin\"\n\
                  renditions = [\"small.launch\"]\n\
                  outputs = [\"record-mkv.launch\"]\nvars = { directory = \"FOLDER\" }\n";
    // Publishers are on webrtcbin, and the viewers of one broadcast.
    let server = server(&folder, config, &[]);
    let _publisher = Client::live(&server, "taken", &clip::H264);
    let viewer = Client::watch(&server, "taken?rendition=small");
    viewer.wait_for_frames(10);
    server.wait_for_state("made", "live");
    assert_eq!(plugins(server.pid()), BTreeSet::new());
    let worker = publishers_worker(&server, "taken");
    assert!(!plugins(worker).is_empty());
    let worker = viewers_workers(&server, "taken")[0];
    assert!(!plugins(worker).is_empty());
}
