//! Which offers are accepted and which are refused, on both engines.

use std::{fs, path::Path};

use super::{
    on_both_engines,
    sdp::{Sdp, reversed, without, without_section},
    server,
};
use crate::{
    rtc::{Client, clip},
    support::{Reply, SDP, Server, engines::with_each_engine, fixture},
};

const ALL_OFFERS: [&str; 4] = [
    "obs-media-level",
    "obs-session-level",
    "ffmpeg-av",
    "rfc9725-example",
];

/// Publishes under a name of its own and frees it again.
fn publish(server: &Server, row: &str, offer: &str, status: u16) -> Reply {
    let before = server.count("sessions");
    let reply = server.post_offer(&format!("/whip/{row}"), offer);
    assert_eq!(reply.status, status, "{row}: {}\n{offer}", reply.text());
    let reply = reply.expect(status);
    if status == 201 {
        server.delete(&reply.location()).expect(200);
    } else {
        assert_eq!(server.count("sessions"), before, "{row}");
    }
    reply
}

fn refused(rows: &[(&str, u16, String)]) {
    on_both_engines(|server, _| {
        for (row, status, offer) in rows {
            publish(server, row, offer, *status);
        }
    });
}

/// Rows W-45 to W-48, W-69.
#[test]
fn offers_without_ice_or_dtls_are_refused() {
    let obs = fixture("obs-media-level");
    let no_dtls = without(&obs, "a=fingerprint");
    let md5 = "a=fingerprint:md5 01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10\r\nm=audio";
    let crypto = "a=rtcp-mux\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc\r\n";
    let sdes = |text: &str| text.replace("a=rtcp-mux\r\n", crypto);
    refused(&[
        ("w45a", 400, without(&obs, "a=ice-ufrag")),
        ("w45b", 400, without(&obs, "a=ice-pwd")),
        ("w45c", 400, obs.replace("ice-ufrag:riAt", "ice-ufrag:riA")),
        ("w45d", 400, obs.replace("/jA5", "/jA")),
        ("w46", 400, no_dtls.clone()),
        ("w47", 422, no_dtls.replace("m=audio", md5)),
        ("w48a", 201, sdes(&obs)),
        ("w48b", 400, sdes(&no_dtls)),
        ("w69", 400, without(&obs, "a=setup")),
    ]);
}

/// Rows W-50, W-51, W-53, W-56, W-58, W-70, W-71.
#[test]
fn unsuitable_offers_are_refused() {
    let obs = fixture("obs-media-level");
    let video = &obs[obs.find("m=video").unwrap()..];
    let two_videos = obs.replace("BUNDLE 0 1", "BUNDLE 0 1 2") + &video.replace("mid:1", "mid:2");
    let no_video_codec = obs.replace("H264/90000", "H263/90000");
    let audio_only = without_section(&obs, "video");
    refused(&[
        ("w50", 422, fixture("neg-recvonly")),
        ("w51", 422, fixture("neg-inactive")),
        ("w53", 422, two_videos),
        ("w56", 422, fixture("neg-nomux")),
        ("w58a", 422, fixture("neg-nobundle")),
        ("w58b", 422, obs.replace("BUNDLE 0 1", "BUNDLE 0")),
        ("w70", 422, audio_only.replace("opus/48000/2", "PCMU/8000")),
        ("w71", 422, no_video_codec),
    ]);
}

/// Rows W-52, W-54, W-55, W-57, W-59, W-73.
#[test]
fn liberties_of_publishers_are_accepted() {
    let obs = fixture("obs-media-level");
    let [audio, video] = ["video", "audio"].map(|other| without_section(&obs, other));
    let alone = without(&without(&video, "a=group"), "a=mid");
    let other_stream = "a=msid:another fAB8s1VfJrRwiz2r-video";
    let msid = "a=msid:fAB8s1VfJrRwiz2r fAB8s1VfJrRwiz2r-video";
    let no_ssrc = without(&obs, "a=ssrc");
    refused(&[
        ("w52a", 201, fixture("neg-sendrecv")),
        ("w52b", 201, without(&obs, "a=sendonly")),
        ("w54a", 201, audio),
        ("w54b", 201, video),
        ("w55a", 201, no_ssrc.replace(msid, other_stream)),
        ("w55b", 201, no_ssrc.replace(msid, "a=msid:- x")),
        ("w55c", 201, without(&no_ssrc, "a=msid:")),
        ("w57", 201, without(&obs, "a=rtcp-mux-only")),
        ("w59", 201, alone),
        ("w73a", 201, obs.replace("UDP/TLS/RTP/SAVPF", "RTP/SAVPF")),
        (
            "w73b",
            400,
            without(&obs, "a=fingerprint").replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
        ),
    ]);
}

