//! Frames on their way between nodes: as bytes, cut to what a message may hold, and put together
//! again. Pure.
//!
//! ```text
//!  message: version (1), flags (1), codec (1), 0, piece (2), pieces (2), number (8), pts (8),
//!           timestamp (8), sent (8), payloads (4), length of the body (4), a piece of the body
//!  body:    where each payload ends (4 each), the payloads
//! ```
//!
//! All numbers are little-endian. Nothing is reserved for a length before it has been checked.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::media::{Codec, FRAME_BYTES_MAX, FRAME_PAYLOADS_MAX, Frame};

/// The version of this format; nodes ignore any other.
const VERSION: u8 = 1;
/// Bytes in front of each piece of a body.
pub(super) const HEAD_BYTES: usize = 48;
/// Largest body.
const BODY_BYTES_MAX: usize = FRAME_BYTES_MAX + 4 * FRAME_PAYLOADS_MAX;
/// Smallest message that servers are configured for; bounds the pieces of a frame.
const MESSAGE_BYTES_MIN: usize = 4096;

const KEYFRAME: u8 = 1;

/// Why a message cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MessageFlaw {
    #[error("it is cut off")]
    Short,
    #[error("unknown version {0}")]
    Version(u8),
    #[error("it has unknown flags")]
    Flags,
    #[error("it has an unknown codec")]
    Codec,
    #[error("it announces too large a length")]
    TooLarge,
    #[error("it has more pieces than it announces")]
    ExtraPiece,
    #[error("its length is not the announced one")]
    Length,
    #[error("its frame is invalid: {0}")]
    Frame(&'static str),
    #[error("a piece of it is missing")]
    Torn,
}

/// A frame with its place in its track.
#[derive(Clone, Debug)]
pub(super) struct NumberedFrame {
    /// Counts the frames of the track without gaps.
    pub(super) number: u64,
    /// When it was sent, on the clock of its `pts`.
    pub(super) sent: Duration,
    pub(super) frame: Frame,
}

/// A frame as messages of at most this many bytes.
pub(super) fn pack(
    number: u64,
    sent: Duration,
    frame: &Frame,
    message_bytes_max: usize,
) -> Vec<Bytes> {
    let mut body = BytesMut::with_capacity(4 * frame.ends.len() + frame.data.len());
    for end in &frame.ends {
        body.put_u32_le(*end);
    }
    body.put_slice(&frame.data);
    let room = message_bytes_max.max(MESSAGE_BYTES_MIN) - HEAD_BYTES;
    let pieces = body.len().div_ceil(room).max(1);
    let head = Head {
        keyframe: frame.keyframe,
        codec: frame.codec,
        piece: 0,
        pieces: u16::try_from(pieces).unwrap_or(u16::MAX),
        number,
        pts: nanoseconds(frame.pts),
        timestamp: frame.timestamp,
        sent: nanoseconds(sent),
        payloads: u32::try_from(frame.ends.len()).unwrap_or(u32::MAX),
        body: u32::try_from(body.len()).unwrap_or(u32::MAX),
    };
    body.chunks(room)
        .zip(0..)
        .map(|(bytes, piece)| {
            let mut message = BytesMut::with_capacity(HEAD_BYTES + bytes.len());
            Head { piece, ..head }.write(&mut message);
            message.put_slice(bytes);
            message.freeze()
        })
        .collect()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The header of each piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    keyframe: bool,
    codec: Codec,
    piece: u16,
    pieces: u16,
    number: u64,
    pts: u64,
    timestamp: u64,
    sent: u64,
    payloads: u32,
    body: u32,
}

impl Head {
    fn write(&self, out: &mut BytesMut) {
        out.put_u8(VERSION);
        out.put_u8(if self.keyframe { KEYFRAME } else { 0 });
        out.put_u8(self.codec.number());
        out.put_u8(0);
        out.put_u16_le(self.piece);
        out.put_u16_le(self.pieces);
        out.put_u64_le(self.number);
        out.put_u64_le(self.pts);
        out.put_u64_le(self.timestamp);
        out.put_u64_le(self.sent);
        out.put_u32_le(self.payloads);
        out.put_u32_le(self.body);
    }

