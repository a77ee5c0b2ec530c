//! The jobs of the benchmark's helper processes.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{floor, helper::HelperControls, viewers};

/// The job of a helper process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub(super) enum HelperJob {
    /// WHEP viewers.
    Viewers(viewers::ViewersJob),
    /// Sockets that count what arrives, for the floor.
    Sinks(floor::SinksJob),
    /// Encrypting and sending, and nothing else.
    Floor(floor::FloorJob),
}

/// Does the job that standard input names.
///
/// # Errors
///
/// If the job cannot be understood or done, or if the controlling process is gone.
pub fn run() -> Result<()> {
    // One thread: what a helper measures must not depend on how its threads are scheduled.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut controls = HelperControls::new()?;
        match controls.job().await? {
            HelperJob::Viewers(job) => Box::pin(viewers::run(job, controls)).await,
            HelperJob::Sinks(job) => floor::sinks(job, controls).await,
            HelperJob::Floor(job) => floor::run(job, controls).await,
        }
    })
}
