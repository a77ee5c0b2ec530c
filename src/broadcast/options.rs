//! The room's options.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::takeover::Times;
use crate::{fanout::ViewerOptions, ingest, plan::Plans, worker::WorkerLimits};

/// What the configuration says about broadcasts.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a publisher may take to start and may be silent.
    pub times: Times,
    /// From the answer to the client's first connectivity check.
    pub first_check: Duration,
    /// How long viewers wait for a publisher that is gone.
    pub grace: Duration,
    /// Maximum simultaneous sessions.
    pub sessions_max: usize,
    /// Maximum simultaneous broadcasts.
    pub broadcasts_max: usize,
    /// Maximum simultaneous broadcasts that one token publishes.
    pub token_broadcasts_max: usize,
    /// Maximum viewers of one broadcast.
    pub viewers_max: usize,
    /// Maximum automatic transcodes of all broadcasts at once.
    pub transcodes_max: usize,
    /// Maximum automatic transcodes of one broadcast at once.
    pub broadcast_transcodes_max: usize,
    /// What the process of one pipeline may use.
    pub workers: WorkerLimits,
    /// Whether a new publisher replaces a live one.
    pub replace_live: bool,
    /// How publishers connect.
    pub publisher: ingest::Options,
    /// How viewers connect.
    pub viewer: ViewerOptions,
    /// The pipelines of each broadcast: source, outputs, renditions.
    pub plans: Plans,
}

/// The options that hold now.
pub(super) struct CurrentOptions(watch::Sender<Arc<Options>>);

impl CurrentOptions {
    pub(super) fn new(options: Options) -> Self {
        Self(watch::Sender::new(Arc::new(options)))
    }

    pub(super) fn now(&self) -> Arc<Options> {
        Arc::clone(&self.0.borrow())
    }

    /// Rules and plans of running broadcasts.
    pub(super) fn follow(&self) -> watch::Receiver<Arc<Options>> {
        self.0.subscribe()
    }

    /// Returns the previous ones.
    pub(super) fn replace(&self, options: Arc<Options>) -> Arc<Options> {
        self.0.send_replace(options)
    }
}
