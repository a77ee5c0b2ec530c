//! The dependency lines, and who crosses them.

use std::collections::BTreeMap;

use super::names::{Names, Path, Source};

/// What each part may name besides itself. Parts inside another one have rules of their own.
const LINES: [(&str, &[&str]); 22] = [
    ("media", &[]),
    ("pipeline", &["media"]),
    ("peer", &["media", "peer::sdp"]),
    ("peer::sdp", &["media"]),
    ("peer::element", &["media", "peer", "peer::sdp", "pipeline"]),
    // Publishers to frames, on both engines.
    (
        "ingest",
        &[
            "ingest::depacketizer",
            "ingest::webrtcbin",
            "media",
            "peer",
            "peer::element",
            "peer::sdp",
            "pipeline",
        ],
    ),
    ("ingest::depacketizer", &["media", "pipeline"]),
    (
        "ingest::webrtcbin",
        &[
            "ingest",
            "media",
            "peer",
            "peer::element",
            "peer::sdp",
            "pipeline",
        ],
    ),
    (
        "fanout",
        &[
            "fanout::webrtcbin",
            "media",
            "peer",
            "peer::sdp",
            "peer::element",
        ],
    ),
    // Viewers on webrtcbin: workers push frames into its pads.
    (
        "fanout::webrtcbin",
        &[
            "fanout",
            "media",
            "peer",
            "peer::sdp",
            "peer::element",
            "pipeline",
        ],
    ),
    (
        "broadcast",
        &[
            "error",
            "fanout",
            "ingest",
            "media",
            "peer",
            "peer::sdp",
            "pipeline",
        ],
    ),
    // Rules only: who may do what with which broadcast.
    ("access", &["broadcast", "peer::sdp"]),
    (
        "http",
        &[
            "access",
            "broadcast",
            "error",
            "fanout",
            "media",
            "peer::sdp",
        ],
    ),
    // What can go wrong, in the words of whom it goes wrong for.
    (
        "error",
        &[
            "broadcast",
            "config",
            "fanout",
            "media",
            "peer",
            "peer::sdp",
            "peer::element",
            "pipeline",
        ],
    ),
    // Plain data, in the words of whom it is for.
    ("config", &["access", "broadcast", "peer", "peer::element"]),
    ("server", &ALL),
    ("workbench", &ALL),
    ("main", &["bench", "config", "error", "server", "workbench"]),
    ("bench", &ALL),
    (
        "fuzz",
        &["fanout", "ingest", "media", "peer", "peer::sdp", "pipeline"],
    ),
    // The client of the benchmark and the tests.
    ("testing", &[]),
    // The list of modules.
    ("", &[]),
];
const ALL: [&str; 15] = [
    "access",
    "broadcast",
    "config",
    "error",
    "fanout",
    "fanout::webrtcbin",
    "http",
    "ingest",
    "media",
    "peer",
    "peer::sdp",
    "peer::element",
    "pipeline",
    "testing",
    "workbench",
];
/// Libraries by how their names begin, and the only parts that may name them.
const LIBRARIES: [(&str, &[&str]); 3] = [
    ("gst", &GSTREAMER),
    ("glib", &GSTREAMER),
    ("warp", &["http"]),
];
/// The parts that run GStreamer's elements.
const GSTREAMER: [&str; 5] = [
    "fanout::webrtcbin",
    "ingest::depacketizer",
    "ingest::webrtcbin",
    "peer::element",
    "pipeline",
];
/// A chain of re-exports longer than this is a circle.
const STEPS_MAX: usize = 32;

