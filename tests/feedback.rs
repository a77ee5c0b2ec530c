//! Publishers and viewers that know FIR and no PLI, sound in stereo, and offers that come close.

use crate::{
    rtc::{Client, Mode, clip},
    support::{Server, engines::with_each_engine, fixture, wait_for},
};

fn without(text: &str, part: &str) -> String {
    text.split_inclusive("\r\n")
        .filter(|line| !line.contains(part))
        .collect()
}

#[test]
fn publishers_that_know_only_fir_are_asked_by_fir() {
    with_each_engine(|engine| {
        let server = Server::start(&["--webrtc.publisher_engine", engine]);
        let only_fir = |offer: &str| without(offer, "nack pli");
        let publisher = Client::publish_incomplete(&server, "a", &clip::VP8, only_fir);
        assert!(publisher.answer.contains(" ccm fir\r\n"));
        assert!(!publisher.answer.contains("nack pli"));
        wait_for(&format!("a FIR on {engine}"), || {
            (publisher.firs() > 0).then_some(())
        });
        assert_eq!(publisher.firs(), publisher.keyframe_requests().len() as u64);
    });
}

#[test]
fn viewers_are_heard_by_fir() {
    with_each_engine(|engine| {
        let server = Server::start(&["--webrtc.viewer_engine", engine]);
        let _publisher = Client::live(&server, "a", &clip::H264);
        let viewer = Client::watch(&server, "a");
        viewer.wait_for_frames(5);
        let capped = || server.metric("aerial_keyframe_requests_capped_total");
        assert_eq!(capped(), 0);
        viewer.set(Mode::Refresh);
        // The second one comes too soon after the first.
        wait_for(&format!("a FIR on {engine}"), || {
            (capped() > 0).then_some(())
        });
    });
}

#[test]
fn sound_in_stereo_is_announced_to_viewers_who_want_it() {
    with_each_engine(|engine| {
        let server = Server::demo(&["--webrtc.viewer_engine", engine]);
        let offer = fixture("chrome-whep-av");
        let wanting = offer.replace("useinbandfec=1", "useinbandfec=1;stereo=1");
        let answer = server.post_offer("/whep/demo", &wanting).expect(201);
        assert!(answer.text().contains(";stereo=1;sprop-stereo=1\r\n"));
        let answer = server.post_offer("/whep/demo", &offer).expect(201);
        assert!(!answer.text().contains("stereo"));
    });
}

#[test]
fn a_viewer_without_packetization_mode_1_learns_what_to_offer() {
    let server = Server::start(&[]);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let single =
        fixture("chrome-whep-h264-only").replace("packetization-mode=1", "packetization-mode=0");
    let reply = server.post_offer("/whep/a", &single).expect(422);
    assert_eq!(reply.problem(), "codec-mismatch");
    let detail = reply.text();
    assert!(detail.contains("packetization-mode=1"), "{detail}");
}
