//! The codec table: caps, parser, payloader and depayloader of every codec that Aerial carries.

use std::str::FromStr;

use gst::prelude::*;
use gstreamer as gst;

use super::{Error, elements, temporal_unit, tidy};
use crate::media::{Codec, Kind};

/// [`crate::media::rtp::PACKET_BYTES_MAX`] as a payloader's property.
pub(crate) const MTU: &str = "1200";

type Properties = &'static [(&'static str, &'static str)];

/// What GStreamer needs to know to carry one codec.
pub(crate) struct Elements {
    /// Media type of the encoded stream.
    pub(crate) media_type: &'static str,
    /// Caps requested from encoders and depayloaders, best first.
    pub(crate) caps: &'static str,
    parser: Option<(&'static str, Properties)>,
    /// Caps between parser and payloader.
    parsed: Option<&'static str>,
    payloader: (&'static str, Properties),
    depayloader: (&'static str, Properties),
    /// Caps between depayloader and packetizer.
    depayed: Option<&'static str>,
}

const H264: Elements = Elements {
    media_type: "video/x-h264",
    caps: "video/x-h264,stream-format=byte-stream,alignment=au;video/x-h264",
    // -1: parameter sets before every IDR picture, for viewers that join
    parser: Some((
        "h264parse",
        &[("config-interval", "-1"), ("disable-passthrough", "true")],
    )),
    // not byte-stream: h264parse would add a delimiter to every frame, in a packet of its own
    parsed: Some("video/x-h264,stream-format=avc,alignment=au"),
    payloader: (
        "rtph264pay",
        &[("aggregate-mode", "zero-latency"), ("mtu", MTU)],
    ),
    depayloader: ("rtph264depay", &[("request-keyframe", "true")]),
    depayed: Some("video/x-h264,stream-format=byte-stream,alignment=au"),
};

const H265: Elements = Elements {
    media_type: "video/x-h265",
    caps: "video/x-h265,stream-format=byte-stream,alignment=au;video/x-h265",
    parser: Some((
        "h265parse",
        &[("config-interval", "-1"), ("disable-passthrough", "true")],
    )),
    parsed: Some("video/x-h265,stream-format=byte-stream,alignment=au"),
    payloader: (
        "rtph265pay",
        &[("aggregate-mode", "zero-latency"), ("mtu", MTU)],
    ),
    depayloader: ("rtph265depay", &[]),
    depayed: Some("video/x-h265,stream-format=byte-stream,alignment=au"),
};

const VP8: Elements = Elements {
    media_type: "video/x-vp8",
    caps: "video/x-vp8",
    parser: None,
    parsed: None,
    payloader: ("rtpvp8pay", &[("picture-id-mode", "15-bit"), ("mtu", MTU)]),
    depayloader: ("rtpvp8depay", &[("request-keyframe", "true")]),
    depayed: None,
};

const VP9: Elements = Elements {
    media_type: "video/x-vp9",
    caps: "video/x-vp9",
    parser: Some(("vp9parse", &[])),
    parsed: Some("video/x-vp9,alignment=super-frame"),
    payloader: ("rtpvp9pay", &[("picture-id-mode", "15-bit"), ("mtu", MTU)]),
    depayloader: ("rtpvp9depay", &[("request-keyframe", "true")]),
    depayed: None,
};

const AV1: Elements = Elements {
    media_type: "video/x-av1",
    caps: "video/x-av1,stream-format=obu-stream,alignment=tu;video/x-av1",
    parser: Some(("av1parse", &[])),
    parsed: Some("video/x-av1,parsed=true,stream-format=obu-stream,alignment=tu"),
    payloader: ("rtpav1pay", &[("mtu", MTU)]),
    depayloader: ("rtpav1depay", &[("request-keyframe", "true")]),
    depayed: None,
};

const OPUS: Elements = Elements {
    media_type: "audio/x-opus",
    caps: "audio/x-opus,channel-mapping-family=0",
    parser: None,
    parsed: None,
    payloader: ("rtpopuspay", &[("mtu", MTU)]),
    depayloader: ("rtpopusdepay", &[]),
    depayed: None,
};

/// The row of a codec.
pub(crate) const fn elements(codec: Codec) -> &'static Elements {
    match codec {
        Codec::H264 => &H264,
        Codec::H265 => &H265,
        Codec::Vp8 => &VP8,
        Codec::Vp9 => &VP9,
        Codec::Av1 => &AV1,
        Codec::Opus => &OPUS,
    }
}

impl Elements {
    /// The parser's factory name; `identity` where none is needed.
    pub(crate) fn parser_name(&self) -> &'static str {
        self.parser.map_or("identity", |(factory, _)| factory)
    }

    fn codec(&self) -> Option<Codec> {
        Codec::ALL
            .into_iter()
            .find(|&codec| elements(codec).media_type == self.media_type)
    }

    /// The elements that turn the encoded stream into RTP packets: parser, caps filter, payloader.
    pub(crate) fn packetizer(&self) -> Result<Vec<gst::Element>, Error> {
        let mut chain = self.parser()?;
        let (factory, properties) = self.payloader;
        chain.push(elements::make(factory, properties)?);
        Ok(chain)
    }

    /// The elements that complete the encoded stream: parser, caps filter. None if it needs none.
    pub(crate) fn parser(&self) -> Result<Vec<gst::Element>, Error> {
        let mut chain = Vec::new();
        if let Some((factory, properties)) = self.parser {
            chain.push(elements::make(factory, properties)?);
        }
        if let Some(caps) = self.parsed {
            chain.push(elements::make("capsfilter", &[("caps", caps)])?);
        }
        Ok(chain)
    }

    /// The elements that turn a publisher's RTP packets into the encoded stream: depayloader, caps
    /// filter.
    pub(crate) fn depayloader(&self) -> Result<Vec<gst::Element>, Error> {
        let chain = self.frame_depayloader()?;
        let pad = chain.first().and_then(|first| first.static_pad("sink"));
        if let (Some(pad), Some(codec)) = (pad, self.codec()) {
            tidy::tidy_pad(&pad, codec);
        }
        Ok(chain)
    }

    /// As [`Elements::depayloader`], for the payloads of a [`crate::media::Frame`], which need no
    /// tidying up.
    pub(crate) fn frame_depayloader(&self) -> Result<Vec<gst::Element>, Error> {
        let (factory, properties) = self.depayloader;
        let depayloader = elements::make(factory, properties)?;
        if self.codec() == Some(Codec::Av1)
            && let Some(pad) = depayloader.static_pad("src")
        {
            temporal_unit::join_pad(&pad);
        }
        let mut chain = vec![depayloader];
        if let Some(caps) = self.depayed {
            chain.push(elements::make("capsfilter", &[("caps", caps)])?);
        }
        Ok(chain)
    }
}

/// The codec of an encoded stream with these caps, if Aerial carries it.
pub(crate) fn of_caps(caps: &gst::CapsRef) -> Option<Codec> {
    let name = caps.structure(0)?.name();
    Codec::ALL
        .into_iter()
        .find(|&codec| elements(codec).media_type == name.as_str())
}

/// Caps of every codec of a kind.
pub(crate) fn accepted(kind: Kind) -> gst::Caps {
    let text: Vec<_> = Codec::ALL
        .into_iter()
        .filter(|codec| codec.kind() == kind)
        .map(|codec| elements(codec).caps)
        .collect();
    // the table is constant and tested: the fallback is never used
    gst::Caps::from_str(&text.join(";")).unwrap_or_else(|_| gst::Caps::new_any())
}

/// Audio encodings that no browser plays: a source that makes them gets an Opus encoder.
const FOREIGN_AUDIO: &str = "audio/mpeg;audio/x-ac3;audio/x-eac3;audio/x-flac;\
    audio/x-vorbis;audio/x-mulaw;audio/x-alaw;audio/AMR;audio/AMR-WB;audio/x-speex";

/// Video encodings that no browser plays: a source that makes them gets an H.264 encoder.
const FOREIGN_VIDEO: &str = "image/jpeg;video/mpeg,systemstream=(boolean)false;video/x-h263;\
    video/x-theora;video/x-flash-video;video/x-wmv;video/x-prores";

/// Caps that sources may make although no browser plays them.
pub(crate) fn foreign(kind: Kind) -> gst::Caps {
    let text = match kind {
        Kind::Audio => FOREIGN_AUDIO,
        Kind::Video => FOREIGN_VIDEO,
    };
    // constant and tested: the fallback is never used
    gst::Caps::from_str(text).unwrap_or_else(|_| gst::Caps::new_empty())
}

/// The codec that foreign media is transcoded to.
pub(crate) const fn instead_of_foreign(kind: Kind) -> Codec {
    match kind {
        Kind::Audio => Codec::Opus,
        Kind::Video => Codec::H264,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloaders_make_packets_of_the_usual_size() {
        assert_eq!(MTU.parse(), Ok(crate::media::rtp::PACKET_BYTES_MAX));
    }

    #[test]
    fn every_row_builds() {
        crate::pipeline::init().unwrap();
        for codec in Codec::ALL {
            let row = elements(codec);
            assert!(!row.packetizer().unwrap().is_empty(), "{codec}");
            assert!(!row.depayloader().unwrap().is_empty(), "{codec}");
            let caps = gst::Caps::from_str(row.caps).unwrap();
            assert_eq!(of_caps(&caps), Some(codec));
        }
        assert!(!accepted(Kind::Video).is_any());
        assert_eq!(accepted(Kind::Video).size(), 8);
        assert_eq!(accepted(Kind::Audio).size(), 1);
        assert_eq!(foreign(Kind::Audio).size(), 10);
        assert_eq!(foreign(Kind::Video).size(), 7);
    }
}
