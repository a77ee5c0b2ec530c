//! The README says what the code does.

use std::{fs, path::Path, process::Command};

use aerial::config::{self, Opt};

use crate::{
    outputs::{folder, wait_for_output},
    rtc::{Client, clip},
    support::{Server, aerial, output},
};

const README: &str = include_str!("../README.md");

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
fn the_readme_lists_every_option_as_it_is() {
    let wanted: Vec<_> = config::all().map(row).collect();
    expect_table("| Key in `aerial.toml` | Default | What it does |", &wanted);
}

/// The README has a table of exactly these rows below this head.
pub(crate) fn expect_table(head: &str, rows: &[String]) {
    let (_, after) = README.split_once(head).unwrap_or_default();
    let lines = after.lines().skip(2);
    let listed: Vec<_> = lines.take_while(|line| line.starts_with('|')).collect();
    let wanted = rows.join("\n");
    assert_eq!(
        listed, rows,
        "the table in README.md should be:\n{wanted}\n"
    );
}

/// The blocks of a chapter, by their language.
fn blocks<'a>(chapter: &str, language: &str) -> Vec<&'a str> {
    let (_, text) = README.split_once(&format!("\n## {chapter}\n")).unwrap();
    let text = text.split_once("\n## ").map_or(text, |(text, _)| text);
    let fence = format!("\n```{language}\n");
    let found = text.split(&fence).skip(1);
    found
        .map(|rest| rest.split_once("\n```\n").unwrap().0)
        .collect()
}

/// The examples of "Shape the media" as files; the recordings go there too.
fn examples(name: &str) -> std::path::PathBuf {
    let folder = folder(name, &[], &[]);
    let config = blocks("Shape the media", "toml").join("\n");
    let path = folder.display().to_string();
    let config = config.replace("/srv/recordings", &path);
    let picture = folder.join("pause.png");
    crate::slate::draw(&picture);
    let config = config.replace("pause.png", picture.to_str().unwrap());
    assert!(config.contains(&path));
    fs::write(folder.join("aerial.toml"), config).unwrap();
    for text in blocks("Shape the media", "launch") {
        let (name, _) = text.strip_prefix("# ").unwrap().split_once(": ").unwrap();
        assert!(name.ends_with(".launch"), "{name}");
        fs::write(folder.join(name), text).unwrap();
    }
    folder
}

#[test]
fn the_configuration_of_shape_the_media_serves() {
    let folder = examples("readme-serve");
    let config = folder.join("aerial.toml");
    let server = Server::start(&["--config", config.to_str().unwrap()]);
    let _publisher = Client::live(&server, "cam-1", &clip::H264);
    wait_for_output(&server, ("cam-1", "record-mkv"), "running");
    let viewer = Client::watch(&server, "cam-1?rendition=240p");
    viewer.wait_for_frames(5);
    assert_eq!(server.state("lobby").as_deref(), Some("waiting"));
}

#[test]
fn the_commands_of_shape_the_media_work() {
    let folder = examples("readme-commands");
    fs::write(folder.join(".curlrc"), "fail\nsilent\nshow-error\n").unwrap();
    let server = Server::demo(&[]);
    let program = aerial(&[]).get_program().to_owned();
    let programs = Path::new(&program).parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let scripts = blocks("Shape the media", "sh");
    assert!(scripts.len() >= 2);
    for script in scripts {
        let address = format!("localhost:{}", server.address.port());
        let script = script.replace("localhost:8080", &address);
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", &script])
            .current_dir(&folder)
            .env("PATH", &path)
            .env("CURL_HOME", &folder);
        let done = output(shell);
        let text = String::from_utf8_lossy(&done.stdout);
        let complaints = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{script}\n{text}\n{complaints}");
    }
    let graph = fs::read_to_string(folder.join("graph.svg")).unwrap();
    assert!(graph.contains("<svg"));
}
