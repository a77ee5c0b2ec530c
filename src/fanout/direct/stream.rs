//! One outgoing RTP stream of one viewer: sequence numbers, retransmission, sender reports.
//!
//! Pure data apart from encryption; the caller sends.

mod reports;

use std::{
    collections::VecDeque,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use self::reports::SentReports;
use super::{batch::Out, packet::PacketHead};
use crate::{
    awake,
    media::{
        Frame, Kind,
        rtp::{low16, low32},
    },
    peer::srtp,
    playout::Part,
};

/// Most packets of one portion of padding.
const PADDING_PACKETS_MAX: u64 = 64;
/// How long a packet can be requested again. Any later, it would miss its playout.
const HISTORY: Duration = Duration::from_secs(2);
/// Bound on runs of packets kept: 2 s at 240 frames per second.
const HISTORY_RUNS: usize = 512;

/// The SSRC and payload type of a stream, as announced in the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) ssrc: u32,
    pub(crate) pt: u8,
    /// The retransmission stream (RFC 4588): SSRC and payload type.
    pub(crate) rtx: Option<(u32, u8)>,
    /// Id of the header extension with the time of sending, if wanted.
    pub(crate) send_time: Option<u8>,
}

/// One outgoing RTP stream.
pub(crate) struct Stream {
    pub(crate) identity: Identity,
    kind: Kind,
    /// 48-bit index of the next packet (RFC 3711 §3.3.1).
    next: u64,
    rtx_next: u64,
    /// Random, so that timestamps reveal nothing (RFC 3550 §5.1).
    timestamp_offset: u32,
    packets: u32,
    octets: u32,
    history: VecDeque<Run>,
    /// The origin of the times of sending.
    created: Instant,
    last: Option<Last>,
    reports: SentReports,
}

/// Consecutive packets of one frame that have been sent.
struct Run {
    first: u64,
    packets: Range<usize>,
    frame: Arc<Frame>,
    timestamp: u32,
    extension: Option<[u8; 4]>,
    sent: Instant,
}

/// The newest frame sent: sender reports count on from it.
struct Last {
    timestamp: u64,
    pts: Duration,
    at: Instant,
}

impl Stream {
    pub(crate) fn new(kind: Kind, identity: Identity, random: u64) -> Self {
        let [.., s0, s1, r0, r1, t0, t1, t2, t3] = random.to_be_bytes();
        Self {
            identity,
            kind,
            // Below 2^15, so that an early loss cannot make the peer guess the rollover counter
            // wrong (RFC 3711 §3.3.1).
            next: u64::from(u16::from_be_bytes([s0, s1]) & 0x7fff),
            rtx_next: u64::from(u16::from_be_bytes([r0, r1]) & 0x7fff),
            timestamp_offset: u32::from_be_bytes([t0, t1, t2, t3]),
            packets: 0,
            octets: 0,
            history: VecDeque::new(),
            created: awake::now(),
            last: None,
            reports: SentReports::default(),
        }
    }

    /// True once something has been sent.
    pub(crate) const fn has_sent(&self) -> bool {
        self.last.is_some()
    }

    /// The RTP timestamp of the newest frame sent.
    pub(crate) fn newest(&self) -> Option<u32> {
        Some(self.wire_timestamp(self.last.as_ref()?.timestamp))
    }

    /// Appends packets of a frame, encrypted, to the batch. While catching up, their timestamp is
    /// not the frame's own but the time at which the viewer is to see it.
    pub(crate) fn write(&mut self, out: &mut Out<'_>, part: &Part<'_>) -> Result<(), srtp::Error> {
        let Out { batch, sender, now } = out;
        let &Part {
            frame,
            ref packets,
            timestamp,
            ..
        } = part;
        let wire_timestamp = self.wire_timestamp(timestamp);
        let first = self.next;
        let extension = self.send_time(*now);
        let count = frame.ends.len();
        let ranges = frame
            .ranges()
            .enumerate()
            .skip(packets.start)
            .take(packets.len());
        for (index, range) in ranges {
            let payload = frame.data.get(range).unwrap_or_default();
            let marker = self.kind == Kind::Video && index + 1 == count;
            let head = PacketHead {
                marker,
                pt: self.identity.pt,
                index: self.next,
                timestamp: wire_timestamp,
                ssrc: self.identity.ssrc,
                extension,
            };
            head.write_packet(batch, sender, &[payload])?;
            self.next += 1;
            self.packets = self.packets.wrapping_add(1);
            self.octets = self
                .octets
                .wrapping_add(u32::try_from(payload.len()).unwrap_or(0));
        }
        self.remember(Run {
            first,
            packets: packets.clone(),
            frame: Arc::clone(frame),
            timestamp: wire_timestamp,
            extension,
            sent: *now,
        });
        let clock = u64::from(frame.codec.clock_rate());
        // Where `timestamp` lies on the server's clock: moved by as much as the timestamp.
        let moved = timestamp.saturating_sub(frame.timestamp);
        let pts = frame.pts + Duration::from_micros(moved * 1_000_000 / clock);
        self.last = Some(Last {
            timestamp,
            pts,
            at: *now,
        });
        Ok(())
    }

