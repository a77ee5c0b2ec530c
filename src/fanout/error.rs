//! Why a viewer cannot be served.

use crate::peer::{sdp, webrtcbin};

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

impl From<webrtcbin::Error> for Error {
    fn from(error: webrtcbin::Error) -> Self {
        match error {
            webrtcbin::Error::Sdp(error) => Self::Offer(error),
            webrtcbin::Error::Pipeline(_) | webrtcbin::Error::Engine(_) => {
                Self::Failed(error.to_string())
            }
        }
    }
}
