//! Reads and checks the cases of `cases.txt`, which explains how they are written.

use std::fmt::Write as _;

use super::*;
use crate::peer::sdp::Role;

const CASES: &str = include_str!("cases.txt");
/// The carrier of the original. Renditions have the numbers after it.
const ORIGINAL_CARRIER: u64 = 1;
const OLD_CARRIER: u64 = 99;

/// A viewer's offer of these formats, such as `h264-high vp8 opus`.
pub(in crate::broadcast) fn offer(formats: &[&str]) -> Offer {
    let mut text = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n".to_owned();
    for kind in ["video", "audio"] {
        let of_kind = |format: &&&str| (**format == "opus") == (kind == "audio");
        let formats: Vec<_> = formats.iter().filter(of_kind).collect();
        if formats.is_empty() {
            continue;
        }
        let types: Vec<_> = (96..)
            .take(formats.len())
            .map(|n: u8| n.to_string())
            .collect();
        let fingerprint = ["AB"; 32].join(":");
        write!(
            text,
            "m={kind} 9 UDP/TLS/RTP/SAVPF {}\r\nc=IN IP4 0.0.0.0\r\na=mid:{kind}\r\na=recvonly\r\n\
             a=rtcp-mux\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
             a=fingerprint:sha-256 {fingerprint}\r\na=setup:actpass\r\n",
            types.join(" ")
        )
        .unwrap();
        for (number, format) in types.iter().zip(formats) {
            let (map, parameters) = format_lines(format);
            write!(
                text,
                "a=rtpmap:{number} {map}\r\na=fmtp:{number} {parameters}\r\n"
            )
            .unwrap();
        }
    }
    let mids: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("a=mid:"))
        .collect();
    let bundle = format!("t=0 0\r\na=group:BUNDLE {}\r\n", mids.join(" "));
    let text = text.replacen("t=0 0\r\n", &bundle, 1);
    Offer::parse(text.as_bytes(), Role::Viewer).unwrap()
}

fn format_lines(format: &str) -> (&'static str, &'static str) {
    match format {
        "h264" => (
            "H264/90000",
            "packetization-mode=1;profile-level-id=42e01f;level-asymmetry-allowed=1",
        ),
        "h264-main" => (
            "H264/90000",
            "packetization-mode=1;profile-level-id=4d001f;level-asymmetry-allowed=1",
        ),
        "h264-high" => (
            "H264/90000",
            "packetization-mode=1;profile-level-id=64001f;level-asymmetry-allowed=1",
        ),
        "h264-strict" => (
            "H264/90000",
            "packetization-mode=1;profile-level-id=42e01f;level-asymmetry-allowed=0",
        ),
        "h265" => ("H265/90000", "profile-id=1"),
        "h265-10" => ("H265/90000", "profile-id=2"),
        "vp8" => ("VP8/90000", "max-fr=60"),
        "vp9" => ("VP9/90000", "profile-id=0"),
        "vp9-2" => ("VP9/90000", "profile-id=2"),
        "av1" => ("AV1/90000", "profile=0"),
        "av1-1" => ("AV1/90000", "profile=1"),
        "opus" => ("opus/48000/2", "useinbandfec=1"),
        other => panic!("no such format: {other}"),
    }
}

fn codec(name: &str) -> Codec {
    Codec::from_encoding_name(name).unwrap_or_else(|| panic!("no such codec: {name}"))
}

/// `h264:high@4+b+k`.
fn encoding(text: &str) -> (Codec, Demands) {
    let (text, keyless) = match text.strip_suffix("+k") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (text, reordered) = match text.strip_suffix("+b") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (text, level) = match text.split_once('@') {
        Some((text, level)) => (text, Some(level.to_owned())),
        None => (text, None),
    };
    let (name, profile) = match text.split_once(':') {
        Some((name, profile)) => (name, Some(profile.to_owned())),
        None => (text, None),
    };
    let demands = Demands {
        profile,
        level,
        reordered,
        keyless,
        ..Demands::default()
    };
    (codec(name), demands)
}

fn situation(broadcast: &str, renditions: &str) -> Situation {
    let mut situation = Situation {
        transcodes: true,
        ..Situation::default()
    };
    for word in broadcast.split_whitespace() {
        match word {
            "live" => situation.showing = Showing::Original,
            "gone" => situation.showing = Showing::Nothing,
            "slate" => situation.showing = Showing::Slate,
            "fixed" => situation.transcodes = false,
            "sparse" => situation.sparse_keyframes = true,
            original => {
                let (codec, demands) = encoding(original);
                situation.originals.push(Original {
                    codec,
                    demands,
                    carrier: ORIGINAL_CARRIER,
                });
            }
        }
    }
    let candidates = renditions
        .split_whitespace()
        .filter(|word| *word != "-")
        .enumerate()
        .map(|(index, word)| candidate(index, word));
    situation.candidates = candidates.collect();
    situation
}

/// `slate-pause=h264~`.
fn candidate(index: usize, word: &str) -> RenditionCandidate {
    let states = [
        ('.', RenditionProgress::Idle),
        ('-', RenditionProgress::Full),
        ('~', RenditionProgress::Starting),
        ('!', RenditionProgress::Failed),
        ('/', RenditionProgress::Stopping),
    ];
    let state = states.into_iter().find(|(mark, _)| word.ends_with(*mark));
    let progress = state.map_or(RenditionProgress::Live, |(_, progress)| progress);
    let word = word.trim_end_matches(['.', '-', '~', '!', '/']);
    let (name, made) = match word.split_once('=') {
        Some((name, made)) => (name, Some(encoding(made))),
        None => (word, None),
    };
    let uses = [
        ("auto-", Use::Automatic),
        ("slate-", Use::Slate),
        ("slateauto-", Use::SlateAutomatic),
    ];
    let named = uses
        .into_iter()
        .find_map(|(mark, purpose)| Some((name.strip_prefix(mark)?, purpose)));
    let (name, purpose) = named.unwrap_or((name, Use::Configured));
    let codec = made.as_ref().map(|(codec, _)| *codec);
    RenditionCandidate {
        id: RenditionId(index),
        kind: codec.map_or(Kind::Video, Codec::kind),
        name: name.to_owned(),
        purpose,
        codec,
        demands: made.map(|(_, demands)| demands).unwrap_or_default(),
        progress,
        // Those that do not run may be promised to a viewer.
        carrier: Some(ORIGINAL_CARRIER + 1 + index as u64),
    }
}

