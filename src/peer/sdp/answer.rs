//! Answers: one writer for sections that send, receive, stay inactive or are rejected.

use std::fmt::Write as _;

use super::{Codec, Format, Kind, Media, Offer, Section, Transport, candidate};

/// `a=rtcp-fb` values that both engines implement in both directions.
pub(super) const FEEDBACK: [&str; 3] = ["nack", "nack pli", "ccm fir"];

/// The `a=rtcp-fb` value of transport-wide congestion control.
const TRANSPORT_CC: &str = "transport-cc";
/// The SCTP port of data channels (RFC 8841 §5.1): the same on both sides of every browser.
const SCTP_PORT: u16 = 5000;
/// Longest message that peers may send over a data channel, in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// Where an encoder begins that gets congestion feedback, in kbit/s: half of what browsers send at
/// most in 720p. Chromium's own 300 make the first ten seconds small: it halves the picture until
/// it fits, and is slow to undo that. The estimate is right within a second, wherever it began.
const START_BITRATE: u32 = 1_500;

/// The answer to a viewer's offer: one section per offered one, in order (RFC 9429 §5.3.1), each
/// with one codec and its RTX, all candidates in the tagged section. Sections that the offer does
/// not let the server accept are rejected, whatever `sections` says about them.
///
/// Candidates are host candidates only, so `transport.candidates` must hold addresses that
/// clients can reach.
pub fn viewer_answer(offer: &Offer, sections: &[Section], transport: &Transport) -> String {
    write(offer, sections, transport)
}

/// The stream id of `a=msid` and the cname of an answer. Sender reports must carry the same
/// cname. Opaque: derived from the first SSRC that sends; "aerial" if none does.
pub fn stream_id(sections: &[Section]) -> String {
    let first = sections.iter().find_map(|section| match section {
        Section::Send { ssrc, .. } => Some(format!("a{ssrc:08x}")),
        _ => None,
    });
    first.unwrap_or_else(|| "aerial".to_owned())
}

pub(super) fn write(offer: &Offer, sections: &[Section], transport: &Transport) -> String {
    let mut writer = Writer {
        text: String::with_capacity(4096),
        offer,
        transport,
    };
    let stream = stream_id(sections);
    let planned: Vec<(&Media, &Section)> = offer
        .media
        .iter()
        .zip(sections.iter().chain(std::iter::repeat(&Section::Inactive)))
        .map(|(media, section)| {
            (
                media,
                match section {
                    Section::Channel if media.is_channel() => section,
                    Section::Channel => &Section::Rejected,
                    _ if media.is_track() => section,
                    _ => &Section::Rejected,
                },
            )
        })
        .collect();
    writer.session(&planned);
    let tagged = tagged(offer, &planned);
    for (index, (media, section)) in planned.into_iter().enumerate() {
        writer.section(media, section, &stream);
        if Some(index) == tagged {
            writer.candidates();
        }
    }
    writer.text
}

/// The mids of the answer's BUNDLE group, tagged first: the accepted ones in offered order
/// (RFC 9143 §7.3.1).
fn bundled<'a>(offer: &'a Offer, planned: &[(&Media, &Section)]) -> Vec<&'a str> {
    let accepted = |mid: &&String| {
        planned
            .iter()
            .any(|(media, section)| media.mid == **mid && !matches!(section, Section::Rejected))
    };
    offer
        .bundle
        .iter()
        .flatten()
        .filter(accepted)
        .map(String::as_str)
        .collect()
}

/// The accepted section that carries the bundle's transport.
fn tagged(offer: &Offer, planned: &[(&Media, &Section)]) -> Option<usize> {
    let of_bundle = bundled(offer, planned)
        .first()
        .and_then(|mid| planned.iter().position(|(media, _)| media.mid == **mid));
    let accepted = |(_, section): &(&Media, &Section)| !matches!(section, Section::Rejected);
    of_bundle.or_else(|| planned.iter().position(accepted))
}

struct Writer<'a> {
    text: String,
    offer: &'a Offer,
    transport: &'a Transport,
}