    /// Appends the packet with this sequence number again, on the retransmission stream if there is
    /// one, otherwise unchanged. Returns false if it is unknown or has expired.
    pub(crate) fn write_again(
        &mut self,
        out: &mut Out<'_>,
        sequence: u16,
    ) -> Result<bool, srtp::Error> {
        let Out { batch, sender, now } = out;
        // The newest index with these low 16 bits.
        let Some(newest) = self.next.checked_sub(1) else {
            return Ok(false);
        };
        let Some(index) = newest.checked_sub(u64::from(low16(newest).wrapping_sub(sequence)))
        else {
            return Ok(false);
        };
        let found = self
            .history
            .partition_point(|run| run.first <= index)
            .checked_sub(1);
        let Some(run) = found.and_then(|at| self.history.get(at)) else {
            return Ok(false);
        };
        let offset = usize::try_from(index - run.first).unwrap_or(usize::MAX);
        if offset >= run.packets.len() || now.saturating_duration_since(run.sent) > HISTORY {
            return Ok(false);
        }
        let packet = run.packets.start + offset;
        let Some(range) = run.frame.ranges().nth(packet) else {
            return Ok(false);
        };
        let payload = run.frame.data.get(range).unwrap_or_default();
        let marker = self.kind == Kind::Video && packet + 1 == run.frame.ends.len();
        if let Some((ssrc, pt)) = self.identity.rtx {
            let head = PacketHead {
                marker,
                pt,
                index: self.rtx_next,
                timestamp: run.timestamp,
                ssrc,
                extension: self.send_time(*now),
            };
            self.rtx_next += 1;
            // RFC 4588 §4: the payload begins with the original sequence number.
            head.write_packet(batch, sender, &[&sequence.to_be_bytes(), payload])?;
        } else {
            // The same packet under the same index: exactly the same bytes, so that the nonce is
            // not reused for anything new.
            let head = PacketHead {
                marker,
                pt: self.identity.pt,
                index,
                timestamp: run.timestamp,
                ssrc: self.identity.ssrc,
                extension: run.extension,
            };
            head.write_packet(batch, sender, &[payload])?;
        }
        Ok(true)
    }

    /// Appends about `bytes` of packets sent before, on the retransmission stream: padding that a
    /// receiver drops, but counts (RFC 4588). None without such a stream.
    pub(crate) fn write_padding(
        &mut self,
        out: &mut Out<'_>,
        bytes: usize,
    ) -> Result<(), srtp::Error> {
        if self.identity.rtx.is_none() {
            return Ok(());
        }
        let before = out.batch.bytes();
        for back in 1..=PADDING_PACKETS_MAX {
            let Some(index) = self.next.checked_sub(back) else {
                break;
            };
            let written = self.write_again(out, low16(index))?;
            if !written || out.batch.bytes() - before >= bytes {
                break;
            }
        }
        Ok(())
    }

    /// The header extension element with the time of sending, if wanted.
    fn send_time(&self, now: Instant) -> Option<[u8; 4]> {
        let id = self.identity.send_time?;
        let since = now.saturating_duration_since(self.created);
        // 24 bits: 6 of seconds, 18 of their fraction.
        let time =
            (since.as_secs() << 18) | ((u64::from(since.subsec_nanos()) << 18) / 1_000_000_000);
        let [.., t0, t1, t2] = time.to_be_bytes();
        Some([id << 4 | 2, t0, t1, t2])
    }

    fn wire_timestamp(&self, timestamp: u64) -> u32 {
        low32(timestamp).wrapping_add(self.timestamp_offset)
    }

    fn remember(&mut self, run: Run) {
        let oldest = run.sent.checked_sub(HISTORY);
        while let Some(front) = self.history.front() {
            let expired = oldest.is_some_and(|oldest| front.sent < oldest);
            if !expired && self.history.len() < HISTORY_RUNS {
                break;
            }
            self.history.pop_front();
        }
        self.history.push_back(run);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::{super::batch::Batch, *};
    use crate::{
        media::{Codec, rtp::FIXED_BYTES},
        peer::srtp::{MasterKey, Profile, Sender},
    };

    static SENDER: LazyLock<Sender> = LazyLock::new(|| {
        let material: Vec<u8> = (0..88).collect();
        Sender::new(&MasterKey::from_dtls(&material, Profile::Aes128Gcm, true).unwrap()).unwrap()
    });

    pub(super) fn out(batch: &mut Batch, now: Instant) -> Out<'_> {
        Out {
            batch,
            sender: &SENDER,
            now,
        }
    }

    pub(super) fn frame(packets: &[u32]) -> Arc<Frame> {
        let ends: Vec<u32> = packets
            .iter()
            .scan(0, |end, len| {
                *end += len;
                Some(*end)
            })
            .collect();
        Arc::new(Frame {
            codec: Codec::H264,
            keyframe: true,
            pts: Duration::from_secs(1),
            timestamp: 90_000,
            data: vec![7; *ends.last().unwrap() as usize].into(),
            ends,
        })
    }

