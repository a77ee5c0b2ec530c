//! A publisher shaped like OBS: ICE and DTLS at session level, no candidates, no trickle, High
//! profile under the name 42e01f with filler, header extensions never negotiated, the beginning
//! lost, and keyframe requests ignored.

use std::time::Instant;

use str0m::{
    Candidate, Rtc,
    media::MediaKind,
    rtp::{Extension, ExtensionValues},
};

use super::{
    Client,
    clip::{Clip, H264_HIGH},
    connection::{Connection, Offering, socket},
    keys::Keys,
    peer::Peer,
    raw::{answered, with_credentials},
    sending::Playing,
};
use crate::support::{Server, fixture};

/// The first keyframe is lost before DTLS is up.
const LOST_FRAMES: usize = 10;

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
    let offer = with_credentials(&offer, &mut rtc);
    let mut api = rtc.direct_api();
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
    let layers = RIDS
        .into_iter()
        .map(|rid| Some(rid.into()))
        .zip(layers.iter().copied())
        .collect();
    let playing =
        Playing::with_layers(layers, video, Some(audio)).starting_at(LOST_FRAMES, extensions);
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
