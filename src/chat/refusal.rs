//! Why a request is refused.

use std::time::Duration;

/// Why a participant's request has no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChatRefusal {
    /// The broadcast has none of this.
    #[error("this broadcast has no {0}")]
    Off(&'static str),
    /// It takes the right to chat.
    #[error("you need a token with the right `chat` to speak here")]
    NotAllowed,
    /// Banned.
    #[error("a moderator has banned you")]
    Banned,
    /// Silenced for a while.
    #[error("a moderator has silenced you for a while")]
    TimedOut(Duration),
    /// Slow mode.
    #[error("slow mode: wait before your next message")]
    Slow(Duration),
    /// The participant sends too much.
    #[error("too many messages: slow down")]
    TooOften(Duration),
    /// All participants together send too much.
    #[error("too many people are writing at once: try again")]
    Busy,
    /// There is nothing in it.
    #[error("the message is empty")]
    Empty,
    /// It is too long.
    #[error("at most {0} characters")]
    TooLong(usize),
    /// Nobody says something without a name.
    #[error("choose a name first")]
    NameMissing,
    /// Only moderators do this.
    #[error("only moderators may do this")]
    NotModerator,
    /// Its target does not exist, or no longer.
    #[error("no such {0}")]
    Missing(&'static str),
    /// Not readable.
    #[error("not a request: {0}")]
    Malformed(String),
    /// No room.
    #[error("the server has reached its limit of {0}")]
    Full(&'static str),
}

impl ChatRefusal {
    /// Its name in messages, stable for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Off(_) => "off",
            Self::NotAllowed => "not-allowed",
            Self::Banned => "banned",
            Self::TimedOut(_) => "timed-out",
            Self::Slow(_) => "slow",
            Self::TooOften(_) => "too-often",
            Self::Busy => "busy",
            Self::Empty => "empty",
            Self::TooLong(_) => "too-long",
            Self::NameMissing => "name-missing",
            Self::NotModerator => "not-moderator",
            Self::Missing(_) => "missing",
            Self::Malformed(_) => "malformed",
            Self::Full(_) => "full",
        }
    }

    /// When to try again, if that helps.
    pub const fn wait(&self) -> Option<Duration> {
        match self {
            Self::TimedOut(wait) | Self::Slow(wait) | Self::TooOften(wait) => Some(*wait),
            _ => None,
        }
    }

    /// The same in seconds, rounded up.
    pub(super) fn wait_seconds(&self) -> Option<u64> {
        let wait = self.wait()?;
        Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}
