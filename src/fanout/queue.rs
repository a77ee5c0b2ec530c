//! A worker's two queues: what the server sends to viewers, and what peers send to it. A peer that
//! floods the server fills the second one; frames have their own.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use super::message::Message;

/// Frames and commands that may wait: two seconds of frames of several hundred tracks.
const MEDIA_MAX: usize = 8192;
/// Datagrams that may wait: one second of reports of several thousand viewers.
const INCOMING_MAX: usize = 4096;
/// Frames and commands handled in one turn.
const MEDIA_AT_ONCE: usize = 64;
/// Datagrams handled in one turn: few, so that the next frame does not wait long for them.
const INCOMING_AT_ONCE: usize = 16;

/// The sending ends of a worker's queues.
#[derive(Clone)]
pub(super) struct QueueSenders {
    media: SyncSender<Message>,
    incoming: SyncSender<Message>,
}

/// The receiving ends of a worker's queues.
pub(super) struct Queues {
    media: Receiver<Message>,
    incoming: Receiver<Message>,
    /// How many more to take from each in this turn.
    media_left: usize,
    incoming_left: usize,
}

/// What a worker is to do next.
pub(super) enum WorkerStep {
    /// Handle this message.
    Handle(Message),
    /// End the turn: the queues are empty.
    Rest,
    /// End the turn: timers must not wait any longer.
    Yield,
    /// End for good.
    End,
}

/// The queues of a new worker.
pub(super) fn queues() -> (QueueSenders, Queues) {
    let (media, media_receiver) = sync_channel(MEDIA_MAX);
    let (incoming, incoming_receiver) = sync_channel(INCOMING_MAX);
    let queues = Queues {
        media: media_receiver,
        incoming: incoming_receiver,
        media_left: MEDIA_AT_ONCE,
        incoming_left: INCOMING_AT_ONCE,
    };
    (QueueSenders { media, incoming }, queues)
}

impl QueueSenders {
    /// The queue for this message.
    pub(super) const fn of(&self, message: &Message) -> &SyncSender<Message> {
        match message {
            Message::Datagram { .. } => &self.incoming,
            _ => &self.media,
        }
    }
}

impl Queues {
    /// The next message of this turn: frames and commands first.
    pub(super) fn next(&mut self) -> WorkerStep {
        for (queue, left) in [
            (&self.media, &mut self.media_left),
            (&self.incoming, &mut self.incoming_left),
        ] {
            if *left == 0 {
                continue;
            }
            match queue.try_recv() {
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => return WorkerStep::End,
                Ok(message) => {
                    *left -= 1;
                    return WorkerStep::Handle(message);
                }
                Err(TryRecvError::Empty) => {}
            }
        }
        let full = self.media_left == 0 || self.incoming_left == 0;
        self.media_left = MEDIA_AT_ONCE;
        self.incoming_left = INCOMING_AT_ONCE;
        if full {
            WorkerStep::Yield
        } else {
            WorkerStep::Rest
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::peer::udp::Datagram;

    fn datagram(viewer: u64) -> Message {
        Message::Datagram {
            viewer,
            datagram: Datagram::detached(SocketAddr::from(([127, 0, 0, 1], 1)).into(), Vec::new()),
        }
    }

    #[test]
    fn a_flood_of_datagrams_leaves_room_for_frames_and_does_not_delay_them() {
        let (senders, mut queues) = queues();
        let tell = |message: Message| senders.of(&message).try_send(message).is_ok();
        let taken = (0..3 * INCOMING_MAX as u64).filter(|n| tell(datagram(*n)));
        assert_eq!(taken.count(), INCOMING_MAX);
        for rendition in 0..MEDIA_MAX as u64 {
            assert!(tell(Message::Forget { rendition }), "{rendition}");
        }
        // Every frame's turn comes after few datagrams.
        let (mut frames, mut between) = (0, 0);
        while frames < MEDIA_MAX {
            match queues.next() {
                WorkerStep::Handle(Message::Forget { .. }) => (frames, between) = (frames + 1, 0),
                WorkerStep::Handle(_) => {
                    between += 1;
                    assert!(between <= INCOMING_AT_ONCE);
                }
                WorkerStep::Yield => {}
                WorkerStep::Rest | WorkerStep::End => panic!("frames are left"),
            }
        }
    }

    #[test]
    fn a_worker_rests_when_both_queues_are_empty_and_ends_when_told() {
        let (senders, mut queues) = queues();
        assert!(matches!(queues.next(), WorkerStep::Rest));
        senders.incoming.try_send(datagram(1)).unwrap();
        assert!(matches!(queues.next(), WorkerStep::Handle(_)));
        assert!(matches!(queues.next(), WorkerStep::Rest));
        senders.media.try_send(Message::Stop).unwrap();
        assert!(matches!(queues.next(), WorkerStep::End));
        drop(senders);
        assert!(matches!(queues.next(), WorkerStep::End));
    }
}
