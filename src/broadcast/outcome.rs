//! What a child task of the actor reports when it ends.

use super::{Created, Error, Reply, slot::RunEnd};
use crate::peer::End;

/// How a child task ended.
pub(super) enum Outcome {
    /// A session that had been answered.
    Ended(End),
    /// A session that never began. The actor tells the client once nothing is left of the session.
    Refused(Reply<Created>, Error),
    /// A run of a pipeline.
    Run(RunEnd),
}
