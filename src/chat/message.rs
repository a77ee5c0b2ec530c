//! The messages on the wire, in version 1. `docs/chat.md` describes them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::refusal::ChatRefusal;

/// Version of the messages.
pub(super) const VERSION: u32 = 1;
/// The available reactions.
pub(super) const REACTIONS: [&str; 6] = ["👏", "❤️", "😂", "😮", "🎉", "👍"];

/// A participant's request.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ChatRequest {
    /// Take part, under this name.
    Join {
        /// Shown with each message; empty for those who only read.
        #[serde(default)]
        name: String,
        /// A random text by which the browser is recognised.
        #[serde(default)]
        device: String,
    },
    /// Say something.
    Say {
        /// What.
        text: String,
        /// Comes back if it is refused.
        #[serde(default)]
        id: Option<String>,
    },
    /// React.
    React {
        /// How.
        reaction: String,
    },
    /// Moderators: delete a message.
    Delete {
        /// Its id.
        message: u64,
    },
    /// Moderators: silence a participant for a while; 0 ends it.
    Timeout {
        /// Their number.
        member: u64,
        /// How long.
        seconds: u64,
    },
    /// Moderators: silence a participant for good and delete what they have said.
    Ban {
        /// Their number.
        member: u64,
    },
    /// Moderators: set slow mode; 0 ends it.
    Slow {
        /// Between two messages of one participant.
        seconds: u64,
    },
    /// The publisher, moderators: send data to everybody, with the picture of this moment.
    Data {
        /// Anything.
        data: Value,
    },
    /// Send data to the publisher.
    Control {
        /// Anything.
        data: Value,
    },
    /// Over HTTP: prove to be the publisher.
    #[serde(rename = "claim")]
    Prove {
        /// The last part of the session's URL.
        session: String,
    },
}

/// A message as everybody sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ChatMessage {
    pub(super) id: u64,
    pub(super) from: u64,
    pub(super) name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) moderator: bool,
    pub(super) text: String,
    /// Unix time in milliseconds.
    pub(super) time: u64,
}

/// What a participant is and may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Standing {
    pub(super) you: u64,
    pub(super) name: String,
    pub(super) moderator: bool,
    /// Whether it may speak now.
    pub(super) speaks: bool,
    /// How long it may not, in seconds, if that ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) silent: Option<u64>,
}

/// Everything at one moment, but for the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Hello {
    pub(super) v: u32,
    #[serde(flatten)]
    pub(super) standing: Standing,
    /// Identifies it in requests over HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    pub(super) chat: bool,
    pub(super) data: bool,
    pub(super) slow: u64,
    pub(super) people: usize,
    pub(super) reactions: BTreeMap<&'static str, u64>,
    pub(super) limits: ChatLimits,
}

/// Limits that clients should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ChatLimits {
    pub(super) text: usize,
    pub(super) name: usize,
    pub(super) data: usize,
}

/// Events for participants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ChatEvent {
    /// The first event, and again whenever some have been missed.
    Hello(Box<Hello>),
    /// Somebody has said something.
    Message(ChatMessage),
    /// A message has been deleted.
    Deleted { message: u64 },
    /// Everything that somebody has said has been deleted.
    Removed { from: u64 },
    /// How many take part.
    People { count: usize },
    /// Reactions since the last of these events, and in all.
    Reactions {
        added: BTreeMap<&'static str, u64>,
        total: BTreeMap<&'static str, u64>,
    },
    /// Slow mode has changed.
    Slow { seconds: u64 },
    /// Your rights have changed.
    Standing(Standing),
    /// Your request is refused.
    Refused {
        reason: &'static str,
        detail: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// Data for programs, at this Unix time in milliseconds.
    Data { data: Value, time: u64 },
    /// Data of a viewer for the publisher.
    Control {
        from: u64,
        name: String,
        data: Value,
    },
}

/// A [`Hello`] as it is sent, with a history that is JSON already.
pub(super) fn hello_text(hello: Hello, history: &str) -> Option<String> {
    let text = serde_json::to_string(&ChatEvent::Hello(Box::new(hello)))
        .inspect_err(|error| {
            tracing::error!(%error, "cannot encode the greeting of a chat as JSON");
        })
        .ok()?;
    let members = text.strip_suffix('}')?;
    Some(format!("[{members},\"history\":{history}}}]"))
}

impl ChatEvent {
    pub(super) fn refused(refusal: &ChatRefusal, id: Option<String>) -> Self {
        Self::Refused {
            reason: refusal.reason(),
            detail: refusal.to_string(),
            seconds: refusal.wait_seconds(),
            id,
        }
    }
}
