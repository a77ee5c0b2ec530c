//! webrtcbin as a client, with every codec and engine.

pub(crate) mod matrix;
mod peer;
mod port;
mod viewers;

use gstreamer_webrtc::WebRTCDTLSTransportState;

use crate::{
    rtc::{Client, Mode, obs},
    support::{Server, fixture, wait_for},
};
pub(crate) use peer::Peer;

pub(crate) const OPUS: &str = "application/x-rtp,media=audio,encoding-name=OPUS,payload=111,\
                    clock-rate=48000,encoding-params=(string)2";
pub(crate) const H264: &str = "application/x-rtp,media=video,encoding-name=H264,payload=96,\
                    clock-rate=90000,packetization-mode=(string)1";

#[test]
fn obs_is_received_although_it_does_little_of_what_it_should() {
    obs_is_received("webrtcbin");
}

#[test]
fn obs_is_received_by_the_direct_engine() {
    obs_is_received("direct");
}

fn obs_is_received(engine: &str) {
    let server = Server::start(&["--webrtc.publisher_engine", engine]);
    let publisher = obs::publish(&server, "a");
    server.wait_for_state("a", "live");
    let watcher = Peer::watch(&server, "/whep/a", &[H264, OPUS]);
    // High profile is decoded from the second keyframe on, because the first was lost.
    watcher.wait_for_pictures(60);
    let browser = Client::watch(&server, "a");
    browser.wait_for_frames(60);
    browser.wait_for_all();
    assert!(publisher.sent_extensions());
    // It closes its peer connection before it sends DELETE.
    publisher.set(Mode::Close);
    wait_for("end of OBS", || publisher.is_closed().then_some(()));
    let late = server.delete(&publisher.session).status;
    assert!(matches!(late, 200 | 404), "{late}");
    wait_for("goodbye", || {
        (watcher.dtls() == Some(WebRTCDTLSTransportState::Closed)).then_some(())
    });
    wait_for("goodbye", || browser.heard_goodbye().then_some(()));
}

/// OBS gives up silently if it rejects the answer: no DELETE, not even a connection.
#[test]
fn obs_that_gives_up_silently_does_not_keep_the_name() {
    let server = Server::start(&["--timeouts.connect", "1s"]);
    let offer = fixture("obs-32.1-simulcast");
    let session = server.post_offer("/whip/a", &offer).expect(201).location();
    wait_for("end of the session", || {
        (server.get(&session).status == 404).then_some(())
    });
    assert_eq!(server.count("publishers"), 0);
    let _publisher = obs::publish_simulcast(&server, "a");
    server.wait_for_state("a", "live");
}
