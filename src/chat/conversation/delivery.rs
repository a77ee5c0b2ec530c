//! Who is told what, and when.

use std::time::{Duration, Instant};

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
            participant.tell(&ChatEvent::Standing(standing));
        }
    }

    /// Tells a participant everything.
    pub(super) fn greet(&mut self, number: u64, now: Instant) {
        let Some(standing) = self.standing(number, now) else {
            return;
        };
        let history = self.history.iter();
        let hello = Hello {
            v: VERSION,
            standing,
            key: None,
            chat: self.rules.chat,
            data: self.rules.data,
            slow: self.slow.as_secs(),
            people: self.participants.len(),
            history: history.map(|entry| entry.message.clone()).collect(),
            reactions: self.reactions.clone(),
            limits: ChatLimits {
                text: TEXT_CHARS_MAX,
                name: NAME_CHARS_MAX,
                data: DATA_BYTES_MAX,
            },
        };
        if let Some(participant) = self.participants.get_mut(&number) {
            participant.is_behind = false;
            let key = participant.key.clone();
            participant.tell(&ChatEvent::Hello(Box::new(Hello { key, ..hello })));
        }
    }

    /// Tells everybody what has happened, if it is time.
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
        let behind = self.participants.values().filter(|one| one.is_behind);
        let behind: Vec<u64> = behind.map(|one| one.author.number).collect();
        if !events.is_empty()
            && let Some(parcel) = parcel(&events, false)
        {
            let everybody = self.participants.values_mut();
            for participant in everybody.filter(|participant| !participant.is_behind) {
                participant.take(&parcel);
            }
        }
        for number in behind {
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
        let mut behind = self.participants.values().filter(|one| one.is_behind);
        let again = behind.next().map(|_| self.flushed + INTERVAL_MAX);
        [is_news.then_some(next), counting, again]
            .into_iter()
            .flatten()
            .min()
    }
}
