//! Every codec from publisher to viewer, with each engine on either side.

use str0m::crypto::dtls::SrtpProfile;

use super::{H264, OPUS, peer::Peer};
use crate::{rtc::Client, support::Server};

/// A publisher's video.
pub(crate) struct Video {
    name: &'static str,
    frame_rate: u32,
    encoder: &'static str,
    pub(crate) caps: &'static str,
}

const VIDEOS: [Video; 5] = [
    Video {
        name: "h264",
        frame_rate: 30,
        encoder: "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=60
            ! video/x-h264,profile=constrained-baseline ! rtph264pay aggregate-mode=zero-latency",
        caps: H264,
    },
    Video {
        name: "h265",
        frame_rate: 15,
        encoder: "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=30
                option-string=bframes=0
            ! h265parse config-interval=-1 ! rtph265pay aggregate-mode=zero-latency",
        caps: "application/x-rtp,media=video,encoding-name=H265,payload=100,clock-rate=90000",
    },
    Video {
        name: "vp8",
        frame_rate: 30,
        encoder: "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=60
            ! rtpvp8pay picture-id-mode=15-bit",
        caps: "application/x-rtp,media=video,encoding-name=VP8,payload=97,clock-rate=90000",
    },
    Video {
        name: "vp9",
        frame_rate: 15,
        encoder: "vp9enc deadline=1 cpu-used=8 keyframe-max-dist=30
            ! rtpvp9pay picture-id-mode=15-bit",
        caps: "application/x-rtp,media=video,encoding-name=VP9,payload=98,clock-rate=90000",
    },
    Video {
        name: "av1",
        frame_rate: 15,
        encoder: "av1enc usage-profile=realtime cpu-used=10 lag-in-frames=0 keyframe-max-dist=30
            ! av1parse ! rtpav1pay",
        caps: "application/x-rtp,media=video,encoding-name=AV1,payload=99,clock-rate=90000",
    },
];

impl Video {
    /// The codec of this name.
    pub(crate) fn of(name: &str) -> &'static Self {
        VIDEOS.iter().find(|video| video.name == name).unwrap()
    }

    /// Sends moving pictures through the encoder, and a tone.
    pub(crate) fn streams(&self) -> String {
        let Self {
            frame_rate,
            encoder,
            caps,
            ..
        } = self;
        format!(
            "videotestsrc is-live=true pattern=smpte horizontal-speed=5
                 ! video/x-raw,format=I420,width=320,height=180,framerate={frame_rate}/1
                 ! {encoder} ! {caps} ! w.
             audiotestsrc is-live=true samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=2
                 ! opusenc ! rtpopuspay ! {OPUS} ! w."
        )
    }
}

/// Checks that webrtcbin publishes, webrtcbin decodes, and a second viewer loses nothing.
fn carries(name: &str, publisher_engine: &str, viewer_engine: &str) {
    let video = Video::of(name);
    let server = Server::start(&[
        "--webrtc.publisher_engine",
        publisher_engine,
        "--webrtc.viewer_engine",
        viewer_engine,
    ]);
    let publisher = Peer::publish(&server, "/whip/a", &video.streams());
    server.wait_for_state("a", "live");
    let tracks = server.get("/api/broadcasts/a").json()["tracks"].clone();
    assert_eq!(tracks[0]["codec"], name);
    let watcher = Peer::watch(&server, "/whep/a", &[video.caps, OPUS]);
    watcher.wait_for_pictures(20);
    let browser = Client::watch(&server, "a");
    browser.wait_for_frames(20);
    browser.wait_for_all();
    watcher.wait_for_pictures(20);
    publisher.check();
    assert!(publisher.is_aes_cm() && watcher.is_aes_cm());
    if viewer_engine == "direct" {
        // str0m prefers the larger key; GStreamer supports a single profile.
        assert_eq!(browser.srtp_profile(), Some(SrtpProfile::AEAD_AES_256_GCM));
    }
    for session in [&browser.session, &watcher.session] {
        server.delete(session).expect(200);
    }
    browser.wait_for_goodbye();
}

/// One test for each codec.
macro_rules! engines {
    ($module:ident, $publisher:literal, $viewer:literal) => {
        mod $module {
            #[test]
            fn h264() {
                super::carries("h264", $publisher, $viewer);
            }

            #[test]
            fn h265() {
                super::carries("h265", $publisher, $viewer);
            }

            #[test]
            fn vp8() {
                super::carries("vp8", $publisher, $viewer);
            }

            #[test]
            fn vp9() {
                super::carries("vp9", $publisher, $viewer);
            }

            #[test]
            fn av1() {
                super::carries("av1", $publisher, $viewer);
            }
        }
    };
}

engines!(webrtcbin_to_direct, "webrtcbin", "direct");
engines!(webrtcbin_to_webrtcbin, "webrtcbin", "webrtcbin");
engines!(direct_to_direct, "direct", "direct");
engines!(direct_to_webrtcbin, "direct", "webrtcbin");
