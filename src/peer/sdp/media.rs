//! One m= section of an offer, read into [`Media`].

use super::{
    Codec, Direction, Error, Format, Kind, Media, MediaLine, Role,
    lines::{Attributes, RawSection, malformed},
};

/// Most bytes in `a=mid`. Browsers write one digit; the header extension allows 255.
const MID_BYTES_MAX: usize = 32;
/// Most header extensions kept in a section; Chromium offers 14.
const EXTENSIONS_MAX: usize = 32;
/// Most `a=rtcp-fb` values kept for a format; Chromium offers 5.
const FEEDBACK_MAX: usize = 16;
/// Most rids kept; browsers and OBS send up to 3 or 4.
const RIDS_MAX: usize = 8;
/// Most bytes in a rid (RFC 8852 §3.1 has no limit, libwebrtc has this one).
const RID_BYTES_MAX: usize = 16;
/// Most `a=ssrc` and `a=ssrc-group` lines kept in a section: three layers with RTX take 15.
const SSRC_LINES_MAX: usize = 64;

impl Media {
    /// Reads a section. `number` counts from 1 and is for error texts.
    pub(super) fn read(
        number: usize,
        section: &RawSection<'_>,
        session: &Attributes<'_>,
    ) -> Result<Self, Error> {
        let mut words = section.line.split_ascii_whitespace();
        let (Some(medium), Some(port), Some(protocol), Some(first_format)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(malformed(format!(
                "m= line {number} is incomplete: medium, port, protocol and formats are needed"
            )));
        };
        let port: u16 = port
            .split('/')
            .next()
            .and_then(|port| port.parse().ok())
            .ok_or_else(|| malformed(format!("m= line {number} has no valid port")))?;
        let kind = match medium {
            "video" => Some(Kind::Video),
            "audio" => Some(Kind::Audio),
            _ => None,
        };
        let attributes = &section.attributes;
        let formats = match kind {
            Some(kind) => {
                if !protocol.contains("RTP/") {
                    return Err(malformed(format!(
                        "m= line {number} has the protocol {protocol}: offer UDP/TLS/RTP/SAVPF"
                    )));
                }
                read_formats(kind, std::iter::once(first_format).chain(words), attributes)
                    .ok_or_else(|| malformed(format!("m= line {number} has a bad payload type")))?
            }
            None => Vec::new(),
        };
        Ok(Self {
            mid: read_mid(number, attributes)?,
            kind,
            rejected: port == 0 && !attributes.has("bundle-only"),
            direction: direction(attributes)
                .or_else(|| direction(session))
                .unwrap_or(Direction::Sendrecv),
            formats,
            extensions: read_extensions(attributes, session),
            rids: read_rids(attributes),
            rtcp_mux_only: attributes.has("rtcp-mux-only"),
            rtcp_rsize: attributes.has("rtcp-rsize"),
            line: MediaLine {
                medium: medium.to_owned(),
                protocol: protocol.to_owned(),
                first_format: first_format.to_owned(),
            },
            ssrcs: attributes
                .iter()
                .filter(|(name, _)| matches!(*name, "ssrc" | "ssrc-group"))
                .map(|(name, value)| format!("{name}:{value}"))
                .take(SSRC_LINES_MAX)
                .collect(),
        })
    }

    /// A track of this kind, in a direction that fits the client's role.
    pub(super) fn is_active(&self, kind: Kind, role: Role) -> bool {
        self.is_track() && self.kind == Some(kind) && self.direction.suits(role)
    }

    /// Data channels in use (RFC 8841).
    pub(super) fn is_channel(&self) -> bool {
        let line = &self.line;
        line.medium == "application"
            && line.protocol.ends_with("DTLS/SCTP")
            && line.first_format == "webrtc-datachannel"
            && !self.rejected
    }

    /// Audio or video in use: a section the server can accept.
    pub(super) fn is_track(&self) -> bool {
        self.kind.is_some() && !self.rejected
    }
}

/// `a=mid`, or empty if there is none: whether that is allowed depends on the other sections.
fn read_mid(number: usize, attributes: &Attributes<'_>) -> Result<String, Error> {
    let mid = attributes.get("mid").unwrap_or_default();
    let token = mid.bytes().all(|b| b.is_ascii_graphic());
    if !token || mid.len() > MID_BYTES_MAX || (mid.is_empty() && attributes.has("mid")) {
        return Err(malformed(format!("m= section {number} has a bad a=mid")));
    }
    Ok(mid.to_owned())
}

/// The last direction attribute decides, if there are several.
pub(super) fn direction(attributes: &Attributes<'_>) -> Option<Direction> {
    attributes.iter().fold(None, |found, (name, _)| match name {
        "sendrecv" => Some(Direction::Sendrecv),
        "sendonly" => Some(Direction::Sendonly),
        "recvonly" => Some(Direction::Recvonly),
        "inactive" => Some(Direction::Inactive),
        _ => found,
    })
}

