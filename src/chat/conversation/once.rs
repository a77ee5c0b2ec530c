//! Requests from clients that do not take part, such as scripts that moderate.

use std::time::Instant;

use super::{
    super::{
        author::{Author, Guest},
        message::ChatRequest,
        refusal::ChatRefusal,
    },
    Conversation, message_text, name_text,
};

impl Conversation {
    /// Carries out a request of a moderator without a seat, under the name `sender`.
    pub(in crate::chat) fn once(
        &mut self,
        guest: &Guest,
        sender: &str,
        request: ChatRequest,
        now: Instant,
    ) -> Result<(), ChatRefusal> {
        if !guest.moderates {
            return Err(ChatRefusal::NotModerator);
        }
        let name = name_text(sender)?;
        match request {
            ChatRequest::Join { .. } => Ok(()),
            ChatRequest::Say { text, .. } => {
                self.check_chat()?;
                let text = message_text(&text)?;
                if name.is_empty() {
                    return Err(ChatRefusal::NameMissing);
                }
                if !self.pace.take(1.0, now) {
                    return Err(ChatRefusal::Busy);
                }
                self.reserve(&name, "", now);
                self.numbers += 1;
                let author = Author {
                    number: self.numbers,
                    device: String::new(),
                    network: guest.network,
                };
                self.post(author, name, true, text);
                Ok(())
            }
            ChatRequest::React { reaction } => {
                self.check_chat()?;
                self.count(&reaction)
            }
            ChatRequest::Control { data } => {
                self.check_data(&data)?;
                self.numbers += 1;
                self.pass_on(self.numbers, name, data, now);
                Ok(())
            }
            ChatRequest::Prove { .. } => Err(ChatRefusal::Missing("session")),
            request => self.moderate(request, now),
        }
    }
}
