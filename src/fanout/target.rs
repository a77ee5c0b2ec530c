//! Which rendition a track gets.

use crate::media::Kind;

/// The rendition that a track gets.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Of the track.
    pub(super) kind: Kind,
    /// Its key.
    pub(super) rendition: u64,
    /// All layers of a simulcast picture; else empty.
    pub(super) layers: Vec<u64>,
}
