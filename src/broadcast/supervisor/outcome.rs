//! How a run of a pipeline ended.

use crate::{broadcast::health::FailureCode, peer::End, pipeline, stream::StreamSubscriptions};

/// How a run ended.
pub(super) enum RunOutcome {
    Stopped,
    Failed(FailureCode, String),
    /// It cannot take its inputs.
    Unfit(String),
    /// Its media has changed its shape: it starts again, with what has been held for it.
    Reshaped(StreamSubscriptions),
}

impl From<pipeline::Error> for RunOutcome {
    fn from(error: pipeline::Error) -> Self {
        match error {
            pipeline::Error::Unfit { .. } => Self::Unfit(error.to_string()),
            error => Self::Failed((&error).into(), error.to_string()),
        }
    }
}

/// How a run that was asked to stop ended. `appsinks`: what it was meant to make.
pub(super) fn stopped(end: End, appsinks: &[String]) -> RunOutcome {
    let named = || {
        let named = appsinks.iter().map(|name| format!("`appsink name={name}`"));
        named.collect::<Vec<_>>().join(" or ")
    };
    let reason = match end {
        End::NoMedia => format!("no media has reached {}", named()),
        End::Vanished => format!("media no longer reaches {}", named()),
        End::Failed => "its task failed".to_owned(),
        _ => return RunOutcome::Stopped,
    };
    RunOutcome::Failed(FailureCode::of_end(end), reason)
}

/// How one process of a run went.
pub(super) struct RunOnce {
    /// Whether it made, or took, anything.
    pub(super) made_frames: bool,
    pub(super) outcome: RunOutcome,
}

impl RunOnce {
    pub(super) const fn without_frames(outcome: RunOutcome) -> Self {
        Self {
            made_frames: false,
            outcome,
        }
    }
}
