//! A publisher shaped like OBS: ICE and DTLS at session level, no candidates, no trickle, High
//! profile under the name 42e01f with filler, header extensions never negotiated, the beginning
//! lost, and keyframe requests ignored.

use std::{fmt::Write as _, time::Instant};

use str0m::{
    Candidate, IceCreds, Rtc,
    crypto::Fingerprint,
    media::MediaKind,
    rtp::{Extension, ExtensionValues},
};

use super::{
    Client,
    clip::{Clip, H264_HIGH},
    connection::{Connection, Offering, socket},
    keys::Keys,
    peer::Peer,
    sending::Playing,
};
use crate::support::{Server, fixture};

/// The first keyframe is lost before DTLS is up.
const LOST_FRAMES: usize = 10;

/// The rest of the first line with this prefix.
fn value<'a>(sdp: &'a str, name: &str) -> &'a str {
    let found = sdp.lines().find_map(|line| line.strip_prefix(name));
    found.unwrap_or_else(|| panic!("no {name} in {sdp}"))
}

/// Replaces the rest of every line with this prefix.
fn replace(sdp: &str, name: &str, value: &str) -> String {
    let lines = sdp.lines().map(|line| {
        let line = if line.starts_with(name) {
            format!("{name}{value}")
        } else {
            line.to_owned()
        };
        line + "\r\n"
    });
    lines.collect()
}

fn read_fingerprint(text: &str) -> Fingerprint {
    let (hash, bytes) = text.split_once(' ').unwrap();
    Fingerprint {
        hash_func: hash.to_lowercase(),
        bytes: bytes
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect(),
    }
}

fn write_fingerprint(fingerprint: &Fingerprint) -> String {
    let mut text = format!("{} ", fingerprint.hash_func);
    for (index, byte) in fingerprint.bytes.iter().enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        write!(text, "{colon}{byte:02X}").unwrap();
    }
    text
}

const RIDS: [&str; 3] = ["0", "1", "2"];
/// For offers that name none, because simulcast goes by rid.
const VIDEO_SSRC: &str = "3382040869";

/// Publishes as OBS does.
pub(crate) fn publish(server: &Server, broadcast: &str) -> Client {
    publish_as(server, broadcast, "obs-session-level", &[&H264_HIGH])
}

/// Offers three layers and sends only the first.
pub(crate) fn publish_simulcast(server: &Server, broadcast: &str) -> Client {
    publish_layers(server, broadcast, &[&H264_HIGH])
}

/// Offers three layers and sends the first ones.
pub(crate) fn publish_layers(server: &Server, broadcast: &str, layers: &[&'static Clip]) -> Client {
    publish_as(server, broadcast, "obs-32.1-simulcast", layers)
}

fn publish_as(server: &Server, broadcast: &str, offer: &str, layers: &[&'static Clip]) -> Client {
    let offer = fixture(offer);
    let keys = Keys::default();
    let mut config = Rtc::builder()
        .set_crypto_provider(keys.provider())
        .set_rtp_mode(true)
        .clear_codecs()
        .clear_extension_map()
        .set_extension(1, Extension::RtpMid)
        .set_extension(2, Extension::RtpStreamId);
    H264_HIGH.configure_without_rtx(config.codec_config());
    let mut rtc = config.build(Instant::now());
    let socket = socket();
    let address = socket.local_addr().unwrap();
    rtc.add_local_candidate(Candidate::host(address, "udp").unwrap());

    let (audio, video) = ("0".into(), "1".into());
    let mut api = rtc.direct_api();
    let IceCreds { ufrag, pass } = api.local_ice_credentials();
    let fingerprint = write_fingerprint(api.local_dtls_fingerprint());
    let offer = replace(&offer, "a=ice-ufrag:", &ufrag);
    let offer = replace(&offer, "a=ice-pwd:", &pass);
    let offer = replace(&offer, "a=fingerprint:", &fingerprint);
    for (mid, kind) in [(audio, MediaKind::Audio), (video, MediaKind::Video)] {
        let section = offer
            .split("\r\nm=")
            .find(|m| m.starts_with(kind_name(kind)));
        let mut lines = section.unwrap().lines();
        let ssrc = lines.find_map(|line| line.strip_prefix("a=ssrc:"));
        let ssrc = ssrc.unwrap_or(VIDEO_SSRC).split(' ').next().unwrap();
        api.declare_media(mid, kind);
        let ssrc: u32 = ssrc.parse().unwrap();
        if kind == MediaKind::Audio {
            api.declare_stream_tx(ssrc.into(), None, mid, None);
            continue;
        }
        for (rid, ssrc) in RIDS.into_iter().zip(ssrc..).take(layers.len()) {
            api.declare_stream_tx(ssrc.into(), None, mid, Some(rid.into()));
        }
    }
    let extensions = ExtensionValues {
        mid: Some(video),
        rid: Some("0".into()),
        ..ExtensionValues::default()
    };
    let rids = RIDS.into_iter().map(|rid| Some(rid.into()));
    let layers = rids.zip(layers.iter().copied()).collect();
    let playing = Playing::with_layers(layers, video, audio).starting_at(LOST_FRAMES, extensions);
    let offering = Offering {
        peer: Peer {
            rtc: Box::new(rtc),
            address,
            tracks: vec![(MediaKind::Audio, audio), (MediaKind::Video, video)],
            pending: None,
        },
        socket,
        keys,
        offer,
        accept: |peer, answer| answered(&mut peer.rtc, answer),
    };
    let connection = Connection::of(offering, Some(playing));
    Client::start(server, &format!("/whip/{broadcast}"), connection)
}

fn kind_name(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}

/// Takes the answer as OBS does: candidates and keys, nothing else.
fn answered(rtc: &mut Rtc, answer: &str) {
    for line in answer.lines().filter_map(|line| line.strip_prefix("a=")) {
        if line.starts_with("candidate:") {
            rtc.add_remote_candidate(Candidate::from_sdp_string(line).unwrap());
        }
    }
    let mut api = rtc.direct_api();
    api.set_ice_controlling(true);
    api.set_remote_ice_credentials(IceCreds {
        ufrag: value(answer, "a=ice-ufrag:").to_owned(),
        pass: value(answer, "a=ice-pwd:").to_owned(),
    });
    api.set_remote_fingerprint(read_fingerprint(value(answer, "a=fingerprint:")));
    assert_eq!(value(answer, "a=setup:"), "active");
    api.start_dtls(false).unwrap();
}
