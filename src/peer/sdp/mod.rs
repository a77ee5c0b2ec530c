//! Session descriptions as pure data: parse, validate, choose codecs, normalise, answer.
//!
//! Follows JSEP (RFC 9429), BUNDLE (RFC 9143), WHIP (RFC 9725 §4.4) and WHEP. Does no IO and
//! knows neither GStreamer nor str0m.
//!
//! The path of an offer: [`Offer::parse`] reads and validates it; [`Offer::choose`] (viewers) or
//! [`Offer::choose_publish`] (publishers) picks one format per section; [`viewer_answer`] writes
//! the answer. For webrtcbin, [`Offer::normalised`] makes a simpler offer out of it,
//! [`local_description`] completes what webrtcbin creates, and [`publisher_answer`] turns that into
//! an answer that fits the original offer; for viewers on webrtcbin these are
//! [`Offer::normalised_for_sending`] and [`engine_viewer_answer`].

mod answer;
mod candidate;
mod choose;
mod fragment;
mod lines;
mod media;
mod normalise;
mod offer;
mod profile;
mod publisher;
#[cfg(test)]
mod tests;
mod viewer;

use std::net::SocketAddr;

pub use self::{
    answer::{stream_id, viewer_answer},
    choose::Choice,
    fragment::{Change, Fragment, Remote, restart_answer},
    publisher::{
        SectionExtensions, engine_transport, local_description, publisher_answer,
        section_extensions,
    },
    viewer::engine_viewer_answer,
};
use crate::media::{Codec, Kind};

/// Largest offer accepted, in bytes.
pub const OFFER_BYTES_MAX: usize = 128 * 1024;
/// Largest trickle fragment accepted, in bytes.
pub const FRAGMENT_BYTES_MAX: usize = 64 * 1024;

/// Which way the media of a session goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// WHIP: the client sends.
    Publisher,
    /// WHEP: the client receives.
    Viewer,
}

/// Why an offer or a fragment is refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Not readable as what it should be: HTTP 400.
    #[error("{0}")]
    Malformed(String),
    /// Well-formed, but not something this server can do: HTTP 422.
    #[error("{0}")]
    Unsupported(String),
    /// No codec in common for a wanted track: HTTP 422, problem type `codec-mismatch`.
    #[error("{0}")]
    CodecMismatch(String),
    /// The engine's own answer is unusable, through no fault of the client: HTTP 500.
    #[error("{0}")]
    Engine(String),
}

/// A parsed and validated offer.
#[derive(Clone, Debug)]
pub struct Offer {
    /// What the offer was validated for.
    pub role: Role,
    /// The m= sections in offered order.
    pub media: Vec<Media>,
    /// ICE user name fragment of the bundle.
    pub ice_ufrag: String,
    /// ICE password of the bundle.
    pub ice_pwd: String,
    /// Certificate fingerprint of the bundle: hash name in lower case (always `sha-256`), bytes.
    pub fingerprint: (String, Vec<u8>),
    /// The peer's `a=setup`.
    pub setup: Setup,
    /// `a=group:BUNDLE`: the mids that exist, tagged first; `None` if there is no such group.
    pub bundle: Option<Vec<String>>,
}

/// `a=setup` (RFC 4145, RFC 8842).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The peer can be either.
    Actpass,
    /// The peer is the DTLS client.
    Active,
    /// The peer is the DTLS server.
    Passive,
}

impl Setup {
    /// The value as written after `a=setup:`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Actpass => "actpass",
            Self::Active => "active",
            Self::Passive => "passive",
        }
    }

    /// The server's answer to this offer: active (DTLS client) whenever the offer allows it, which
    /// RFC 8842 §5.3 recommends and `FFmpeg` needs.
    #[must_use]
    pub const fn answer(self) -> Self {
        match self {
            Self::Actpass | Self::Passive => Self::Active,
            Self::Active => Self::Passive,
        }
    }
}

/// The direction attribute of an m= section, seen from the client (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both ways; also what a missing attribute means.
    Sendrecv,
    /// The client sends.
    Sendonly,
    /// The client receives.
    Recvonly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// Whether this direction fits the client's role.
    pub const fn suits(self, role: Role) -> bool {
        match role {
            Role::Publisher => matches!(self, Self::Sendrecv | Self::Sendonly),
            Role::Viewer => matches!(self, Self::Sendrecv | Self::Recvonly),
        }
    }
}

