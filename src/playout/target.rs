//! Which rendition a track gets.

use crate::media::Kind;

/// The rendition that a track gets.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Of the track.
    pub(crate) kind: Kind,
    /// Its key.
    pub(crate) rendition: u64,
    /// All layers of a simulcast picture; else empty.
    pub(crate) layers: Vec<u64>,
}
