//! One participant of a conversation.

use std::time::Instant;

use super::{
    ChatSink, Parcel,
    author::{Author, Guest},
    message::ChatEvent,
};
use crate::media::TokenBucket;

/// Messages that somebody may write per second in the long run, and at once.
const SAYS: f64 = 0.5;
const SAYS_BURST: f64 = 5.0;
/// Requests of any kind, likewise.
const ACTS: f64 = 5.0;
const ACTS_BURST: f64 = 20.0;

pub(super) struct Participant {
    pub(super) author: Author,
    pub(super) guest: Guest,
    pub(super) name: String,
    /// With which requests over HTTP are made in its name.
    pub(super) key: Option<String>,
    sink: ChatSink,
    /// It has missed something, and gets everything again.
    pub(super) is_behind: bool,
    says: TokenBucket,
    acts: TokenBucket,
    /// When it last said something.
    pub(super) spoke: Option<Instant>,
}

impl Participant {
    pub(super) fn new(author: Author, guest: Guest, sink: ChatSink, now: Instant) -> Self {
        Self {
            author,
            guest,
            name: String::new(),
            key: None,
            sink,
            is_behind: false,
            says: TokenBucket::new(SAYS, SAYS_BURST, now),
            acts: TokenBucket::new(ACTS, ACTS_BURST, now),
            spoke: None,
        }
    }

    /// Whether it may delete and silence.
    pub(super) fn moderates(&self) -> bool {
        self.guest.moderates || self.guest.publishes
    }

    /// Takes a message out of its allowance.
    pub(super) fn may_say(&mut self, now: Instant) -> bool {
        self.says.take(1.0, now)
    }

    /// Takes a request out of its allowance.
    pub(super) fn may_act(&mut self, now: Instant) -> bool {
        self.acts.take(1.0, now)
    }

    /// Hands it a text that all get.
    pub(super) fn take(&mut self, parcel: &Parcel) {
        if !(self.sink)(parcel) {
            self.is_behind = true;
        }
    }

    /// Tells it something that nobody else gets.
    pub(super) fn tell(&mut self, event: &ChatEvent) {
        if let Some(parcel) = parcel(std::slice::from_ref(event), false) {
            self.take(&parcel);
        }
    }
}

/// Events as they are sent.
pub(super) fn parcel(events: &[ChatEvent], is_timed: bool) -> Option<Parcel> {
    let text = serde_json::to_string(events)
        .inspect_err(|error| tracing::error!(%error, "events of a chat are not JSON"))
        .ok()?;
    Some(Parcel {
        text: text.into(),
        is_timed,
    })
}
