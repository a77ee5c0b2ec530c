//! The shape of the code: which modules may name which, and how long a file may be.

mod circles;
mod code;
mod log;
mod names;
mod prose;
mod rules;
mod types;

use std::path::{Path as FilePath, PathBuf};

use code::Code;
use names::Path;
use rules::{crossings, starters};

const LINES_MAX: usize = 500;

fn root() -> &'static FilePath {
    FilePath::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` with one of these endings.
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

/// The code of the server.
fn server() -> Code {
    let sources: Vec<_> = files(&root().join("src"), &[".rs"])
        .into_iter()
        .map(|file| (module(&file), std::fs::read_to_string(&file).unwrap()))
        .collect();
    assert!(sources.len() > 50, "{} files", sources.len());
    Code::read(&sources)
}

#[test]
fn no_dependency_line_is_crossed() {
    let found = crossings(&server());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_server_does_not_start_gstreamer() {
    let found = starters(&server());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn whoever_starts_gstreamer_is_found() {
    let files = |text: &str| {
        made_up(&[
            ("fanout::viewer", text),
            ("pipeline", "pub mod job; pub mod running; pub fn init() {}"),
            ("pipeline::job", "pub struct Job;"),
            ("pipeline::running", "pub fn blocking() {}"),
            ("webrtcbin", "pub mod viewers;"),
            (
                "webrtcbin::viewers",
                "mod sender; pub use sender::SendingElement;",
            ),
            ("webrtcbin::viewers::sender", "pub struct SendingElement;"),
        ])
    };
    for text in [
        "fn f() { crate::pipeline::init() }",
        "use crate::pipeline::job::Job;",
        "use crate::pipeline; fn f() { pipeline::running::blocking() }",
        "use crate::webrtcbin::viewers::SendingElement;",
    ] {
        assert_eq!(starters(&files(text)).len(), 1, "{text}");
    }
    let none = "use crate::pipeline::{Error, job::JobFigures};";
    assert_eq!(starters(&files(none)), [""; 0]);
}

#[test]
fn tests_do_not_depend_on_the_servers_sentences() {
    let mut sentences = prose::Sentences::default();
    for folder in ["src", "tests"] {
        for file in files(&root().join(folder), &[".rs"]) {
            let relative = file.strip_prefix(root()).unwrap();
            let mut parts = relative.iter().map(|part| part.to_str().unwrap());
            // This rule's own tests quote what it finds.
            let is_own = parts.clone().any(|part| part == "structure");
            if !is_own {
                let is_test = parts.any(|part| part.trim_end_matches(".rs") == "tests");
                sentences.read(&std::fs::read_to_string(&file).unwrap(), is_test);
            }
        }
    }
    let shared = sentences.shared();
    assert!(shared.is_empty(), "{}", shared.join("\n"));
}

#[test]
fn no_rooms_form_a_circle() {
    let found = circles::between_rooms(&server());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_files_form_a_circle() {
    let found = circles::between_files(&server());
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_type_name_stands_for_one_thing() {
    let found = types::ambiguous(&server());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn log_lines_have_no_rust_in_them() {
    let all = files(&root().join("src"), &[".rs"]);
    let found: Vec<_> = all
        .iter()
        .flat_map(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            let found = log::debug_values(&text);
            let place = file.display();
            found
                .into_iter()
                .map(move |value| format!("{place}: ?{value}"))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_file_is_long() {
    let all = ["src", "tests", "web"]
        .into_iter()
        .map(|folder| root().join(folder))
        .flat_map(|folder| files(&folder, &[".rs", ".js", ".css", ".html", ".py"]));
    let long: Vec<_> = all
        // A language is one list of words in one file.
        .filter(|file| !file.starts_with(root().join("web/js/words")))
        .filter_map(|file| {
            let lines = std::fs::read_to_string(&file).unwrap().lines().count();
            (lines > LINES_MAX).then(|| format!("{}: {lines} lines", file.display()))
        })
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// Made-up files.
fn made_up(files: &[(&str, &str)]) -> Code {
    let files: Vec<_> = files
        .iter()
        .map(|(module, text)| (split(module), (*text).to_owned()))
        .collect();
    Code::read(&files)
}

fn split(path: &str) -> Path {
    path.split("::").map(str::to_owned).collect()
}

#[test]
fn circles_are_found_through_others_and_through_re_exports() {
    let code = made_up(&[
        ("a", "pub use x::T; mod x;"),
        ("a::x", "use crate::b::f; pub struct T;"),
        ("b", "mod y; pub use self::y::f;"),
        ("b::y", "use crate::c::g; pub fn f() {}"),
        ("c", "pub fn g() { crate::a::T }"),
        ("d", "use crate::a::T;"),
    ]);
    assert_eq!(circles::between_rooms(&code), [["a", "b", "c"]]);
    assert_eq!(circles::between_files(&code), [["a::x", "b::y", "c"]]);
}

#[test]
fn shared_files_of_a_folder_and_tests_form_no_circle() {
    let code = made_up(&[
        ("a", "mod x; use x::f; pub struct Shared;"),
        ("a::x", "use super::Shared; pub fn f() {}"),
        (
            "b",
            "pub fn f() {} #[cfg(test)] mod tests { use crate::c::g; }",
        ),
        ("c", "pub fn g() { crate::b::f() }"),
    ]);
    let none: [Vec<String>; 0] = [];
    assert_eq!(circles::between_rooms(&code), none);
    assert_eq!(circles::between_files(&code), none);
}

#[test]
fn type_names_count_when_other_files_can_say_them() {
    let code = made_up(&[
        ("a", "pub struct Twice; struct Private; pub enum Options {}"),
        ("b", "pub(super) type Twice = u8; pub enum Options {}"),
        (
            "c",
            "struct Private; #[cfg(test)] mod t { pub struct Twice; }",
        ),
    ]);
    assert_eq!(types::ambiguous(&code), ["Twice: a, b"]);
}

/// The crossings of one made-up file alongside the module files it needs.
fn check(place: &str, text: &str) -> Vec<String> {
    let mut files: Vec<_> = [
        "broadcast",
        "fanout",
        "http",
        "ingest",
        "media",
        "peer::sdp",
        "pipeline",
        "plan",
    ]
    .iter()
    .map(|name| (split(name), String::new()))
    .collect();
    files.push((split("peer"), "pub use crate::media::Kind;".to_owned()));
    files.retain(|(module, _)| *module != split(place));
    files.push((split(place), text.to_owned()));
    crossings(&Code::read(&files))
}

#[test]
fn allowed_dependencies_are_not_reported() {
    for (place, text) in [
        (
            "broadcast::actor",
            "use crate::{fanout::Fanout, ingest::Publisher, peer::End};",
        ),
        (
            "fanout::viewer",
            "use super::batch; use crate::peer::End; fn f() { crate::media::x() }",
        ),
        (
            "webrtcbin::element",
            "use gstreamer as gst; use crate::{peer::sdp, pipeline};",
        ),
        ("http::router", "use warp::Filter; use crate::plan::Name;"),
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
        ("fanout::viewer", "use crate::broadcast::Session;"),
        (
            "worker::host",
            "use crate::{media::Frame, peer::{End, sdp::Offer}};",
        ),
        ("fanout::viewer", "fn f() { crate::pipeline::init() }"),
        ("fanout::viewer", "use super::super::http;"),
        (
            "worker::host",
            "use crate::peer; fn f() -> peer::sdp::Offer {}",
        ),
        (
            "worker::host",
            "use crate::peer as p; mod x { fn f() { super::p::sdp::f() } }",
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
        (
            "ingest",
            "use crate::fanout; fn f() { fanout::rendition::f() }",
        ),
        ("peer", "use crate::pipeline::Error;"),
        ("peer::sdp::offer", "use super::super::Event;"),
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
