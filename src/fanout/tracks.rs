//! Which tracks a viewer gets, and how they are announced in its answer.

use super::rendition::Rendition;
use crate::{
    media::{Codec, Kind},
    peer::sdp,
    playout::Target,
};

/// Header extension with the time of sending, 24 bits of 6.18 fixed-point seconds
/// (<https://webrtc.googlesource.com/src/+/refs/heads/main/docs/native-code/rtp-hdrext/abs-send-time>).
pub(super) const SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";

/// The tracks a viewer may get, with the codec each has now.
#[derive(Clone, Copy)]
pub struct OfferedTracks<'a> {
    /// The picture, if the broadcast has one.
    pub video: Option<(Codec, &'a Rendition)>,
    /// The sound, if the broadcast has any.
    pub audio: Option<(Codec, &'a Rendition)>,
    /// The encodings of the picture to choose from, for a simulcast publisher; otherwise empty.
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

/// The message to a worker about a rendition and its layers.
pub(super) fn target(kind: Kind, rendition: &Rendition, layers: &[Layer]) -> Target {
    Target {
        kind,
        rendition: rendition.key(),
        layers: layers.iter().map(|layer| layer.rendition.key()).collect(),
    }
}

/// A track that the viewer's offer asks for, and how it is announced.
pub(super) struct ChosenTrack {
    pub(super) codec: Codec,
    pub(super) target: Target,
    pub(super) ssrc: u32,
    pub(super) pt: u8,
    /// The retransmission stream (RFC 4588): SSRC and payload type.
    pub(super) rtx: Option<(u32, u8)>,
    /// Id of the header extension with the time of sending, if offered.
    pub(super) send_time: Option<u8>,
}

impl OfferedTracks<'_> {
    /// Finds a format for each track the offer asks for. `ssrc` gives its stream a number.
    pub(super) fn choose(
        self,
        offer: &sdp::Offer,
        mut ssrc: impl FnMut(&Rendition, Kind) -> Result<u32, sdp::Error>,
    ) -> Result<(Vec<sdp::Section>, Vec<ChosenTrack>), sdp::Error> {
        let sections = offer.media.iter().map(|media| match media.kind {
            Some(_) => sdp::Section::Inactive,
            None => sdp::Section::Rejected,
        });
        let mut sections: Vec<sdp::Section> = sections.collect();
        let mut tracks = Vec::new();
        for (kind, track) in [(Kind::Video, self.video), (Kind::Audio, self.audio)] {
            let (true, Some((codec, rendition))) = (offer.wants(kind), track) else {
                continue;
            };
            let Some((at, format)) = offer.choose(kind, &[codec]) else {
                let lack = offer.lack(codec);
                return Err(sdp::Error::CodecMismatch(format!(
                    "the broadcast's {kind} is {codec}; {lack}"
                )));
            };
            let (ssrc, rtx_ssrc) = (ssrc(rendition, kind)?, random_ssrc()?);
            if let Some(section) = sections.get_mut(at) {
                *section = sdp::Section::Send {
                    format: format.to_send(rendition.is_stereo()),
                    ssrc,
                    rtx_ssrc,
                };
            }
            let layers = match kind {
                Kind::Video => self.layers,
                Kind::Audio => &[],
            };
            tracks.push(ChosenTrack {
                codec,
                target: target(kind, rendition, layers),
                ssrc,
                pt: format.pt,
                rtx: format.rtx.map(|pt| (rtx_ssrc, pt)),
                send_time: extension_id(offer, at),
            });
        }
        if tracks.is_empty() {
            return Err(sdp::Error::CodecMismatch(
                "the broadcast has none of the tracks that the offer asks for".to_owned(),
            ));
        }
        Ok((sections, tracks))
    }
}

/// A random SSRC; never zero.
pub(super) fn random_ssrc() -> Result<u32, sdp::Error> {
    random().map(|random| (random >> 32) as u32 | 1)
}

/// # Errors
/// If the system has no random numbers.
pub(super) fn random() -> Result<u64, sdp::Error> {
    getrandom::u64().map_err(|error| {
        sdp::Error::Unsupported(format!("the system provides no random numbers: {error}"))
    })
}

/// The one-byte id of the send time extension, if offered (RFC 8285 §4.2).
fn extension_id(offer: &sdp::Offer, section: usize) -> Option<u8> {
    let offered = offer
        .media
        .get(section)?
        .extensions
        .iter()
        .find(|(id, uri)| uri == SEND_TIME && (1..15).contains(id));
    offered.map(|(id, _)| *id)
}
