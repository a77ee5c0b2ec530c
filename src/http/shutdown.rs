//! How far the end of the server has come.

use tokio_util::sync::CancellationToken;

use super::Problem;
use crate::broadcast;

/// The steps to the end of the server, which everybody who serves requests knows of.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Cancelled when no more sessions may begin.
    pub draining: CancellationToken,
    /// Cancelled when everything ends.
    pub stopping: CancellationToken,
}

impl Shutdown {
    /// Lets a session begin.
    ///
    /// # Errors
    /// 503.
    pub(super) fn permit_session(&self) -> Result<(), Problem> {
        if self.has_begun() {
            return Err(broadcast::Error::Stopping.into());
        }
        Ok(())
    }

    /// Whether new sessions are refused.
    pub(super) fn has_begun(&self) -> bool {
        self.draining.is_cancelled() || self.stopping.is_cancelled()
    }
}