/// Rows W-52, W-60 to W-63.
#[test]
fn offers_that_webrtcbin_alone_would_reject_are_accepted() {
    on_both_engines(|server, _| {
        let answer = |name: &str| {
            let reply = publish(server, name, &fixture(name), 201);
            reply.text().to_owned()
        };
        // W-60: the bundle names a section that does not exist.
        let text = answer("ffmpeg-video-only");
        assert_eq!(Sdp::of(&text).bundle(), ["1"]);
        // W-61: the second section has no transport of its own.
        let text = answer("rfc9725-example");
        assert!(Sdp::of(&text).media.iter().all(|m| m.port() != "0"));
        assert_eq!(Sdp::of(&text).bundle().len(), 2);
        // W-62: the transport is described once, at session level.
        answer("obs-session-level");
        // W-63: another group comes first.
        let text = answer("neg-lsfirst");
        assert_eq!(Sdp::of(&text).bundle().len(), 2);
        // W-52: whatever the offer says, the server only receives.
        let text = answer("neg-sendrecv");
        assert!(
            Sdp::of(&text)
                .media
                .iter()
                .all(|m| m.direction() == "recvonly")
        );
    });
}

/// Candidates to which nothing can be sent.
const USELESS: &str = "a=candidate:1 1 udp 2122260223 0f3c5b7e.local 5000 typ host\r\n\
     a=candidate:2 1 udp 2122260223 fe80::1%eth0 5000 typ host\r\n\
     a=candidate:3 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\n\
     a=candidate:4 1 sctp 1 192.0.2.1 9 typ host\r\n\
     a=candidate:5 2 udp 2122260222 192.0.2.1 5001 typ host\r\n\
     a=candidate:nonsense\r\n\
     a=end-of-candidates\r\n";

/// Rows W-64, W-65, E-28.
#[test]
fn candidates_may_be_missing_or_useless() {
    let offers = ["obs-media-level", "ffmpeg-av"].map(fixture);
    on_both_engines(|server, _| {
        for offer in &offers {
            publish(server, "w64", &without(offer, "a=candidate"), 201);
            let offer = offer.replace("a=rtcp-mux\r\n", &format!("a=rtcp-mux\r\n{USELESS}"));
            publish(server, "w65", &offer, 201);
        }
    });
}

/// Rows W-66, W-67, W-68.
#[test]
fn the_answer_says_who_begins_dtls() {
    let obs = fixture("obs-media-level");
    on_both_engines(|server, _| {
        for (offered, answered) in [
            ("actpass", "active"),
            ("active", "passive"),
            ("passive", "active"),
        ] {
            let offer = obs.replace("a=setup:actpass", &format!("a=setup:{offered}"));
            let reply = publish(server, offered, &offer, 201);
            for section in Sdp::of(reply.text()).media {
                assert_eq!(section.value("setup"), Some(answered), "{offered}");
            }
        }
        publish(server, "w67", &fixture("neg-active"), 201);
    });
}

/// Row W-72.
#[test]
fn a_data_channel_beside_media_is_declined() {
    let offer = fixture("chrome-whep-datachannel").replace("a=recvonly", "a=sendonly");
    on_both_engines(|server, _| {
        let reply = publish(server, "w72", &offer, 201);
        let answer = Sdp::of(reply.text());
        assert_eq!(answer.section("2").port(), "0");
        assert_eq!(answer.bundle(), ["0", "1"]);
    });
}

/// Rows W-72, E-20.
#[test]
fn a_data_channel_is_accepted_where_there_is_something_to_say() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("data-channels.toml");
    let text = "[defaults]\nchat = true\n[broadcasts.w72]\npublisher_engine = \"direct\"\n";
    fs::write(&file, text).unwrap();
    let server = Server::configured(&file, &["--demo", "true"]);
    server.wait_for_state("demo", "live");
    let viewer = fixture("chrome-whep-datachannel");
    let publisher = viewer.replace("a=recvonly", "a=sendonly");
    // As MediaMTX's reader writes it.
    let first = viewer.replace("a=group:BUNDLE 0 1 2", "a=group:BUNDLE 2 0 1");
    for (reply, bundle) in [
        (watch(&server, "E-20", &viewer, 201), ["0", "1", "2"]),
        (watch(&server, "E-20", &first, 201), ["2", "0", "1"]),
        (publish(&server, "w72", &publisher, 201), ["0", "1", "2"]),
    ] {
        let answer = Sdp::of(reply.text());
        let section = answer.section("2");
        assert_eq!(section.port(), "9");
        assert_eq!(section.value("sctp-port"), Some("5000"));
        assert_eq!(section.value("setup"), answer.section("0").value("setup"));
        assert_eq!(answer.bundle(), bundle);
    }
}

