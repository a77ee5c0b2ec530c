//! Every fixture is accepted or refused as the conformance rows (W-.., E-..) demand.

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/",
            $name,
            ".sdp"
        ))
    };
}

const PUBLISHERS: [(&str, &str); 12] = [
    ("obs-media-level", fixture!("obs-media-level")),
    ("obs-session-level", fixture!("obs-session-level")),
    ("obs-32.1-simulcast", fixture!("obs-32.1-simulcast")),
    ("obs-av1", fixture!("obs-av1")),
    ("obs-hevc", fixture!("obs-hevc")),
    ("ffmpeg-av", fixture!("ffmpeg-av")),
    ("ffmpeg-video-only", fixture!("ffmpeg-video-only")),
    ("rfc9725-example", fixture!("rfc9725-example")),
    ("neg-lsfirst", fixture!("neg-lsfirst")),
    ("neg-active", fixture!("neg-active")),
    ("neg-sendrecv", fixture!("neg-sendrecv")),
    ("chrome-as-publisher", fixture!("chrome-whep-av")),
];

const REFUSED: [(&str, &str); 4] = [
    ("W-50", fixture!("neg-recvonly")),
    ("W-51", fixture!("neg-inactive")),
    ("W-56", fixture!("neg-nomux")),
    ("W-58", fixture!("neg-nobundle")),
];

const VIEWERS: [(&str, &str); 3] = [
    ("chrome-whep-av", fixture!("chrome-whep-av")),
    (
        "chrome-whep-datachannel",
        fixture!("chrome-whep-datachannel"),
    ),
    ("chrome-whep-h264-only", fixture!("chrome-whep-h264-only")),
];

const OBS: &str = fixture!("obs-media-level");

/// The Chromium offer turned round: what a publishing page sends.
fn publishers() -> impl Iterator<Item = (&'static str, String)> {
    PUBLISHERS.into_iter().map(|(name, text)| {
        let text = match name {
            "chrome-as-publisher" => text.replace("a=recvonly", "a=sendonly"),
            _ => text.to_owned(),
        };
        (name, text)
    })
}

fn publish(text: &str) -> Result<Offer, Error> {
    Offer::parse(text.as_bytes(), Role::Publisher)
}

fn view(text: &str) -> Result<Offer, Error> {
    Offer::parse(text.as_bytes(), Role::Viewer)
}

fn transport() -> Transport {
    Transport {
        ice_ufrag: "srvr".into(),
        ice_pwd: "0123456789abcdef012345".into(),
        ice_lite: true,
        fingerprint: vec![0xAB; 32],
        candidates: vec![
            "192.0.2.7:8000".parse().unwrap(),
            "[2001:db8::7]:8000".parse().unwrap(),
        ],
        ..Transport::default()
    }
}

/// What the fan-out does: one section per offered one.
fn sections(offer: &Offer, video: Codec) -> Vec<Section> {
    let mut sections: Vec<Section> = offer
        .media
        .iter()
        .map(|m| {
            if m.kind.is_some() {
                Section::Inactive
            } else {
                Section::Rejected
            }
        })
        .collect();
    for (kind, codec, ssrc) in [(Kind::Video, video, 1000), (Kind::Audio, Codec::Opus, 2000)] {
        if let Some((index, format)) = offer.choose(kind, &[codec]) {
            sections[index] = Section::Send {
                format: format.clone(),
                ssrc,
                rtx_ssrc: ssrc + 1,
            };
        }
    }
    sections
}

/// Splits an answer at its m= lines; the first part is the session's.
fn parts(answer: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = answer
        .match_indices("\r\nm=")
        .map(|(at, _)| at + 2)
        .collect();
    starts.insert(0, 0);
    starts.push(answer.len());
    starts
        .windows(2)
        .map(|range| &answer[range[0]..range[1]])
        .collect()
}

fn assert_well_formed(name: &str, answer: &str) {
    assert!(answer.starts_with("v=0\r\n"), "{name}");
    assert!(answer.ends_with("\r\n"), "{name}");
    assert!(answer.len() < 8192, "{name}: {} bytes", answer.len());
    assert_eq!(
        answer.matches('\n').count(),
        answer.matches("\r\n").count(),
        "{name}"
    );
    assert!(!answer.contains("\r\n\r\n"), "{name}");
    assert!(!answer.contains("  "), "{name}");
}

