//! Renditions are made on demand, shared by their viewers, and stopped after the last one.

use std::time::Instant;

use serde_json::Value;

use crate::{
    outputs::{folder, server},
    rtc::{Client, clip},
    support::{Server, fixture, wait_for},
};

/// A rendition as the API shows it.
pub(crate) fn status(server: &Server, broadcast: &str, rendition: &str) -> Value {
    let reply = server.get(&format!("/api/broadcasts/{broadcast}")).json();
    let renditions = reply["renditions"].as_array().unwrap();
    let found = renditions.iter().find(|found| found["name"] == rendition);
    found.unwrap().clone()
}

#[test]
fn a_ladder_starts_with_its_first_viewer_is_shared_and_stops_after_its_last() {
    let folder = folder("ladder", &["h264-ladder.launch"], &[]);
    let config = "[broadcasts.\"*\"]\nrenditions = [\"h264-ladder.launch\"]\ngrace = \"500ms\"\n";
    let server = server(&folder, config, &[]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let source = Client::watch(&server, "a");
    source.wait_for_frames(20);
    assert_eq!(status(&server, "a", "240p")["state"], "idle");
    assert_eq!(server.pipeline_starts("renditions"), 0);

    let begun = Instant::now();
    let first = Client::watch(&server, "a?rendition=240p");
    let answered = begun.elapsed();
    wait_for("first frame", || first.video().frames.first().copied());
    println!(
        "cold: answer after {answered:?}, first frame after {:?}",
        begun.elapsed()
    );
    let second = Client::watch(&server, "a?rendition=240p");
    let middle = Client::watch(&server, "a?rendition=480p");
    for viewer in [&first, &second, &middle, &source] {
        viewer.wait_for_frames(30);
        viewer.wait_for_all();
    }
    let shown = status(&server, "a", "240p");
    assert_eq!(
        (&shown["viewers"], &shown["state"]),
        (&2.into(), &"running".into())
    );
    assert_eq!(
        (&shown["codec"], &shown["pipeline"]),
        (&"h264".into(), &"h264-ladder".into())
    );
    assert_eq!(status(&server, "a", "720p")["viewers"], 0);
    let details = server.get("/api/broadcasts/a").json();
    let figures = &details["rendition_pipelines"][0];
    assert_eq!(figures["outputs"].as_array().unwrap().len(), 3, "{details}");

    for viewer in [&first, &second, &middle] {
        server.delete(&viewer.session).expect(200);
    }
    wait_for("end of the ladder", || {
        (status(&server, "a", "240p")["state"] == "idle").then_some(())
    });
    source.wait_for_frames(20);
    // It starts again, without anything from its first run.
    let again = Client::watch(&server, "a?rendition=240p");
    again.wait_for_frames(30);
    assert_eq!(server.pipeline_starts("renditions"), 2);
    source.wait_for_all();
}

#[test]
fn an_unknown_rendition_is_refused_with_those_that_exist() {
    let folder = folder("unknown", &["h264.launch"], &[]);
    let config = "[defaults]\nrenditions = [\"h264.launch\"]\n";
    let server = server(&folder, config, &[]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let offer = fixture("chrome-whep-av");
    let refused = server
        .post_offer("/whep/a?rendition=1080p", &offer)
        .expect(404);
    assert_eq!(refused.problem(), "no-rendition");
    for known in ["source", "h264"] {
        assert!(refused.text().contains(known), "{}", refused.text());
    }
    server
        .post_offer("/whep/a?rendition=source", &offer)
        .expect(201);
    assert_eq!(server.count("sessions"), 2);
}

#[test]
fn a_viewer_that_lacks_the_codec_gets_a_rendition_that_fits() {
    let folder = folder("fitting", &["h264.launch"], &[]);
    let config = "[defaults]\nrenditions = [\"h264.launch\"]\n";
    let server = server(&folder, config, &[]);
    let _publisher = Client::live(&server, "a", &clip::VP8);
    let all = Client::watch(&server, "a");
    all.wait_for_frames(10);
    assert!(all.answer.contains(" VP8/90000"));
    let offer = fixture("chrome-whep-h264-only");
    let reply = server.post_offer("/whep/a", &offer).expect(201);
    assert!(reply.text().contains(" H264/90000"), "{}", reply.text());
    assert_eq!(status(&server, "a", "h264")["viewers"], 1);
    server
        .post_offer("/whep/a?rendition=source", &offer)
        .expect(422);
    all.wait_for_frames(10);
    all.wait_for_all();
}

#[test]
fn a_failing_rendition_is_started_again_and_disturbs_nobody() {
    let bad = "appsrc name=video ! decodebin ! identity error-after=40 ! videoconvert\n\
               ! x264enc tune=zerolatency speed-preset=ultrafast\n\
               ! video/x-h264,profile=constrained-baseline ! appsink name=video_bad\n";
    let folder = folder("bad", &[], &[("bad.launch", bad)]);
    let config = "[defaults]\nrenditions = [\"bad.launch\"]\n";
    let server = server(&folder, config, &[]);
    let publisher = Client::live(&server, "a", &clip::H264);
    let good = Client::watch(&server, "a");
    let watching = Client::watch(&server, "a?rendition=bad");
    wait_for("restart", || {
        (status(&server, "a", "bad")["restarts"].as_u64()? >= 1).then_some(())
    });
    watching.wait_for_frames(10);
    good.wait_for_frames(20);
    good.wait_for_all();
    assert!(!good.is_closed() && !watching.is_closed() && !publisher.is_closed());
}