    fn read(bytes: &mut Bytes) -> Result<Self, MessageFlaw> {
        if bytes.len() < HEAD_BYTES {
            return Err(MessageFlaw::Short);
        }
        let version = bytes.get_u8();
        if version != VERSION {
            return Err(MessageFlaw::Version(version));
        }
        let flags = bytes.get_u8();
        let codec = Codec::numbered(bytes.get_u8());
        let reserved = bytes.get_u8();
        let head = Self {
            keyframe: flags & KEYFRAME != 0,
            codec: codec.ok_or(MessageFlaw::Codec)?,
            piece: bytes.get_u16_le(),
            pieces: bytes.get_u16_le(),
            number: bytes.get_u64_le(),
            pts: bytes.get_u64_le(),
            timestamp: bytes.get_u64_le(),
            sent: bytes.get_u64_le(),
            payloads: bytes.get_u32_le(),
            body: bytes.get_u32_le(),
        };
        let (payloads, body) = (head.payloads as usize, head.body as usize);
        if flags & !KEYFRAME != 0 || reserved != 0 {
            Err(MessageFlaw::Flags)
        } else if payloads > FRAME_PAYLOADS_MAX || body > BODY_BYTES_MAX || 4 * payloads > body {
            Err(MessageFlaw::TooLarge)
        } else if head.piece >= head.pieces || usize::from(head.pieces) > body {
            Err(MessageFlaw::ExtraPiece)
        } else {
            Ok(head)
        }
    }
}

/// Puts the frames of one track together. Pieces of a frame come in order, or the frame is lost.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    begun: Option<(Head, BytesMut)>,
}

impl Assembly {
    /// Takes the next message; returns the frame that it completes.
    pub(super) fn take(&mut self, message: Bytes) -> Result<Option<NumberedFrame>, MessageFlaw> {
        let mut bytes = message;
        let head = Head::read(&mut bytes)?;
        let begun = self.begun.take();
        if head.pieces == 1 {
            return finish(&head, bytes).map(Some);
        }
        let before = Head {
            piece: head.piece.wrapping_sub(1),
            ..head
        };
        let mut body = match begun {
            Some((newest, body)) if newest == before => body,
            _ if head.piece == 0 => BytesMut::new(),
            _ => return Err(MessageFlaw::Torn),
        };
        if body.len() + bytes.len() > head.body as usize {
            return Err(MessageFlaw::Length);
        }
        body.extend_from_slice(&bytes);
        if head.piece + 1 == head.pieces {
            return finish(&head, body.freeze()).map(Some);
        }
        self.begun = Some((head, body));
        Ok(None)
    }
}

fn finish(head: &Head, body: Bytes) -> Result<NumberedFrame, MessageFlaw> {
    let mut body = body;
    if body.len() != head.body as usize {
        return Err(MessageFlaw::Length);
    }
    let payloads = head.payloads as usize;
    let mut ends = body.split_to(4 * payloads);
    let frame = Frame {
        codec: head.codec,
        keyframe: head.keyframe,
        pts: Duration::from_nanos(head.pts),
        timestamp: head.timestamp,
        ends: (0..payloads).map(|_| ends.get_u32_le()).collect(),
        data: body,
    };
    match frame.flaw() {
        Some(flaw) => Err(MessageFlaw::Frame(flaw)),
        None => Ok(NumberedFrame {
            number: head.number,
            sent: Duration::from_nanos(head.sent),
            frame,
        }),
    }
}

