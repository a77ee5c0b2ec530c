//! Any viewer plays any broadcast: what it cannot decode is transcoded on demand, once for all.

use std::path::Path;

use serde_json::Value;

use crate::{
    outputs::{folder, server},
    rtc::{Client, clip},
    support::{Server, engines::with_each_engine, run_to_end, wait_for},
    webrtcbin::{H264, OPUS, Peer},
};

/// A rendition that the server has added on its own, while it exists.
fn automatic(server: &Server, broadcast: &str, name: &str) -> Option<Value> {
    let reply = server.get(&format!("/api/broadcasts/{broadcast}")).json();
    let renditions = reply.get("renditions")?.as_array()?;
    let mut automatic = renditions
        .iter()
        .filter(|rendition| rendition["automatic"].is_string());
    automatic
        .find(|rendition| rendition["name"] == name)
        .cloned()
}

pub(crate) fn wait_for_automatic(
    server: &Server,
    broadcast: &str,
    name: &str,
    viewers: u64,
) -> Value {
    wait_for(&format!("{viewers} viewers of {name}"), || {
        automatic(server, broadcast, name).filter(|rendition| rendition["viewers"] == viewers)
    })
}

#[test]
fn a_codec_that_a_viewer_lacks_is_made_once_for_all_and_only_while_needed() {
    with_each_engine(|engine| {
        let folder = folder(&format!("lacking-{engine}"), &[], &[]);
        let config = format!("[defaults]\nviewer_engine = \"{engine}\"\ngrace = \"500ms\"\n");
        let server = server(&folder, &config, &[]);
        let publisher = Client::live(&server, "a", &clip::H264);
        let source = Client::watch(&server, "a");
        source.wait_for_frames(10);
        assert_eq!(server.pipeline_starts("renditions"), 0, "on demand");
        let first = Client::watch_only(&server, "a", &clip::VP8);
        let second = Client::watch_only(&server, "a", &clip::VP8);
        assert!(first.answer.contains(" VP8/90000"), "{}", first.answer);
        for viewer in [&first, &second] {
            viewer.wait_for_frames(30);
            viewer.wait_for_all();
        }
        let made = wait_for_automatic(&server, "a", "vp8", 2);
        assert_eq!(made["misfit"]["codec"], "h264", "{made}");
        assert_eq!(
            (&made["kind"], &made["codec"]),
            (&"video".into(), &"vp8".into())
        );
        assert_eq!(server.pipeline_starts("renditions"), 1);
        // It cannot be requested by name.
        let offer = crate::support::fixture("chrome-whep-av");
        server
            .post_offer("/whep/a?rendition=vp8", &offer)
            .expect(404);
        for viewer in [&first, &second] {
            server.delete(&viewer.session).expect(200);
        }
        wait_for("end", || {
            automatic(&server, "a", "vp8").is_none().then_some(())
        });
        source.wait_for_frames(10);
        source.wait_for_all();
        source.video().expect_no_glitch(5);
        assert!(!source.is_closed() && !publisher.is_closed());
    });
}

#[test]
fn a_profile_that_a_viewer_does_not_take_is_transcoded() {
    let server = Server::start(&[]);
    let _publisher = Client::live(&server, "a", &clip::H264_HIGH);
    let baseline = Client::watch_only(&server, "a", &clip::H264);
    baseline.wait_for_frames(30);
    let made = wait_for_automatic(&server, "a", "h264", 1);
    assert_eq!(made["misfit"]["profile"], "high", "{made}");
    // This one accepts High as well.
    let all = Client::watch(&server, "a");
    all.wait_for_frames(10);
    wait_for_automatic(&server, "a", "h264", 1);
    // Constrained Baseline passes through.
    let _publisher = Client::live(&server, "b", &clip::H264);
    let baseline = Client::watch_only(&server, "b", &clip::H264);
    baseline.wait_for_frames(10);
    assert_eq!(automatic(&server, "b", "h264"), None);
}

/// A live test picture from this encoder.
fn picture(encoder: &str) -> String {
    format!(
        "videotestsrc is-live=true pattern=smpte horizontal-speed=2\n\
         ! video/x-raw,format=I420,width=320,height=180,framerate=30/1\n\
         ! {encoder} ! appsink name=video\n"
    )
}

const TONE: &str = "audiotestsrc is-live=true samplesperbuffer=960 ! audioconvert\n\
                    ! audio/x-raw,rate=48000,channels=2 ! opusenc ! appsink name=audio\n";

fn source(name: &str, text: &str, more: &str) -> Server {
    let folder = folder(name, &[], &[("x.launch", text)]);
    let config = format!("[broadcasts.a]\nsource = \"x.launch\"\n{more}");
    let server = server(&folder, &config, &[]);
    server.wait_for_state("a", "live");
    server
}

#[test]
fn b_frames_are_transcoded_for_those_who_watch_and_those_who_join() {
    let encoder = "x264enc bframes=2 b-adapt=false speed-preset=ultrafast key-int-max=30\n\
                   ! video/x-h264,profile=main";
    let text = picture(encoder) + TONE;
    let server = source("b-frames", &text, "");
    let viewers: Vec<_> = (0..2).map(|_| Client::watch(&server, "a")).collect();
    let made = wait_for_automatic(&server, "a", "h264", 2);
    assert_eq!(made["misfit"]["kind"], "b_frames", "{made}");
    for viewer in &viewers {
        viewer.wait_for_frames(30);
        viewer.wait_for_all();
        assert!(!viewer.is_closed());
    }
    // A viewer that requests the source gets it.
    let asked = Client::watch(&server, "a?rendition=source");
    asked.wait_for_frames(20);
    wait_for_automatic(&server, "a", "h264", 2);

    let server = source("b-frames-off", &text, "transcode = false\n");
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(30);
    assert_eq!(server.pipeline_starts("renditions"), 0);
}

