//! A publisher's streams, declared to str0m without SDP.

use std::collections::{HashSet, VecDeque};

use str0m::{
    Rtc, RtcConfig,
    bwe::Bitrate,
    format::{self, FormatParams},
    media::{Frequency, KeyframeRequestKind, MediaKind, Mid, Rid},
    rtp::{Extension, Ssrc},
};

use crate::{
    media::{Codec, Kind, rtp::RtpHeader},
    peer::sdp::{Choice, Offer},
};

/// Streams one session may begin: three layers, their retransmissions, audio, and a restart of
/// each.
const STREAMS_MAX: usize = 16;

/// Header extensions the engine reads.
pub(crate) const EXTENSIONS: &[&str] = &[
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
];

/// The streams a publisher may send. Empty for a viewer.
#[derive(Default)]
pub(crate) struct Incoming {
    sections: Vec<Section>,
    extensions: Vec<(u8, Extension)>,
    /// The publisher understands FIR and no PLI.
    only_fir: bool,
    /// SSRCs that have sent an authentic packet.
    known: HashSet<u32>,
    /// SSRCs that have been replaced, the latest last: a late packet must not bring them back.
    retired: VecDeque<u32>,
}

struct Section {
    mid: Mid,
    kind: Kind,
    codec: Codec,
    pt: u8,
    rtx: Option<u8>,
    /// The layers of a simulcast section.
    rids: Vec<Rid>,
    /// The SSRC that sends now; unknown for layers, which str0m tells apart by their rids.
    ssrc: Option<u32>,
    /// The SSRC of its retransmissions.
    rtx_ssrc: Option<u32>,
}

impl Incoming {
    pub(crate) fn new(offer: &Offer, choices: &[Choice]) -> Self {
        let mut incoming = Self::default();
        for (media, choice) in offer.media.iter().zip(choices) {
            let Choice::Receive(format) = choice else {
                continue;
            };
            let (Some(kind), Some(codec)) = (media.kind, format.codec) else {
                continue;
            };
            let mid = Mid::from(media.mid.as_str());
            let rids = media
                .rids
                .iter()
                .map(|rid| Rid::from(rid.as_str()))
                .collect();
            if format.takes_only_fir() {
                incoming.only_fir = true;
            }
            let (pt, rtx) = (format.pt, format.rtx);
            incoming.sections.push(Section {
                mid,
                kind,
                codec,
                pt,
                rtx,
                rids,
                ssrc: None,
                rtx_ssrc: None,
            });
            for (id, uri) in &media.extensions {
                let extension = match EXTENSIONS.iter().position(|known| known == uri) {
                    Some(0) => Extension::RtpMid,
                    Some(1) => Extension::RtpStreamId,
                    Some(2) => Extension::RepairedRtpStreamId,
                    Some(_) => Extension::TransportSequenceNumber,
                    None => continue,
                };
                incoming.extensions.push((*id, extension));
            }
        }
        incoming
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sections.is_empty()
    }

    pub(super) fn kind_of(&self, pt: u8) -> Option<Kind> {
        Some(self.sections.iter().find(|section| section.pt == pt)?.kind)
    }

    pub(super) fn configure(&self, mut config: RtcConfig) -> RtcConfig {
        for section in &self.sections {
            let channels = (section.kind == Kind::Audio).then_some(2);
            let clock = match section.kind {
                Kind::Video => Frequency::NINETY_KHZ,
                Kind::Audio => Frequency::FORTY_EIGHT_KHZ,
            };
            config.codec_config().add_config(
                section.pt.into(),
                section.rtx.map(Into::into),
                codec_of(section.codec),
                clock,
                channels,
                FormatParams::default(),
            );
        }
        if !self.is_empty() {
            config = config.clear_extension_map();
            for (id, extension) in &self.extensions {
                config = config.set_extension(*id, extension.clone());
            }
        }
        config
    }

    pub(super) fn declare(&self, rtc: &mut Rtc) {
        let mut api = rtc.direct_api();
        for section in &self.sections {
            let kind = match section.kind {
                Kind::Video => MediaKind::Video,
                Kind::Audio => MediaKind::Audio,
            };
            let media = api.declare_media(section.mid, kind);
            for rid in &section.rids {
                media.expect_rid_rx(*rid);
            }
        }
        let feedback = |(_, extension): &(u8, Extension)| {
            matches!(extension, Extension::TransportSequenceNumber)
        };
        if self.extensions.iter().any(feedback) {
            api.enable_twcc_feedback();
        }
    }

