//! What moderators do.

use std::time::{Duration, Instant};

use super::{
    super::{
        author::{SANCTIONS_MAX, Sanction},
        message::ChatEvent,
        participant::Participant,
        refusal::ChatRefusal,
    },
    Conversation, SECONDS_MAX,
};

impl Conversation {
    /// Deletes a message.
    pub(super) fn delete(&mut self, id: u64) -> Result<(), ChatRefusal> {
        let before = self.history.len();
        self.history.retain(|entry| entry.message.id != id);
        if self.history.len() == before {
            return Err(ChatRefusal::Missing("message"));
        }
        self.pending.push(ChatEvent::Deleted { message: id });
        Ok(())
    }

    /// Silences the participant with this number, whether or not they are still there: for some
    /// seconds, or for good.
    pub(super) fn silence(
        &mut self,
        number: u64,
        seconds: Option<u64>,
        now: Instant,
    ) -> Result<(), ChatRefusal> {
        let present = self.participants.get(&number);
        let present = present.map(|participant| participant.author.clone());
        let mut entries = self.history.iter().rev();
        let mut past = || entries.find(|entry| entry.message.from == number);
        let author = present.or_else(|| past().map(|entry| entry.author.clone()));
        let author = author.ok_or(ChatRefusal::Missing("participant"))?;
        let seconds = seconds.map(|seconds| Duration::from_secs(seconds.min(SECONDS_MAX)));
        let until = seconds.map(|seconds| now + seconds);
        self.sanctions
            .retain(|sanction| sanction.author.number != number);
        if self.sanctions.len() == SANCTIONS_MAX {
            self.sanctions.pop_front();
        }
        let sanction = Sanction { author, until };
        let is_silent = |participant: &Participant| {
            sanction.author.number == participant.author.number
                || sanction.silences(&participant.author, now)
        };
        let silent: Vec<u64> = self
            .participants
            .values()
            .filter(|participant| is_silent(participant))
            .map(|participant| participant.author.number)
            .collect();
        self.sanctions.push_back(sanction);
        if until.is_none() {
            self.history.retain(|entry| entry.message.from != number);
            self.pending.push(ChatEvent::Removed { from: number });
        }
        for number in silent {
            self.tell_standing(number, now);
        }
        Ok(())
    }
}
