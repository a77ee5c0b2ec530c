//! The rules that a worker can break. The server kills one that does.

use std::time::Duration;

use crate::{
    media::{Codec, Kind},
    pipeline::{Error, LossCause, ProcessLoss},
};

/// Why the server kills a worker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WorkerFault {
    #[error("its process has not answered for {0:?}")]
    Silent(Duration),
    #[error("its process does not read its messages")]
    Unread,
    #[error("its process takes no frames")]
    TakesNoFrames,
    #[error("its process makes no frames of the {0} that arrives")]
    MakesNoFrames(Kind),
    #[error("its process sent an invalid message: {0}")]
    InvalidMessage(String),
    #[error("its process sent a message of another kind of worker")]
    UnexpectedMessage,
    #[error("its process sends too many messages")]
    TooManyMessages,
    #[error("its process reports too many events")]
    TooManyEvents,
    #[error("its process starts twice")]
    StartsTwice,
    #[error("its process speaks version {0} of the protocol")]
    Version(u32),
    #[error("its process sends an unknown track")]
    UnknownTrack,
    #[error("its process sends {0} as {1}")]
    WrongCodec(Codec, Kind),
    #[error("{0}")]
    Flood(String),
    #[error("too many pipelines take the {0} track")]
    TooManyReaders(Kind),
    #[error("{0}")]
    Refused(Error),
}

impl WorkerFault {
    const fn cause(&self) -> LossCause {
        match self {
            Self::Silent(_) | Self::Unread => LossCause::Hung,
            Self::TakesNoFrames | Self::MakesNoFrames(_) => LossCause::Stalled,
            Self::TooManyReaders(_) | Self::Refused(_) => LossCause::Refused,
            Self::InvalidMessage(_)
            | Self::UnexpectedMessage
            | Self::TooManyMessages
            | Self::TooManyEvents
            | Self::StartsTwice
            | Self::Version(_)
            | Self::UnknownTrack
            | Self::WrongCodec(..)
            | Self::Flood(_) => LossCause::Misbehaved,
        }
    }
}

impl From<WorkerFault> for ProcessLoss {
    fn from(fault: WorkerFault) -> Self {
        Self {
            cause: fault.cause(),
            reason: fault.to_string(),
        }
    }
}
