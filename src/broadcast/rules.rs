//! Rules for every broadcast.

use std::time::Duration;

use super::{Options, place::OriginPlace, takeover::Times, transcodes::TranscodeBudget};

/// What the configuration says about every broadcast.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// How long a publisher may take to start and may be silent.
    pub(super) times: Times,
    /// How long viewers wait for a publisher that is gone.
    pub(super) grace: Duration,
    pub(super) viewers_max: usize,
    /// The automatic transcodes of all broadcasts.
    pub(super) transcodes: TranscodeBudget,
    /// Maximum automatic transcodes of this broadcast.
    pub(super) transcodes_max: usize,
    /// Whether a new publisher replaces a live one.
    pub(super) replace_live: bool,
    /// Whether this server is one of several nodes.
    pub(super) clustered: bool,
}

impl Rules {
    /// Where a new broadcast's origin is, before anybody has looked.
    pub(super) fn place(&self) -> OriginPlace {
        if self.clustered {
            OriginPlace::Free
        } else {
            OriginPlace::Alone
        }
    }

    pub(super) fn of(options: &Options, transcodes: &TranscodeBudget) -> Self {
        Self {
            times: options.times,
            grace: options.grace,
            viewers_max: options.viewers_max,
            transcodes: transcodes.clone(),
            transcodes_max: options.broadcast_transcodes_max,
            replace_live: options.replace_live,
            clustered: false,
        }
    }
}