/// One m= section of an offer.
#[derive(Clone, Debug)]
pub struct Media {
    /// `a=mid`; "0" if the only section of an offer has none.
    pub mid: String,
    /// The track kind; `None` for an application section or an unknown medium.
    pub kind: Option<Kind>,
    /// Whether the client itself offers the section as unused (port 0, not bundle-only): it can
    /// only be answered with port 0.
    pub rejected: bool,
    /// Which way the client wants the media to go.
    pub direction: Direction,
    /// Payload types in offered order, with what belongs to each. Empty if `kind` is `None`.
    pub formats: Vec<Format>,
    /// Header extensions: id and URI.
    pub extensions: Vec<(u8, String)>,
    /// `a=rid:<id> send` of a simulcast publisher, in offered order; empty without `a=simulcast`.
    pub rids: Vec<String>,
    /// Whether `a=rtcp-mux-only` is present (RFC 8858).
    pub rtcp_mux_only: bool,
    /// Whether `a=rtcp-rsize` is present (RFC 5506).
    pub rtcp_rsize: bool,
    /// The medium, the protocol and the first format as written in the m= line.
    line: MediaLine,
    /// `a=ssrc` and `a=ssrc-group` values as written, each with its attribute name.
    ssrcs: Vec<String>,
}

/// The parts of an m= line that an answer repeats.
#[derive(Clone, Debug)]
struct MediaLine {
    medium: String,
    protocol: String,
    first_format: String,
}

/// One payload type of an m= section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Payload type number.
    pub pt: u8,
    /// The codec; `None` for formats that Aerial does not carry (rtx, red, PCMU...).
    pub codec: Option<Codec>,
    /// `a=rtpmap` as written after the payload type, e.g. `VP8/90000`.
    pub rtpmap: Option<String>,
    /// `a=fmtp` parameters as written, if any.
    pub fmtp: Option<String>,
    /// Payload type of the RTX stream for this one (RFC 4588), if offered.
    pub rtx: Option<u8>,
    /// `a=rtcp-fb` values, e.g. `nack`, `nack pli`, `transport-cc`.
    pub feedback: Vec<String>,
}

/// What an answer says about one m= section.
#[derive(Clone, Debug)]
pub enum Section {
    /// `a=sendonly`: the server sends with this format and these SSRCs.
    Send {
        /// The chosen format, one of the offered ones.
        format: Format,
        /// SSRC of the media stream.
        ssrc: u32,
        /// SSRC of the retransmission stream; used only if `format.rtx` is set.
        rtx_ssrc: u32,
    },
    /// `a=recvonly`: the server receives this format.
    Receive {
        /// The chosen format, one of the offered ones.
        format: Format,
        /// The layers received, each with this rid (RFC 8853); empty without simulcast.
        rids: Vec<String>,
    },
    /// `a=inactive`, port 9, in BUNDLE: the broadcast lacks this track.
    Inactive,
    /// Data channels (RFC 8841).
    Channel,
    /// Port 0, not in BUNDLE: not media, or not used.
    Rejected,
}

/// The server's side of the transport, for the answer.
#[derive(Clone, Debug, Default)]
pub struct Transport {
    /// Local ICE user name fragment.
    pub ice_ufrag: String,
    /// Local ICE password.
    pub ice_pwd: String,
    /// Whether to write `a=ice-lite`.
    pub ice_lite: bool,
    /// SHA-256 fingerprint of the local certificate.
    pub fingerprint: Vec<u8>,
    /// Host candidates over UDP in order of preference.
    pub candidates: Vec<SocketAddr>,
    /// The same over TCP (passive), which come after them.
    pub tcp_candidates: Vec<SocketAddr>,
    /// URIs of the RTP header extensions that the engine writes or reads. Offered ones among
    /// them are mirrored in the answer; default none.
    pub extensions_used: &'static [&'static str],
    /// `a=rtcp-fb` values that the engine implements beyond `nack`, `nack pli` and `ccm fir`,
    /// e.g. `transport-cc`; default none.
    pub feedback_used: &'static [&'static str],
}

/// How webrtcbin is reached, from its answer.
#[derive(Clone, Debug)]
pub struct EngineTransport {
    /// Its ICE user name fragment.
    pub ice_ufrag: String,
    /// Its ICE password.
    pub ice_pwd: String,
    /// SHA-256 fingerprint of its certificate.
    pub fingerprint: Vec<u8>,
    /// Its candidate on loopback.
    pub candidate: SocketAddr,
}