/// The payload types of the m= line with their rtpmap, fmtp, rtcp-fb and rtx. `None` if one is
/// not a number up to 127.
fn read_formats<'a>(
    kind: Kind,
    words: impl Iterator<Item = &'a str>,
    attributes: &Attributes<'a>,
) -> Option<Vec<Format>> {
    let mut formats: Vec<Format> = Vec::new();
    for word in words {
        let pt: u8 = word.parse().ok().filter(|pt| *pt < 128)?;
        if !formats.iter().any(|format| format.pt == pt) {
            formats.push(Format {
                pt,
                codec: None,
                rtpmap: None,
                fmtp: None,
                rtx: None,
                feedback: Vec::new(),
            });
        }
    }
    for (name, value) in attributes.iter() {
        if !matches!(name, "rtpmap" | "fmtp" | "rtcp-fb") {
            continue;
        }
        let Some((pt, value)) = value.trim().split_once(' ') else {
            continue;
        };
        let (pt, every, value) = (pt.parse::<u8>().ok(), pt == "*", value.trim());
        let concerned = formats
            .iter_mut()
            .filter(|format| Some(format.pt) == pt || (every && name == "rtcp-fb"));
        for format in concerned {
            match name {
                "rtpmap" if format.rtpmap.is_none() => {
                    format.codec = codec(kind, value);
                    format.rtpmap = Some(value.to_owned());
                }
                "fmtp" if format.fmtp.is_none() => format.fmtp = Some(value.to_owned()),
                "rtcp-fb" if format.feedback.len() < FEEDBACK_MAX => {
                    format.feedback.push(value.to_owned());
                }
                _ => {}
            }
        }
    }
    let rtx: Vec<(u8, u8)> = formats
        .iter()
        .filter_map(|f| Some((apt(f)?, f.pt)))
        .collect();
    for format in &mut formats {
        format.rtx = rtx
            .iter()
            .find(|(apt, _)| *apt == format.pt)
            .map(|(_, pt)| *pt);
    }
    Some(formats)
}

/// The codec of an rtpmap such as `opus/48000/2`, if Aerial carries it.
fn codec(kind: Kind, rtpmap: &str) -> Option<Codec> {
    let mut parts = rtpmap.split('/');
    let codec = Codec::from_encoding_name(parts.next()?)?;
    let clock_rate: u32 = parts.next()?.trim().parse().ok()?;
    let channels = parts.next().map(str::trim);
    let fits = codec.kind() == kind
        && codec.clock_rate() == clock_rate
        && match codec.kind() {
            // RFC 7587 §7: always 2; GStreamer's whepclientsrc omits it.
            Kind::Audio => matches!(channels, None | Some("2")),
            Kind::Video => true,
        };
    fits.then_some(codec)
}

/// The payload type that this format retransmits, if it is RTX.
fn apt(format: &Format) -> Option<u8> {
    let name = format.rtpmap.as_deref()?.split('/').next()?;
    if !name.eq_ignore_ascii_case("rtx") {
        return None;
    }
    format.parameter("apt")?.parse().ok()
}

impl Format {
    /// The format as the server sends it: without what the client says of its own stream
    /// (`sprop-...`). `stereo` says whether the server's sound is in stereo, which is announced to
    /// a client that wants to hear it so (RFC 7587 §6.1).
    #[must_use]
    pub fn to_send(&self, stereo: bool) -> Self {
        let of_receiver = self
            .fmtp
            .iter()
            .flat_map(|fmtp| fmtp.split(';'))
            .map(str::trim)
            .filter(|parameter| {
                let name = parameter.get(..6).unwrap_or_default();
                !parameter.is_empty() && !name.eq_ignore_ascii_case("sprop-")
            });
        let mut fmtp: Vec<&str> = of_receiver.collect();
        if stereo && self.parameter("stereo") == Some("1") {
            fmtp.push("sprop-stereo=1");
        }
        Self {
            fmtp: (!fmtp.is_empty()).then(|| fmtp.join(";")),
            ..self.clone()
        }
    }

    /// Whether to request keyframes from its sender by FIR (RFC 5104 §4.3.1), because it does not
    /// understand PLI.
    pub fn takes_only_fir(&self) -> bool {
        let takes = |value: &str| self.feedback.iter().any(|offered| offered == value);
        takes("ccm fir") && !takes("nack pli")
    }

    /// One parameter of `a=fmtp`; names are compared without case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.fmtp
            .as_deref()?
            .split(';')
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// `a=extmap` of the section and the session with ids that fit a header (RFC 8285 §5).
fn read_extensions(attributes: &Attributes<'_>, session: &Attributes<'_>) -> Vec<(u8, String)> {
    let mut extensions: Vec<(u8, String)> = Vec::new();
    for value in attributes.all("extmap").chain(session.all("extmap")) {
        let mut words = value.split_ascii_whitespace();
        let id = words
            .next()
            .and_then(|id| id.split('/').next()?.parse().ok());
        let (Some(id @ 1..), Some(uri)) = (id, words.next()) else {
            continue;
        };
        let known = extensions.iter().any(|(known, _)| *known == id);
        if !known && extensions.len() < EXTENSIONS_MAX {
            extensions.push((id, uri.to_owned()));
        }
    }
    extensions
}

/// The layers of a simulcast publisher (RFC 8853 §5.1).
fn read_rids(attributes: &Attributes<'_>) -> Vec<String> {
    let simulcast = attributes
        .get("simulcast")
        .is_some_and(|value| value.split_ascii_whitespace().any(|word| word == "send"));
    if !simulcast {
        return Vec::new();
    }
    let mut rids: Vec<String> = Vec::new();
    for value in attributes.all("rid") {
        let mut words = value.split_ascii_whitespace();
        let (Some(rid), Some("send")) = (words.next(), words.next()) else {
            continue;
        };
        let valid = rid.len() <= RID_BYTES_MAX
            && rid
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if valid && rids.len() < RIDS_MAX && !rids.iter().any(|known| known == rid) {
            rids.push(rid.to_owned());
        }
    }
    rids
}
