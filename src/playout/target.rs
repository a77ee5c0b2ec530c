//! Which rendition a track gets.

use serde::{Deserialize, Serialize};

use crate::media::Kind;

/// The rendition that a track gets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Of the track.
    pub kind: Kind,
    /// Its key.
    pub rendition: u64,
    /// All layers of a simulcast picture; else empty.
    pub layers: Vec<u64>,
}
