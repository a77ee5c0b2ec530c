//! Pipelines use the files that they declare, where the kernel can enforce that; where it cannot, they run,
//! and everybody is told.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::pipelines;
use crate::{
    outputs::{files, folder, server},
    rtc::{Client, clip},
    support::{Server, aerial, output, starter::executing, wait_for},
};

/// Records to a folder that it declares.
const DECLARED: &str = "# sandbox: write ${directory}/own\n\
    appsrc name=video ! h264parse ! matroskamux\n\
    ! filesink buffer-mode=unbuffered location=\"${directory}/own/declared.mkv\"\n";
/// Records to one that it does not.
const UNDECLARED: &str = "# sandbox: write ${directory}/own\n\
    appsrc name=video ! h264parse ! matroskamux\n\
    ! filesink buffer-mode=unbuffered location=\"${directory}/undeclared.mkv\"\n";
/// Needs plugins, fonts and what the kernel says, and no file.
const TITLE: &str = "# sandbox: on\n\
    videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=15/1\n\
    ! textoverlay text=title ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15\n\
    ! video/x-h264,profile=constrained-baseline ! appsink name=video\n";
const CONFIG: &str = "[broadcasts.made]\nsource = \"title.launch\"\n\
    [broadcasts.a]\noutputs = [\"declared.launch\", \"undeclared.launch\"]\n\
    vars = { directory = \"FOLDER\" }\n";

fn folder_of(name: &str) -> PathBuf {
    let texts = [
        ("declared.launch", DECLARED),
        ("undeclared.launch", UNDECLARED),
        ("title.launch", TITLE),
    ];
    let folder = folder(name, &[], &texts);
    fs::create_dir(folder.join("own")).unwrap();
    folder
}

/// How much of a running pipeline's sandbox is enforced, as the API says.
fn sandbox(server: &Server, broadcast: &str, pipeline: &str) -> String {
    wait_for(&format!("the sandbox of a running {pipeline}"), || {
        let status = pipelines(server, broadcast).remove(pipeline)?;
        let sandbox = status.get("sandbox")?.as_str()?.to_owned();
        (status["state"] == "running").then_some(sandbox)
    })
}

#[test]
fn a_pipeline_uses_only_the_files_that_it_declares() {
    let folder = folder_of("sandbox");
    let server = server(&folder, CONFIG, &["--webrtc.publisher_engine=direct"]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let state = sandbox(&server, "a", "declared");
    assert_eq!(files(&folder.join("own"), "declared.mkv").len(), 1);
    if state == "unavailable" {
        println!("skipped: this kernel has no Landlock");
        return;
    }
    let refused = wait_for("the refusal", || {
        let status = pipelines(&server, "a").remove("undeclared")?;
        Some(status["error"].as_str()?.to_owned())
    });
    assert!(refused.contains("Permission denied"), "{refused}");
    assert!(files(&folder, "undeclared.mkv").is_empty());
    assert_eq!(sandbox(&server, "made", "title"), state);
    let viewer = Client::watch(&server, "made");
    wait_for("pictures", || (viewer.seen_pictures() > 10).then_some(()));
}

/// Executes a program as on a kernel without Landlock.
fn without_landlock() -> Command {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/workers/no_landlock.py");
    let mut command = Command::new("python3");
    command.arg(script);
    command
}

fn server_without_landlock(folder: &Path) -> Server {
    let config = folder.join("aerial.toml");
    let path = folder.display().to_string();
    fs::write(&config, CONFIG.replace("FOLDER", &path)).unwrap();
    let arguments = [
        "--webrtc.publisher_engine=direct",
        "--pipelines",
        &path,
        "--config",
        config.to_str().unwrap(),
    ];
    Server::executed_by(without_landlock(), &arguments)
}

#[test]
fn a_kernel_without_landlock_is_told_of_and_the_pipeline_runs() {
    let folder = folder_of("sandbox-none");
    let server = server_without_landlock(&folder);
    let _publisher = Client::live(&server, "a", &clip::H264);
    for pipeline in ["declared", "undeclared"] {
        assert_eq!(sandbox(&server, "a", pipeline), "unavailable");
    }
    server.wait_for_line("warning", |line| {
        line.level == "WARN" && line.target == "aerial::worker::pipeline"
    });

    let file = folder.join("title.launch").display().to_string();
    let checked = output(executing(without_landlock(), &aerial(&["check", &file])));
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{text}");
    assert!(text.contains("Landlock"), "{text}");
}

#[test]
fn a_sandbox_that_cannot_be_is_named_with_its_line() {
    let text = format!("# sandbox: everything\n{TITLE}");
    let folder = folder("sandbox-wrong", &[], &[("wrong.launch", &text)]);
    let file = folder.join("wrong.launch").display().to_string();
    let checked = output(aerial(&["check", &file]));
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(!checked.status.success(), "{text}");
    assert!(text.contains("wrong.launch:1: "), "{text}");
}
