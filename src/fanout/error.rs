//! Why a viewer cannot be served.

use crate::peer::sdp;

/// Why a viewer cannot be served, by what its client can do about it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Send a better offer.
    #[error(transparent)]
    Offer(#[from] sdp::Error),
    /// Try again later: no worker has room.
    #[error("the server is overloaded")]
    Overloaded,
    /// Tell the operator; the log has the details.
    #[error("{0}")]
    Failed(String),
}
