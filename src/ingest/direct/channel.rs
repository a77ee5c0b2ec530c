//! A publisher's data channel.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::mpsc;

use super::{command::ReceptionCommand, counters::ReceptionCounters};
use crate::peer::ChannelText;

/// Sends texts to a publisher.
#[derive(Clone)]
pub struct PublisherChannel {
    commands: mpsc::Sender<ReceptionCommand>,
    counters: Arc<ReceptionCounters>,
}

impl PublisherChannel {
    pub(super) fn new(
        commands: mpsc::Sender<ReceptionCommand>,
        counters: Arc<ReceptionCounters>,
    ) -> Self {
        Self { commands, counters }
    }

    /// Sends a text. Returns false if this or an earlier one is lost: the session is busy, or the
    /// publisher receives too slowly.
    pub fn send(&self, text: ChannelText) -> bool {
        let is_behind = self.counters.channel_behind.swap(false, Ordering::Relaxed);
        !is_behind && self.commands.try_send(ReceptionCommand::Text(text)).is_ok()
    }
}
