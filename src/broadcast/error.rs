//! Why a request to a broadcast is refused, by what the caller can do about it.

use std::time::Duration;

use super::RETRY_TAKEN;
use crate::{fanout, ingest, media::Kind, peer::sdp, pipeline, plan::Name};

/// Why a request is refused. `http` gives each variant its status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Send a better offer or fragment.
    #[error(transparent)]
    Offer(#[from] sdp::Error),
    /// Ask for something that exists.
    #[error("no such {0}")]
    Missing(&'static str),
    /// Try again when somebody publishes.
    #[error("{}", not_live(name, *awaited))]
    NotLive {
        /// The broadcast.
        name: Name,
        /// The kind of media that its connected publisher has not sent yet.
        awaited: Option<Kind>,
        /// When to try again.
        retry_after: Duration,
    },
    /// Try again when the pipeline runs.
    #[error("the pipeline {0} is not running")]
    Idle(String),
    /// Ask for what the pipeline's file allows.
    #[error("{0}")]
    Unfit(String),
    /// Install what is missing.
    #[error("{0}")]
    Lacking(String),
    /// Ask for a rendition that exists.
    #[error("no rendition `{wanted}`; available: {known}")]
    NoRendition {
        /// The rendition.
        wanted: String,
        /// Those that exist.
        known: String,
    },
    /// Try again when its pipeline runs.
    #[error("the rendition has no frames yet")]
    NotReady {
        /// When to try again.
        retry_after: Duration,
    },
    /// Wait until the publisher has left, or take another name.
    #[error("`{name}` already has a publisher")]
    Taken {
        /// The broadcast.
        name: Name,
        /// When to try again.
        retry_after: Duration,
    },
    /// Try again when the registry of nodes can be reached.
    #[error("the registry of nodes cannot be reached")]
    Away {
        /// When to try again.
        retry_after: Duration,
    },
    /// Try again when there is room.
    #[error("the server has reached its limit of {0}")]
    Full(&'static str),
    /// Try again when the server has time for it.
    #[error("the server is overloaded")]
    Overloaded,
    /// Send less often.
    #[error("too many requests to this session")]
    TooOften,
    /// Use another server: this one is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// Tell the operator; the log has the details.
    #[error("the server failed: {0}")]
    Failed(String),
}

fn not_live(name: &Name, awaited: Option<Kind>) -> String {
    match awaited {
        None => format!("nobody publishes `{name}` at the moment"),
        Some(Kind::Video) => {
            format!(
                "the publisher of `{name}` is connected, but no keyframe of its video has arrived"
            )
        }
        Some(Kind::Audio) => {
            format!("the publisher of `{name}` is connected, but its audio has not begun")
        }
    }
}

impl From<pipeline::Error> for Error {
    fn from(error: pipeline::Error) -> Self {
        match error {
            pipeline::Error::Busy(_) => Self::Overloaded,
            error => Self::Failed(error.to_string()),
        }
    }
}

impl Error {
    /// Somebody else publishes the broadcast.
    pub(super) fn taken(name: &Name) -> Self {
        Self::Taken {
            name: name.clone(),
            retry_after: RETRY_TAKEN,
        }
    }
}

impl From<ingest::Error> for Error {
    fn from(error: ingest::Error) -> Self {
        match error {
            ingest::Error::Offer(error) => Self::Offer(error),
            ingest::Error::Overloaded => Self::Overloaded,
            ingest::Error::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<fanout::Error> for Error {
    fn from(error: fanout::Error) -> Self {
        match error {
            fanout::Error::Offer(error) => Self::Offer(error),
            fanout::Error::Overloaded => Self::Overloaded,
            fanout::Error::Failed(why) => Self::Failed(why),
        }
    }
}