    pub(super) fn part(frame: &Arc<Frame>, packets: Range<usize>, timestamp: u64) -> Part<'_> {
        Part {
            rendition: 1,
            frame,
            packets,
            timestamp,
            cached: None,
        }
    }

    pub(super) fn identity(rtx: Option<(u32, u8)>) -> Identity {
        Identity {
            ssrc: 0x0102_0304,
            pt: 96,
            rtx,
            send_time: None,
        }
    }

    fn sent(batch: &mut Batch) -> Vec<(usize, usize)> {
        let mut sends = Vec::new();
        batch.flush(64, |bytes, segment| {
            sends.push((bytes.len(), segment));
            true
        });
        sends
    }

    #[test]
    fn packets_of_one_size_leave_in_one_send() {
        let mut batch = Batch::default();
        let mut stream = Stream::new(Kind::Video, identity(None), 0);
        let frame = frame(&[100, 1000, 1000, 500, 20]);
        let now = Instant::now();
        stream
            .write(&mut out(&mut batch, now), &part(&frame, 0..5, 90_000))
            .unwrap();
        assert_eq!(batch.len(), 5);
        // 28 bytes of header and tag each.
        assert_eq!(
            sent(&mut batch),
            [(128, 128), (1028 + 1028 + 528, 1028), (48, 48)]
        );
    }

    #[test]
    fn sequence_numbers_go_on_and_the_last_packet_is_marked() {
        let mut batch = Batch::default();
        let mut stream = Stream::new(Kind::Video, identity(None), 0x0005_0000_0000_0000);
        let frame = frame(&[100, 100]);
        let now = Instant::now();
        stream
            .write(&mut out(&mut batch, now), &part(&frame, 0..1, 90_000))
            .unwrap();
        stream
            .write(&mut out(&mut batch, now), &part(&frame, 1..2, 90_000))
            .unwrap();
        let second = &batch.bytes[128..];
        assert_eq!(batch.bytes[1..4], [0x60, 0, 5]);
        assert_eq!(second[1..4], [0xe0, 0, 6]);
        assert_eq!(second[4..8], batch.bytes[4..8], "one timestamp");
    }

    #[test]
    fn plain_retransmission_repeats_the_very_same_bytes() {
        let mut batch = Batch::default();
        let mut stream = Stream::new(Kind::Video, identity(None), 0x0005_0000_0000_0000);
        let (frame, now) = (frame(&[100, 200, 300]), Instant::now());
        stream
            .write(&mut out(&mut batch, now), &part(&frame, 0..3, 90_000))
            .unwrap();
        let first = std::mem::take(&mut batch);
        assert!(stream.write_again(&mut out(&mut batch, now), 6).unwrap());
        assert_eq!(batch.bytes, first.bytes[128..128 + 228]);
        for unknown in [4, 8, 40_000] {
            assert!(
                !stream
                    .write_again(&mut out(&mut batch, now), unknown)
                    .unwrap()
            );
        }
        let late = now + HISTORY + Duration::from_millis(1);
        assert!(!stream.write_again(&mut out(&mut batch, late), 6).unwrap());
    }

    #[test]
    fn rtx_has_its_own_numbers_and_names_the_original() {
        let mut batch = Batch::default();
        let mut stream = Stream::new(Kind::Video, identity(Some((9, 97))), 0x0005_0007_0000_0000);
        let (frame, now) = (frame(&[100]), Instant::now());
        stream
            .write(&mut out(&mut batch, now), &part(&frame, 0..1, 90_000))
            .unwrap();
        batch = Batch::default();
        assert!(stream.write_again(&mut out(&mut batch, now), 5).unwrap());
        assert_eq!(batch.bytes[1..4], [0xe1, 0, 7]);
        assert_eq!(batch.bytes[8..12], 9_u32.to_be_bytes());
        assert_eq!(batch.bytes.len(), FIXED_BYTES + 2 + 100 + 16);
    }

    #[test]
    fn the_time_of_sending_is_a_header_extension_and_part_of_what_is_repeated() {
        let mut batch = Batch::default();
        let wanted = Identity {
            send_time: Some(3),
            ..identity(None)
        };
        let mut stream = Stream::new(Kind::Video, wanted, 0x0005_0000_0000_0000);
        let (frame, now) = (frame(&[100]), stream.created + Duration::from_millis(1500));
        stream
            .write(&mut out(&mut batch, now), &part(&frame, 0..1, 90_000))
            .unwrap();
        assert_eq!(batch.bytes[0], 0x90);
        assert_eq!(
            batch.bytes[12..20],
            [0xbe, 0xde, 0, 1, 0x32, 0x06, 0, 0],
            "1.5 s"
        );
        let first = std::mem::take(&mut batch);
        let later = now + Duration::from_millis(50);
        assert!(stream.write_again(&mut out(&mut batch, later), 5).unwrap());
        assert_eq!(batch.bytes, first.bytes);
    }
}
