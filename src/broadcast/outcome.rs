//! What a child task of the actor reports when it ends.

use std::sync::Arc;

use super::{Created, Error, Reply, slot::RunEnd};
use crate::{cluster::ClaimHold, peer::End};

/// How a child task ended.
pub(super) enum Outcome {
    /// A session that had been answered.
    Ended(End),
    /// A session that never began. The actor tells the client once nothing is left of the session.
    Refused(Reply<Created>, Error),
    /// A run of a pipeline.
    Run(RunEnd),
    /// An attempt to make this node the origin.
    Claimed(Option<Arc<ClaimHold>>),
    /// The task that followed an origin at another node, by number.
    Followed(u64),
}
