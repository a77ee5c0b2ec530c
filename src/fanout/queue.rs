//! A worker's three queues: what the server sends to viewers, what peers send to connect and to stay
//! connected, and everything else that peers send. Those that flood the server with feedback fill the
//! last one: the frames, connections and consent of the others do not wait behind it.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use super::message::Message;
use crate::peer::udp::Datagram;

/// Frames and commands that may wait: two seconds of frames of several hundred tracks.
const MEDIA_MAX: usize = 8192;
/// Checks and handshakes that may wait: those of a thousand viewers that join at once.
const CHECKS_MAX: usize = 4096;
/// Other datagrams that may wait: one second of reports of several thousand viewers.
const INCOMING_MAX: usize = 4096;
/// Frames and commands handled in one turn.
const MEDIA_AT_ONCE: usize = 64;
/// Checks, and as many other datagrams, handled in one turn: few, so that the next frame does not wait
/// long for them.
const INCOMING_AT_ONCE: usize = 16;

/// The sending ends of a worker's queues.
#[derive(Clone)]
pub(super) struct QueueSenders {
    media: SyncSender<Message>,
    checks: SyncSender<Message>,
    incoming: SyncSender<Message>,
}

/// The receiving ends of a worker's queues.
pub(super) struct Queues {
    media: Turns,
    checks: Turns,
    incoming: Turns,
}

/// A queue, and how many more messages to take from it in this turn.
struct Turns {
    receiver: Receiver<Message>,
    left: usize,
    at_once: usize,
}

/// A worker's next step.
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
    let (checks, check_receiver) = sync_channel(CHECKS_MAX);
    let (incoming, incoming_receiver) = sync_channel(INCOMING_MAX);
    let queues = Queues {
        media: Turns::of(media_receiver, MEDIA_AT_ONCE),
        checks: Turns::of(check_receiver, INCOMING_AT_ONCE),
        incoming: Turns::of(incoming_receiver, INCOMING_AT_ONCE),
    };
    let senders = QueueSenders {
        media,
        checks,
        incoming,
    };
    (senders, queues)
}

impl QueueSenders {
    /// The queue for this message.
    pub(super) fn of(&self, message: &Message) -> &SyncSender<Message> {
        match message {
            Message::Datagram { datagram, .. } if connects(datagram) => &self.checks,
            Message::Datagram { .. } => &self.incoming,
            _ => &self.media,
        }
    }
}

impl Turns {
    const fn of(receiver: Receiver<Message>, at_once: usize) -> Self {
        Self {
            receiver,
            left: at_once,
            at_once,
        }
    }

    /// The next message of this turn, if there is one.
    fn next(&mut self) -> Result<Message, TryRecvError> {
        if self.left == 0 {
            return Err(TryRecvError::Empty);
        }
        let message = self.receiver.try_recv()?;
        self.left -= 1;
        Ok(message)
    }

    /// Begins another turn. Returns whether this one may have left something.
    const fn begin(&mut self) -> bool {
        let left = self.left;
        self.left = self.at_once;
        left == 0
    }
}

impl Queues {
    /// The next message of this turn: frames and commands first, then what connects.
    pub(super) fn next(&mut self) -> WorkerStep {
        for queue in [&mut self.media, &mut self.checks, &mut self.incoming] {
            match queue.next() {
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => return WorkerStep::End,
                Ok(message) => return WorkerStep::Handle(message),
                Err(TryRecvError::Empty) => {}
            }
        }
        let full = [&mut self.media, &mut self.checks, &mut self.incoming].map(Turns::begin);
        if full.contains(&true) {
            WorkerStep::Yield
        } else {
            WorkerStep::Rest
        }
    }
}

/// Whether a datagram is of ICE or of a handshake: STUN, or DTLS (RFC 7983 §7) other than application
/// data (RFC 6347 §4.3.1).
fn connects(datagram: &Datagram) -> bool {
    matches!(datagram.bytes.first(), Some(0..=3 | 20..=22 | 24..=63))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::peer::udp::Datagram;

    fn datagram(viewer: u64) -> Message {
        Message::Datagram {
            viewer,
            datagram: of(0x80),
        }
    }

    /// A datagram that begins with this byte.
    fn of(first: u8) -> Datagram {
        let ends = SocketAddr::from(([127, 0, 0, 1], 1)).into();
        Datagram::detached(ends, vec![first])
    }

    #[test]
    fn a_check_does_not_wait_behind_a_flood_of_feedback() {
        let (senders, mut queues) = queues();
        let tell = |message: Message| senders.of(&message).try_send(message).is_ok();
        while tell(datagram(1)) {}
        for first in [0, 20, 22] {
            let (viewer, datagram) = (2, of(first));
            assert!(tell(Message::Datagram { viewer, datagram }), "{first}");
        }
        for _ in 0..3 {
            let next = queues.next();
            assert!(matches!(
                next,
                WorkerStep::Handle(Message::Datagram { viewer: 2, .. })
            ));
        }
        let (viewer, datagram) = (2, of(23));
        assert!(
            !tell(Message::Datagram { viewer, datagram }),
            "of a channel"
        );
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
