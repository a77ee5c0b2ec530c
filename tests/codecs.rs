//! Viewers of every codec keep getting what they negotiated, whatever feeds their broadcast.

use std::{os::unix::fs::symlink, process::Stdio};

use gstreamer as gst;

use crate::{
    outputs::{folder, server},
    renditions::status,
    rtc::{Client, clip},
    support::{Server, aerial, fixture},
    transcoding::wait_for_automatic,
    webrtcbin::{OPUS, Peer, matrix::Video},
};

/// A small slate with a moving picture and sound.
const SLATE: &str = "videotestsrc is-live=true pattern=ball
      ! video/x-raw,format=I420,width=320,height=180,framerate=15/1
      ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15
      ! video/x-h264,profile=constrained-baseline ! appsink name=video
    audiotestsrc is-live=true samplesperbuffer=960
      ! audio/x-raw,rate=48000,channels=2 ! opusenc ! appsink name=audio";

/// Checks that one viewer decodes the publisher, then the slate, then the transcoded picture of a
/// publisher with another codec.
fn goes_on(codec: &str, engine: &str) {
    let video = Video::of(codec);
    let folder = folder(&format!("codec-{codec}"), &[], &[("x.launch", SLATE)]);
    let config = format!(
        "[defaults]\nslate = \"x.launch\"\nviewer_engine = \"{engine}\"\ngrace = \"500ms\"\n\
         transcode_heavy = true\n"
    );
    let server = server(&folder, &config, &["--timeouts.grace=500ms"]);
    let publisher = Peer::publish(&server, "/whip/a", &video.streams());
    server.wait_for_state("a", "live");
    let viewer = Peer::watch(&server, "/whep/a", &[video.caps, OPUS]);
    viewer.wait_for_pictures(20);
    server.delete(&publisher.session).expect(200);
    server.wait_for_state("a", "slate");
    wait_for_automatic(&server, "a", codec, 1);
    viewer.wait_for_pictures(30);
    let other = Client::live(&server, "a", &clip::H264);
    let made = wait_for_automatic(&server, "a", codec, 1);
    assert_eq!(made["codec"], codec);
    assert_eq!(made["misfit"]["codec"], "h264", "{made}");
    viewer.wait_for_pictures(40);
    // A viewer that joins now shares it.
    let late = Peer::watch(&server, "/whep/a", &[video.caps, OPUS]);
    late.wait_for_pictures(20);
    wait_for_automatic(&server, "a", codec, 2);
    viewer.wait_for_pictures(20);
    server.get(&viewer.session).expect(204);
    assert!(!other.is_closed());
}

#[test]
fn vp9_goes_on() {
    goes_on("vp9", "direct");
}

#[test]
fn av1_goes_on() {
    goes_on("av1", "direct");
}

#[test]
fn h265_goes_on() {
    goes_on("h265", "webrtcbin");
}

/// Runs the server with a plugin folder that lacks x265.
#[test]
fn without_an_encoder_only_those_who_need_it_are_refused() {
    gst::init().unwrap();
    let plugin = gst::Registry::get().find_plugin("x265").unwrap();
    let from = plugin.filename().unwrap();
    let folder = folder("without-x265", &[], &[]);
    for entry in std::fs::read_dir(from.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "so") && path != from {
            symlink(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
    }
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
    let mut command = aerial(&[&arguments[..], &["--demo", "false"]].concat());
    command
        .env("GST_PLUGIN_SYSTEM_PATH_1_0", &folder)
        .env("GST_REGISTRY_1_0", folder.join("registry"));
    let server = Server::attach(command.stderr(Stdio::piped()).spawn().unwrap());
    let lines = server.lines();
    let mut missing = lines.iter().filter_map(|line| line.field("error"));
    assert!(missing.any(|error| error.contains("x265enc")), "{lines:?}");
    let _publisher = Client::live(&server, "a", &clip::H264);
    let offer = fixture("chrome-whep-h264-only").replace("H264/90000", "H265/90000");
    let refused = server.post_offer("/whep/a", &offer).expect(422);
    assert_eq!(refused.problem(), "codec-mismatch");
    let viewer = Client::watch_only(&server, "a", &clip::VP8);
    viewer.wait_for_frames(10);
}

/// A rendition pipeline with this encoder.
fn rendition(name: &str, encoder: &str) -> String {
    format!(
        "appsrc name=video ! decodebin ! videoconvert ! video/x-raw,format=I420
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 {encoder}
         ! appsink name=video_{name}"
    )
}

#[test]
fn a_rendition_that_a_viewer_cannot_decode_is_not_chosen_for_it() {
    let high = rendition("high", "dct8x8=true ! video/x-h264,profile=high");
    let level_4 = "option-string=level=40 ! video/x-h264,profile=constrained-baseline";
    let files = [
        ("high.launch", high.as_str()),
        ("big.launch", &rendition("big", level_4)),
    ];
    let folder = folder("undecodable", &[], &files);
    let config = "[broadcasts.a]\nrenditions = [\"high.launch\"]\n\
                  [broadcasts.b]\nrenditions = [\"big.launch\"]\n";
    let server = server(&folder, config, &[]);
    let _publishers = ["a", "b"].map(|name| Client::live(&server, name, &clip::VP8));

    // Profile: only viewers that offer it get it.
    let baseline = Client::watch_only(&server, "a", &clip::H264);
    baseline.wait_for_frames(20);
    wait_for_automatic(&server, "a", "h264", 1);
    let all = Client::watch_only(&server, "a", &clip::H264_TO_HIGH);
    all.wait_for_frames(20);
    assert_eq!(status(&server, "a", "high")["viewers"], 1);
    wait_for_automatic(&server, "a", "h264", 1);
    // A viewer that requests it by name gets it.
    let asks = Client::watch_only(&server, "a?rendition=high", &clip::H264);
    asks.wait_for_frames(20);
    assert_eq!(status(&server, "a", "high")["viewers"], 2);

    // Level: it matters only to viewers for which it is a limit.
    let limited = Client::watch_only(&server, "b", &clip::H264_LIMITED);
    limited.wait_for_frames(20);
    wait_for_automatic(&server, "b", "h264", 1);
    let usual = Client::watch_only(&server, "b", &clip::H264);
    usual.wait_for_frames(20);
    assert_eq!(status(&server, "b", "big")["viewers"], 1);
}

#[test]
fn a_picture_above_the_level_that_a_viewer_takes_is_made_smaller() {
    let text =
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=1920,height=1080,framerate=5/1
        ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10
        ! video/x-h264,profile=constrained-baseline ! appsink name=video
        audiotestsrc is-live=true samplesperbuffer=960
        ! audio/x-raw,rate=48000,channels=2 ! opusenc ! appsink name=audio";
    let folder = folder("level", &[], &[("x.launch", text)]);
    let server = server(&folder, "[broadcasts.a]\nsource = \"x.launch\"\n", &[]);
    server.wait_for_state("a", "live");
    let limited = Client::watch_only(&server, "a", &clip::H264_LIMITED);
    limited.wait_for_frames(10);
    let made = wait_for_automatic(&server, "a", "h264-small", 1);
    assert_eq!(made["misfit"]["level"], "4", "{made}");
}
