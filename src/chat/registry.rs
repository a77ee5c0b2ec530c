//! All conversations, and the task that delivers what is said in them.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::Notify;

use super::{
    ChatRequest, ChatRules, ChatSink, Guest,
    conversation::{Conversation, check_data},
    refusal::ChatRefusal,
};
use crate::{
    awake,
    plan::{Name, Plans},
};

/// Simultaneous conversations.
const CONVERSATIONS_MAX: usize = 10_000;
/// Shortest pause between two rounds of deliveries.
const ROUND: Duration = Duration::from_millis(5);
/// Random bytes of a participant's key.
const KEY_BYTES: usize = 16;

/// All conversations. Cheap to clone.
#[derive(Clone)]
pub struct Chats {
    shared: Arc<Shared>,
}

struct Shared {
    plans: Mutex<Plans>,
    // Held for a map operation only; so is each conversation's lock, for what it does.
    conversations: Mutex<HashMap<Name, Arc<Mutex<Conversation>>>>,
    /// There is something to deliver.
    news: Notify,
}

/// A participant's place, which is given up when it is dropped.
pub struct Seat {
    chats: Chats,
    conversation: Arc<Mutex<Conversation>>,
    number: u64,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seat").field(&self.number).finish()
    }
}

impl Chats {
    /// No conversations yet.
    pub fn new(plans: Plans) -> Self {
        Self {
            shared: Arc::new(Shared {
                plans: Mutex::new(plans),
                conversations: Mutex::default(),
                news: Notify::new(),
            }),
        }
    }

    /// Takes over new plans. Participants of conversations stay.
    pub fn reload(&self, plans: Plans) {
        *self.plans() = plans;
    }

