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

// Below the macro, which they use.
mod answers;
mod fragments;
mod mutations;
mod offers;

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
            let (format, rtx_ssrc) = (format.clone(), ssrc + 1);
            sections[index] = Section::Send {
                format,
                ssrc,
                rtx_ssrc,
            };
        }
    }
    sections
}

/// An answer in webrtcbin's manner to the normalised offer, faults included.
fn engine_answer(offer: &Offer, choices: &[Choice]) -> String {
    let mut lines: Vec<String> = vec!["v=0".into(), "s=-".into(), "t=0 0".into()];
    for (media, choice) in offer.media.iter().zip(choices) {
        let Choice::Receive(format) = choice else {
            continue;
        };
        let rtx = format.rtx.map(|rtx| format!(" {rtx}")).unwrap_or_default();
        lines.extend([
            format!(
                "m={} 9 UDP/TLS/RTP/SAVPF {}{rtx}",
                media.line.medium, format.pt
            ),
            "a=ice-ufrag:wxyz".into(),
            "a=ice-pwd:0123456789abcdef012345".into(),
            format!("a=mid:{}", media.mid),
            format!("a=setup:{}", offer.setup.answer().name()),
            "a=recvonly".into(),
            format!("a=fingerprint:sha-256 {}", ["CD"; 32].join(":")),
            "a=ssrc:1 cname:user1@host-1".into(),
            "a=candidate:1 1 TCP 1015021823 127.0.0.1 9 typ host tcptype active".into(),
            "a=candidate:2 1 UDP 2015363327 fe80::1 50000 typ host".into(),
            "a=candidate:3 1 UDP 2015363327 127.0.0.1 50001 typ host".into(),
        ]);
    }
    lines.push(String::new());
    lines.join("\r\n")
}
