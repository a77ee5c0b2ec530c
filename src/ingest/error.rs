//! Why a publisher cannot be received.

use crate::{peer::sdp, pipeline};

/// Why a publisher cannot be received, by what its client can do about it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Send a better offer.
    #[error(transparent)]
    Offer(#[from] sdp::Error),
    /// Try again later: the machine has no time or no room for it now.
    #[error("the server is overloaded")]
    Overloaded,
    /// Tell the operator; the log has the details.
    #[error("{0}")]
    Failed(String),
}

impl From<pipeline::Error> for Error {
    fn from(error: pipeline::Error) -> Self {
        if error.is_passing() {
            tracing::warn!(%error, "no capacity for another publisher");
            return Self::Overloaded;
        }
        Self::Failed(error.to_string())
    }
}