#[test]
fn keyframes_that_come_too_seldom_are_made_for_those_who_join() {
    // The encoder ignores keyframe requests too.
    let encoder = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=9000
                   option-string=scenecut=0 min-force-key-unit-interval=3600000000000
                   ! video/x-h264,profile=constrained-baseline";
    let text = picture(encoder) + TONE;
    let server = source("long-gops", &text, "gop_max = \"1s\"\n");
    let early = Client::watch(&server, "a");
    early.wait_for_frames(10);
    server.wait_for_line("the judgement", |line| line.has("demands.gradual", "false"));
    let late = Client::watch(&server, "a");
    late.wait_for_frames(20);
    late.wait_for_all();
    let made = wait_for_automatic(&server, "a", "h264", 1);
    assert_eq!(made["misfit"]["kind"], "sparse_keyframes", "{made}");
    // A viewer that already has its keyframe stays.
    early.wait_for_frames(10);
    wait_for_automatic(&server, "a", "h264", 1);
}

#[test]
fn h265_plays_for_a_viewer_without_it() {
    let encoder = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=30";
    let text = picture(encoder) + TONE;
    let server = source("h265", &text, "");
    let viewer = Client::watch_only(&server, "a", &clip::H264);
    viewer.wait_for_frames(30);
    viewer.wait_for_all();
    let made = wait_for_automatic(&server, "a", "h264", 1);
    assert_eq!(made["misfit"]["codec"], "h265", "{made}");
}

#[test]
fn aac_of_a_source_is_heard_as_opus() {
    let encoder = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30";
    let tone = "audiotestsrc is-live=true ! audioconvert ! audio/x-raw,rate=44100,channels=2\n\
                ! avenc_aac ! aacparse ! appsink name=audio\n";
    let server = source("aac", &(picture(encoder) + tone), "");
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(60);
    viewer.wait_for_all();
    let reply = server.get("/api/broadcasts/a").json();
    let tracks = reply["tracks"].as_array().unwrap();
    let audio = tracks.iter().find(|track| track["kind"] == "audio");
    let audio = audio.unwrap();
    assert_eq!(
        (&audio["codec"], &audio["transcoded_from"]),
        (&"opus".into(), &"audio/mpeg".into())
    );
}

/// Checks that a viewer decodes H.264 and Opus, and that the API names the original codecs.
fn plays_although_made_of(server: &Server, origin: &str) {
    let viewer = Peer::watch(server, "/whep/a", &[H264, OPUS]);
    viewer.wait_for_pictures(30);
    let tracks = server.get("/api/broadcasts/a").json()["tracks"].clone();
    let video = (&tracks[0]["codec"], &tracks[0]["transcoded_from"]);
    assert_eq!(video, (&"h264".into(), &origin.into()));
    // A later viewer gets a keyframe at once, although the source makes none on request.
    let late = Peer::watch(server, "/whep/a", &[H264, OPUS]);
    late.wait_for_pictures(10);
    assert_eq!(server.pipeline_starts("renditions"), 0, "shared");
}

#[test]
fn motion_jpeg_of_a_source_is_seen_as_h264() {
    let text = picture("jpegenc") + TONE;
    let server = source("mjpeg", &text, "");
    plays_although_made_of(&server, "image/jpeg");
    let dark = "transcode = false\ngrace = \"500ms\"\n";
    let folder = folder("mjpeg-off", &[], &[("x.launch", &text)]);
    let config = format!("[broadcasts.a]\nsource = \"x.launch\"\n{dark}");
    let server = crate::outputs::server(&folder, &config, &[]);
    wait_for("failure", || {
        let shown = server.get("/api/broadcasts/a/pipelines").json();
        (shown["pipelines"][0]["state"] == "failed").then_some(())
    });
    assert_ne!(server.state("a").as_deref(), Some("live"));
}

#[test]
fn mpeg_2_of_a_file_is_seen_as_h264() {
    let folder = folder("mpeg-2", &[], &[]);
    let path = folder.join("old.ts");
    encode_mpeg_2(&path);
    let text = format!(
        "filesrc location={} ! tsdemux ! mpegvideoparse ! clocksync ! appsink name=video\n{TONE}",
        path.display()
    );
    std::fs::write(folder.join("x.launch"), text).unwrap();
    let config = "[broadcasts.a]\nsource = \"x.launch\"\n";
    let server = server(&folder, config, &[]);
    server.wait_for_state("a", "live");
    plays_although_made_of(&server, "video/mpeg");
}

/// Writes moving pictures in a transport stream that lasts longer than the test.
fn encode_mpeg_2(path: &Path) {
    run_to_end(&format!(
        "videotestsrc num-buffers=750 pattern=smpte horizontal-speed=5
         ! video/x-raw,format=I420,width=160,height=96,framerate=25/1
         ! mpeg2enc format=3 ! mpegvideoparse ! mpegtsmux
         ! filesink location={}",
        path.display()
    ));
}

#[test]
fn transcoding_can_be_switched_off() {
    let folder = folder("off", &[], &[]);
    let config = "[broadcasts.\"plain-*\"]\ntranscode = false\n";
    let server = server(&folder, config, &[]);
    let _publisher = Client::live(&server, "plain-a", &clip::VP8);
    let offer = crate::support::fixture("chrome-whep-h264-only");
    let refused = server.post_offer("/whep/plain-a", &offer).expect(422);
    assert_eq!(refused.problem(), "codec-mismatch");
    let _publisher = Client::live(&server, "other", &clip::VP8);
    server.post_offer("/whep/other", &offer).expect(201);
}
