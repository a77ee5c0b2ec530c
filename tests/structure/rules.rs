//! The dependency lines, and which modules cross them.

use super::code::Code;

/// What each part may name besides itself. Parts inside another one have rules of their own.
const LINES: &[(&str, &[&str])] = &[
    ("media", &[]),
    // The system's limits for this process, and what a process uses.
    ("resources", &[]),
    // The service manager: sockets that it passes, and what it is told.
    ("systemd", &[]),
    // Addresses of clients.
    ("client", &[]),
    ("quota", &["client"]),
    // How long something took, how often.
    ("histogram", &[]),
    // The clock of deadlines.
    ("awake", &[]),
    // When something last happened.
    ("moment", &[]),
    // How many lines of the log strangers can cause.
    ("notices", &["media"]),
    // The frames of a track, for pipelines.
    ("stream", &["awake", "media"]),
    (
        "pipeline",
        &[
            "awake",
            "media",
            "notices",
            "outbound",
            "resources",
            "stream",
        ],
    ),
    // Values in words, for log lines.
    ("words", &[]),
    // The engine webrtcbin, as a worker runs it.
    (
        "webrtcbin",
        &[
            "awake",
            "media",
            "moment",
            "peer",
            "peer::sdp",
            "pipeline",
            "playout",
        ],
    ),
    // Pipelines, publishers on webrtcbin and the viewers on it, in processes of their own.
    (
        "worker",
        &[
            "awake",
            "media",
            "notices",
            "peer",
            "pipeline",
            "playout",
            "resources",
            "stream",
            "webrtcbin",
        ],
    ),
    ("peer", &["awake", "media", "peer::sdp", "words"]),
    ("peer::sdp", &["media"]),
    // Publishers to frames, on both engines.
    (
        "ingest",
        &[
            "awake",
            "media",
            "moment",
            "peer",
            "peer::sdp",
            "pipeline",
            "plan",
            "resources",
            "webrtcbin",
            "worker",
        ],
    ),
    (
        "fanout",
        &[
            "awake",
            "media",
            "peer",
            "peer::sdp",
            "playout",
            "webrtcbin",
            "plan",
            "resources",
            "words",
            "worker",
        ],
    ),
    // What is sent to one viewer, and when.
    ("playout", &["awake", "media", "peer", "words"]),
    // The chats of broadcasts.
    ("chat", &["awake", "client", "media", "plan"]),
    // Several nodes as one service.
    ("cluster", &["awake", "media", "plan", "stream"]),
    (
        "broadcast",
        &[
            "awake",
            "chat",
            "cluster",
            "events",
            "fanout",
            "histogram",
            "ingest",
            "media",
            "peer",
            "peer::sdp",
            "pipeline",
            "plan",
            // The statistics of a viewer.
            "playout",
            "quota",
            "resources",
            "stream",
            "worker",
        ],
    ),
    // The configuration's content: data that every room may know.
    ("plan", &[]),
    // Changes that the operator has made through the API.
    ("amendments", &["plan"]),
    // The files that outputs have recorded.
    ("recordings", &["events", "plan", "worker"]),
    // Requests to other servers.
    ("outbound", &[]),
    // What has happened, for the operator.
    ("events", &["media", "plan"]),
    ("webhooks", &["access", "events", "notices", "outbound"]),
    // Who may do what with which broadcast.
    ("access", &["outbound", "peer::sdp", "plan"]),
    (
        "http",
        &[
            "access",
            "amendments",
            "awake",
            "broadcast",
            "chat",
            "client",
            "cluster",
            "events",
            "fanout",
            "histogram",
            "media",
            "notices",
            "peer::sdp",
            "plan",
            "quota",
            "recordings",
            "resources",
            "webhooks",
        ],
    ),
    // Plain data for all.
    (
        "config",
        &[
            "access",
            "amendments",
            "client",
            "events",
            "plan",
            "webhooks",
        ],
    ),
    ("server", ALL),
    (
        "cli",
        &[
            "access",
            "amendments",
            "bench",
            "config",
            "media",
            "peer::sdp",
            "peer::sdp",
            "pipeline",
            "resources",
            "server",
            "systemd",
            "worker",
        ],
    ),
    ("main", &["cli"]),
    ("bench", ALL),
    (
        "fuzz",
        &[
            "cluster",
            "fanout",
            "ingest",
            "media",
            "peer",
            "peer::sdp",
            "pipeline",
            "worker",
        ],
    ),
    (
        "for_tests",
        &["config", "media", "peer", "pipeline", "testing"],
    ),
    // The client of the benchmark and the tests.
    ("testing", &["media"]),
    // The list of modules.
    ("", &[]),
];
const ALL: &[&str] = &[
    "access",
    "amendments",
    "awake",
    "broadcast",
    "chat",
    "client",
    "cluster",
    "config",
    "events",
    "fanout",
    "histogram",
    "http",
    "ingest",
    "media",
    "moment",
    "notices",
    "outbound",
    "peer",
    "peer::sdp",
    "pipeline",
    "plan",
    "playout",
    "quota",
    "recordings",
    "resources",
    "stream",
    "systemd",
    "testing",
    "webhooks",
    "webrtcbin",
    "words",
    "worker",
];
/// Libraries by prefix of their names, and the only parts that may name them.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("async_nats", &["cluster"]),
    ("gst", GSTREAMER),
    ("glib", GSTREAMER),
    ("warp", &["http"]),
];
/// The parts that run GStreamer's elements.
const GSTREAMER: &[&str] = &["pipeline", "webrtcbin"];
/// What starts GStreamer, or runs elements.
const STARTING: &[&str] = &[
    "pipeline::check::check",
    "pipeline::check::has_elements",
    "pipeline::check::video_codecs",
    "pipeline::init",
    "pipeline::job::Job",
    "pipeline::job::fit",
    "pipeline::running",
    "pipeline::source",
    "pipeline::trial::TestMedia",
    "webrtcbin::element",
    "webrtcbin::publisher::ReceivingElement",
    "webrtcbin::viewers::sender",
];
/// Allowed: a worker, and tools. Never the server itself, nor a command that takes an operator's files.
const STARTERS: &[&str] = &[
    "bench",
    "for_tests",
    "fuzz",
    "pipeline",
    "webrtcbin",
    "worker::host",
];

