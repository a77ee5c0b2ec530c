//! A WebRTC peer connection from offer to close.
//!
//! Shared by both directions; publishers' connections are in `ingest`, viewers' in `fanout`.
//!
//! - [`sdp`]: offers, answers and trickle fragments as pure data (no IO, no GStreamer).
//! - [`relay`]: what puts a connection on webrtcbin behind the single UDP port.
//! - [`ice`]: a connection's ICE.
//! - [`session`]: a connection on the engine `direct`, a str0m session.
//! - [`srtp`]: its encryption.
//! - [`udp`]: its single UDP port.
//!
//! What this room does not do: HTTP, broadcast rules, choosing what a viewer sees.

pub(crate) mod ice;
pub(crate) mod relay;
pub mod sdp;
pub mod session;
pub mod srtp;
pub mod udp;

use std::sync::Arc;

use crate::media::{Codec, Kind};

/// What a peer connection reports upwards, on a bounded channel.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Event {
    /// ICE and DTLS are up; media can flow.
    Connected,
    /// Publisher: the first frame of a track has arrived, encoded with this codec.
    Track(Kind, Codec),
    /// Viewer: its decoder needs a keyframe (PLI, FIR, or a loss that is past repair).
    KeyframeWanted,
    /// The connection is over; nothing follows.
    Closed(End),
}

/// Events of a peer's data channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelEvent {
    /// It is open.
    Opened,
    /// The peer has sent a text.
    Text(String),
    /// The peer has closed it; it may open it again.
    Closed,
}

/// A text for a peer's data channel: a JSON array of objects.
#[derive(Clone, Debug)]
pub struct ChannelText {
    /// The text.
    pub text: Arc<str>,
    /// It belongs to the picture of this moment.
    pub is_timed: bool,
}

impl ChannelText {
    /// The text that says to which RTP timestamp it belongs.
    pub(crate) fn at(&self, timestamp: u32) -> String {
        match self.text.strip_prefix("[{") {
            Some(rest) => format!("[{{\"rtp\":{timestamp},{rest}"),
            None => self.text.to_string(),
        }
    }
}

/// Why a peer connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// DELETE of the session URL.
    Deleted,
    /// The operator ended it.
    Kicked,
    /// The peer said goodbye (DTLS `close_notify`).
    PeerClosed,
    /// No authentic connectivity check within `timeouts.first_check`.
    NoCheck,
    /// No ICE and DTLS within `timeouts.connect`.
    ConnectTimeout,
    /// The server or the broadcast was full, and this session, not yet connected, made room.
    Yielded,
    /// The peer vanished: no STUN, RTCP or RTP within `timeouts.consent`, or, from a viewer, no answer
    /// to the server's checks for 30 s.
    Vanished,
    /// Connected, but no media within `media_timeout`.
    NoMedia,
    /// A publisher sent more than `limits.publisher_bitrate` and did not listen to requests for less.
    BitrateExceeded,
    /// The token with which the session began has expired.
    Expired,
    /// What allowed the session no longer does: its token was revoked, or the callback refuses.
    Withdrawn,
    /// Another publisher took over a stale broadcast.
    Replaced,
    /// The broadcast ended, or came back with codecs that this viewer did not negotiate.
    BroadcastEnded,
    /// The server is stopping.
    Shutdown,
    /// The engine failed; the log has the details.
    Failed,
}

impl End {
    /// Every reason.
    pub(crate) const ALL: [Self; 15] = [
        Self::Deleted,
        Self::Kicked,
        Self::PeerClosed,
        Self::NoCheck,
        Self::ConnectTimeout,
        Self::Yielded,
        Self::Vanished,
        Self::NoMedia,
        Self::BitrateExceeded,
        Self::Expired,
        Self::Withdrawn,
        Self::Replaced,
        Self::BroadcastEnded,
        Self::Shutdown,
        Self::Failed,
    ];

    /// Its name in metrics and in the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Kicked => "kicked",
            Self::PeerClosed => "peer_closed",
            Self::NoCheck => "no_check",
            Self::ConnectTimeout => "connect_timeout",
            Self::Yielded => "yielded",
            Self::Vanished => "vanished",
            Self::NoMedia => "no_media",
            Self::BitrateExceeded => "bitrate_exceeded",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Replaced => "replaced",
            Self::BroadcastEnded => "broadcast_ended",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
        }
    }
}
