//! Viewers on webrtcbin: the standards' requirements, and viewers that misbehave.

use crate::{
    rtc::{Client, Mode, clip},
    support::{Server, fixture},
};

const ENGINE: [&str; 2] = ["--webrtc.viewer_engine", "webrtcbin"];

#[test]
fn data_channels_are_rejected_and_ice_is_restarted() {
    let server = Server::demo(&ENGINE);
    let offer = fixture("chrome-whep-datachannel");
    let created = server.post_offer("/whep/demo", &offer).expect(201);
    let answer = created.text();
    let sections: Vec<_> = answer.split("\r\nm=").skip(1).collect();
    assert_eq!(sections.len(), offer.matches("\nm=").count(), "{answer}");
    for section in &sections {
        let rejected = section.starts_with("application 0 ");
        assert_eq!(rejected, !section.contains("a=sendonly\r\n"), "{section}");
        assert_eq!(section.matches("a=rtpmap:").count() > 0, !rejected);
    }
    let bundle = answer.lines().find(|line| line.starts_with("a=group:"));
    assert_eq!(bundle.unwrap().split(' ').count(), sections.len());
    for once in ["a=end-of-candidates\r\n", "a=setup:active\r\n"] {
        assert!(answer.contains(once), "{once} in {answer}");
    }
    for unwanted in ["@", "typ srflx", "tcptype active", "fe80::", "a=extmap"] {
        assert!(!answer.contains(unwanted), "{unwanted} in {answer}");
    }

    let restart = format!(
        "a=ice-ufrag:new1new1\r\na=ice-pwd:{}\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n",
        "n".repeat(24)
    );
    let session = created.location();
    let any = [("If-Match", "*")];
    let restarted = server.patch(&session, &any, &restart).expect(200);
    assert!(restarted.text().contains("a=candidate:"));
    server.get(&session).expect(204);
    server.delete(&session).expect(200);
    server.get(&session).expect(404);
}

#[test]
fn without_a_codec_in_common_there_is_no_session() {
    let server = Server::start(&ENGINE);
    let _publisher = Client::live(&server, "a", &clip::VP8);
    // Neither a codec of the broadcast nor one that it can be transcoded into.
    let offer = fixture("chrome-whep-h264-only").replace("H264/90000", "H263/90000");
    let refused = server.post_offer("/whep/a", &offer).expect(422);
    assert_eq!(refused.problem(), "codec-mismatch");
    assert_eq!(server.count("viewers"), 0);
}

#[test]
fn a_viewer_that_does_not_read_costs_the_others_nothing() {
    let server = Server::start(&ENGINE);
    let _publisher = Client::live(&server, "a", &clip::H264);
    let good = Client::watch(&server, "a");
    let deaf = Client::watch(&server, "a");
    deaf.wait_for_frames(10);
    deaf.set(Mode::Deaf);
    good.wait_for_frames(90);
    good.wait_for_all();
    let late = Client::watch(&server, "a");
    late.wait_for_frames(30);
    late.wait_for_all();
}

#[test]
fn viewers_go_on_when_the_publisher_starts_anew() {
    let server = Server::start(&ENGINE);
    let publisher = Client::live(&server, "a", &clip::H264);
    let viewer = Client::watch(&server, "a");
    viewer.wait_for_frames(20);
    server.delete(&publisher.session).expect(200);
    let publisher = Client::live(&server, "a", &clip::H264);
    viewer.wait_for_frames(45);
    viewer.wait_for_all();
    server.delete(&publisher.session).expect(200);
    // Another codec is transcoded.
    let _publisher = Client::live(&server, "a", &clip::VP8);
    viewer.wait_for_frames(45);
    viewer.wait_for_all();
    assert!(!viewer.is_closed() && !viewer.heard_goodbye());
    server.get(&viewer.session).expect(204);
}
