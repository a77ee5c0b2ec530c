//! Requests of moderators.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    super::{
        author::{Author, SANCTIONS_MAX, Sanction},
        message::{ChatEvent, ChatRequest},
        participant::Participant,
        refusal::ChatRefusal,
    },
    Conversation, SECONDS_MAX,
};

impl Conversation {
    /// Carries out requests that only moderators may make.
    pub(super) fn moderate(
        &mut self,
        request: ChatRequest,
        now: Instant,
    ) -> Result<(), ChatRefusal> {
        match request {
            ChatRequest::Data { data } => self.announce(data, now),
            ChatRequest::Delete { message } => self.delete(message),
            ChatRequest::Timeout { member, seconds: 0 } => self.pardon(member, now),
            ChatRequest::Timeout { member, seconds } => self.silence(member, Some(seconds), now),
            ChatRequest::Ban { member } => self.silence(member, None, now),
            ChatRequest::Slow { seconds } => {
                self.shares.slow = Duration::from_secs(seconds.min(SECONDS_MAX));
                self.pending.push(ChatEvent::Slow {
                    seconds: self.shares.slow.as_secs(),
                });
                Ok(())
            }
            ChatRequest::Join { .. }
            | ChatRequest::Say { .. }
            | ChatRequest::React { .. }
            | ChatRequest::Control { .. }
            | ChatRequest::Prove { .. } => Err(ChatRefusal::Missing("request")),
        }
    }

    /// Deletes a message.
    pub(super) fn delete(&mut self, id: u64) -> Result<(), ChatRefusal> {
        let before = self.history.len();
        self.history.retain(|entry| entry.message.id != id);
        if self.history.len() == before {
            return Err(ChatRefusal::Missing("message"));
        }
        self.history_text = None;
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
        let author = self.author(number)?;
        let seconds = seconds.map(|seconds| Duration::from_secs(seconds.min(SECONDS_MAX)));
        let until = seconds.map(|seconds| now + seconds);
        self.sanctions.retain(|sanction| {
            sanction.author.number != number && sanction.until.is_none_or(|until| now < until)
        });
        if self.sanctions.len() == SANCTIONS_MAX {
            self.sanctions.pop_front();
        }
        let sanction = Sanction { author, until };
        let is_silent = |participant: &Participant| sanction.silences(&participant.author, now);
        let silent: Vec<u64> = self
            .participants
            .values()
            .filter(|participant| is_silent(participant))
            .map(|participant| participant.author.number)
            .collect();
        self.sanctions.push_back(sanction);
        if until.is_none() {
            self.history_text = None;
            self.history.retain(|entry| entry.message.from != number);
            self.pending.push(ChatEvent::Removed { from: number });
        }
        for number in silent {
            self.tell_standing(number, now);
        }
        Ok(())
    }

    /// Lets the participant with this number speak again, whatever silences them.
    fn pardon(&mut self, number: u64, now: Instant) -> Result<(), ChatRefusal> {
        let author = self.author(number)?;
        let (lifted, kept): (VecDeque<_>, _) = self.sanctions.drain(..).partition(|sanction| {
            sanction.author.number == number || sanction.silences(&author, now)
        });
        self.sanctions = kept;
        let is_free = |participant: &&Participant| {
            let mut lifted = lifted.iter();
            lifted.any(|sanction: &Sanction| sanction.silences(&participant.author, now))
        };
        let free = self.participants.values().filter(is_free);
        let free: Vec<u64> = free.map(|participant| participant.author.number).collect();
        for number in free {
            self.tell_standing(number, now);
        }
        Ok(())
    }

    /// The author with this number: somebody who is present, has said something, or may not speak.
    fn author(&self, number: u64) -> Result<Author, ChatRefusal> {
        let present = self.participants.get(&number).map(|one| &one.author);
        let said = self.history.iter().map(|entry| &entry.author);
        let silenced = self.sanctions.iter().map(|sanction| &sanction.author);
        let mut all = present.into_iter().chain(said).chain(silenced);
        let author = all.find(|author| author.number == number);
        author.cloned().ok_or(ChatRefusal::Missing("participant"))
    }
}
