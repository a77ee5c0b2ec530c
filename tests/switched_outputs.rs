//! The operator starts and stops outputs while the server runs.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    outputs::{decoded, files, folder, server, status, wait_for_output},
    rtc::{Client, clip},
    support::{Reply, Server, wait_for},
};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn switch(server: &Server, broadcast: &str, output: &str, running: bool) -> Reply {
    let path = format!("/api/v1/broadcasts/{broadcast}/outputs/{output}");
    let body = json!({ "running": running }).to_string();
    server.operate("PATCH", &path, &[JSON], &body)
}

fn listed(server: &Server, broadcast: &str) -> Vec<Value> {
    let path = format!("/api/v1/broadcasts/{broadcast}/outputs");
    let list = server.get_as_operator(&path).expect(200).json();
    list["outputs"].as_array().unwrap().clone()
}

fn wait_for_frames(server: &Server, output: &str, count: u64) {
    wait_for("frames", || {
        let status = status(server, "a", output)?;
        (status["inputs"][0]["frames"].as_u64()? > count).then_some(())
    });
}

fn wait_for_end(server: &Server) {
    wait_for("the end", || {
        (server.get("/api/broadcasts/a").status == 404).then_some(())
    });
}

/// The frames of the video of this only file.
fn frames(folder: &Path, ending: &str) -> u64 {
    let files = files(folder, ending);
    assert_eq!(files.len(), 1, "{files:?}");
    let streams = decoded(&files[0]);
    assert_eq!(streams[0].0, "h264", "{streams:?}");
    assert_eq!(streams[1].0, "opus", "{streams:?}");
    streams[0].1
}

const CONFIG: &str = "[defaults]\nvars = { directory = \"FOLDER\" }\n";

#[test]
fn a_recording_is_started_and_stopped_while_the_broadcast_goes_on() {
    let pipelines = ["record-mkv.launch", "record-mp4.launch"];
    let folder = folder("switched", &pipelines, &[]);
    let server = server(&folder, CONFIG, &["--timeouts.grace=500ms"]);
    assert_eq!(listed(&server, "a"), [] as [Value; 0]);
    let publisher = Client::live(&server, "a", &clip::H264);
    for output in ["record-mkv", "record-mp4"] {
        let started = switch(&server, "a", output, true).expect(200).json();
        assert_eq!(started["running"], true, "{started}");
        assert_eq!(started["configured"], false, "{started}");
    }
    wait_for_output(&server, "a", "record-mkv", "running");
    wait_for_frames(&server, "record-mkv", 30);
    wait_for_frames(&server, "record-mp4", 30);
    let list = listed(&server, "a");
    assert_eq!((list.len(), &list[0]["state"]), (2, &json!("running")));
    let stopped = switch(&server, "a", "record-mkv", false).expect(200).json();
    assert_eq!(stopped["running"], false, "{stopped}");
    wait_for("the end of the file", || {
        let mut lines = server.lines().into_iter();
        lines.find(|line| line.field("frames").is_some())
    });
    assert!(frames(&folder, ".mkv") >= 30);
    let list = listed(&server, "a");
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(server.state("a").as_deref(), Some("live"));
    server.delete(&publisher.session).expect(200);
    wait_for_end(&server);
    assert!(frames(&folder, ".mp4") >= 30);

    // It comes back with the broadcast, until it is stopped.
    let publisher = Client::live(&server, "a", &clip::H264);
    wait_for_output(&server, "a", "record-mp4", "running");
    assert!(status(&server, "a", "record-mkv").is_none());
    switch(&server, "a", "record-mp4", false).expect(200);
    assert_eq!(listed(&server, "a"), [] as [Value; 0]);
    drop(publisher);
}

#[test]
fn switched_outputs_outlive_the_server_and_mistakes_change_nothing() {
    let source = "videotestsrc ! x264enc ! appsink name=video";
    let folder = folder(
        "switched-kept",
        &["record-mkv.launch"],
        &[("camera.launch", source)],
    );
    let state = folder.join("state");
    let kept = state.join("api.toml");
    let argument = format!("--state={}", state.display());
    let config = format!("{CONFIG}[broadcasts.b]\noutputs = [\"record-mkv.launch\"]\n");
    let mut first = server(&folder, &config, &[&argument]);
    switch(&first, "a", "record-mkv", true).expect(200);
    switch(&first, "b", "record-mkv", false).expect(200);
    let written = fs::read_to_string(&kept).unwrap();
    for name in ["nothing", "camera"] {
        let refused = switch(&first, "a", name, true).expect(422);
        assert_eq!(refused.problem(), "bad-configuration");
        assert!(
            refused.text().contains(&format!("{name}.launch")),
            "{}",
            refused.text()
        );
    }
    let path = "/api/v1/broadcasts/a/outputs/record-mkv";
    first.operate("PATCH", path, &[JSON], "{}").expect(400);
    let stranger = first.request("PATCH", path, &[JSON], r#"{"running":false}"#);
    assert!([401, 403].contains(&stranger.status));
    assert_eq!(fs::read_to_string(&kept).unwrap(), written);
    first.signal("TERM");
    assert!(first.wait_for_exit().success());

    let second = server(&folder, &config, &[&argument]);
    let list = listed(&second, "b");
    assert_eq!(
        (&list[0]["configured"], &list[0]["running"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(listed(&second, "a")[0]["running"], true);
    let _publisher = Client::live(&second, "a", &clip::H264);
    wait_for_output(&second, "a", "record-mkv", "running");
    // A reload keeps it as well.
    second.operate("POST", "/admin/reload", &[], "").expect(200);
    assert_eq!(listed(&second, "a")[0]["state"], "running");
    // As the configuration says: nothing is left to keep.
    switch(&second, "a", "record-mkv", false).expect(200);
    switch(&second, "b", "record-mkv", true).expect(200);
    assert!(!fs::read_to_string(&kept).unwrap().contains("record-mkv"));
    // A change that cannot be kept is not made.
    fs::remove_dir_all(&state).unwrap();
    fs::write(&state, "no folder").unwrap();
    switch(&second, "a", "record-mkv", true).expect(500);
    assert_eq!(listed(&second, "a"), [] as [Value; 0]);
}