    fn plans(&self) -> MutexGuard<'_, Plans> {
        let plans = self.shared.plans.lock();
        // A poisoned lock is fine: nothing is ever left half-changed.
        plans.unwrap_or_else(PoisonError::into_inner)
    }

    /// What a broadcast of this name has; `None` if nothing.
    pub fn rules(&self, name: &Name) -> Option<ChatRules> {
        let plan = self.plans().of(name);
        let rules = ChatRules {
            chat: plan.chat,
            data: plan.data,
            slow: plan.chat_slow,
        };
        (rules.chat || rules.data).then_some(rules)
    }

    /// Lets somebody in. They get everything through `sink`, starting with the current state.
    ///
    /// # Errors
    /// If the broadcast has none of this, or there is no room.
    pub fn join(&self, name: &Name, guest: Guest, sink: ChatSink) -> Result<Seat, ChatRefusal> {
        self.admit(name, guest, None, sink)
    }

    /// The same for a participant whose requests arrive separately: they get a key for them.
    ///
    /// # Errors
    /// As [`Chats::join`], or if the system has no random numbers.
    pub fn join_with_key(
        &self,
        name: &Name,
        guest: Guest,
        sink: ChatSink,
    ) -> Result<Seat, ChatRefusal> {
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(|_| ChatRefusal::Full("random numbers"))?;
        let key = bytes.iter().fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        self.admit(name, guest, Some(&key), sink)
    }

    fn admit(
        &self,
        name: &Name,
        guest: Guest,
        key: Option<&str>,
        sink: ChatSink,
    ) -> Result<Seat, ChatRefusal> {
        let conversation = self.conversation(name)?;
        let number = lock(&conversation).join(guest, key, sink, awake::now())?;
        self.shared.news.notify_one();
        Ok(Seat {
            chats: self.clone(),
            conversation,
            number,
        })
    }

    /// Does what the holder of a key asks for.
    ///
    /// # Errors
    /// If there is no such participant, or it may not.
    pub fn request(&self, name: &Name, key: &str, request: ChatRequest) -> Result<(), ChatRefusal> {
        self.with_holder(name, key, |conversation, number, now| {
            conversation.request(number, request, now)
        })
    }

    /// The holder of this key publishes the broadcast, by the session of this number. Returns
    /// whether that is new: then [`Chats::demote`] has to follow once the session has ended.
    ///
    /// # Errors
    /// If there is no such participant.
    pub fn promote(&self, name: &Name, key: &str, session: u64) -> Result<bool, ChatRefusal> {
        self.with_holder(name, key, |conversation, number, now| {
            conversation.promote(number, session, now)
        })
    }

    /// A session that proved that the holder of this key publishes has ended.
    pub fn demote(&self, name: &Name, key: &str, session: u64) {
        let demoted = self.with_holder(name, key, |conversation, number, now| {
            conversation.demote(number, session, now);
            Ok(())
        });
        if let Err(refusal) = demoted {
            tracing::debug!(%refusal, "publisher has left the chat already");
        }
    }

    fn with_holder<T>(
        &self,
        name: &Name,
        key: &str,
        act: impl FnOnce(&mut Conversation, u64, Instant) -> Result<T, ChatRefusal>,
    ) -> Result<T, ChatRefusal> {
        let conversation = self
            .known(name)?
            .ok_or(ChatRefusal::Missing("participant"))?;
        let mut conversation = lock(&conversation);
        let number = conversation
            .holder(key)
            .ok_or(ChatRefusal::Missing("participant"))?;
        let done = act(&mut conversation, number, awake::now());
        drop(conversation);
        self.shared.news.notify_one();
        done
    }

    /// Carries out a request from a client that does not take part, such as a script that
    /// moderates.
    ///
    /// # Errors
    /// If they may not.
    pub fn request_once(
        &self,
        name: &Name,
        guest: &Guest,
        sender: &str,
        request: ChatRequest,
    ) -> Result<(), ChatRefusal> {
        let conversation = self.conversation(name)?;
        let done = lock(&conversation).once(guest, sender, request, awake::now());
        self.shared.news.notify_one();
        done
    }

    /// Sends data to everybody, with the picture of this moment.
    ///
    /// # Errors
    /// If the broadcast has no data, or gets too much of it.
    pub fn announce(&self, name: &Name, data: Value) -> Result<(), ChatRefusal> {
        let Some(conversation) = self.known(name)? else {
            return check_data(self.rules(name).ok_or(ChatRefusal::Off("data"))?, &data);
        };
        let announced = lock(&conversation).announce(data, awake::now());
        self.shared.news.notify_one();
        announced
    }

    /// Delivers events to participants as they happen. Never ends by itself.
    pub async fn deliver(self) {
        loop {
            let due = self.round(awake::now());
            let rest = due.map(|due| due.saturating_duration_since(awake::now()));
            let pause = async {
                match rest {
                    Some(rest) => tokio::time::sleep(rest).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pause => {}
                () = self.shared.news.notified() => {}
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    /// Delivers what is due; returns when the next is.
    fn round(&self, now: Instant) -> Option<Instant> {
        let all: Vec<(Name, Arc<Mutex<Conversation>>)> = {
            let mut conversations = self.conversations();
            // Those with a seat are held by it, too.
            conversations.retain(|_, conversation| {
                Arc::strong_count(conversation) > 1
                    || lock(conversation).expires().is_none_or(|at| now < at)
            });
            conversations
                .iter()
                .map(|(name, one)| (name.clone(), Arc::clone(one)))
                .collect()
        };
        let dues = all.iter().filter_map(|(_, conversation)| {
            let mut conversation = lock(conversation);
            conversation.deliver(now);
            let expires = conversation.expires().filter(|expires| now < *expires);
            [conversation.due(), expires].into_iter().flatten().min()
        });
        dues.min()
    }

    /// The conversation of a broadcast, which need not be there yet.
    fn conversation(&self, name: &Name) -> Result<Arc<Mutex<Conversation>>, ChatRefusal> {
        if let Some(known) = self.known(name)? {
            return Ok(known);
        }
        let rules = self.rules(name).ok_or(ChatRefusal::Off("chat"))?;
        let mut conversations = self.conversations();
        if conversations.len() >= CONVERSATIONS_MAX {
            return Err(ChatRefusal::Full("conversations"));
        }
        // Somebody else may have been faster.
        let conversation = conversations.entry(name.clone()).or_insert_with(|| {
            let new = Conversation::new(rules, awake::now());
            Arc::new(Mutex::new(new))
        });
        Ok(Arc::clone(conversation))
    }

    /// The conversation of a broadcast, if there is one.
    fn known(&self, name: &Name) -> Result<Option<Arc<Mutex<Conversation>>>, ChatRefusal> {
        let rules = self.rules(name).ok_or(ChatRefusal::Off("chat"))?;
        let known = self.conversations().get(name).map(Arc::clone);
        if let Some(known) = &known {
            lock(known).set_rules(rules);
        }
        Ok(known)
    }

    fn conversations(&self) -> MutexGuard<'_, HashMap<Name, Arc<Mutex<Conversation>>>> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.shared
            .conversations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Does what the participant asks for.
    ///
    /// # Errors
    /// If they may not; they get the refusal as an event as well.
    pub fn request(&self, request: ChatRequest) -> Result<(), ChatRefusal> {
        let done = lock(&self.conversation).request(self.number, request, awake::now());
        self.chats.shared.news.notify_one();
        done
    }

    /// Carries out a request in text form; if it is malformed, the participant gets a refusal.
    pub fn read(&self, text: &str) {
        let done = match serde_json::from_str(text) {
            Ok(request) => self.request(request),
            Err(error) => {
                let refusal = ChatRefusal::Malformed(error.to_string());
                lock(&self.conversation).refuse(self.number, &refusal, awake::now());
                Err(refusal)
            }
        };
        if let Err(refusal) = done {
            tracing::debug!(reason = refusal.reason(), "chat request refused");
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.conversation).leave(self.number, awake::now());
        self.chats.shared.news.notify_one();
    }
}

fn lock(conversation: &Mutex<Conversation>) -> MutexGuard<'_, Conversation> {
    // A panic in one request leaves at worst that request half done.
    conversation.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
