//! The settings of a connection.

use std::time::Duration;

use super::workers::ViewerWorkers;

/// When a viewer's connection is dropped, and what carries it.
#[derive(Clone, Debug)]
pub struct ConnectionOptions {
    /// From the answer to ICE and DTLS being up.
    pub connect: Duration,
    /// Without a sign of life from the viewer.
    pub consent: Duration,
    /// The processes of its broadcast.
    pub workers: ViewerWorkers,
}
