//! The chat of a broadcast: messages, reactions, presence, and data for programs.
//!
//! Each broadcast with chat or data in its configuration has one [`Conversation`](conversation),
//! which decides who may say what, remembers the last messages, and delivers them. It outlives
//! sessions and publishers. How texts reach somebody is up to a [`ChatSink`]: a data channel, or a
//! stream of server-sent events. `docs/chat.md` describes the messages.
//!
//! What this room does not do: HTTP, tokens, WebRTC.

mod author;
mod conversation;
mod message;
mod participant;
mod refusal;
mod registry;
mod text;

use std::sync::Arc;

pub use self::{
    author::Guest,
    message::ChatRequest,
    refusal::ChatRefusal,
    registry::{Chats, Seat},
};

/// A text on its way to one or all participants: a JSON array of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The text.
    pub text: Arc<str>,
    /// It belongs to the picture of this moment: whoever knows the media time of a viewer's picture
    /// adds it.
    pub is_timed: bool,
}

/// Takes the texts for one participant, without waiting.
pub trait ParcelSink: Send + Sync {
    /// Takes one. Returns false if it has no room.
    fn take(&self, parcel: &Parcel) -> bool;

    /// Whether it would take one, as far as it knows.
    fn has_room(&self) -> bool {
        true
    }

    /// Whether to disconnect a participant that has not read for long: its client reconnects.
    fn comes_again(&self) -> bool {
        false
    }
}

impl<F: Fn(&Parcel) -> bool + Send + Sync> ParcelSink for F {
    fn take(&self, parcel: &Parcel) -> bool {
        self(parcel)
    }
}

/// The way to one participant.
pub type ChatSink = Box<dyn ParcelSink>;

/// What the configuration says about a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChatRules {
    /// Whether people may chat and react.
    pub chat: bool,
    /// Whether programs may send data.
    pub data: bool,
    /// Shortest time between two messages of one participant, unless a moderator sets another.
    pub slow: std::time::Duration,
}
