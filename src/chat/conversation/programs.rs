//! Data for programs: to everybody, and to the publisher.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    super::{ChatRules, message::ChatEvent, participant::parcel, refusal::ChatRefusal},
    Conversation, DATA_BYTES_MAX, unix_time,
};

/// Whether the rules let this data pass.
pub(in crate::chat) fn check_data(rules: ChatRules, data: &Value) -> Result<(), ChatRefusal> {
    if !rules.data {
        return Err(ChatRefusal::Off("data"));
    }
    let length = serde_json::to_string(data).map_or(usize::MAX, |text| text.len());
    if length > DATA_BYTES_MAX {
        return Err(ChatRefusal::TooLong(DATA_BYTES_MAX));
    }
    Ok(())
}

impl Conversation {
    pub(super) fn check_data(&self, data: &Value) -> Result<(), ChatRefusal> {
        check_data(self.rules, data)
    }

    /// Sends data to everybody, at once.
    pub(in crate::chat) fn announce(
        &mut self,
        data: Value,
        now: Instant,
    ) -> Result<(), ChatRefusal> {
        self.check_data(&data)?;
        if !self.data_pace.take(1.0, now) {
            return Err(ChatRefusal::Busy);
        }
        let event = ChatEvent::Data {
            data,
            time: unix_time(),
        };
        if let Some(parcel) = parcel(&[event], true) {
            for participant in self.participants.values_mut() {
                participant.take(&parcel, now);
            }
        }
        Ok(())
    }

    /// Sends a participant's data to the publisher.
    pub(super) fn control(
        &mut self,
        number: u64,
        data: Value,
        now: Instant,
    ) -> Result<(), ChatRefusal> {
        self.check_data(&data)?;
        if let Some(refusal) = self.silenced(number, now) {
            return Err(refusal);
        }
        let sender = self
            .participants
            .get(&number)
            .ok_or(ChatRefusal::Missing("participant"))?;
        if !sender.moderates() && !self.shares.may_control(sender.author.network, now) {
            return Err(ChatRefusal::TooOften(Duration::from_secs(1)));
        }
        if !self.control_pace.take(1.0, now) {
            return Err(ChatRefusal::Busy);
        }
        let name = sender.name.clone();
        self.pass_on(number, name, data, now);
        Ok(())
    }

    pub(super) fn pass_on(&mut self, from: u64, name: String, data: Value, now: Instant) {
        let event = ChatEvent::Control { from, name, data };
        for publisher in self
            .participants
            .values_mut()
            .filter(|participant| participant.publishes())
        {
            publisher.tell(&event, now);
        }
    }
}
