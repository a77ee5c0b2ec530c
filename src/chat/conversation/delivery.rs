//! Which events go to whom, and when.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    super::{
        message::{ChatEvent, ChatLimits, Hello, Standing, VERSION},
        participant::parcel,
        refusal::ChatRefusal,
    },
    Conversation, DATA_BYTES_MAX, NAME_CHARS_MAX, TEXT_CHARS_MAX,
};

/// Shortest time between two deliveries, for each participant: a delivery to a thousand costs some
/// ten milliseconds.
const INTERVAL_PER_PARTICIPANT: Duration = Duration::from_micros(250);
const INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Shortest time between two counts of people.
const PEOPLE_INTERVAL: Duration = Duration::from_secs(1);

impl Conversation {
    fn standing(&self, number: u64, now: Instant) -> Option<Standing> {
        let participant = self.participants.get(&number)?;
        let silenced = self.silenced(number, now);
        Some(Standing {
            you: number,
            name: participant.name.clone(),
            moderator: participant.moderates(),
            speaks: silenced.is_none(),
            silent: silenced.as_ref().and_then(ChatRefusal::wait_seconds),
        })
    }

    pub(super) fn tell_standing(&mut self, number: u64, now: Instant) {
        let standing = self.standing(number, now);
        if let (Some(standing), Some(participant)) = (standing, self.participants.get_mut(&number))
        {
            participant.tell(&ChatEvent::Standing(standing), now);
        }
    }

    /// Sends a participant everything, if its queue has room.
    pub(super) fn greet(&mut self, number: u64, now: Instant) {
        let Some(standing) = self.standing(number, now) else {
            return;
        };
        let people = self.participants.len();
        let Some(participant) = self.participants.get_mut(&number) else {
            return;
        };
        if !participant.has_room() {
            participant.fall_behind(now);
            return;
        }
        let hello = Hello {
            v: VERSION,
            standing,
            key: participant.key.clone(),
            chat: self.rules.chat,
            data: self.rules.data,
            slow: self.shares.slow.as_secs(),
            people,
            reactions: self.reactions.clone(),
            limits: ChatLimits {
                text: TEXT_CHARS_MAX,
                name: NAME_CHARS_MAX,
                data: DATA_BYTES_MAX,
            },
        };
        let history = self.history_text.get_or_insert_with(|| {
            let messages: Vec<_> = self.history.iter().map(|entry| &entry.message).collect();
            let text = serde_json::to_string(&messages).inspect_err(|error| {
                tracing::error!(%error, "cannot encode the history of a chat as JSON");
            });
            text.unwrap_or_else(|_| "[]".to_owned()).into()
        });
        participant.greet(hello, history, now);
        // Events in the history are not sent again.
        participant.known = self.pending.len();
    }

    /// Delivers what has happened to everybody, if it is time.
    pub(in crate::chat) fn deliver(&mut self, now: Instant) {
        if self.due().is_some_and(|due| due <= now) {
            self.flush(now);
        }
    }

    pub(super) fn flush(&mut self, now: Instant) {
        let mut events = std::mem::take(&mut self.pending);
        if !self.fresh.is_empty() {
            events.push(ChatEvent::Reactions {
                added: std::mem::take(&mut self.fresh),
                total: self.reactions.clone(),
            });
        }
        let people = self.participants.len();
        if people != self.people && now >= self.counted + PEOPLE_INTERVAL {
            self.people = people;
            self.counted = now;
            events.push(ChatEvent::People { count: people });
        }
        self.flushed = now;
        self.share(&events, now);
        self.catch_up(now);
    }

    /// Sends events to everybody who has missed none.
    fn share(&mut self, events: &[ChatEvent], now: Instant) {
        // One for each number of events that some participant already knows.
        let mut parcels = BTreeMap::new();
        for participant in self.participants.values_mut() {
            let known = std::mem::take(&mut participant.known);
            let news = events.get(known..).unwrap_or_default();
            if participant.lag.is_some() || news.is_empty() {
                continue;
            }
            let parcel = parcels.entry(known).or_insert_with(|| parcel(news, false));
            if let Some(parcel) = parcel {
                participant.take(parcel, now);
            }
        }
    }

    /// Sends everything to those who have missed something, and disconnects those who do not read.
    fn catch_up(&mut self, now: Instant) {
        let lost: Vec<u64> = self
            .participants
            .values()
            .filter(|participant| participant.is_lost(now))
            .map(|participant| participant.author.number)
            .collect();
        for number in lost {
            self.leave(number, now);
        }
        let due = self
            .participants
            .values()
            .filter(|one| one.lag.is_some_and(|lag| lag.next <= now));
        let due: Vec<u64> = due.map(|one| one.author.number).collect();
        for number in due {
            self.greet(number, now);
        }
    }

    /// When [`Conversation::deliver`] has something to do.
    pub(in crate::chat) fn due(&self) -> Option<Instant> {
        let count = u32::try_from(self.participants.len()).unwrap_or(u32::MAX);
        let interval = INTERVAL_PER_PARTICIPANT.saturating_mul(count);
        let next = self.flushed + interval.min(INTERVAL_MAX);
        let is_news = !self.pending.is_empty() || !self.fresh.is_empty();
        let is_counting = self.participants.len() != self.people;
        let counting = is_counting.then(|| next.max(self.counted + PEOPLE_INTERVAL));
        let again = self
            .participants
            .values()
            .filter_map(|one| one.lag)
            .map(|lag| lag.next)
            .min();
        [is_news.then_some(next), counting, again]
            .into_iter()
            .flatten()
            .min()
    }
}
