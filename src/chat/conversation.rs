//! The conversation of one broadcast. Pure: time comes in, texts go out.

mod delivery;
mod moderation;
mod names;
mod once;
mod programs;
mod shares;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

pub(super) use self::programs::check_data;
use self::{names::Names, shares::NetworkShares};
use super::{
    ChatRules, ChatSink,
    author::{Author, Guest, Sanction},
    message::{ChatEvent, ChatMessage, ChatRequest, REACTIONS},
    participant::Participant,
    refusal::ChatRefusal,
    text::{is_visible, line},
};
use crate::media::TokenBucket;

/// Messages that those who join later see.
pub(super) const HISTORY: usize = 100;
/// Longest message, in characters.
pub(super) const TEXT_CHARS_MAX: usize = 500;
/// Longest name, in characters.
pub(super) const NAME_CHARS_MAX: usize = 32;
/// Longest name of a device, in bytes.
const DEVICE_BYTES_MAX: usize = 64;
/// Largest data, in bytes of JSON.
pub(super) const DATA_BYTES_MAX: usize = 4096;
/// Simultaneous participants.
pub(super) const PARTICIPANTS_MAX: usize = 20_000;
/// Messages of all participants together per second in the long run, and at once.
const PACE: f64 = 20.0;
const PACE_BURST: f64 = 40.0;
/// Data from publisher and operator together, likewise.
const DATA_PACE: f64 = 30.0;
const DATA_PACE_BURST: f64 = 60.0;
/// Data from participants to the publisher, likewise.
const CONTROL_PACE: f64 = 20.0;
const CONTROL_PACE_BURST: f64 = 16.0;
/// Sessions with which one participant proves that they publish the broadcast.
const PROOFS_MAX: usize = 8;
/// Longest silence and slow mode that a moderator can set: a week.
const SECONDS_MAX: u64 = 7 * 24 * 3600;
/// How long a conversation without participants is remembered.
pub(super) const MEMORY: Duration = Duration::from_mins(30);

/// A message and who wrote it.
struct Entry {
    message: ChatMessage,
    author: Author,
}

pub(super) struct Conversation {
    rules: ChatRules,
    participants: HashMap<u64, Participant>,
    names: Names,
    /// Participants so far.
    numbers: u64,
    history: VecDeque<Entry>,
    /// The history as it is sent, until it changes.
    history_text: Option<Arc<str>>,
    /// Messages so far.
    messages: u64,
    /// How often each was seen.
    reactions: BTreeMap<&'static str, u64>,
    /// Those that have not been delivered yet.
    fresh: BTreeMap<&'static str, u64>,
    sanctions: VecDeque<Sanction>,
    shares: NetworkShares,
    pace: TokenBucket,
    data_pace: TokenBucket,
    control_pace: TokenBucket,
    /// Events about to be delivered to everybody.
    pending: Vec<ChatEvent>,
    flushed: Instant,
    /// The number that was last announced, and when.
    people: usize,
    counted: Instant,
    /// When the last participant left.
    emptied: Instant,
}

impl Conversation {
    pub(super) fn new(rules: ChatRules, now: Instant) -> Self {
        Self {
            shares: NetworkShares::new(rules.slow),
            rules,
            participants: HashMap::new(),
            names: Names::default(),
            numbers: 0,
            history: VecDeque::new(),
            history_text: None,
            messages: 0,
            reactions: BTreeMap::new(),
            fresh: BTreeMap::new(),
            sanctions: VecDeque::new(),
            pace: TokenBucket::new(PACE, PACE_BURST, now),
            data_pace: TokenBucket::new(DATA_PACE, DATA_PACE_BURST, now),
            control_pace: TokenBucket::new(CONTROL_PACE, CONTROL_PACE_BURST, now),
            pending: Vec::new(),
            flushed: now,
            people: 0,
            counted: now,
            emptied: now,
        }
    }

    /// Lets somebody in, and sends them everything. Returns their number.
    pub(super) fn join(
        &mut self,
        guest: Guest,
        key: Option<&str>,
        sink: ChatSink,
        now: Instant,
    ) -> Result<u64, ChatRefusal> {
        if self.participants.len() >= PARTICIPANTS_MAX {
            return Err(ChatRefusal::Full("participants of a chat"));
        }
        self.numbers += 1;
        let number = self.numbers;
        let author = Author {
            number,
            device: String::new(),
            network: guest.network,
        };
        let allowance = self.shares.allowance(author.network, now);
        let mut participant = Participant::new(author, guest, sink, allowance);
        participant.key = key.map(|secret| format!("{number}-{secret}"));
        self.participants.insert(number, participant);
        self.greet(number, now);
        Ok(number)
    }

