//! How a node asks another for a track.

use serde::{Deserialize, Serialize};

/// A node's request for a track.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Want {
    pub(super) broadcast: String,
    pub(super) epoch: u64,
    /// The last two parts of the track's subject.
    pub(super) track: String,
    pub(super) node: String,
    pub(super) viewers: usize,
    /// Whether to send what is kept.
    pub(super) again: bool,
    /// The last frame that the node has.
    pub(super) after: Option<u64>,
    /// In front of where to send it.
    pub(super) inbox: String,
}

/// The answer to it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// Whether the track is lent.
    pub(super) lent: bool,
    /// The first frame that is sent again.
    pub(super) begins: Option<u64>,
}
