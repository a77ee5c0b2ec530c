//! The commands that take pipeline files, as processes: only their workers load GStreamer's plugins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use super::SOURCE;
use crate::{
    outputs::folder,
    support::{aerial, output},
};

/// Runs a command; returns also what the dynamic linker has loaded into its own process. Workers do not
/// inherit that wish.
fn run(folder: &Path, arguments: &[&str]) -> (Output, String) {
    let mut command = aerial(arguments);
    command
        .env("LD_DEBUG", "files")
        .env("LD_DEBUG_OUTPUT", folder.join("loaded"));
    let done = output(command);
    let is_loaded = |path: &PathBuf| path.extension().is_some_and(|pid| pid != "launch");
    let entries = fs::read_dir(folder).unwrap();
    let paths: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(is_loaded)
        .collect();
    assert_eq!(paths.len(), 1, "{paths:?}");
    let loaded = fs::read_to_string(&paths[0]).unwrap();
    fs::remove_file(&paths[0]).unwrap();
    (done, loaded)
}

/// The library itself is linked.
fn assert_without_plugins(loaded: &str) {
    assert!(loaded.contains("/libgstreamer-1.0.so"), "{loaded}");
    let mut plugins = loaded
        .lines()
        .filter(|line| line.contains("/gstreamer-1.0/"));
    assert_eq!(plugins.next(), None);
}

#[test]
fn check_creates_elements_in_a_worker() {
    let wrong = SOURCE.replace("is-live", "is-life");
    let files = [("good.launch", SOURCE), ("wrong.launch", wrong.as_str())];
    let folder = folder("workers-check", &[], &files);
    let good = folder.join("good.launch").display().to_string();
    let (done, loaded) = run(&folder, &["check", &good]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{text}");
    assert!(!text.contains("good.launch"), "{text}");
    assert_without_plugins(&loaded);

    let wrong = folder.join("wrong.launch").display().to_string();
    let (done, loaded) = run(&folder, &["check", &good, &wrong]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(!done.status.success(), "{text}");
    // Only the element knows that.
    let wrong = text.lines().find(|line| line.contains("wrong.launch:1: "));
    assert!(wrong.unwrap().contains("is-life"), "{text}");
    assert_without_plugins(&loaded);
}

/// The worker ends at a warning of `GLib`, as it may at any fault of an element.
#[test]
fn a_file_that_crashes_its_check_is_named_and_the_others_are_checked() {
    let files = [
        (
            "bad.launch",
            "videotestsrc num-buffers=-5 ! x264enc ! appsink name=video",
        ),
        ("wrong.launch", "videotestsrc ! appsink name=picture"),
    ];
    let folder = folder("workers-check-crash", &[], &files);
    let paths = ["bad.launch", "wrong.launch"].map(|file| folder.join(file).display().to_string());
    let mut command = aerial(&["check", &paths[0], &paths[1]]);
    command.env("G_DEBUG", "fatal-warnings");
    let done = output(command);
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(1), "{text}");
    let bad = text.lines().find(|line| line.contains("bad.launch"));
    let bad = bad.unwrap_or_default();
    assert!(bad.contains("SIGTRAP"), "{text}");
    assert!(bad.contains("out of range for property"), "{text}");
    assert!(text.contains("wrong.launch:1: "), "{text}");
}

#[test]
fn try_runs_everything_in_workers_and_tells_what_they_use() {
    let files = [("small.launch", super::RENDITION)];
    let folder = folder("workers-try", &[], &files);
    let file = folder.join("small.launch").display().to_string();
    let (done, loaded) = run(&folder, &["try", &file, "--seconds", "3"]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{text}");
    // The first frame, and the figures of each second.
    for parts in [["video_small", "H264"], ["video_small", "kbit/s"]] {
        let all = |line: &str| parts.iter().all(|part| line.contains(part));
        assert!(text.lines().any(all), "{parts:?}: {text}");
    }
    let process = text.lines().rev().find(|line| line.contains(" MiB"));
    let process = process.unwrap_or_else(|| panic!("no figures: {text}"));
    let figures = process.split(|c: char| !c.is_ascii_digit());
    let figures: Vec<u64> = figures.filter_map(|figure| figure.parse().ok()).collect();
    let [.., mebibytes, threads] = figures[..] else {
        panic!("{process}");
    };
    assert!(mebibytes > 0 && threads > 1, "{process}");
    // From its start to its end, as the kernel says.
    let in_all = text.lines().rev().find_map(|line| {
        let (before, _) = line.split_once(" ms of CPU")?;
        before.rsplit(' ').next()?.parse().ok()
    });
    assert!(in_all > Some(0_u64), "{text}");
    assert_without_plugins(&loaded);
}
