//! Which names are taken, so that nobody can write under another's.

use std::{
    collections::{BTreeSet, HashMap},
    ops::RangeInclusive,
    time::Instant,
};

use super::{
    super::{participant::Participant, text::skeleton},
    Conversation, NAME_CHARS_MAX,
};

/// Numbers that are tried after a name before the participant's own.
const SUFFIXES: RangeInclusive<u64> = 2..=9;

/// The holders of names. Names that look alike count as one.
#[derive(Default)]
pub(super) struct Names(HashMap<String, NameHolders>);

/// Several only if they are one browser.
struct NameHolders {
    device: String,
    numbers: BTreeSet<u64>,
}

impl Names {
    fn is_free(&self, name: &str, device: &str) -> bool {
        let holders = self.0.get(&skeleton(name));
        holders.is_none_or(|holders| !device.is_empty() && holders.device == device)
    }

    /// This name, with a number appended if somebody else has it; empty if those are taken as well.
    fn free(&self, name: &str, device: &str, number: u64) -> String {
        if self.is_free(name, device) {
            return name.to_owned();
        }
        let mut numbered = SUFFIXES.chain([number]).map(|suffix| {
            let suffix = suffix.to_string();
            let room = NAME_CHARS_MAX - suffix.len() - 1;
            let stem: String = name.chars().take(room).collect();
            format!("{} {suffix}", stem.trim_end())
        });
        numbered
            .find(|name| self.is_free(name, device))
            .unwrap_or_default()
    }

    fn take(&mut self, name: &str, device: &str, number: u64) {
        if name.is_empty() {
            return;
        }
        let holders = self.0.entry(skeleton(name)).or_insert_with(|| NameHolders {
            device: device.to_owned(),
            numbers: BTreeSet::new(),
        });
        holders.numbers.insert(number);
    }

    pub(super) fn give_up(&mut self, name: &str, number: u64) {
        let name = skeleton(name);
        if let Some(holders) = self.0.get_mut(&name) {
            holders.numbers.remove(&number);
            if holders.numbers.is_empty() {
                self.0.remove(&name);
            }
        }
    }
}

impl Conversation {
    /// Gives a participant this name, or a similar one.
    pub(super) fn rename(&mut self, number: u64, name: &str, device: &str) {
        let Some(participant) = self.participants.get_mut(&number) else {
            return;
        };
        self.names.give_up(&participant.name, number);
        participant.name = self.names.free(name, device, number);
        device.clone_into(&mut participant.author.device);
        self.names.take(&participant.name, device, number);
    }

    /// Frees a name for a moderator: other holders get a number appended.
    pub(super) fn reserve(&mut self, name: &str, device: &str, now: Instant) {
        if self.names.is_free(name, device) {
            return;
        }
        let participants = &self.participants;
        let moderates = |number: &u64| {
            let holder = participants.get(number);
            holder.is_some_and(Participant::moderates)
        };
        let key = skeleton(name);
        let Some(holders) = self.names.0.get(&key) else {
            return;
        };
        if holders.numbers.iter().any(moderates) {
            return;
        }
        let Some(holders) = self.names.0.remove(&key) else {
            return;
        };
        // Nobody else gets it meanwhile.
        self.names.take(name, device, 0);
        for number in holders.numbers {
            self.rename(number, name, &holders.device);
            self.tell_standing(number, now);
        }
        self.names.give_up(name, 0);
    }
}
