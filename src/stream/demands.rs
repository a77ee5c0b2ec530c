//! What a stream demands of decoders.

use std::time::Instant;

/// What a stream demands of decoders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// The profile, as GStreamer names it in caps; `None` if the codec has none, or the headers do
    /// not say.
    pub profile: Option<String>,
    /// The level (`3.1`); `None` likewise.
    pub level: Option<String>,
    /// Whether frames arrive in another order than they are shown in: there are B-frames.
    pub reordered: bool,
    /// Whether the picture is refreshed gradually, without keyframes.
    pub gradual: bool,
    /// Whether it began with a recovery point, without a keyframe since: no browser has a picture.
    pub keyless: bool,
    /// When the newest keyframe of the current writer arrived, or its first recovery point.
    pub keyframe_at: Option<Instant>,
    /// When its newest frame arrived.
    pub frame_at: Option<Instant>,
    /// The media type it was transcoded from on its way in.
    pub origin: Option<String>,
}
