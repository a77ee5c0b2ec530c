//! What a connection is made with, and what it tells whoever feeds it.

use std::{sync::Arc, time::Duration};

/// When a viewer's connection is given up.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionOptions {
    /// From the answer to ICE and DTLS being up.
    pub connect: Duration,
    /// Without a sign of life from the viewer.
    pub consent: Duration,
}

/// What a connection reports to its worker, on threads that must not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feedback {
    /// The outlet is open.
    Connected,
    /// The viewer's decoder needs a keyframe (PLI or FIR).
    KeyframeWanted,
}

/// Where a connection reports it.
pub(super) type OnFeedback = Arc<dyn Fn(Feedback) + Send + Sync>;
