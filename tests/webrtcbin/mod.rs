//! webrtcbin publishes and watches with every codec.

mod peer;

use gstreamer_webrtc::WebRTCDTLSTransportState;
use str0m::crypto::dtls::SrtpProfile;

use crate::{
    rtc::{Client, Mode, obs},
    support::{Server, wait_for},
};
use peer::Peer;

const OPUS: &str = "application/x-rtp,media=audio,encoding-name=OPUS,payload=111,\
                    clock-rate=48000,encoding-params=(string)2";
const H264: &str = "application/x-rtp,media=video,encoding-name=H264,payload=96,\
                    clock-rate=90000,packetization-mode=(string)1";

/// Sends moving pictures through an encoder, and a tone.
fn streams(rate: u32, encoder: &str, caps: &str) -> String {
    format!(
        "videotestsrc is-live=true pattern=smpte horizontal-speed=5
             ! video/x-raw,format=I420,width=320,height=180,framerate={rate}/1
             ! {encoder} ! {caps} ! w.
         audiotestsrc is-live=true samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2
             ! opusenc ! rtpopuspay ! {OPUS} ! w."
    )
}

/// webrtcbin publishes; webrtcbin decodes it, and a second viewer loses nothing.
fn carries(rate: u32, encoder: &str, caps: &str, codec: &str) {
    let server = Server::start(&[]);
    let publisher = Peer::publish(&server, "/whip/a", &streams(rate, encoder, caps));
    server.wait_for_state("a", "live");
    let tracks = server.get("/api/broadcasts/a").json()["tracks"].clone();
    assert_eq!(tracks[0]["codec"], codec);
    let watcher = Peer::watch(&server, "/whep/a", &[caps, OPUS]);
    watcher.wait_for_pictures(20);
    let browser = Client::watch(&server, "a");
    browser.wait_for_frames(20);
    browser.wait_for_all();
    watcher.wait_for_pictures(20);
    publisher.check();
    // str0m prefers the larger key; GStreamer has one profile.
    assert_eq!(browser.srtp_profile(), Some(SrtpProfile::AEAD_AES_256_GCM));
    assert!(publisher.is_aes_cm() && watcher.is_aes_cm());
}

#[test]
fn h264() {
    let encoder = "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60
        ! video/x-h264,profile=constrained-baseline ! rtph264pay aggregate-mode=zero-latency";
    carries(30, encoder, H264, "h264");
}

#[test]
fn h265() {
    let encoder = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=30
            option-string=bframes=0
        ! h265parse config-interval=-1 ! rtph265pay aggregate-mode=zero-latency";
    let caps = "application/x-rtp,media=video,encoding-name=H265,payload=100,clock-rate=90000";
    carries(15, encoder, caps, "h265");
}

#[test]
fn vp8() {
    let encoder = "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=60
        ! rtpvp8pay picture-id-mode=15-bit";
    let caps = "application/x-rtp,media=video,encoding-name=VP8,payload=97,clock-rate=90000";
    carries(30, encoder, caps, "vp8");
}

#[test]
fn vp9() {
    let encoder = "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=30
        ! rtpvp9pay picture-id-mode=15-bit";
    let caps = "application/x-rtp,media=video,encoding-name=VP9,payload=98,clock-rate=90000";
    carries(15, encoder, caps, "vp9");
}

#[test]
fn av1() {
    let encoder = "av1enc usage-profile=realtime cpu-used=10 lag-in-frames=0 keyframe-max-dist=30
        ! av1parse ! rtpav1pay";
    let caps = "application/x-rtp,media=video,encoding-name=AV1,payload=99,clock-rate=90000";
    carries(15, encoder, caps, "av1");
}

#[test]
fn obs_is_received_although_it_does_little_of_what_it_should() {
    let server = Server::start(&[]);
    let publisher = obs::publish(&server, "a");
    server.wait_for_state("a", "live");
    let watcher = Peer::watch(&server, "/whep/a", &[H264, OPUS]);
    // High profile is decoded, from the second keyframe on: the first was lost.
    watcher.wait_for_pictures(60);
    let browser = Client::watch(&server, "a");
    browser.wait_for_frames(60);
    browser.wait_for_all();
    assert!(publisher.sent_extensions());
    // It closes its peer connection first, and sends DELETE afterwards.
    publisher.set(Mode::Close);
    wait_for("end of OBS", || publisher.is_closed().then_some(()));
    let late = server.delete(&publisher.session).status;
    assert!(matches!(late, 200 | 404), "{late}");
    wait_for("goodbye", || {
        (watcher.dtls() == Some(WebRTCDTLSTransportState::Closed)).then_some(())
    });
    wait_for("goodbye", || browser.heard_goodbye().then_some(()));
}
