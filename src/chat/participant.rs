//! One participant of a conversation.

use std::time::{Duration, Instant};

use super::{
    ChatSink, Parcel,
    author::{Author, Guest},
    message::{ChatEvent, Hello, hello_text},
};
use crate::media::TokenBucket;

/// Messages that somebody may write per second in the long run, and at once.
const SAYS: f64 = 0.5;
const SAYS_BURST: f64 = 5.0;
/// Requests of any kind, likewise.
const ACTS: f64 = 5.0;
const ACTS_BURST: f64 = 20.0;
/// After this long, a participant that has missed something gets everything again; twice as long
/// each time that there is no room for it.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(8);
/// A participant that has not read for this long is disconnected.
const LAG_MAX: Duration = Duration::from_secs(15);

/// A participant that has missed something.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChatLag {
    since: Instant,
    /// When it gets everything again.
    pub(super) next: Instant,
    pause: Duration,
}

/// The rest of a participant's allowance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    says: TokenBucket,
    acts: TokenBucket,
    /// When they last said something.
    pub(super) spoke: Option<Instant>,
}

impl Allowance {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            says: TokenBucket::new(SAYS, SAYS_BURST, now),
            acts: TokenBucket::new(ACTS, ACTS_BURST, now),
            spoke: None,
        }
    }

    /// Takes a message out of it.
    pub(super) fn may_say(&mut self, now: Instant) -> bool {
        self.says.take(1.0, now)
    }

    /// Takes a request out of it.
    pub(super) fn may_act(&mut self, now: Instant) -> bool {
        self.acts.take(1.0, now)
    }

    /// Whether it is fully recovered in this slow mode.
    pub(super) fn is_whole(&self, slow: Duration, now: Instant) -> bool {
        self.says.is_full(now)
            && self.acts.is_full(now)
            && self.spoke.is_none_or(|spoke| spoke + slow <= now)
    }
}

pub(super) struct Participant {
    pub(super) author: Author,
    pub(super) guest: Guest,
    pub(super) name: String,
    /// Identifies it in requests over HTTP.
    pub(super) key: Option<String>,
    sink: ChatSink,
    pub(super) lag: Option<ChatLag>,
    /// How many of the pending events it already knows.
    pub(super) known: usize,
    pub(super) allowance: Allowance,
    /// The sessions with which it has proven that it publishes the broadcast.
    pub(super) proofs: Vec<u64>,
}

impl Participant {
    pub(super) fn new(author: Author, guest: Guest, sink: ChatSink, allowance: Allowance) -> Self {
        Self {
            author,
            guest,
            name: String::new(),
            key: None,
            sink,
            lag: None,
            known: 0,
            allowance,
            proofs: Vec::new(),
        }
    }

    /// Whether it may delete and silence.
    pub(super) fn moderates(&self) -> bool {
        self.guest.moderates || self.publishes()
    }

    /// Whether it publishes the broadcast.
    pub(super) fn publishes(&self) -> bool {
        self.guest.publishes || !self.proofs.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.sink.has_room()
    }

    /// Hands it a text that all get.
    pub(super) fn take(&mut self, parcel: &Parcel, now: Instant) {
        if !self.sink.take(parcel) && self.lag.is_none() {
            self.fall_behind(now);
        }
    }

    /// Sends it something that nobody else gets.
    pub(super) fn tell(&mut self, event: &ChatEvent, now: Instant) {
        if let Some(parcel) = parcel(std::slice::from_ref(event), false) {
            self.take(&parcel, now);
        }
    }

    /// Sends it everything.
    pub(super) fn greet(&mut self, hello: Hello, history: &str, now: Instant) {
        let text = hello_text(hello, history);
        let parcel = text.map(|text| Parcel {
            text: text.into(),
            is_timed: false,
        });
        if parcel.is_some_and(|parcel| self.sink.take(&parcel)) {
            self.lag = None;
        } else {
            self.fall_behind(now);
        }
    }

    /// It has missed something, and gets everything again later.
    pub(super) fn fall_behind(&mut self, now: Instant) {
        let lag = self.lag.get_or_insert(ChatLag {
            since: now,
            next: now,
            pause: AGAIN,
        });
        lag.next = now + lag.pause;
        lag.pause = (lag.pause * 2).min(AGAIN_MAX);
    }

    /// Whether it has not read for so long that it should reconnect.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        let is_late = self.lag.is_some_and(|lag| lag.since + LAG_MAX <= now);
        is_late && self.sink.comes_again()
    }
}

/// Events as they are sent.
pub(super) fn parcel(events: &[ChatEvent], is_timed: bool) -> Option<Parcel> {
    let text = serde_json::to_string(events)
        .inspect_err(|error| tracing::error!(%error, "cannot encode the events of a chat as JSON"))
        .ok()?;
    Some(Parcel {
        text: text.into(),
        is_timed,
    })
}
