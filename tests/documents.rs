//! The documents say what the code does.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use aerial::for_tests::{Opt, broadcast_keys, options};

use crate::{
    conformance::tls::Certificate,
    outputs::{folder, wait_for_output},
    rtc::{Client, clip},
    support::{Server, aerial, output},
};

const API: &str = include_str!("../docs/api.md");
const CONFIGURATION: &str = include_str!("../docs/configuration.md");
const PIPELINES: &str = include_str!("../docs/pipelines.md");

fn row(option: &Opt) -> String {
    let default = Some(option.default).filter(|default| !default.is_empty());
    let default = default
        .map(|default| format!("`{default}`"))
        .unwrap_or_default();
    let range = option
        .range
        .map(|(min, max)| format!(" From {min} to {max}."));
    let (help, range) = (option.help.trim(), range.unwrap_or_default());
    format!("| `{}` | {default} | {help}{range} |", option.key)
}

#[test]
fn every_option_is_documented_as_it_is() {
    let wanted: Vec<_> = options().map(row).collect();
    let head = "| Key in `aerial.toml` | Default | What it does |";
    expect_table(CONFIGURATION, head, &wanted);
}

#[test]
fn every_key_of_broadcasts_is_documented_as_it_is() {
    let wanted: Vec<_> = broadcast_keys().map(row).collect();
    let head = "| Key under `[broadcasts.NAME]` | Default | What it does |";
    expect_table(CONFIGURATION, head, &wanted);
}

#[test]
fn every_type_of_problem_is_documented() {
    let source = include_str!("../src/http/problem.rs");
    let types: Vec<_> = source
        .split("StatusCode::")
        .filter_map(|rest| rest.split_once(',')?.1.trim_start().strip_prefix('"'))
        .filter_map(|rest| Some(rest.split_once('"')?.0))
        .collect();
    assert!(types.len() > 20, "{types:?}");
    let (_, problems) = API.split_once("## Problems").unwrap();
    let (problems, _) = problems.split_once("\n## ").unwrap_or((problems, ""));
    for kind in types {
        assert!(problems.contains(&format!("`{kind}`")), "{kind}");
    }
}

/// The document has a table of exactly these rows below this head.
pub(crate) fn expect_table(document: &str, head: &str, rows: &[String]) {
    let (_, after) = document.split_once(head).unwrap_or_default();
    let listed: Vec<_> = after
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    let wanted = rows.join("\n");
    assert_eq!(
        listed, rows,
        "the table below {head} should be:\n{wanted}\n"
    );
}

/// The blocks of docs/pipelines.md in one language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("\n```{language}\n");
    PIPELINES
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split_once("\n```\n").unwrap().0)
        .collect()
}

/// The examples of docs/pipelines.md as files; the recordings go there too.
fn examples(name: &str) -> PathBuf {
    let folder = folder(name, &[], &[]);
    let config = blocks("toml").join("\n");
    let path = folder.display().to_string();
    let config = config.replace("/srv/recordings", &path);
    let picture = folder.join("pause.png");
    crate::slate::draw(&picture);
    let config = config.replace("pause.png", picture.to_str().unwrap());
    assert!(config.contains(&path));
    fs::write(folder.join("aerial.toml"), config).unwrap();
    for text in blocks("launch") {
        let (name, _) = text.strip_prefix("# ").unwrap().split_once(": ").unwrap();
        assert!(name.ends_with(".launch"), "{name}");
        fs::write(folder.join(name), text).unwrap();
    }
    folder
}

#[test]
fn the_documented_configuration_of_pipelines_serves() {
    let folder = examples("documents-serve");
    let config = folder.join("aerial.toml");
    let server = Server::start(&["--config", config.to_str().unwrap()]);
    let _publisher = Client::live(&server, "cam-1", &clip::H264);
    wait_for_output(&server, "cam-1", "record-mkv", "running");
    let viewer = Client::watch(&server, "cam-1?rendition=240p");
    viewer.wait_for_frames(5);
    assert_eq!(server.state("lobby").as_deref(), Some("waiting"));
}

#[test]
fn the_documented_commands_for_pipelines_work() {
    let folder = examples("documents-commands");
    fs::write(folder.join(".curlrc"), "fail\nsilent\nshow-error\n").unwrap();
    let server = Server::demo(&[]);
    let admin = server.admin.as_ref().unwrap();
    let program = aerial(&[]).get_program().to_owned();
    let programs = Path::new(&program).parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let scripts = blocks("sh");
    assert!(scripts.len() >= 2);
    for script in scripts {
        let address = format!("localhost:{}", server.address.port());
        let script = script.replace("localhost:8080", &address);
        let script = script.replace("127.0.0.1:8190", &admin.address.to_string());
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", &script])
            .current_dir(&folder)
            .env("PATH", &path)
            .env("TOKEN", &admin.token)
            .env("CURL_HOME", &folder);
        let done = output(shell);
        let text = String::from_utf8_lossy(&done.stdout);
        let complaints = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{script}\n{text}\n{complaints}");
    }
    let graph = fs::read_to_string(folder.join("graph.svg")).unwrap();
    assert!(graph.contains("<svg"));
}