fn engine_answer(offer: &Offer, choices: &[Choice]) -> String {
    let mut text = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".to_owned();
    for (media, choice) in offer.media.iter().zip(choices) {
        let Choice::Receive(format) = choice else {
            continue;
        };
        text += &format!(
            "m={} 9 UDP/TLS/RTP/SAVPF {}\r\na=mid:{}\r\na=setup:{}\r\na=ice-ufrag:wxyz\r\n\
             a=ice-pwd:0123456789abcdef012345\r\na=recvonly\r\na=rtpmap:{} OPUS/48000/2\r\n\
             a=fingerprint:sha-256 {}\r\na=ssrc:1 cname:user1@host-1\r\n\
             a=candidate:1 1 TCP 1015021823 192.0.2.9 9 typ host tcptype active\r\n\
             a=candidate:2 1 UDP 2015363327 fe80::1 50000 typ host\r\n\
             a=candidate:3 1 UDP 2015363327 192.0.2.9 50000 typ host\r\n",
            media.line.medium,
            format.pt,
            media.mid,
            offer.setup.answer().name(),
            format.pt,
            ["CD"; 32].join(":"),
        );
    }
    text
}

#[test]
fn publishers_offers_are_accepted() {
    for (name, text) in publishers() {
        let offer = publish(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let choices = offer
            .choose_publish()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            choices.iter().all(|c| matches!(c, Choice::Receive(_))),
            "{name}"
        );
        let again = publish(&offer.normalised(&choices)).unwrap();
        assert_eq!(
            again.choose_publish().unwrap().len(),
            choices.len(),
            "{name}"
        );
        assert_eq!(again.candidates, offer.candidates, "{name}");
        assert_eq!(again.fingerprint, offer.fingerprint, "{name}");

        let engine = engine_answer(&offer, &choices);
        let answer = publisher_answer(&offer, &choices, &engine, &[]).unwrap();
        assert_well_formed(name, &answer);
        for (part, media) in parts(&answer)[1..].iter().zip(&offer.media) {
            assert!(part.contains("\r\na=recvonly\r\n"), "{name}");
            assert!(
                part.contains(&format!("\r\na=mid:{}\r\n", media.mid)),
                "{name}"
            );
            assert!(part.contains("\r\na=rtcp-mux\r\n"), "{name}");
            assert_eq!(
                part.contains("a=rtcp-mux-only"),
                media.rtcp_mux_only,
                "{name}"
            );
        }
        assert!(!answer.contains("host-1"), "{name}: W-90");
        assert_eq!(answer.matches("typ host").count(), 1, "{name}: W-85");
    }
}

#[test]
fn unsuitable_offers_are_refused_as_unsupported() {
    for (row, text) in REFUSED {
        assert!(matches!(publish(text), Err(Error::Unsupported(_))), "{row}");
    }
    let sendonly = fixture!("chrome-whep-av").replace("a=recvonly", "a=sendonly");
    assert!(
        matches!(view(&sendonly), Err(Error::Unsupported(_))),
        "E-16"
    );
    let inactive = fixture!("chrome-whep-av").replace("a=recvonly", "a=inactive");
    assert!(
        matches!(view(&inactive), Err(Error::Unsupported(_))),
        "E-16"
    );
    let no_mux = fixture!("chrome-whep-av").replace("a=rtcp-mux\n", "");
    assert!(matches!(view(&no_mux), Err(Error::Unsupported(_))), "E-17");
}

#[test]
fn viewers_offers_are_answered() {
    for (name, text) in VIEWERS {
        let offer = view(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let answer = viewer_answer(&offer, &sections(&offer, Codec::H264), &transport());
        assert_well_formed(name, &answer);
        let parts = parts(&answer);
        assert_eq!(parts.len() - 1, offer.media.len());
        assert!(
            parts[0].contains("a=group:BUNDLE 0 1\r\n"),
            "{name}: {}",
            parts[0]
        );
        assert!(
            parts[1].starts_with("m=video 9 UDP/TLS/RTP/SAVPF 102 103\r\n"),
            "{name}"
        );
        assert!(
            parts[2].starts_with("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"),
            "{name}"
        );
        for part in &parts[1..3] {
            assert!(part.contains("\r\na=sendonly\r\n"), "E-10");
            assert!(
                part.contains("\r\na=msid:a000003e8 a000003e8-"),
                "E-11 {part}"
            );
            assert!(part.contains("\r\na=setup:active\r\n"), "W-66");
        }
        assert!(parts[1].contains("a=ssrc-group:FID 1000 1001\r\n"), "E-12");
        assert!(parts[1].contains("a=ssrc:1001 cname:a000003e8\r\n"), "E-12");
        assert!(
            !parts[1].contains("transport-cc") && !parts[1].contains("extmap"),
            "W-88, W-89"
        );
        assert_eq!(parts[1].matches("a=candidate:").count(), 2, "W-86");
        assert!(parts[1].ends_with("a=end-of-candidates\r\n"), "W-83");
        if let Some(application) = parts.get(3) {
            assert!(
                application.starts_with("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"),
                "E-20"
            );
        }
    }
}