    /// Whether to show str0m an RTP packet: only if it belongs to a stream whose first packet was
    /// authentic. Before it decrypts, str0m already makes room for a stream, and lets a new SSRC
    /// replace an old one (by the mid extension).
    pub(super) fn admits(
        &mut self,
        rtc: &mut Rtc,
        datagram: &[u8],
        authentic: impl FnOnce(&[u8]) -> bool,
    ) -> bool {
        let Some((pt, ssrc)) = rtp_stream(datagram) else {
            return false;
        };
        if self.known.contains(&ssrc) {
            return true;
        }
        if self.retired.contains(&ssrc) {
            return false;
        }
        let room = !self.is_empty() && self.known.len() < STREAMS_MAX;
        if !room || !authentic(datagram) {
            return false;
        }
        if self.expect(rtc, pt, ssrc) {
            self.known.insert(ssrc);
        }
        true
    }

    /// Tells str0m about an SSRC before its first packet. Not every client's offer has `a=ssrc`
    /// lines or the mid extension; all have payload types, which are unique in a bundle (RFC 9143
    /// §9.1). False for a retransmission before anything else: its stream is not known yet.
    ///
    /// A publisher may continue a section under another SSRC (RFC 3550 §8.2, RFC 9143 §9.2), which
    /// then replaces the previous one.
    fn expect(&mut self, rtc: &mut Rtc, pt: u8, ssrc: u32) -> bool {
        let mut api = rtc.direct_api();
        let mut replaced = [None; 2];
        // Layers share their payload type; their packets name their rid.
        for section in self
            .sections
            .iter_mut()
            .filter(|section| section.rids.is_empty())
        {
            if section.pt == pt {
                replaced = [section.ssrc.replace(ssrc), section.rtx_ssrc.take()];
                if let Some(before) = replaced[0] {
                    api.remove_stream_rx(before.into());
                }
                api.expect_stream_rx(ssrc.into(), None, section.mid, None);
            } else if section.rtx == Some(pt) {
                let Some(main) = section.ssrc else {
                    return false;
                };
                replaced[1] = section.rtx_ssrc.replace(ssrc);
                api.expect_stream_rx(main.into(), Some(Ssrc::from(ssrc)), section.mid, None);
            }
        }
        for ssrc in replaced.into_iter().flatten() {
            self.retire(ssrc);
        }
        true
    }

    fn retire(&mut self, ssrc: u32) {
        self.known.remove(&ssrc);
        if self.retired.len() == STREAMS_MAX {
            self.retired.pop_front();
        }
        self.retired.push_back(ssrc);
    }

    pub(super) fn request_keyframe(&self, rtc: &mut Rtc) {
        let kind = if self.only_fir {
            KeyframeRequestKind::Fir
        } else {
            KeyframeRequestKind::Pli
        };
        let mut api = rtc.direct_api();
        for (mid, rid) in self.video_streams() {
            if let Some(stream) = api.stream_rx_by_mid(mid, rid) {
                stream.request_keyframe(kind);
            }
        }
    }

    /// REMB is about all streams together: one packet is enough.
    pub(super) fn request_bitrate(&self, rtc: &mut Rtc, bitrate: u64) {
        let mut api = rtc.direct_api();
        for (mid, rid) in self.video_streams() {
            if let Some(stream) = api.stream_rx_by_mid(mid, rid) {
                return stream.request_remb(Bitrate::bps(bitrate));
            }
        }
    }

    /// The video streams that were negotiated, one for each layer.
    fn video_streams(&self) -> impl Iterator<Item = (Mid, Option<Rid>)> {
        self.sections
            .iter()
            .filter(|section| section.kind == Kind::Video)
            .flat_map(|section| {
                let layers = section.rids.iter().copied().map(Some);
                let plain = section.rids.is_empty().then_some(None);
                layers.chain(plain).map(|rid| (section.mid, rid))
            })
    }
}

/// Payload type and SSRC of an RTP packet; `None` for RTCP and anything else (RFC 7983 §7, RFC 5761
/// §4).
pub(crate) fn rtp_stream(datagram: &[u8]) -> Option<(u8, u32)> {
    let header = RtpHeader::read(datagram)?;
    Some((header.payload_type, header.ssrc))
}

fn codec_of(codec: Codec) -> format::Codec {
    match codec {
        Codec::H264 => format::Codec::H264,
        Codec::H265 => format::Codec::H265,
        Codec::Vp8 => format::Codec::Vp8,
        Codec::Vp9 => format::Codec::Vp9,
        Codec::Av1 => format::Codec::Av1,
        Codec::Opus => format::Codec::Opus,
    }
}
