//! Why a viewer cannot be served.

use std::fmt;

use crate::peer::sdp;

/// Why a viewer cannot be served, by what its client can do about it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Send a better offer.
    #[error(transparent)]
    Offer(#[from] sdp::Error),
    /// Try again later: no worker has room, or the machine has no time for it now.
    #[error("the server is overloaded")]
    Overloaded,
    /// Tell the operator; the log has the details.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// For a viewer without a worker. `passing`: there may be one later.
    pub(super) fn without_worker(why: impl fmt::Display, passing: bool) -> Self {
        if passing {
            tracing::warn!(error = %why, "no capacity for another viewer");
            return Self::Overloaded;
        }
        Self::Failed(why.to_string())
    }
}