/// What must hold for any bytes.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz {
    use super::*;

    /// Each message is two bytes of length, and the message. A frame that comes out whole is the
    /// same after being cut into pieces again.
    ///
    /// # Panics
    /// If a frame does not make sense, or changes on its way.
    pub(crate) fn cluster(data: &[u8]) -> usize {
        let mut assembly = Assembly::default();
        let (mut rest, mut found) = (data, 0);
        while let Some((&[low, high], after)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_le_bytes([low, high])).min(after.len());
            let (message, after) = after.split_at(length);
            rest = after;
            if let Ok(Some(frame)) = assembly.take(Bytes::copy_from_slice(message)) {
                same_again(&frame);
                found += 1;
            }
        }
        found
    }

    fn same_again(sent: &NumberedFrame) {
        let frame = &sent.frame;
        assert_eq!(frame.flaw(), None);
        let mut assembly = Assembly::default();
        let mut whole = None;
        for message in pack(sent.number, sent.sent, frame, 0) {
            assert!(whole.is_none(), "whole before its last piece");
            let taken = assembly.take(message);
            assert!(taken.is_ok(), "it was read once: {taken:?}");
            whole = taken.ok().flatten();
        }
        assert_eq!(
            whole.map(|frame| format!("{frame:?}")),
            Some(format!("{sent:?}"))
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ends: &[u32]) -> Frame {
        Frame {
            codec: Codec::H264,
            keyframe: true,
            pts: Duration::from_nanos(1 << 40),
            timestamp: u64::MAX,
            data: (0..ends.last().copied().unwrap_or_default())
                .map(|at| u8::try_from(at % 251).unwrap())
                .collect(),
            ends: ends.to_vec(),
        }
    }

    /// A keyframe of a 4K picture.
    fn large() -> Frame {
        let ends: Vec<u32> = (1..=600).map(|payload| payload * 1188).collect();
        frame(&ends)
    }

    fn packed(frame: &Frame, bytes: usize) -> Vec<Bytes> {
        pack(7, Duration::from_nanos(99), frame, bytes)
    }

    fn through(messages: &[Bytes]) -> Result<Option<NumberedFrame>, MessageFlaw> {
        let mut assembly = Assembly::default();
        let mut last = Ok(None);
        for message in messages {
            last = assembly.take(message.clone());
        }
        last
    }

    #[test]
    fn a_frame_crosses_whole_whatever_a_message_may_hold() {
        for (sent, bytes, messages) in [
            (frame(&[1200, 2400, 2401]), 1 << 20, 1),
            (large(), 8 << 20, 1),
            (large(), 1 << 18, 3),
            (large(), 0, 177),
        ] {
            let packed = packed(&sent, bytes);
            assert_eq!(packed.len(), messages);
            let most = bytes.max(MESSAGE_BYTES_MIN);
            assert!(packed.iter().all(|message| message.len() <= most));
            let arrived = through(&packed).unwrap().unwrap();
            assert_eq!((arrived.number, arrived.sent.as_nanos()), (7, 99));
            assert_eq!(format!("{:?}", arrived.frame), format!("{sent:?}"));
        }
    }

    #[test]
    fn a_frame_with_a_lost_piece_is_lost_and_the_next_one_is_not() {
        let messages = packed(&large(), 1 << 18);
        let torn = [&messages[..1], &messages[2..]].concat();
        assert_eq!(through(&torn).unwrap_err(), MessageFlaw::Torn);
        assert!(
            through(&[&torn[..], &messages[..]].concat())
                .unwrap()
                .is_some()
        );
        let cut_short = [&messages[..1], &messages[..]].concat();
        assert!(through(&cut_short).unwrap().is_some());
    }

    #[test]
    fn nonsense_is_refused() {
        let good = packed(&frame(&[10, 20]), 1 << 20).remove(0);
        for (at, value, flaw) in [
            (0, 2, MessageFlaw::Version(2)),
            (1, 2, MessageFlaw::Flags),
            (2, 9, MessageFlaw::Codec),
            (4, 1, MessageFlaw::ExtraPiece),
            (42, 1, MessageFlaw::TooLarge),
            (44, 27, MessageFlaw::Length),
            (46, 0x90, MessageFlaw::TooLarge),
        ] {
            let mut bad = good.to_vec();
            bad[at] = value;
            assert_eq!(through(&[bad.into()]).unwrap_err(), flaw, "{at}");
        }
        let mut empty = good.to_vec();
        empty[48] = 20;
        let flaw = through(&[empty.into()]).unwrap_err();
        assert!(matches!(flaw, MessageFlaw::Frame(_)), "{flaw}");
        let short = good.slice(..HEAD_BYTES - 1);
        assert_eq!(through(&[short]).unwrap_err(), MessageFlaw::Short);
    }
}
