//! Which tracks a viewer gets, and how they are announced in its answer.

use super::{
    gop::{Gop, Limits},
    rendition::Rendition,
    stream::{Identity, Stream},
    switcher::Switcher,
    viewer::Track,
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
}

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
            let identity = Identity {
                ssrc,
                pt: format.pt,
                rtx: format.rtx.map(|pt| (rtx_ssrc, pt)),
            };
            tracks.push(Track {
                rendition: rendition.key(),
                codec,
                stream: Stream::new(kind, identity, random()?),
                switcher: Switcher::start(&Gop::new(Limits::default())),
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

fn random() -> Result<u64, sdp::Error> {
    getrandom::u64()
        .map_err(|error| sdp::Error::Unsupported(format!("no random numbers to be had: {error}")))
}
