//! A session's data channel, and the bounds of what its peer may send over it.
//!
//! str0m accepts any number of associations and channels, and keeps state for each, so every SCTP
//! packet passes the [`ChannelGate`] first. Refused packets count as lost in the network.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

use str0m::channel::{ChannelData, ChannelId};

use super::{PeerSession, Report};
use crate::media::TokenBucket;

/// The label of the channel that is served; others are closed.
const LABEL: &str = "aerial";
/// Longest message from a peer, in bytes: the largest data, and what is around it.
const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// Bytes that may wait to be sent to a peer.
pub(super) const QUEUED_BYTES_MAX: usize = 64 << 10;
/// Streams that a peer may send on.
const STREAMS_MAX: usize = 8;
/// Times that a peer may begin its association (RFC 9260 §3.3.2): one that is lost is repeated.
const BEGINNINGS_MAX: u32 = 16;
/// SCTP packets of a peer per second in the long run, acknowledgements included, and at once.
const PACKETS: f64 = 100.0;
const PACKETS_BURST: f64 = 300.0;
/// Bytes that may have arrived without completing a message: str0m keeps unfinished ones.
const UNREAD_BYTES_MAX: f64 = 262_144.0;
/// Bytes of them that are forgotten per second: chunks that came twice are in no message.
const FORGOTTEN_PER_SECOND: f64 = 2_048.0;
/// A DATA chunk without its user data (RFC 9260 §3.3.1).
const DATA_HEAD: usize = 16;

/// Kinds of chunks (RFC 9260 §3.2).
const DATA: u8 = 0;
const INIT: u8 = 1;

/// Where a session's gate is, once it may have a channel.
pub(super) type GateSlot = Arc<OnceLock<Mutex<ChannelGate>>>;

/// Decides which SCTP packets str0m sees.
#[derive(Debug)]
pub(super) struct ChannelGate {
    now: Instant,
    packets: TokenBucket,
    streams: Vec<u16>,
    beginnings: u32,
    /// The initiate tag of the one association: of every other, str0m would keep something forever.
    association: Option<[u8; 4]>,
    unread: f64,
}

impl ChannelGate {
    fn new(now: Instant) -> Self {
        Self {
            now,
            packets: TokenBucket::new(PACKETS, PACKETS_BURST, now),
            streams: Vec::with_capacity(STREAMS_MAX),
            beginnings: 0,
            association: None,
            unread: 0.0,
        }
    }

    /// Whether str0m gets a packet.
    pub(super) fn admits(&mut self, packet: &[u8]) -> bool {
        if self.unread > UNREAD_BYTES_MAX || !self.packets.take(1.0, self.now) {
            return false;
        }
        // RFC 9260 §3: a header of 12 bytes, then chunks: type, flags, length, content.
        let mut rest = packet.get(12..).unwrap_or_default();
        while let Some((&[kind, _, l0, l1], body)) = rest.split_first_chunk() {
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            if length < 4 || !self.admits_chunk(kind, length, body) {
                return false;
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        true
    }

    fn admits_chunk(&mut self, kind: u8, length: usize, body: &[u8]) -> bool {
        match (kind, body) {
            (INIT, [t0, t1, t2, t3, ..]) => {
                self.beginnings += 1;
                let tag = [*t0, *t1, *t2, *t3];
                let is_first = *self.association.get_or_insert(tag) == tag;
                is_first && self.beginnings <= BEGINNINGS_MAX
            }
            (INIT, _) => false,
            (DATA, [_, _, _, _, s0, s1, ..]) => {
                self.unread += as_f64(length.saturating_sub(DATA_HEAD));
                let stream = u16::from_be_bytes([*s0, *s1]);
                if self.streams.contains(&stream) {
                    return true;
                }
                let has_room = self.streams.len() < STREAMS_MAX;
                if has_room {
                    self.streams.push(stream);
                }
                has_room
            }
            _ => true,
        }
    }

    /// A whole message has arrived.
    fn read(&mut self, bytes: usize) {
        self.unread = (self.unread - as_f64(bytes)).max(0.0);
    }

    /// What follows comes at this time.
    fn note_time(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.now).as_secs_f64();
        self.unread = (self.unread - passed * FORGOTTEN_PER_SECOND).max(0.0);
        self.now = now;
    }
}

/// Of a number of bytes in one message.
fn as_f64(bytes: usize) -> f64 {
    u32::try_from(bytes).unwrap_or(u32::MAX).into()
}

impl PeerSession {
    /// Lets the peer open a data channel; the answer says so.
    pub(crate) fn allow_channel(&mut self, now: Instant) {
        let gate = Mutex::new(ChannelGate::new(now));
        if self.gate.set(gate).is_ok() {
            // Peers begin the association, as they open the channel.
            self.rtc.direct_api().start_sctp(false);
        }
    }

    /// The time of what comes next.
    pub(super) fn note_time(&self, now: Instant) {
        if let Some(mut gate) = self.gate() {
            gate.note_time(now);
        }
    }

