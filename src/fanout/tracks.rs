//! Which tracks a viewer gets, and how they are announced in its answer.

use std::time::Instant;

use super::{
    direct::{Identity, Stream, Track},
    gop::{Gop, Limits},
    layers::Layers,
    rendition::Rendition,
    switcher::Switcher,
};
use crate::{
    media::{Codec, Kind},
    peer::sdp,
};

/// The tracks a viewer may get, with the codec each has now.
#[derive(Clone, Copy)]
pub struct Tracks<'a> {
    /// The picture, if the broadcast has one.
    pub video: Option<(Codec, &'a Rendition)>,
    /// The sound, if the broadcast has any.
    pub audio: Option<(Codec, &'a Rendition)>,
    /// The encodings of the picture to choose from, for a simulcast publisher; else empty.
    pub layers: &'a [Layer],
}

/// One of several encodings of a picture (RFC 8853).
#[derive(Clone)]
pub struct Layer {
    /// The publisher's name for it (RFC 8851).
    pub rid: String,
    /// Its frames.
    pub rendition: Rendition,
}

/// The rendition that a track goes over to, by its key.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) rendition: u64,
    /// All layers of a simulcast picture; else empty.
    pub(super) layers: Vec<u64>,
}

impl Target {
    pub(super) fn new(rendition: &Rendition, layers: &[Layer]) -> Self {
        Self {
            rendition: rendition.key(),
            layers: layers.iter().map(|layer| layer.rendition.key()).collect(),
        }
    }
}

/// Header extension with the time of sending, 24 bits of 6.18 fixed-point seconds
/// (<https://webrtc.googlesource.com/src/+/refs/heads/main/docs/native-code/rtp-hdrext/abs-send-time>).
pub(super) const SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

impl Tracks<'_> {
    /// Finds a format for each track the offer asks for.
    pub(super) fn choose(
        self,
        offer: &sdp::Offer,
    ) -> Result<(Vec<sdp::Section>, Vec<Track>), sdp::Error> {
        let mut tracks = Vec::new();
        let mut sections: Vec<sdp::Section> = offer
            .media
            .iter()
            .map(|media| match media.kind {
                Some(_) => sdp::Section::Inactive,
                None => sdp::Section::Rejected,
            })
            .collect();
        let wanted = [(Kind::Video, self.video), (Kind::Audio, self.audio)];
        for (kind, (codec, rendition)) in wanted.into_iter().filter_map(|(k, t)| Some((k, t?))) {
            if !offer.media.iter().any(|media| media.kind == Some(kind)) {
                continue;
            }
            let Some((at, format)) = offer.choose(kind, &[codec]) else {
                return Err(sdp::Error::CodecMismatch(format!(
                    "the broadcast's {kind} is {codec}, which the offer does not list: offer it"
                )));
            };
            let [ssrc, rtx_ssrc] = [random()?, random()?].map(|r: u64| (r >> 32) as u32 | 1);
            if let Some(section) = sections.get_mut(at) {
                *section = sdp::Section::Send {
                    format: format.clone(),
                    ssrc,
                    rtx_ssrc,
                };
            }
            let simulcast = kind == Kind::Video && !self.layers.is_empty();
            let layers = simulcast.then(|| {
                let keys = self
                    .layers
                    .iter()
                    .map(|layer| layer.rendition.key())
                    .collect();
                Layers::new(keys, Instant::now())
            });
            let identity = Identity {
                ssrc,
                pt: format.pt,
                rtx: format.rtx.map(|pt| (rtx_ssrc, pt)),
                send_time: layers.is_some().then(|| extension_id(offer, at)).flatten(),
            };
            tracks.push(Track {
                rendition: rendition.key(),
                codec,
                stream: Stream::new(kind, identity, random()?),
                switcher: Switcher::start(&Gop::new(Limits::default())),
                layers,
            });
        }
        if tracks.is_empty() {
            return Err(sdp::Error::CodecMismatch(
                "the offer asks for nothing that the broadcast has".to_owned(),
            ));
        }
        Ok((sections, tracks))
    }
}

/// The one-byte id of the send time extension, if offered (RFC 8285 §4.2).
fn extension_id(offer: &sdp::Offer, section: usize) -> Option<u8> {
    let extensions = &offer.media.get(section)?.extensions;
    let offered = extensions
        .iter()
        .find(|(id, uri)| uri == SEND_TIME && (1..15).contains(id));
    offered.map(|(id, _)| *id)
}

fn random() -> Result<u64, sdp::Error> {
    getrandom::u64()
        .map_err(|error| sdp::Error::Unsupported(format!("no random numbers to be had: {error}")))
}