struct Viewer {
    kind: Kind,
    offer: Offer,
    requested: Option<String>,
    codec: Option<Codec>,
    at: Option<String>,
    patient: bool,
}

fn viewer(text: &str) -> Viewer {
    let (mut formats, mut kind, mut patient) = (Vec::new(), Kind::Video, true);
    let (mut requested, mut negotiated, mut at) = (None, None, None);
    for word in text.split_whitespace() {
        match word.split_once('=') {
            Some(("ask", name)) => requested = Some(name.to_owned()),
            Some(("has", name)) => negotiated = Some(codec(name)),
            Some(("at", name)) => at = Some(name.to_owned()),
            _ if word == "audio" => kind = Kind::Audio,
            _ if word == "impatient" => patient = false,
            _ => formats.push(word),
        }
    }
    Viewer {
        kind,
        offer: offer(&formats),
        requested,
        codec: negotiated,
        at,
        patient,
    }
}

/// `source(old)`.
fn present(situation: &Situation, at: &str) -> Present {
    let (name, old) = match at.strip_suffix("(old)") {
        Some(name) => (name, true),
        None => (at, false),
    };
    let (origin, carrier) = if name == ORIGINAL {
        (TrackOrigin::Original, Some(ORIGINAL_CARRIER))
    } else {
        let mut candidates = situation.candidates.iter();
        let found = candidates.find(|candidate| candidate.name == name);
        let found = found.unwrap_or_else(|| panic!("no such rendition: {name}"));
        (TrackOrigin::Rendition(found.id), found.carrier)
    };
    let carrier = if old {
        OLD_CARRIER
    } else {
        carrier.expect("it runs")
    };
    Present { origin, carrier }
}

fn answer(question: &str, situation: &Situation, viewer: &Viewer) -> String {
    let name = |origin: TrackOrigin| match origin {
        TrackOrigin::Original => ORIGINAL.to_owned(),
        TrackOrigin::Rendition(id) => situation.candidate(id).unwrap().name.clone(),
    };
    let rendition = |id| name(TrackOrigin::Rendition(id));
    let wants = Wants {
        kind: viewer.kind,
        offer: &viewer.offer,
        requested: viewer.requested.as_deref(),
        codec: viewer.codec,
    };
    match question {
        "ranked" => {
            let names: Vec<_> = ranked(situation, &wants).into_iter().map(name).collect();
            if names.is_empty() {
                "-".to_owned()
            } else {
                names.join(" ")
            }
        }
        "join" => match join(situation, &wants, viewer.patient) {
            Join::Take(origin) => format!("take {}", name(origin)),
            Join::Wait(Some(id)) => format!("wait for {}", rendition(id)),
            Join::Wait(None) => "wait".to_owned(),
            Join::NotReady => "not ready".to_owned(),
            Join::Full => "full".to_owned(),
            Join::Nothing => "nothing".to_owned(),
        },
        "next" => {
            let present = present(situation, viewer.at.as_ref().unwrap());
            match next(situation, &wants, present) {
                Next::Stay => "stay".to_owned(),
                Next::Full => "full".to_owned(),
                Next::Switch(origin) => format!("switch to {}", name(origin)),
                Next::Start(id) => format!("start {}", rendition(id)),
            }
        }
        other => panic!("no such question: {other}"),
    }
}

#[test]
fn every_case_has_its_answer() {
    let (mut cases, mut wrong) = (0, String::new());
    for line in CASES
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let columns: Vec<_> = line.split('|').map(str::trim).collect();
        let [question, broadcast, renditions, viewer_text, expected] = columns[..] else {
            panic!("not five columns: {line}");
        };
        let situation = situation(broadcast, renditions);
        let found = answer(question, &situation, &viewer(viewer_text));
        if found != expected {
            writeln!(wrong, "{line}\n    found: {found}").unwrap();
        }
        cases += 1;
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(cases >= 100, "{cases} cases");
}

#[test]
fn automatic_renditions_tell_why_they_are_needed() {
    for (broadcast, viewer_text, reason) in [
        ("live h264", "vp8", Misfit::Codec { codec: Codec::H264 }),
        (
            "live h264:high",
            "h264",
            Misfit::Profile {
                codec: Codec::H264,
                profile: "high".to_owned(),
            },
        ),
        (
            "live h264:baseline@4",
            "h264-strict",
            Misfit::Level {
                codec: Codec::H264,
                level: "4".to_owned(),
            },
        ),
        ("live h264+b", "h264", Misfit::Reordered),
        ("live sparse h264", "h264", Misfit::SparseKeyframes),
        ("live h264", "h264", Misfit::Failed),
    ] {
        let situation = situation(broadcast, "auto-a=vp8.");
        let viewer = viewer(viewer_text);
        let wants = Wants {
            kind: Kind::Video,
            offer: &viewer.offer,
            requested: None,
            codec: None,
        };
        assert_eq!(
            situation.reason(RenditionId(0), &wants),
            reason,
            "{broadcast}"
        );
    }
}
