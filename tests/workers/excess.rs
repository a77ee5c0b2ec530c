//! Workers that take more than they may: memory without end, or media without end.

use std::process::Command;

use super::{pipelines, publishers_worker, state, viewers_workers};
use crate::{
    kill::Watched,
    outputs::{folder, server},
    rtc::{Client, Mode, clip},
    support::{Server, fixture, wait_for},
};

/// Large pictures arrive faster than they leave, and pile up.
const LEAK: &str = "videoscale ! video/x-raw,format=I420,width=1920,height=1080\n\
    ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 ! identity sleep-time=200000\n";
const SMALL: &str = "! videoscale ! video/x-raw,width=160,height=90\n\
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15\n\
    ! video/x-h264,profile=constrained-baseline ! appsink";
/// More pictures a second than anybody makes, each of which counts as live.
const FLOOD: &str = "videotestsrc is-live=true ! video/x-raw,width=64,height=64,framerate=1000/1\n\
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15\n\
    ! video/x-h264,profile=constrained-baseline ! appsink";
/// The broadcasts for the workers of each kind.
const CONFIG: &str = r#"
[broadcasts.made]
source = "source.launch"

[broadcasts.slated]
slate = "source.launch"

[broadcasts.taken]
renditions = ["rendition.launch"]

[broadcasts.rtc]
publisher_engine = "webrtcbin"

[broadcasts.far]
viewer_engine = "webrtcbin"
"#;
/// The pipelines of these: broadcast and file.
const PIPELINES: [(&str, &str); 3] = [
    ("made", "source"),
    ("slated", "source"),
    ("taken", "rendition"),
];

/// Waits until a pipeline has failed in this way, as the API says, for a reason with this word.
fn wait_for_failure(server: &Server, broadcast: &str, pipeline: &str, code: &str, word: &str) {
    wait_for(
        &format!("{code}, {word} of {broadcast}'s {pipeline}"),
        || {
            let status = pipelines(server, broadcast).remove(pipeline)?;
            let names_it = status["error"].as_str()?.contains(word);
            (status["failure"] == code && names_it).then_some(())
        },
    );
}

/// Takes all memory from a process that it does not have yet.
fn exhaust(pid: u32) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &pid.to_string(), "--data=1"]);
    assert!(command.status().unwrap().success());
}

#[test]
fn a_worker_that_leaks_ends_at_its_limit_of_memory() {
    let source = format!(
        "videotestsrc is-live=true ! video/x-raw,framerate=30/1 ! {LEAK} {SMALL} name=video"
    );
    let rendition = format!("appsrc name=video ! decodebin ! {LEAK} {SMALL} name=video_small");
    let output = format!("appsrc name=video ! decodebin ! {LEAK} ! fakesink async=false");
    let files = [
        ("source.launch", source.as_str()),
        ("rendition.launch", rendition.as_str()),
        ("output.launch", output.as_str()),
    ];
    let folder = folder("workers-leak", &[], &files);
    let outputs = "[broadcasts.kept]\noutputs = [\"output.launch\"]\n";
    let arguments = [
        "--limits.pipeline_memory=256MiB",
        "--webrtc.publisher_engine=direct",
    ];
    let server = server(&folder, &format!("{outputs}{CONFIG}"), &arguments);
    let near = Watched::new(&server, "near");
    // First: what leaks keeps a small machine busy.
    a_publishers_worker_without_memory_ends(&server);
    a_viewers_worker_without_memory_ends(&server);
    let _clients = [
        Client::live(&server, "taken", &clip::H264),
        Client::live(&server, "kept", &clip::H264),
        Client::watch(&server, "taken?rendition=small"),
        Client::watch(&server, "slated"),
    ];
    for (broadcast, pipeline) in PIPELINES.into_iter().chain([("kept", "output")]) {
        // As GLib writes.
        wait_for_failure(
            &server,
            broadcast,
            pipeline,
            "crashed",
            "failed to allocate",
        );
    }
    near.assert_complete();
}

fn a_publishers_worker_without_memory_ends(server: &Server) {
    let publisher = Client::publish_in(Mode::Mute, server, "rtc", &clip::H264);
    wait_for("the connection", || publisher.is_connected().then_some(()));
    let worker = publishers_worker(server, "rtc");
    exhaust(worker);
    publisher.set(Mode::Normal);
    wait_for("the end of the publisher's session", || {
        (server.get(&publisher.session).status == 404).then_some(())
    });
    wait_for("its worker's end", || state(worker).is_none().then_some(()));
    server.wait_for_line("the reason", |line| {
        line.has("name", "rtc") && line.has("failure", "crashed")
    });
}

fn a_viewers_worker_without_memory_ends(server: &Server) {
    let publisher = Client::live(server, "far", &clip::H264);
    let viewer = Client::watch(server, "far");
    viewer.wait_for_frames(10);
    let worker = *viewers_workers(server, "far").last().unwrap();
    exhaust(worker);
    let refused = server.post_offer("/whep/far", &fixture("chrome-whep-av"));
    assert!(refused.status >= 500, "{}", refused.status);
    wait_for("the end of the viewer's session", || {
        (server.get(&viewer.session).status == 404).then_some(())
    });
    wait_for("its worker's end", || state(worker).is_none().then_some(()));
    assert!(!publisher.is_closed());
    Client::watch(server, "far").wait_for_frames(10);
}

#[test]
fn a_worker_that_floods_is_ended() {
    let source = format!("{FLOOD} name=video");
    let rendition = format!("appsrc name=video ! fakesink async=false\n{FLOOD} name=video_small");
    let files = [
        ("source.launch", source.as_str()),
        ("rendition.launch", rendition.as_str()),
    ];
    let folder = folder("workers-flood", &[], &files);
    let server = server(&folder, CONFIG, &["--webrtc.publisher_engine=direct"]);
    let near = Watched::new(&server, "near");
    let _publisher = Client::live(&server, "taken", &clip::H264);
    let _viewers = [
        Client::watch(&server, "taken?rendition=small"),
        Client::watch(&server, "slated"),
    ];
    for (broadcast, pipeline) in PIPELINES {
        // The element that would help.
        wait_for_failure(&server, broadcast, pipeline, "failed", "clocksync");
    }
    a_publisher_that_floods_its_worker_is_disconnected(&server);
    near.assert_complete();
}

/// From outside: a client sends many times what is allowed.
fn a_publisher_that_floods_its_worker_is_disconnected(server: &Server) {
    let publisher = Client::live(server, "rtc", &clip::H264);
    let worker = publishers_worker(server, "rtc");
    publisher.set(Mode::Rapid);
    wait_for("the end of the publisher's session", || {
        (server.get(&publisher.session).status == 404).then_some(())
    });
    wait_for("its worker's end", || state(worker).is_none().then_some(()));
    drop(publisher);
    let _next = Client::live(server, "rtc", &clip::H264);
}
