//! Why the server does not start, or ends on its own.

use std::io;

use crate::{broadcast, cluster, config, http::TlsError, pipeline, plan::Name};

/// Why the server does not start. One line each; nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Correct the configuration.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Correct the pipeline files: one problem a line.
    #[error("{}", .0.join("\naerial: "))]
    Files(Vec<String>),
    /// Install what is missing.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// Correct the certificate's files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Correct what it names.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// Choose another address or stop what uses it.
    #[error("cannot listen on {protocol} {address}: {cause}; set another with --{option}")]
    Listen {
        /// `HTTP` or `UDP`.
        protocol: &'static str,
        /// The address.
        address: String,
        /// The system's error.
        #[source]
        cause: io::Error,
        /// The option that changes it.
        option: &'static str,
    },
    /// Configure fewer broadcasts, or allow more.
    #[error("broadcast {name} cannot be started: {error}")]
    Broadcast {
        /// The broadcast.
        name: Name,
        /// Why.
        error: broadcast::Error,
    },
    /// Find out why the system refuses.
    #[error("cannot {what}: {cause}")]
    System {
        /// The attempt.
        what: &'static str,
        /// The system's error.
        #[source]
        cause: io::Error,
    },
}

/// Why the server ends that nobody has asked to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum ServeError {
    /// Nobody can reach it.
    #[error("the HTTP server has ended")]
    Http,
    /// Some viewers get nothing.
    #[error("a fan-out worker hangs")]
    Worker,
}

impl ServeError {
    /// The part of the server that has failed, in the log.
    pub(super) const fn part(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Worker => "fanout",
        }
    }
}
