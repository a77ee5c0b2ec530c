//! The shape of the code: who may name whom, and how long a file may be.

mod names;
mod rules;

use std::path::{Path as FilePath, PathBuf};

use names::Path;
use rules::crossings;

const LINES_MAX: usize = 500;

fn root() -> &'static FilePath {
    FilePath::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` whose name ends so.
fn files(folder: &FilePath, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            // Installed, not ours.
            if name != "node_modules" && !name.starts_with('.') {
                found.extend(files(&path, endings));
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found
}

/// `src/peer/sdp/mod.rs` is the module `peer::sdp`.
fn module(file: &FilePath) -> Path {
    let relative = file.strip_prefix(root().join("src")).unwrap();
    let mut module: Path = relative
        .with_extension("")
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
        module.pop();
    }
    module
}

#[test]
fn no_dependency_line_is_crossed() {
    let sources: Vec<_> = files(&root().join("src"), &[".rs"])
        .into_iter()
        .map(|file| (module(&file), std::fs::read_to_string(&file).unwrap()))
        .collect();
    assert!(sources.len() > 50, "{} files", sources.len());
    let found = crossings(&sources);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_file_is_long() {
    let folders = ["src", "tests", "web"].map(|folder| root().join(folder));
    let all = folders
        .iter()
        .flat_map(|folder| files(folder, &[".rs", ".js", ".css", ".html", ".py"]));
    let long: Vec<_> = all
        .filter_map(|file| {
            let lines = std::fs::read_to_string(&file).unwrap().lines().count();
            (lines > LINES_MAX).then(|| format!("{}: {lines} lines", file.display()))
        })
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// The crossings of one made-up file beside the module files it needs.
fn check(place: &str, text: &str) -> Vec<String> {
    let split = |path: &str| path.split("::").map(str::to_owned).collect::<Path>();
    let mut files: Vec<_> = [
        "broadcast",
        "fanout",
        "http",
        "media",
        "peer::sdp",
        "pipeline",
    ]
    .iter()
    .map(|name| (split(name), String::new()))
    .collect();
    files.push((split("peer"), "pub use crate::media::Kind;".to_owned()));
    files.push((split("peer::webrtcbin"), "use crate::pipeline;".to_owned()));
    files.retain(|(module, _)| *module != split(place));
    files.push((split(place), text.to_owned()));
    crossings(&files)
}

#[test]
fn what_is_allowed_is_not_reported() {
    for (place, text) in [
        (
            "broadcast::actor",
            "use crate::{fanout::Fanout, peer::{End, webrtcbin::Publisher}};",
        ),
        (
            "fanout::viewer",
            "use super::batch; use crate::peer::End; fn f() { crate::media::x() }",
        ),
        (
            "peer::webrtcbin::engine",
            "use gstreamer as gst; use super::super::sdp; use crate::pipeline;",
        ),
        (
            "http::router",
            "use warp::Filter; use crate::broadcast::Name;",
        ),
        (
            "media",
            "//! crate::http and gstreamer\nconst A: &str = \"crate::http\"; // crate::http",
        ),
        (
            "media",
            "#[cfg(test)] mod tests { use gstreamer as gst; use crate::http; }",
        ),
        (
            "media",
            "#[cfg(test)] pub(super) mod tests { use super::*; }",
        ),
        (
            "media",
            "#[cfg(test)] #[expect(x)] fn f() -> [u8; 2] { crate::http::f() } fn gstatic() {}",
        ),
    ] {
        let found = check(place, text);
        assert!(found.is_empty(), "{text}: {found:?}");
    }
}

#[test]
fn every_way_to_cross_a_line_is_found() {
    for (place, text) in [
        ("fanout::viewer", "use crate::broadcast::Name;"),
        (
            "fanout::viewer",
            "use crate::{media::Frame, peer::{End, webrtcbin::Publisher}};",
        ),
        ("fanout::viewer", "fn f() { crate::pipeline::init() }"),
        ("fanout::viewer", "use super::super::http;"),
        (
            "fanout::viewer",
            "use crate::peer; fn f() -> peer::webrtcbin::Publisher {}",
        ),
        (
            "fanout::viewer",
            "use crate::peer as p; mod x { fn f() { super::p::webrtcbin::f() } }",
        ),
        (
            "fanout::viewer",
            "macro_rules! m { () => { $crate::http::f() } }",
        ),
        ("fanout::viewer", "fn f() { info!(x = crate::http::f()) }"),
        (
            "fanout::viewer",
            "use crate as it; fn f() { it::http::f() }",
        ),
        ("fanout::viewer", "use crate::*;"),
        ("fanout::viewer", "use crate::peer::*;"),
        ("fanout::viewer", "fn f() { gstreamer::init() }"),
        ("peer", "mod webrtcbin; fn f() { webrtcbin::f() }"),
        ("peer", "use crate::pipeline::Error;"),
        (
            "peer::sdp::offer",
            "use super::super::webrtcbin::Publisher;",
        ),
        ("pipeline::clock", "pub(crate) use crate::peer::End;"),
        ("broadcast::actor", "use glib::object::Cast;"),
        ("broadcast::actor", "use warp::Filter;"),
        ("http::router", "use crate::pipeline::init;"),
        ("http::router", "#[cfg(not(test))] use gstreamer_app as x;"),
        (
            "media",
            "struct S { #[cfg(test)] a: u8, b: crate::http::T }",
        ),
        ("surprise", "fn f() {}"),
    ] {
        assert!(!check(place, text).is_empty(), "{place}: {text}");
    }
}