/// Row W-76.
#[test]
fn the_codec_offered_first_is_answered_alone() {
    let offer = fixture("chrome-whep-av").replace("a=recvonly", "a=sendonly");
    on_both_engines(|server, _| {
        let reply = publish(server, "w76", &offer, 201);
        let answer = Sdp::of(reply.text());
        let video = answer.section("0");
        assert_eq!(video.formats()[0], "96", "VP8 was offered first");
        let media: Vec<_> = video
            .values("rtpmap")
            .into_iter()
            .filter(|codec| !codec.contains("rtx"))
            .collect();
        assert_eq!(media, ["96 VP8/90000"]);
        assert_eq!(answer.section("1").formats(), ["111"]);
    });
}

/// Row W-35.
#[test]
fn answers_come_soon() {
    on_both_engines(|server, engine| {
        for name in ALL_OFFERS {
            let begun = std::time::Instant::now();
            publish(server, "w35", &fixture(name), 201);
            // OBS gives up after 8 s. Usually this takes well below a second.
            assert!(begun.elapsed().as_secs() < 4, "{engine} {name}");
        }
    });
}

/// Row W-10.
#[test]
fn a_query_does_no_harm() {
    let server = Server::start(&[]);
    let reply = server
        .post_offer("/whip/a?x=1&token=abc", &fixture("obs-media-level"))
        .expect(201);
    assert!(reply.location().starts_with("/whip/s/"));
}

/// Row W-110.
#[test]
fn problems_explain_themselves() {
    let server = Server::start(&[]);
    let session = server
        .post_offer("/whip/a", &fixture("obs-media-level"))
        .expect(201)
        .location();
    // `expect` checks the problem document.
    for (method, path, headers, status) in [
        ("POST", "/whip/..", &[][..], 404),
        ("PUT", "/whip/a", &[], 405),
        ("POST", "/whip/a", &[], 415),
        ("POST", "/whip/a", &[SDP], 400),
        ("POST", "/whip", &[SDP], 401),
        ("PATCH", session.as_str(), &[], 415),
        ("GET", "/whip/s/00", &[], 404),
    ] {
        let reply = server.request(method, path, headers, "").expect(status);
        assert!(!reply.body.is_empty(), "{method} {path}");
    }
    server
        .post_offer("/whep/nobody", &fixture("chrome-whep-av"))
        .expect(409);
}

fn watch(server: &Server, what: &str, offer: &str, status: u16) -> Reply {
    let reply = server.post_offer("/whep/demo", offer);
    assert_eq!(reply.status, status, "{what}: {}\n{offer}", reply.text());
    assert_ne!(reply.status, 406);
    let reply = reply.expect(status);
    if status == 201 {
        server.delete(&reply.location()).expect(200);
    }
    reply
}

/// Rows E-15 to E-20, E-26, E-27, E-28.
#[test]
fn liberties_of_viewers_are_accepted() {
    let server = Server::demo(&[]);
    let chrome = fixture("chrome-whep-av");
    let exotic = "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 112 113 110";
    let exotic = chrome
        .replace("m=audio 9 UDP/TLS/RTP/SAVPF 111 63", exotic)
        .replace(
            "a=rtpmap:63 ",
            "a=rtpmap:112 multiopus/48000/6\r\na=rtpmap:113 L16/48000/2\r\n\
             a=rtpmap:110 telephone-event/48000\r\na=rtpmap:63 ",
        );
    let nack = "a=rtpmap:111 opus/48000/2\r\na=rtcp-fb:111 nack";
    let useless = chrome.replace("a=rtcp-mux\r\n", &format!("a=rtcp-mux\r\n{USELESS}"));
    for (what, status, offer) in [
        ("E-15", 201, chrome.replace("a=recvonly", "a=sendrecv")),
        ("E-16", 422, chrome.replace("a=recvonly", "a=sendonly")),
        ("E-16", 422, chrome.replace("a=recvonly", "a=inactive")),
        ("E-17", 422, without(&chrome, "a=rtcp-mux")),
        ("E-17", 422, without(&chrome, "a=group:BUNDLE")),
        ("E-18", 201, without(&chrome, "a=rtcp-mux-only")),
        ("E-19", 201, reversed(&chrome)),
        ("E-20", 201, fixture("chrome-whep-datachannel")),
        (
            "E-26",
            201,
            chrome.replace("a=rtpmap:111 opus/48000/2", nack),
        ),
        ("E-27", 201, exotic),
        ("E-28", 201, without(&chrome, "a=candidate")),
        ("E-28", 201, useless),
    ] {
        let reply = watch(&server, what, &offer, status);
        if status == 201 {
            let (offer, answer) = (Sdp::of(&offer), Sdp::of(reply.text()));
            for (offered, answered) in offer.media.iter().zip(&answer.media) {
                assert_eq!(offered.mid(), answered.mid(), "{what}");
                if offered.medium() != "application" {
                    assert_eq!(answered.direction(), "sendonly", "{what}");
                }
            }
        }
    }
    let reply = watch(&server, "E-20", &fixture("chrome-whep-datachannel"), 201);
    let answer = Sdp::of(reply.text());
    assert_eq!(answer.section("2").port(), "0");
    assert_eq!(answer.bundle(), ["0", "1"]);
}

