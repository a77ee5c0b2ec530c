//! The health of a pipeline.

use serde::Serialize;

use crate::{
    peer::End,
    pipeline::{self, LossCause, job::JobFigures},
    worker::WorkerControl,
};

/// What a pipeline is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
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

/// Why a pipeline has failed, as a stable code. The operator also sees a text, which may quote
/// files and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCode {
    /// An element or a program is not installed.
    NotInstalled,
    /// The text of its file is wrong.
    Misconfigured,
    /// It cannot take the media that it is given.
    Unfit,
    /// It did not start in time.
    Timeout,
    /// Nothing came out of it any more, or nothing was accepted.
    Stalled,
    /// Its process crashed.
    Crashed,
    /// Its process no longer answered.
    Hung,
    /// Its input has ended.
    Ended,
    /// One of its elements failed: an unreachable server, a full disk, wrong media.
    Failed,
}

impl FailureCode {
    /// Its name in the log, as in the API.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NotInstalled => "not-installed",
            Self::Misconfigured => "misconfigured",
            Self::Unfit => "unfit",
            Self::Timeout => "timeout",
            Self::Stalled => "stalled",
            Self::Crashed => "crashed",
            Self::Hung => "hung",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }

    /// Why the broadcast gave a pipeline up.
    pub(super) fn of_end(end: End) -> Self {
        match end {
            End::NoMedia | End::Vanished => Self::Stalled,
            _ => Self::Failed,
        }
    }
}

impl From<&pipeline::Error> for FailureCode {
    fn from(error: &pipeline::Error) -> Self {
        use pipeline::Error;

        match error {
            Error::Init(_) | Error::MissingElement { .. } | Error::MissingProgram { .. } => {
                Self::NotInstalled
            }
            Error::Text(_) => Self::Misconfigured,
            Error::Unfit { .. } => Self::Unfit,
            Error::Lost(loss) => loss.cause.into(),
            Error::Failed(_) | Error::Busy(_) => Self::Failed,
            Error::Timeout { .. } => Self::Timeout,
        }
    }
}

impl From<LossCause> for FailureCode {
    fn from(cause: LossCause) -> Self {
        match cause {
            LossCause::Crashed => Self::Crashed,
            LossCause::Hung => Self::Hung,
            LossCause::Stalled => Self::Stalled,
            LossCause::Misbehaved | LossCause::Refused => Self::Failed,
        }
    }
}

/// A pipeline's health.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// What it is doing.
    pub state: Activity,
    /// How many times it has been restarted.
    pub restarts: u64,
    /// Why it last failed, if it is not running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureCode>,
    /// The same as a text. Not for viewers: it may quote a file's text.
    #[serde(skip)]
    pub error: Option<String>,
}

/// What a run reports about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) health: Health,
    pub(super) figures: JobFigures,
    /// While its pipeline is up.
    pub(super) control: Option<WorkerControl>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_has_one_name_in_log_and_api() {
        for code in [
            FailureCode::NotInstalled,
            FailureCode::Misconfigured,
            FailureCode::Unfit,
            FailureCode::Timeout,
            FailureCode::Stalled,
            FailureCode::Crashed,
            FailureCode::Hung,
            FailureCode::Ended,
            FailureCode::Failed,
        ] {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
        }
    }
}