    fn gate(&self) -> Option<MutexGuard<'_, ChannelGate>> {
        let gate = self.gate.get()?;
        // A poisoned lock is fine: nothing is ever left half-changed.
        Some(gate.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a text over the channel. Returns false if it is not open, or too much is waiting.
    pub(crate) fn say(&mut self, now: Instant, text: &str, reports: &mut Vec<Report>) -> bool {
        let Some(mut channel) = self.channel.and_then(|id| self.rtc.channel(id)) else {
            return false;
        };
        let written = channel.write(false, text.as_bytes());
        let is_taken = matches!(written, Ok(true));
        if let Err(error) = written {
            tracing::debug!(parent: &self.span, %error, "channel not written");
        }
        self.poll(now, None, reports);
        is_taken
    }

    pub(super) fn channel_opened(&mut self, id: ChannelId, label: &str, reports: &mut Vec<Report>) {
        if label == LABEL && self.channel.is_none() {
            self.channel = Some(id);
            reports.push(Report::ChannelOpened);
        } else {
            self.rtc.direct_api().close_data_channel(id);
        }
    }

    pub(super) fn channel_closed(&mut self, id: ChannelId, reports: &mut Vec<Report>) {
        if self.channel == Some(id) {
            self.channel = None;
            reports.push(Report::ChannelClosed);
        }
    }

    pub(super) fn channel_data(&mut self, message: ChannelData, reports: &mut Vec<Report>) {
        if let Some(mut gate) = self.gate() {
            gate.read(message.data.len());
        }
        let is_ours = self.channel == Some(message.id) && !message.binary;
        if !is_ours || message.data.len() > MESSAGE_BYTES_MAX {
            return;
        }
        if let Ok(text) = String::from_utf8(message.data) {
            reports.push(Report::Text(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn packet(chunks: &[Vec<u8>]) -> Vec<u8> {
        [vec![0; 12], chunks.concat()].concat()
    }

    fn chunk(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
        let mut chunk = [&[kind, 0, length[0], length[1]], body].concat();
        chunk.resize(chunk.len().next_multiple_of(4), 0);
        chunk
    }

    fn data(stream: u16, bytes: usize) -> Vec<u8> {
        let [s0, s1] = stream.to_be_bytes();
        let head = [0, 0, 0, 1, s0, s1, 0, 0, 0, 0, 0, 51];
        chunk(DATA, &[&head[..], &vec![b'x'; bytes]].concat())
    }

    #[test]
    fn associations_streams_and_packets_are_bounded() {
        let now = Instant::now();
        let mut gate = ChannelGate::new(now);
        let init = |tag: u8| packet(&[chunk(INIT, &[tag; 16])]);
        assert!(gate.admits(&init(1)));
        assert!(!gate.admits(&init(2)), "another association");
        assert!(!gate.admits(&packet(&[chunk(INIT, &[])])), "no tag");
        let repeated = (0..100).filter(|_| gate.admits(&init(1)));
        assert!(repeated.count() < 16);
        let streams = (0..100).filter(|stream| gate.admits(&packet(&[data(*stream, 5)])));
        assert_eq!(streams.count(), STREAMS_MAX);
        assert!(gate.admits(&packet(&[chunk(3, &[0; 12]), data(1, 3)])));
        assert!(!gate.admits(&packet(&[chunk(3, &[0; 12]), data(99, 3)])));
        assert!(!gate.admits(&packet(&[vec![0; 4]])), "no length");
        let more = (0..1000).filter(|_| gate.admits(&packet(&[chunk(3, &[0; 12])])));
        assert!(more.count() < 100);
        gate.note_time(now + Duration::from_secs(1));
        assert!(gate.admits(&packet(&[chunk(3, &[0; 12])])));
    }

    #[test]
    fn unfinished_messages_are_bounded() {
        let mut gate = ChannelGate::new(Instant::now());
        let mut came = |is_read| {
            gate.note_time(gate.now + Duration::from_millis(20));
            let admitted = gate.admits(&packet(&[data(0, 1000)]));
            if is_read {
                gate.read(1000);
            }
            admitted
        };
        assert!((0..1000).all(|_| came(true)));
        assert!((0..1000).filter(|_| came(false)).count() < 310);
    }

    #[test]
    fn messages_of_several_chunks_and_repeated_ones_pass_for_ever() {
        let mut gate = ChannelGate::new(Instant::now());
        let chunks = [data(0, 1200), data(0, 1200), data(0, 1200), data(0, 500)];
        for second in 0..5000 {
            gate.note_time(gate.now + Duration::from_secs(1));
            for chunk in &chunks {
                assert!(
                    gate.admits(&packet(std::slice::from_ref(chunk))),
                    "second {second}"
                );
            }
            // A retransmission that was not needed.
            assert!(gate.admits(&packet(&chunks[..1])));
            gate.read(4100);
        }
    }
}
