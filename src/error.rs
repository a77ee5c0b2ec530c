//! What can go wrong, by what the caller can do about it.

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    broadcast::Name,
    config, fanout,
    peer::{element, sdp},
    pipeline,
};

/// Why a request is refused. The HTTP layer gives each variant its status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Send a better offer or fragment.
    #[error(transparent)]
    Offer(#[from] sdp::Error),
    /// Ask for something that exists.
    #[error("no such {0}")]
    Missing(&'static str),
    /// Try again when somebody publishes.
    #[error("nobody publishes `{name}` now")]
    NotLive {
        /// The broadcast.
        name: Name,
        /// When to try again.
        retry_after: Duration,
    },
    /// Try again when the pipeline runs.
    #[error("the pipeline {0} does not run now")]
    Idle(String),
    /// Ask for what the pipeline's file allows.
    #[error("{0}")]
    Unfit(String),
    /// Install what is missing.
    #[error("{0}")]
    Lacking(String),
    /// Ask for a rendition that exists.
    #[error("no rendition `{wanted}`; there are: {known}")]
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
    #[error("`{name}` has a publisher")]
    Taken {
        /// The broadcast.
        name: Name,
        /// When to try again.
        retry_after: Duration,
    },
    /// Try again when there is room.
    #[error("the server carries as many {0} as it is allowed to")]
    Full(&'static str),
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

impl From<pipeline::Error> for Error {
    fn from(error: pipeline::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<element::Error> for Error {
    fn from(error: element::Error) -> Self {
        match error {
            element::Error::Sdp(error) => Self::Offer(error),
            element::Error::Pipeline(_) | element::Error::Engine(_) => {
                Self::Failed(error.to_string())
            }
        }
    }
}

impl From<fanout::Error> for Error {
    fn from(error: fanout::Error) -> Self {
        match error {
            fanout::Error::Offer(error) => Self::Offer(error),
            fanout::Error::Overloaded | fanout::Error::Failed(_) => Self::Failed(error.to_string()),
        }
    }
}

/// Why the server does not start. One line each; nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum Start {
    /// Correct the configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Correct the pipeline files: one problem a line.
    #[error("{0}")]
    Files(String),
    /// Install what is missing.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// Correct the certificate's files.
    #[error("{path}: {problem}", path = .path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Choose another address or stop what uses it.
    #[error("cannot listen on {protocol} {address}: {source}; set another with --{option}")]
    Listen {
        /// `HTTP` or `UDP`.
        protocol: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
        /// The option that changes it.
        option: &'static str,
    },
    /// Configure fewer broadcasts, or allow more.
    #[error("broadcast {name} cannot be started: {error}")]
    Broadcast {
        /// The broadcast.
        name: Name,
        /// Why.
        error: Error,
    },
    /// Look at what the system refuses.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: io::Error,
    },
}
