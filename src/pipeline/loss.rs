//! How the process of a pipeline or of a peer connection is lost.

use serde::{Deserialize, Serialize};

/// A process that was lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub struct ProcessLoss {
    /// The kind of loss, for programs.
    pub cause: LossCause,
    /// The same for people, with details.
    pub reason: String,
}

/// The kind of a [`ProcessLoss`]. All but the first end with the server killing the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LossCause {
    /// It ended by itself, or a signal ended it.
    Crashed,
    /// It no longer answered, or no longer read what it was sent.
    Hung,
    /// It answered, but media no longer came through it.
    Stalled,
    /// It broke the rules, such as those for the messages between it and the server.
    Misbehaved,
    /// It could not be given its work.
    Refused,
}

impl LossCause {
    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::Hung => "hung",
            Self::Stalled => "stalled",
            Self::Misbehaved => "misbehaved",
            Self::Refused => "refused",
        }
    }
}