#[test]
fn completions_and_manual_pages_know_the_options() {
    let option = "webrtc.jitter";
    for shell in ["bash", "zsh", "fish"] {
        let done = output(aerial(&["completions", shell]));
        let script = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && script.contains(option), "{shell}");
    }
    let folder = folder("documents-manual", &[], &[]);
    let done = output(aerial(&["man", folder.to_str().unwrap()]));
    assert!(done.status.success(), "{done:?}");
    assert!(folder.join("aerial.1").exists());
    let page = fs::read_to_string(folder.join("aerial-serve.1")).unwrap();
    assert!(page.contains(option), "{page}");
    assert!(!folder.join("aerial-bench-part.1").exists(), "hidden");
}

/// What `aerial config` prints.
fn printed_configuration(flags: &[&str]) -> String {
    let done = output(aerial(&[&["config"], flags].concat()));
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn the_printed_configuration_has_every_option_and_is_valid() {
    let socket = "unix:/run/aerial/admin.sock";
    let text = printed_configuration(&["--admin.listen", socket, "--demo", "false"]);
    assert!(
        text.contains(&format!("\nlisten = \"{socket}\"\n")),
        "{text}"
    );
    assert!(text.contains("\ndemo = false\n"), "{text}");
    for option in options() {
        let name = option.key.rsplit('.').next().unwrap();
        let help: Vec<_> = option.help.split_whitespace().collect();
        let words: Vec<_> = text
            .split_whitespace()
            .filter(|word| *word != "#")
            .collect();
        assert!(
            words.windows(help.len()).any(|found| found == help),
            "{}",
            option.key
        );
        assert!(text.contains(&format!("{name} = ")), "{name}");
    }
    // As printed, and with every default and example switched on.
    let is_set = |line: &&str| !line.ends_with("= \"\"");
    let is_option = |line: &str| line.starts_with(|c: char| c.is_ascii_lowercase() || c == '[');
    let switched = |line: &str| match line.strip_prefix('#') {
        Some(rest) if is_option(rest) => rest.to_owned(),
        _ => line.to_owned(),
    };
    let switched: Vec<_> = text.lines().filter(is_set).map(switched).collect();
    assert!(switched.iter().any(|line| line == "[broadcasts.lobby]"));
    let folder = folder("documents-configuration", &[], &[]);
    let token = folder.join("studio.token");
    fs::write(&token, "studio-0123456789abcdef").unwrap();
    let all = switched.join("\n");
    let all = all.replace("/etc/aerial/studio.token", token.to_str().unwrap());
    for (name, text) in [("printed.toml", &text), ("all.toml", &all)] {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        let mut command = aerial(&["check", path.to_str().unwrap()]);
        command.env("VIEWERS", "viewers-0123456789abcdef");
        command.env("HOOK", "hook-0123456789abcdef");
        let done = output(command);
        assert!(done.status.success(), "{name}: {done:?}");
    }
}

#[test]
fn every_metric_is_documented() {
    let certificate = Certificate::new("documents");
    // Nothing has to be there.
    let server = certificate.server(&["--cluster.nats", "127.0.0.1:1"]);
    let metrics = server.get_as_operator("/metrics").expect(200);
    let exported: BTreeSet<_> = metrics
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let is_metric = |line: &&str| line.starts_with("| `aerial_") || line.starts_with("| `process_");
    let documented: BTreeSet<_> = API
        .lines()
        .filter(is_metric)
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(name, rest)| (name, rest.split(' ').next().unwrap()))
        .collect();
    assert_eq!(documented, exported);
}

/// The documents: Markdown files of the root, of `docs` and of its folders.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["", "docs", "docs/decisions"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// The anchor that a forge gives a heading.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c => (c.is_alphanumeric() || "-_".contains(c)).then_some(c),
        })
        .collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    let documents = documents();
    assert!(documents.len() > 10, "{documents:?}");
    for document in &documents {
        let text = fs::read_to_string(document).unwrap();
        for after in text.split("](").skip(1) {
            let link = after.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.with_file_name("").join(path),
            };
            let found = target.exists()
                && (fragment.is_empty()
                    || fs::read_to_string(&target)
                        .unwrap()
                        .lines()
                        .filter_map(|line| line.strip_prefix('#'))
                        .any(|line| anchor(line.trim_start_matches('#').trim()) == fragment));
            if !found {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
