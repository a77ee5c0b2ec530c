//! What can go wrong with a pipeline.

use std::{borrow::Cow, time::Duration};

use serde::{Deserialize, Serialize};

use super::ProcessLoss;
use crate::media::Codec;

/// Why a pipeline does not start, or does not stop in time.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum Error {
    /// GStreamer itself does not start.
    #[error("GStreamer does not start: {0}")]
    Init(String),
    /// An element is not installed.
    #[error("no GStreamer element {element}: {}", advice(.package.as_deref()))]
    MissingElement {
        /// The element's factory name.
        element: String,
        /// The Debian package that has it, if known.
        package: Option<Cow<'static, str>>,
    },
    /// A program is not installed.
    #[error("{program} does not start ({error}): install the Debian package {package}")]
    MissingProgram {
        /// The program.
        program: Cow<'static, str>,
        /// The Debian package that has it.
        package: Cow<'static, str>,
        /// The system's reason.
        error: String,
    },
    /// The text is not a usable description; the message says what to change.
    #[error("{0}")]
    Text(String),
    /// An output cannot take a codec; trying again does not help until the codec changes.
    #[error("it does not take {codec} ({reason}): use a rendition in another codec")]
    Unfit {
        /// The codec.
        codec: Codec,
        /// The element's complaint.
        reason: String,
    },
    /// An element of the pipeline failed.
    #[error("{0}")]
    Failed(String),
    /// Its process is gone.
    #[error(transparent)]
    Lost(#[from] ProcessLoss),
    /// The system has too little left for it now.
    #[error("{0}")]
    Busy(String),
    /// A step took longer than its limit.
    #[error("{step} took longer than {limit:?}")]
    Timeout {
        /// The step that took too long.
        step: Cow<'static, str>,
        /// The limit.
        limit: Duration,
    },
}

impl Error {
    /// Whether it may work later: the machine has no time or no room for it now.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Timeout { .. })
    }
}

fn advice(package: Option<&str>) -> String {
    match package {
        Some(package) => format!("install the Debian package {package}"),
        None => "is its name right, and its plugin installed?".to_owned(),
    }
}