/// Every crossed line, in words. `files` are module paths and texts.
pub(super) fn crossings(files: &[(Path, String)]) -> Vec<String> {
    let mut source = Source::default();
    for (module, text) in files {
        source.read(text, module);
    }
    let known: Vec<Path> = files.iter().map(|(module, _)| module.clone()).collect();
    let known = |path: &[String]| {
        known.iter().any(|module| module == path) || source.modules.contains_key(path)
    };
    let mut found = Vec::new();
    for (module, names) in &source.modules {
        if source
            .test_modules
            .iter()
            .any(|test| module.starts_with(test))
        {
            continue;
        }
        let place = module.join("::");
        let Some((part, lines)) = part(module) else {
            found.push(format!("{place} belongs to no part: give it a line"));
            continue;
        };
        for path in &names.paths {
            let Some(target) = resolve(&source.modules, module, path, &known) else {
                continue;
            };
            let written = path.join("::");
            if target.is_empty() || target.last().is_some_and(|last| last == "*") {
                found.push(format!("{place} hides what it names: {written}"));
                continue;
            }
            match self::part(&target) {
                Some((other, _)) if other == part || lines.contains(&other) => {}
                Some((other, _)) => found.push(format!("{place} names {other}: {written}")),
                None => found.push(format!("{place} names what has no line: {written}")),
            }
        }
        for (library, parts) in LIBRARIES {
            let user = names.words.iter().find(|word| is_of(word, library));
            if let Some(word) = user.filter(|_| !parts.contains(&part)) {
                found.push(format!("{place} names the library {word}"));
            }
        }
    }
    found
}

fn is_of(word: &str, library: &str) -> bool {
    let rest = word.strip_prefix(library);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_') || rest.starts_with("reamer"))
}

/// The innermost part that a path lies in.
fn part(path: &[String]) -> Option<(&'static str, &'static [&'static str])> {
    let text = path.join("::");
    let holds = |name: &str| {
        let rest = text.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let parts = LINES.into_iter().filter(|(name, _)| holds(name));
    parts.max_by_key(|(name, _)| name.len())
}

/// The path from the root, through imports and re-exports; `None` for what is not ours.
fn resolve(
    modules: &BTreeMap<Path, Names>,
    module: &[String],
    path: &[String],
    known: &dyn Fn(&[String]) -> bool,
) -> Option<Path> {
    let (mut here, mut rest) = begin(modules, module, path, known)?;
    for _ in 0..STEPS_MAX {
        let Some((name, after)) = rest.split_first() else {
            return Some(here);
        };
        let mut child = here.clone();
        child.push(name.clone());
        let import = modules.get(&here).and_then(|names| names.imports.get(name));
        if known(&child) {
            (here, rest) = (child, after.to_vec());
        } else if let Some([import]) = import.map(Vec::as_slice)
            && let Some((place, mut path)) = begin(modules, &here, import, known)
            && [place.as_slice(), &path].concat() != child
        {
            path.extend_from_slice(after);
            (here, rest) = (place, path);
        } else {
            return Some([here, rest].concat());
        }
    }
    Some([here, rest].concat())
}

/// Where a path begins, and what is left of it.
fn begin(
    modules: &BTreeMap<Path, Names>,
    module: &[String],
    path: &[String],
    known: &dyn Fn(&[String]) -> bool,
) -> Option<(Path, Path)> {
    let mut here = module.to_vec();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" | "aerial" => return Some((Vec::new(), rest[1..].to_vec())),
        "self" => return Some((here, rest[1..].to_vec())),
        "super" => {
            while rest.first().is_some_and(|first| first == "super") {
                here.pop();
                rest = &rest[1..];
            }
            return Some((here, rest.to_vec()));
        }
        _ => {}
    }
    let mut child = here.clone();
    child.push(rest[0].clone());
    let imports = modules
        .get(module)
        .and_then(|names| names.imports.get(&rest[0]));
    if known(&child) {
        return Some((here, rest.to_vec()));
    }
    // A name that is imported as itself (`use serde;`) is a library.
    let import = imports?.iter().find(|import| import[0] != rest[0])?;
    let (place, mut path) = begin(modules, module, import, known)?;
    path.extend_from_slice(&rest[1..]);
    Some((place, path))
}
