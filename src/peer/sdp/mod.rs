//! Session descriptions as pure data: parse, validate, choose codecs, normalise, answer.
//!
//! Follows JSEP (RFC 9429), BUNDLE (RFC 9143), WHIP (RFC 9725 §4.4) and WHEP. Does no IO and
//! knows neither GStreamer nor str0m.

use std::net::SocketAddr;

use crate::media::{Codec, Kind};

/// Largest offer accepted, in bytes.
pub const OFFER_BYTES_MAX: usize = 128 * 1024;
/// Largest trickle fragment accepted, in bytes.
pub const FRAGMENT_BYTES_MAX: usize = 64 * 1024;

/// Which way the media of a session goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// WHIP: the client sends.
    Publisher,
    /// WHEP: the client receives.
    Viewer,
}

/// Why an offer or a fragment is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
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
}

/// A parsed and validated offer.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The m= sections in offered order.
    pub media: Vec<Media>,
    /// ICE user name fragment of the bundle.
    pub ice_ufrag: String,
    /// ICE password of the bundle.
    pub ice_pwd: String,
    /// Certificate fingerprint of the bundle: hash name in lower case, bytes.
    pub fingerprint: (String, Vec<u8>),
    /// The peer's `a=setup`.
    pub setup: Setup,
    /// Usable remote candidates: UDP, component 1, literal addresses.
    pub candidates: Vec<SocketAddr>,
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

/// One m= section of an offer.
#[derive(Clone, Debug)]
pub struct Media {
    /// `a=mid`.
    pub mid: String,
    /// The track kind; `None` for an application section or an unknown medium.
    pub kind: Option<Kind>,
    /// Payload types in offered order, with what belongs to each.
    pub formats: Vec<Format>,
    /// Header extensions: id and URI.
    pub extensions: Vec<(u8, String)>,
    /// `a=rid:<id> send` of a simulcast publisher, in offered order.
    pub rids: Vec<String>,
}

/// One payload type of an m= section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Payload type number.
    pub pt: u8,
    /// The codec; `None` for formats that Aerial does not carry (rtx, red, PCMU...).
    pub codec: Option<Codec>,
    /// `a=fmtp` parameters as written, if any.
    pub fmtp: Option<String>,
    /// Payload type of the RTX stream for this one (RFC 4588), if offered.
    pub rtx: Option<u8>,
    /// `a=rtcp-fb` values, e.g. `nack`, `nack pli`, `transport-cc`.
    pub feedback: Vec<String>,
}

/// What a viewer's answer says about one m= section.
#[derive(Clone, Debug)]
pub enum Section {
    /// Sent with this format and these SSRCs.
    Send {
        /// The chosen format, one of the offered ones.
        format: Format,
        /// SSRC of the media stream.
        ssrc: u32,
        /// SSRC of the retransmission stream; used only if `format.rtx` is set.
        rtx_ssrc: u32,
    },
    /// `a=inactive`, port 9, in BUNDLE: the broadcast lacks this track.
    Inactive,
    /// Port 0, not in BUNDLE: not media (data channels).
    Rejected,
}

/// The server's side of the transport, for the answer.
#[derive(Clone, Debug)]
pub struct Transport {
    /// Local ICE user name fragment.
    pub ice_ufrag: String,
    /// Local ICE password.
    pub ice_pwd: String,
    /// Whether `a=ice-lite` is said.
    pub ice_lite: bool,
    /// SHA-256 fingerprint of the local certificate.
    pub fingerprint: Vec<u8>,
    /// Host candidates in order of preference.
    pub candidates: Vec<SocketAddr>,
}