impl Writer<'_> {
    /// One line with its CRLF: `FFmpeg` and OBS need it.
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a `String` cannot fail.
        let _ = self.text.write_fmt(line);
        self.text.push_str("\r\n");
    }

    fn session(&mut self, planned: &[(&Media, &Section)]) {
        // The session id only has to differ between sessions (RFC 8866 §5.2), which a user name
        // fragment does.
        let id = self
            .transport
            .ice_ufrag
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        self.line(format_args!("v=0"));
        self.line(format_args!("o=- {} 2 IN IP4 127.0.0.1", id >> 1));
        self.line(format_args!("s=-"));
        self.line(format_args!("t=0 0"));
        let bundled = bundled(self.offer, planned);
        if !bundled.is_empty() {
            self.line(format_args!("a=group:BUNDLE {}", bundled.join(" ")));
        }
        if self.transport.ice_lite {
            self.line(format_args!("a=ice-lite"));
        }
        self.line(format_args!("a=ice-options:trickle"));
    }

    fn section(&mut self, media: &Media, section: &Section, stream: &str) {
        match section {
            Section::Send {
                format,
                ssrc,
                rtx_ssrc,
            } => {
                self.head(media, &[Some(format.pt), format.rtx]);
                self.line(format_args!("a=sendonly"));
                self.line(format_args!("a=msid:{stream} {stream}-{}", media.mid));
                self.format(media, format, false);
                self.ssrcs(*ssrc, format.rtx.map(|_| *rtx_ssrc), stream);
            }
            Section::Receive { format, rids } => {
                self.head(media, &[Some(format.pt), format.rtx]);
                self.line(format_args!("a=recvonly"));
                self.format(media, format, true);
                for rid in rids {
                    self.line(format_args!("a=rid:{rid} recv"));
                }
                if !rids.is_empty() {
                    // RFC 8853 §5.3.2: the offer's `send` is the answer's `recv`.
                    self.line(format_args!("a=simulcast:recv {}", rids.join(";")));
                }
            }
            Section::Inactive => {
                let known = media.formats.iter().find(|format| format.codec.is_some());
                let format = known.or(media.formats.first());
                self.head(media, &[format.map(|format| format.pt)]);
                self.line(format_args!("a=inactive"));
                if let Some(format) = format {
                    self.rtpmap(format);
                }
            }
            Section::Channel => {
                let line = &media.line;
                self.line(format_args!(
                    "m={} 9 {} {}",
                    line.medium, line.protocol, line.first_format
                ));
                self.transport(media);
                self.line(format_args!("a=sctp-port:{SCTP_PORT}"));
                self.line(format_args!("a=max-message-size:{MESSAGE_BYTES_MAX}"));
            }
            Section::Rejected => {
                let line = &media.line;
                self.line(format_args!(
                    "m={} 0 {} {}",
                    line.medium, line.protocol, line.first_format
                ));
                self.line(format_args!("c=IN IP4 0.0.0.0"));
                self.line(format_args!("a=mid:{}", media.mid));
                if media.kind.is_some() {
                    self.line(format_args!("a=inactive"));
                }
            }
        }
    }

    /// The m= line of an accepted section and its transport. Each section repeats the bundle's
    /// transport attributes: clients differ in which one they read.
    fn head(&mut self, media: &Media, pts: &[Option<u8>]) {
        let formats = pts
            .iter()
            .flatten()
            .fold(String::new(), |all, pt| format!("{all} {pt}"));
        let line = &media.line;
        self.line(format_args!(
            "m={} 9 {}{formats}",
            line.medium, line.protocol
        ));
        self.transport(media);
        self.line(format_args!("a=rtcp-mux"));
        // RFC 9725 §4.4.1 demands it in answers, RFC 8858 §4.3 forbids it: mirror the offer.
        if media.rtcp_mux_only {
            self.line(format_args!("a=rtcp-mux-only"));
        }
        if media.rtcp_rsize {
            self.line(format_args!("a=rtcp-rsize"));
        }
    }

    /// What every accepted section says about the transport.
    fn transport(&mut self, media: &Media) {
        self.line(format_args!("c=IN IP4 0.0.0.0"));
        self.line(format_args!("a=mid:{}", media.mid));
        let transport = self.transport;
        self.line(format_args!("a=ice-ufrag:{}", transport.ice_ufrag));
        self.line(format_args!("a=ice-pwd:{}", transport.ice_pwd));
        let hex: Vec<String> = transport
            .fingerprint
            .iter()
            .map(|b| format!("{b:02X}"))
            .collect();
        self.line(format_args!("a=fingerprint:sha-256 {}", hex.join(":")));
        self.line(format_args!("a=setup:{}", self.offer.setup.answer().name()));
    }

    /// Codec, feedback and header extensions. `receives`: whether the server is the receiver;
    /// parameters that describe the sender's stream (`sprop-...`) are then left out.
    fn format(&mut self, media: &Media, format: &Format, receives: bool) {
        for (id, uri) in &media.extensions {
            if self.transport.extensions_used.contains(&uri.as_str()) {
                self.line(format_args!("a=extmap:{id} {uri}"));
            }
        }
        let pt = format.pt;
        self.rtpmap(format);
        for value in &format.feedback {
            let value = value.as_str();
            if FEEDBACK.contains(&value) || self.transport.feedback_used.contains(&value) {
                self.line(format_args!("a=rtcp-fb:{pt} {value}"));
            }
        }
        let mut parameters: Vec<&str> = format
            .fmtp
            .iter()
            .flat_map(|fmtp| fmtp.split(';'))
            .map(str::trim)
            .filter(|p| !p.is_empty())
            .filter(|p| !receives || !p.starts_with("sprop-"))
            .collect();
        if receives && format.codec == Some(Codec::Opus) {
            // What the offer says is what the client wants to hear. The server keeps any sound as
            // it is; without this, browsers mix it down to mono (RFC 7587 §6.1).
            parameters.retain(|parameter| !parameter.starts_with("stereo="));
            parameters.push("stereo=1");
        }
        let start;
        if receives && self.is_congestion_fed_back(format) {
            start = format!("x-google-start-bitrate={START_BITRATE}");
            parameters.push(&start);
        }
        if !parameters.is_empty() {
            self.line(format_args!("a=fmtp:{pt} {}", parameters.join(";")));
        }
        if let Some(rtx) = format.rtx {
            let clock_rate = format.codec.map_or(90_000, Codec::clock_rate);
            self.line(format_args!("a=rtpmap:{rtx} rtx/{clock_rate}"));
            self.line(format_args!("a=fmtp:{rtx} apt={pt}"));
        }
    }

    /// Whether the server tells the sender of this picture how its packets arrive.
    fn is_congestion_fed_back(&self, format: &Format) -> bool {
        let is_picture = format
            .codec
            .is_some_and(|codec| codec.kind() == Kind::Video);
        let mut offered = format.feedback.iter().map(String::as_str);
        is_picture
            && self.transport.feedback_used.contains(&TRANSPORT_CC)
            && offered.any(|value| value == TRANSPORT_CC)
    }

    /// `a=rtpmap`, with the codec's name in the case that browsers use.
    fn rtpmap(&mut self, format: &Format) {
        let pt = format.pt;
        match (format.codec, &format.rtpmap) {
            (Some(codec), Some(rtpmap)) => {
                let rest = rtpmap.split_once('/').map_or("", |(_, rest)| rest);
                self.line(format_args!(
                    "a=rtpmap:{pt} {}/{rest}",
                    codec.encoding_name()
                ));
            }
            (None, Some(rtpmap)) => self.line(format_args!("a=rtpmap:{pt} {rtpmap}")),
            (_, None) => {}
        }
    }

    /// RFC 5576: declares the SSRCs, and which one repairs which.
    fn ssrcs(&mut self, ssrc: u32, rtx_ssrc: Option<u32>, cname: &str) {
        if let Some(rtx_ssrc) = rtx_ssrc {
            self.line(format_args!("a=ssrc-group:FID {ssrc} {rtx_ssrc}"));
        }
        for ssrc in [Some(ssrc), rtx_ssrc].into_iter().flatten() {
            self.line(format_args!("a=ssrc:{ssrc} cname:{cname}"));
        }
    }

    fn candidates(&mut self) {
        for line in candidate::lines(self.transport) {
            self.line(format_args!("a=candidate:{line}"));
        }
        self.line(format_args!("a=end-of-candidates"));
    }
}