    /// Somebody has left.
    pub(super) fn leave(&mut self, number: u64, now: Instant) {
        if let Some(gone) = self.participants.remove(&number) {
            self.names.give_up(&gone.name, number);
            if !gone.moderates() {
                self.shares.keep(gone.author.network, gone.allowance, now);
            }
            self.emptied = now;
        }
    }

    /// The participant with this key.
    pub(super) fn holder(&self, key: &str) -> Option<u64> {
        let number = key.split_once('-')?.0.parse().ok()?;
        let participant = self.participants.get(&number)?;
        (participant.key.as_deref() == Some(key)).then_some(number)
    }

    /// A participant has proven, by a session, that they publish the broadcast. Returns whether
    /// that is new.
    pub(super) fn promote(
        &mut self,
        number: u64,
        session: u64,
        now: Instant,
    ) -> Result<bool, ChatRefusal> {
        let participant = self.participants.get_mut(&number);
        let participant = participant.ok_or(ChatRefusal::Missing("participant"))?;
        let proofs = &mut participant.proofs;
        let is_new = !proofs.contains(&session);
        if is_new {
            if proofs.len() >= PROOFS_MAX {
                return Err(ChatRefusal::Full("sessions of a participant"));
            }
            proofs.push(session);
        }
        self.tell_standing(number, now);
        Ok(is_new)
    }

    /// A session that proved that a participant publishes has ended.
    pub(super) fn demote(&mut self, number: u64, session: u64, now: Instant) {
        if let Some(participant) = self.participants.get_mut(&number) {
            participant.proofs.retain(|proof| *proof != session);
        }
        self.tell_standing(number, now);
    }

    /// Carries out a participant's request, or sends them the refusal.
    pub(super) fn request(
        &mut self,
        number: u64,
        request: ChatRequest,
        now: Instant,
    ) -> Result<(), ChatRefusal> {
        let id = match &request {
            ChatRequest::Say { id, .. } => id.clone(),
            _ => None,
        };
        let done = self.perform(number, request, now);
        if let Err(refusal) = &done {
            self.tell_refusal(number, refusal, id, now);
        }
        done
    }

    /// Tells a participant that its request is malformed.
    pub(super) fn refuse(&mut self, number: u64, refusal: &ChatRefusal, now: Instant) {
        self.tell_refusal(number, refusal, None, now);
    }

    fn tell_refusal(
        &mut self,
        number: u64,
        refusal: &ChatRefusal,
        id: Option<String>,
        now: Instant,
    ) {
        // Floods are not answered.
        if let Some(participant) = self.participants.get_mut(&number)
            && participant.allowance.may_act(now)
        {
            participant.tell(&ChatEvent::refused(refusal, id), now);
        }
    }

    fn perform(
        &mut self,
        number: u64,
        request: ChatRequest,
        now: Instant,
    ) -> Result<(), ChatRefusal> {
        let participant = self.participants.get_mut(&number);
        let participant = participant.ok_or(ChatRefusal::Missing("participant"))?;
        let moderates = participant.moderates();
        let is_within = participant.allowance.may_act(now)
            && (moderates || self.shares.may_act(participant.author.network, now));
        if !is_within {
            return Err(ChatRefusal::TooOften(Duration::from_secs(1)));
        }
        match request {
            ChatRequest::Join { name, device } => self.introduce(number, &name, &device, now),
            ChatRequest::Say { text, .. } => self.say(number, &text, now),
            ChatRequest::React { reaction } => self.react(number, &reaction, now),
            ChatRequest::Control { data } => self.control(number, data, now),
            ChatRequest::Prove { .. } => Err(ChatRefusal::Missing("session")),
            request if moderates => self.moderate(request, now),
            _ => Err(ChatRefusal::NotModerator),
        }
    }

    /// Names a participant.
    fn introduce(
        &mut self,
        number: u64,
        name: &str,
        device: &str,
        now: Instant,
    ) -> Result<(), ChatRefusal> {
        let name = name_text(name)?;
        if device.len() > DEVICE_BYTES_MAX {
            return Err(ChatRefusal::TooLong(DEVICE_BYTES_MAX));
        }
        if self
            .participants
            .get(&number)
            .is_some_and(Participant::moderates)
        {
            self.reserve(&name, device, now);
        }
        self.rename(number, &name, device);
        self.tell_standing(number, now);
        Ok(())
    }

    /// Why a participant may not speak now.
    fn silenced(&self, number: u64, now: Instant) -> Option<ChatRefusal> {
        let participant = self.participants.get(&number)?;
        if participant.moderates() {
            return None;
        }
        if !participant.guest.speaks {
            return Some(ChatRefusal::NotAllowed);
        }
        let mut counting = self
            .sanctions
            .iter()
            .filter(|one| one.silences(&participant.author, now));
        counting
            .clone()
            .find(|sanction| sanction.until.is_none())
            .or_else(|| counting.next())
            .map(|sanction| match sanction.until {
                None => ChatRefusal::Banned,
                Some(until) => ChatRefusal::TimedOut(until.saturating_duration_since(now)),
            })
    }

