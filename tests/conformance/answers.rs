//! What answers contain.

use std::collections::BTreeSet;

use super::{
    on_both_engines,
    sdp::{Sdp, Section, all_equal},
    server,
};
use crate::support::{Server, engines::with_each_engine, fixture};

const PUBLISHERS: [&str; 6] = [
    "obs-media-level",
    "obs-session-level",
    "ffmpeg-av",
    "ffmpeg-video-only",
    "rfc9725-example",
    "neg-sendrecv",
];
const VIEWERS: [&str; 3] = [
    "chrome-whep-av",
    "chrome-whep-datachannel",
    "chrome-whep-h264-only",
];

/// Checks what holds for the answers to both roles.
fn check(name: &str, offer: &str, answer: &str, direction: &str) {
    assert!(answer.starts_with("v=0\r\n") && answer.len() < 8192);
    let (offered, answered) = (Sdp::of(offer), Sdp::of(answer));
    assert_eq!(offered.media.len(), answered.media.len(), "W-77 {name}");
    let mut accepted = Vec::new();
    for (ours, theirs) in answered.media.iter().zip(&offered.media) {
        assert_eq!(ours.medium(), theirs.medium(), "W-77 {name}");
        assert_eq!(ours.mid(), theirs.mid(), "W-77 {name}");
        if ours.medium() == "application" {
            assert_eq!(ours.port(), "0", "W-91 {name}");
            continue;
        }
        accepted.push(ours.mid());
        assert_ne!(ours.port(), "0", "W-91 {name}");
        assert_eq!(ours.direction(), direction, "W-78, E-10 {name}");
        check_section(name, ours, theirs);
    }
    check_bundle(name, &offered, &answered, &accepted);
    for start in ["a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:"] {
        assert!(all_equal(answer, start), "W-81 {name}: {start}");
    }
    check_privacy(name, answer);
}

fn check_section(name: &str, ours: &Section<'_>, theirs: &Section<'_>) {
    let formats = ours.formats();
    let known: BTreeSet<_> = theirs.formats().into_iter().collect();
    assert!(formats.iter().all(|pt| known.contains(pt)), "W-79 {name}");
    for pt in &formats {
        let codec = |section: &Section<'_>| {
            let codec = section.of_format("rtpmap", pt).unwrap();
            codec.to_ascii_lowercase()
        };
        assert_eq!(codec(ours), codec(theirs), "W-79 {name}");
        let [ours, theirs] =
            [ours, theirs].map(|media| media.of_format("fmtp", pt).unwrap_or_default());
        for parameter in theirs.split(';').map(str::trim) {
            if parameter.starts_with("profile-level-id") || parameter.starts_with("packetization") {
                assert!(
                    ours.contains(parameter),
                    "W-80 {name}: {parameter} in {ours}"
                );
            }
        }
    }
    assert!(ours.has("rtcp-mux"), "W-81 {name}");
    assert_eq!(
        ours.has("rtcp-mux-only"),
        theirs.has("rtcp-mux-only"),
        "W-82 {name}"
    );
    if ours.medium() == "video" {
        for feedback in ["nack", "nack pli"] {
            let value = format!("{} {feedback}", formats[0]);
            let [ours, theirs] =
                [ours, theirs].map(|media| media.values("rtcp-fb").contains(&&*value));
            assert_eq!(ours, theirs, "W-88 {name}: {feedback}");
        }
    }
    let extensions = theirs.values("extmap");
    for extension in ours.values("extmap") {
        assert!(extensions.contains(&extension), "W-89 {name}: {extension}");
    }
}

