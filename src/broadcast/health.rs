//! The health of a pipeline.

use serde::Serialize;

use crate::pipeline::job::{Control, JobFigures};

/// What a pipeline is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activity {
    /// Nothing: it is not needed now.
    #[default]
    Idle,
    /// It is starting.
    Starting,
    /// It is running.
    Running,
    /// Media goes in, but nothing comes out.
    Stalled,
    /// It has failed and restarts after a pause.
    Failed,
}

/// A pipeline's health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// What it is doing.
    pub state: Activity,
    /// How many times it has been restarted.
    pub restarts: u64,
    /// Why it last failed, if it is not running. Not for viewers: it may quote a file's text.
    #[serde(skip)]
    pub error: Option<String>,
}

/// What a run reports about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) health: Health,
    pub(super) figures: JobFigures,
    /// While its pipeline is up.
    pub(super) control: Option<Control>,
}