    fn check_chat(&self) -> Result<(), ChatRefusal> {
        if !self.rules.chat {
            return Err(ChatRefusal::Off("chat"));
        }
        Ok(())
    }

    fn say(&mut self, number: u64, text: &str, now: Instant) -> Result<(), ChatRefusal> {
        self.check_chat()?;
        if let Some(refusal) = self.silenced(number, now) {
            return Err(refusal);
        }
        let text = message_text(text)?;
        let slow = self.shares.slow;
        let participant = self.participants.get_mut(&number);
        let participant = participant.ok_or(ChatRefusal::Missing("participant"))?;
        if participant.name.is_empty() {
            return Err(ChatRefusal::NameMissing);
        }
        let moderates = participant.moderates();
        let author = participant.author.clone();
        if !moderates {
            let next = participant.allowance.spoke.map(|spoke| spoke + slow);
            let wait = next.map(|next| next.saturating_duration_since(now));
            let wait = wait.max(self.shares.wait(author.network, now));
            if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
                return Err(ChatRefusal::Slow(wait));
            }
        }
        let is_within = participant.allowance.may_say(now)
            && (moderates || self.shares.may_say(author.network, now));
        if !is_within {
            return Err(ChatRefusal::TooOften(Duration::from_secs(2)));
        }
        if !self.pace.take(1.0, now) {
            return Err(ChatRefusal::Busy);
        }
        participant.allowance.spoke = Some(now);
        if !moderates {
            self.shares.spoke(author.network, now);
        }
        let name = participant.name.clone();
        self.post(author, name, moderates, text);
        Ok(())
    }

    fn post(&mut self, author: Author, name: String, moderator: bool, text: String) {
        self.messages += 1;
        let message = ChatMessage {
            id: self.messages,
            from: author.number,
            name,
            moderator,
            text,
            time: unix_time(),
        };
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(Entry {
            message: message.clone(),
            author,
        });
        self.history_text = None;
        self.pending.push(ChatEvent::Message(message));
    }

    fn react(&mut self, number: u64, reaction: &str, now: Instant) -> Result<(), ChatRefusal> {
        self.check_chat()?;
        if let Some(refusal) = self.silenced(number, now) {
            return Err(refusal);
        }
        self.count(reaction)
    }

    fn count(&mut self, reaction: &str) -> Result<(), ChatRefusal> {
        let known = REACTIONS
            .into_iter()
            .find(|known| *known == reaction)
            .ok_or(ChatRefusal::Missing("reaction"))?;
        *self.reactions.entry(known).or_default() += 1;
        *self.fresh.entry(known).or_default() += 1;
        Ok(())
    }

    /// When to forget it, unless somebody joins.
    pub(super) fn expires(&self) -> Option<Instant> {
        if !self.participants.is_empty() {
            return None;
        }
        let is_blank = self.history.is_empty()
            && self.sanctions.is_empty()
            && self.reactions.is_empty()
            && self.shares.slow == self.rules.slow;
        Some(self.emptied + if is_blank { Duration::ZERO } else { MEMORY })
    }

    /// The present configuration.
    pub(super) fn set_rules(&mut self, rules: ChatRules) {
        if rules.slow != self.rules.slow {
            self.shares.slow = rules.slow;
        }
        self.rules = rules;
    }
}

/// A name as it is shown; empty if nothing of it can be seen.
fn name_text(name: &str) -> Result<String, ChatRefusal> {
    // Longer than any allowed name, whatever is left out of it.
    if name.len() > NAME_CHARS_MAX * 8 {
        return Err(ChatRefusal::TooLong(NAME_CHARS_MAX));
    }
    let name = line(name);
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(ChatRefusal::TooLong(NAME_CHARS_MAX));
    }
    Ok(if is_visible(&name) {
        name
    } else {
        String::new()
    })
}

/// A message as it is shown.
fn message_text(text: &str) -> Result<String, ChatRefusal> {
    // Longer than any allowed text, whatever is left out of it.
    if text.len() > TEXT_CHARS_MAX * 8 {
        return Err(ChatRefusal::TooLong(TEXT_CHARS_MAX));
    }
    let text = line(text);
    if !is_visible(&text) {
        return Err(ChatRefusal::Empty);
    }
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(ChatRefusal::TooLong(TEXT_CHARS_MAX));
    }
    Ok(text)
}

/// Now, in milliseconds.
fn unix_time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests;
