//! Where a broadcast's origin is: which of several nodes has its publisher or source.

use crate::media::Codec;

/// Where a broadcast's origin is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum OriginPlace {
    /// This server is the only one.
    #[default]
    Alone,
    /// No node has it.
    Free,
    /// This node has it.
    Here,
    /// Another node has it.
    Elsewhere(RemoteOrigin),
}

/// The claim of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteOrigin {
    pub(super) node: String,
    /// Distinguishes this claim from all others to the broadcast.
    pub(super) epoch: u64,
    /// What it sends; nothing while it is not live.
    pub(super) codecs: Vec<Codec>,
}

impl OriginPlace {
    /// The other node's claim, if it can be followed.
    pub(super) fn remote(&self) -> Option<&RemoteOrigin> {
        match self {
            Self::Elsewhere(origin) if !origin.codecs.is_empty() => Some(origin),
            _ => None,
        }
    }
}