/// Rows E-30, E-31.
#[test]
fn viewers_offers_are_read_as_those_of_publishers() {
    let server = Server::demo(&[]);
    let chrome = fixture("chrome-whep-av");
    let md5 = "a=fingerprint:md5 01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10";
    let sha = chrome
        .lines()
        .find(|line| line.starts_with("a=fingerprint"));
    let transport: String = ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup"]
        .iter()
        .map(|name| chrome.lines().find(|line| line.starts_with(name)).unwrap())
        .flat_map(|line| [line, "\r\n"])
        .collect();
    let bare = ["a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup"]
        .iter()
        .fold(chrome.clone(), |text, name| without(&text, name));
    let session_level = bare.replacen("m=video", &format!("{transport}m=video"), 1);
    let bundle_only = bare
        .replacen("a=mid:0", &format!("{transport}a=mid:0"), 1)
        .replace("m=audio 9", "m=audio 0")
        .replace("a=mid:1", "a=bundle-only\r\na=mid:1");
    for (what, status, offer) in [
        ("W-43", 413, "a".repeat(200 * 1024)),
        ("W-44", 201, chrome.replace("\r\n", "\n")),
        ("W-45", 400, without(&chrome, "a=ice-pwd")),
        ("W-46", 400, without(&chrome, "a=fingerprint")),
        ("W-47", 422, chrome.replace(sha.unwrap(), md5)),
        ("W-60", 201, chrome.replace("BUNDLE 0 1", "BUNDLE 0 7 1")),
        ("W-61", 201, bundle_only),
        ("W-62", 201, session_level),
        (
            "W-63",
            201,
            chrome.replace("a=group:BUNDLE", "a=group:LS 0 1\r\na=group:BUNDLE"),
        ),
    ] {
        let reply = watch(&server, what, &offer, status);
        if status == 201 {
            assert_eq!(Sdp::of(reply.text()).bundle(), ["0", "1"], "{what}");
        }
    }
}

/// Rows E-21, E-22, E-44.
#[test]
fn tracks_that_only_one_side_has_are_left_out() {
    let server = Server::demo(&[]);
    let offer = without_section(&fixture("chrome-whep-av"), "video");
    let reply = watch(&server, "E-22", &offer, 201);
    let answer = Sdp::of(reply.text());
    assert_eq!(answer.media.len(), 1);
    assert_eq!(answer.section("1").direction(), "sendonly");

    let _sound = Client::talk(&server, "sound");
    server.wait_for_state("sound", "live");
    let reply = server
        .post_offer("/whep/sound", &fixture("chrome-whep-av"))
        .expect(201);
    let answer = Sdp::of(reply.text());
    let video = answer.section("0");
    assert_eq!((video.direction(), video.port()), ("inactive", "9"));
    assert_eq!(answer.bundle(), ["0", "1"]);
    assert_eq!(answer.section("1").direction(), "sendonly");

    for name in ["..", ".hidden", "a%2Fb", "whep"] {
        let path = format!("/whep/{name}");
        server.post_offer(&path, &offer).expect(404);
    }
}

/// Rows E-23, E-36.
#[test]
fn without_a_codec_in_common_the_status_is_422_and_never_406() {
    let server = Server::start(&[]);
    let _publisher = Client::live(&server, "a", &clip::VP8);
    // Neither a codec of the broadcast nor one that it can be transcoded into.
    let other = fixture("chrome-whep-h264-only").replace("H264/90000", "H263/90000");
    let reply = server.post_offer("/whep/a", &other).expect(422);
    assert_eq!(reply.problem(), "codec-mismatch");
    for offer in ALL_OFFERS.map(fixture).iter().chain([&String::new()]) {
        for path in ["/whep/a", "/whep/nobody"] {
            let status = server.post_offer(path, offer).status;
            assert!((201..500).contains(&status) && status != 406, "{status}");
        }
    }
}

/// Rows W-74, W-75.
#[test]
fn simulcast_is_answered_on_either_engine() {
    let offer = fixture("obs-32.1-simulcast");
    with_each_engine(|engine| {
        // webrtcbin cannot answer simulcast, so such publishers always get the direct engine.
        let server = server(engine, &[]);
        let reply = publish(&server, "w74", &offer, 201);
        let answer = Sdp::of(reply.text());
        let video = answer.section("1");
        assert_eq!(video.values("rid"), ["0 recv", "1 recv", "2 recv"]);
        assert_eq!(video.value("simulcast"), Some("recv 0;1;2"));
    });
}