/// Every crossed line, in words.
pub(super) fn crossings(code: &Code) -> Vec<String> {
    let mut found = Vec::new();
    for (module, names) in code.modules() {
        let place = module.join("::");
        let Some((part, lines)) = part(module) else {
            found.push(format!("{place} belongs to no part: give it a line"));
            continue;
        };
        for path in &names.paths {
            let Some(target) = code.resolve(module, path) else {
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
        for &(library, parts) in LIBRARIES {
            if parts.contains(&part) {
                continue;
            }
            if let Some(word) = names.words.iter().find(|word| is_of(word, library)) {
                found.push(format!("{place} names the library {word}"));
            }
        }
    }
    found
}

/// Whoever starts GStreamer and must not, in words.
pub(super) fn starters(code: &Code) -> Vec<String> {
    let mut found = Vec::new();
    for (module, names) in code.modules() {
        let place = module.join("::");
        if STARTERS.iter().any(|starter| is_in(&place, starter)) {
            continue;
        }
        let starting = names
            .paths
            .iter()
            .filter_map(|path| code.resolve(module, path))
            .map(|target| target.join("::"))
            .filter(|name| STARTING.iter().any(|start| is_in(name, start)));
        found.extend(starting.map(|name| format!("{place} starts GStreamer: {name}")));
    }
    found
}

/// Whether a path is another one, or leads on from there.
fn is_in(path: &str, other: &str) -> bool {
    let rest = path.strip_prefix(other);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_of(word: &str, library: &str) -> bool {
    let rest = word.strip_prefix(library);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_') || rest.starts_with("reamer"))
}

/// The innermost part that contains a path.
fn part(path: &[String]) -> Option<(&'static str, &'static [&'static str])> {
    let text = path.join("::");
    LINES
        .iter()
        .copied()
        .filter(|(name, _)| is_in(&text, name))
        .max_by_key(|(name, _)| name.len())
}