fn check_bundle(name: &str, offered: &Sdp<'_>, answered: &Sdp<'_>, accepted: &[&str]) {
    let bundle = answered.bundle();
    // A group may be left out where there is nothing to bundle.
    if offered.media.len() > 1 || !bundle.is_empty() {
        assert_eq!(bundle, accepted, "W-81 {name}");
    }
    let tagged = answered.section(accepted[0]);
    let candidates = tagged.values("candidate");
    assert!(!candidates.is_empty(), "W-83, W-86 {name}");
    assert!(tagged.has("end-of-candidates"), "W-83 {name}");
    for candidate in &candidates {
        let words: Vec<_> = candidate.split(' ').collect();
        let type_of_tcp: &[&str] = match words[2] {
            "udp" => &[],
            "tcp" => &["tcptype", "passive"],
            other => panic!("W-85 {name}: {other}"),
        };
        assert_eq!(words[8..], *type_of_tcp, "W-85a {name}");
        assert_eq!(words[4], "127.0.0.1", "W-85 {name}: as configured");
        assert_eq!(words[6..8], ["typ", "host"], "W-84 {name}");
    }
    let is_tcp = |candidate: &&str| candidate.contains(" tcp ");
    assert!(candidates.iter().is_sorted_by_key(is_tcp), "W-85a {name}");
}

/// W-90: nothing about the machine or its operator.
fn check_privacy(name: &str, answer: &str) {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let named = |line: &&str| {
        ["o=", "s=", "a=msid", "a=ssrc"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    for line in answer.lines().filter(named) {
        let whole = line
            .split([' ', ':', '@', '='])
            .any(|line| line == hostname.trim());
        assert!(!whole && !line.contains("@host"), "W-90 {name}: {line}");
    }
}

/// Rows W-77 to W-91.
#[test]
fn answers_to_publishers_are_well_formed() {
    on_both_engines(|server, engine| {
        for name in PUBLISHERS {
            let offer = fixture(name);
            let reply = server
                .post_offer(&format!("/whip/{name}"), &offer)
                .expect(201);
            check(name, &offer, reply.text(), "recvonly");
            let lite = reply.text().contains("a=ice-lite\r\n");
            assert!(lite, "W-87 {engine} {name}");
        }
    });
}

/// Rows E-09 to E-14.
#[test]
fn answers_to_viewers_are_well_formed() {
    let server = Server::demo(&[]);
    for name in VIEWERS {
        let offer = fixture(name);
        let reply = server.post_offer("/whep/demo", &offer).expect(201);
        check(name, &offer, reply.text(), "sendonly");
        let answer = Sdp::of(reply.text());
        assert!(reply.text().contains("a=ice-lite\r\n"), "W-87");
        let media = || answer.media.iter().filter(|m| m.medium() != "application");
        let mut streams = BTreeSet::new();
        for section in media() {
            // E-11: one stream, two fields.
            let msid: Vec<_> = section.value("msid").unwrap().split(' ').collect();
            assert_eq!(msid.len(), 2);
            streams.insert(msid[0]);
            // E-12: every SSRC is declared.
            let declared: BTreeSet<_> = section
                .values("ssrc")
                .iter()
                .filter(|line| line.contains(" cname:"))
                .filter_map(|line| line.split(' ').next())
                .collect();
            assert!(!declared.is_empty());
            for group in section.values("ssrc-group") {
                let mut named = group.split(' ').skip(1);
                assert!(named.all(|ssrc| declared.contains(ssrc)), "{group}");
            }
            // E-13: one codec.
            let codecs = section.values("rtpmap");
            let media = codecs.iter().filter(|codec| !codec.contains("rtx"));
            assert_eq!(media.count(), 1, "{codecs:?}");
        }
        assert_eq!(streams.len(), 1, "E-11");
        assert!(!streams.contains("-"), "E-11");
    }
}

/// Row W-84.
#[test]
fn the_address_for_others_is_the_first_candidate() {
    let public = ["--webrtc.public_addresses", "203.0.113.7"];
    let first = |answer: &str| {
        let host = |line: &&str| {
            line.starts_with("a=candidate:") && line.contains("udp") && line.contains("typ host")
        };
        let line = answer.lines().find(host).unwrap().to_owned();
        assert!(line.contains(" 203.0.113.7 "), "{line}");
    };
    with_each_engine(|engine| {
        let server = server(engine, &public);
        let offer = fixture("ffmpeg-av");
        first(server.post_offer("/whip/a", &offer).expect(201).text());
    });
    let server = Server::demo(&public);
    let offer = fixture("chrome-whep-av");
    first(server.post_offer("/whep/demo", &offer).expect(201).text());
}
