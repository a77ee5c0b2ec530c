//! A session's part in the conversation of its broadcast, over its data channel.

use tokio::sync::mpsc;

use crate::{
    chat::{ChatSink, Chats, Guest, Parcel, Seat},
    peer::{ChannelEvent, ChannelText, sdp::Offer},
    plan::Name,
};

/// Events of a data channel waiting for the session's task: a burst of what a client may send.
const EVENTS_MAX: usize = 32;

/// A session's place in the conversation, while its channel is open.
pub(super) struct Participation {
    chats: Chats,
    broadcast: Name,
    guest: Guest,
    events: mpsc::Receiver<ChannelEvent>,
    seat: Option<Seat>,
}

/// Who a session is in a conversation, and where that is.
#[derive(Clone)]
pub(super) struct Invitation {
    pub(super) chats: Chats,
    pub(super) broadcast: Name,
    pub(super) guest: Guest,
}

impl Invitation {
    /// The participation, and where the engine reports what comes over the channel: nowhere if the
    /// offer has none, or the broadcast needs none.
    pub(super) fn accept(
        self,
        offer: &Offer,
    ) -> (Participation, Option<mpsc::Sender<ChannelEvent>>) {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let is_wanted = offer.channel().is_some() && self.chats.rules(&self.broadcast).is_some();
        let participation = Participation {
            chats: self.chats,
            broadcast: self.broadcast,
            guest: self.guest,
            events,
            seat: None,
        };
        (participation, is_wanted.then_some(sender))
    }
}

impl Participation {
    /// The next message from the channel; never resolves without a channel.
    pub(super) async fn next(&mut self) -> ChannelEvent {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Takes part. `send` is what sends texts over the channel, if the engine has one.
    pub(super) fn take<S: Fn(ChannelText) -> bool + Send + Sync + 'static>(
        &mut self,
        event: ChannelEvent,
        send: impl FnOnce() -> Option<S>,
    ) {
        match event {
            ChannelEvent::Opened => {
                let Some(send) = send() else { return };
                let sink: ChatSink = Box::new(move |Parcel { text, is_timed }: &Parcel| {
                    send(ChannelText {
                        text: text.clone(),
                        is_timed: *is_timed,
                    })
                });
                self.seat = self
                    .chats
                    .join(&self.broadcast, self.guest.clone(), sink)
                    .inspect_err(|refusal| tracing::debug!(%refusal, "not admitted to the chat"))
                    .ok();
            }
            ChannelEvent::Text(text) => {
                if let Some(seat) = &self.seat {
                    seat.read(&text);
                }
            }
            ChannelEvent::Closed => self.seat = None,
        }
    }
}
