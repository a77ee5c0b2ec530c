//! The examples work as they are.

use std::{fs, path::Path, process::Stdio};

use crate::{
    outputs::{files, folder, wait_for_output},
    rtc::{Client, clip},
    support::{Server, aerial, fixture},
};

/// Runs `aerial serve` in a copy of the example's folder, as its README says, but on free ports.
fn serve(name: &str, flags: &[&str]) -> Server {
    let example = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name);
    let copy = folder(&format!("example-{name}"), &[], &[]);
    for entry in fs::read_dir(example).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    let mut command = aerial(&["serve", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"]);
    command.args(flags).current_dir(copy).stderr(Stdio::piped());
    Server::attach(command.spawn().unwrap())
}

#[test]
fn the_overlay_titles_the_picture_of_a_publisher() {
    let server = serve("overlay", &[]);
    let _publisher = Client::live(&server, "studio", &clip::H264);
    Client::watch(&server, "studio?rendition=titled").wait_for_frames(30);
}

#[test]
fn the_channel_shows_its_slate_and_admits_only_its_publisher() {
    let server = serve("channel", &["--auth.query", "true"]);
    Client::watch(&server, "channel").wait_for_frames(30);
    server
        .post_offer("/whip/channel", &fixture("obs-session-level"))
        .expect(401);
    let _publisher = Client::publish(&server, "channel?token=change-me-publisher", &clip::H264);
    wait_for_output(&server, "channel", "record-mkv", "running");
    wait_for_output(&server, "channel", "hls", "running");
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("example-channel");
    assert_eq!(files(&copy, ".mkv").len(), 1);
}
