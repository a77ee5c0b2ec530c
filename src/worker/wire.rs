//! What goes over the socket between the server and a worker.
//!
//! ```text
//!  message: kind (1 byte), 3 zero bytes, length of the body (4 bytes, little-endian), body
//!  note:    JSON
//!  frame:   track (2), codec (1), flags (1), payloads (4), pts (8), timestamp (8), sent (8),
//!           where each payload ends (4 each), the payloads
//! ```
//!
//! Neither side trusts the other with a length: it is checked before memory is reserved for it.

use std::{marker::PhantomData, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

use crate::media::{Codec, FRAME_BYTES_MAX, FRAME_PAYLOADS_MAX, Frame};

/// The version of this format. Server and worker are the same program, unless an upgrade has gone
/// wrong.
pub(super) const VERSION: u32 = 5;

/// Bytes in front of every message.
const HEAD_BYTES: usize = 8;
/// Bytes in front of the ends of a frame's payloads.
const FRAME_HEAD_BYTES: usize = 32;
/// Largest note: a pipeline's graph is the longest.
const NOTE_BYTES_MAX: usize = 8 << 20;

/// The first byte of a message.
const NOTE: u8 = 1;
const FRAME: u8 = 2;

const KEYFRAME: u8 = 1;
const GAP: u8 = 2;

/// Why a message cannot be read. The other side is broken, or hostile: the connection ends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    #[error("unknown kind of message: {0}")]
    Kind(u8),
    #[error("message of {0} bytes")]
    TooLarge(usize),
    #[error("invalid frame: {0}")]
    Frame(&'static str),
    #[error("unreadable note: {0}")]
    Note(String),
}

/// A frame on its way between processes.
#[derive(Clone, Debug)]
pub(crate) struct SentFrame {
    /// The number of the input or outlet.
    pub(crate) track: u16,
    /// Whether frames before this one are missing.
    pub(crate) gap: bool,
    /// When it was sent, on the system's monotonic clock, which all processes share.
    pub(crate) sent: Duration,
    pub(crate) frame: Frame,
}

/// A message, and whatever notes its direction has.
#[derive(Clone, Debug)]
pub(crate) enum WireMessage<N> {
    Frame(SentFrame),
    Note(N),
}

/// A message as bytes.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub(crate) head: Bytes,
    /// A frame's payloads, shared with everyone else who has the frame.
    pub(crate) data: Bytes,
}

impl Packed {
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.data.len()
    }

    /// A note as bytes.
    pub(crate) fn note(note: &impl Serialize) -> Result<Self, WireError> {
        let body = serde_json::to_vec(note).map_err(|error| WireError::Note(error.to_string()))?;
        if body.len() > NOTE_BYTES_MAX {
            return Err(WireError::TooLarge(body.len()));
        }
        Ok(Self {
            head: head(NOTE, body.len()).freeze(),
            data: body.into(),
        })
    }

    /// A frame as bytes.
    pub(crate) fn frame(
        track: u16,
        gap: bool,
        sent: Duration,
        frame: &Frame,
    ) -> Result<Self, WireError> {
        check(frame)?;
        let body = FRAME_HEAD_BYTES + 4 * frame.ends.len() + frame.data.len();
        let mut bytes = head(FRAME, body);
        bytes.reserve(FRAME_HEAD_BYTES + 4 * frame.ends.len());
        bytes.put_u16_le(track);
        bytes.put_u8(frame.codec.number());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        bytes.put_u8(flag(frame.keyframe, KEYFRAME) | flag(gap, GAP));
        bytes.put_u32_le(u32::try_from(frame.ends.len()).unwrap_or(u32::MAX));
        bytes.put_u64_le(nanoseconds(frame.pts));
        bytes.put_u64_le(frame.timestamp);
        bytes.put_u64_le(nanoseconds(sent));
        for end in &frame.ends {
            bytes.put_u32_le(*end);
        }
        Ok(Self {
            head: bytes.freeze(),
            data: frame.data.clone(),
        })
    }
}

fn head(kind: u8, body: usize) -> BytesMut {
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + FRAME_HEAD_BYTES);
    bytes.put_u32_le(u32::from(kind));
    bytes.put_u32_le(u32::try_from(body).unwrap_or(u32::MAX));
    bytes
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether a frame makes sense.
fn check(frame: &Frame) -> Result<(), WireError> {
    frame
        .flaw()
        .map_or(Ok(()), |flaw| Err(WireError::Frame(flaw)))
}

/// Reads messages from bytes that arrive in any pieces.
#[derive(Debug)]
pub(crate) struct Decoder<N> {
    /// Read into it, then take messages out with [`Decoder::next`].
    pub(crate) buffer: BytesMut,
    notes: PhantomData<fn() -> N>,
}

impl<N: DeserializeOwned> Decoder<N> {
    pub(crate) fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            notes: PhantomData,
        }
    }

    /// The next message, if it has arrived whole. Otherwise the buffer has room for the rest of it.
    pub(crate) fn next(&mut self) -> Result<Option<WireMessage<N>>, WireError> {
        let Some((head, _)) = self.buffer.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let [kind, a, b, c, rest @ ..] = *head;
        let body = u32::from_le_bytes(rest) as usize;
        let most = match kind {
            NOTE => NOTE_BYTES_MAX,
            FRAME => FRAME_HEAD_BYTES + 4 * FRAME_PAYLOADS_MAX + FRAME_BYTES_MAX,
            kind => return Err(WireError::Kind(kind)),
        };
        if body > most || [a, b, c] != [0; 3] {
            return Err(WireError::TooLarge(body));
        }
        let missing = (HEAD_BYTES + body).saturating_sub(self.buffer.len());
        if missing > 0 {
            self.buffer.reserve(missing);
            return Ok(None);
        }
        self.buffer.advance(HEAD_BYTES);
        let body = self.buffer.split_to(body);
        Ok(Some(if kind == FRAME {
            WireMessage::Frame(frame(body.freeze())?)
        } else {
            let note = serde_json::from_slice(&body);
            WireMessage::Note(note.map_err(|error| WireError::Note(error.to_string()))?)
        }))
    }
}

fn frame(body: Bytes) -> Result<SentFrame, WireError> {
    let mut body = body;
    if body.len() < FRAME_HEAD_BYTES {
        return Err(WireError::Frame("it is cut off"));
    }
    let track = body.get_u16_le();
    let named = body.get_u8();
    let codec = Codec::numbered(named).ok_or(WireError::Frame("an unknown codec"))?;
    let flags = body.get_u8();
    if flags & !(KEYFRAME | GAP) != 0 {
        return Err(WireError::Frame("unknown flags"));
    }
    let payloads = body.get_u32_le() as usize;
    let (pts, timestamp, sent) = (body.get_u64_le(), body.get_u64_le(), body.get_u64_le());
    if payloads > FRAME_PAYLOADS_MAX || 4 * payloads > body.len() {
        return Err(WireError::Frame("too many payloads"));
    }
    let mut ends = body.split_to(4 * payloads);
    let frame = Frame {
        codec,
        keyframe: flags & KEYFRAME != 0,
        pts: Duration::from_nanos(pts),
        timestamp,
        ends: (0..payloads).map(|_| ends.get_u32_le()).collect(),
        data: body,
    };
    check(&frame)?;
    Ok(SentFrame {
        track,
        gap: flags & GAP != 0,
        sent: Duration::from_nanos(sent),
        frame,
    })
}

/// What must hold for any bytes: messages come out whole or not at all, and a frame that comes out
/// is the same after another way through.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz {
    use super::*;

    /// The first byte says in pieces of how many bytes the rest arrives.
    ///
    /// # Panics
    /// If a frame does not make sense, or changes on its way.
    pub(crate) fn messages<N: DeserializeOwned>(data: &[u8]) -> usize {
        let Some((&piece, rest)) = data.split_first() else {
            return 0;
        };
        let mut decoder = Decoder::<N>::new();
        let mut found = 0;
        for piece in rest.chunks(usize::from(piece) + 1) {
            decoder.buffer.extend_from_slice(piece);
            loop {
                match decoder.next() {
                    Ok(Some(WireMessage::Frame(frame))) => same_again(&frame),
                    Ok(Some(WireMessage::Note(_))) => {}
                    Ok(None) => break,
                    Err(_) => return found,
                }
                found += 1;
            }
        }
        found
    }

    fn same_again(sent: &SentFrame) {
        let frame = &sent.frame;
        assert_eq!(
            frame.ranges().map(|range| range.len()).sum::<usize>(),
            frame.data.len()
        );
        let packed = Packed::frame(sent.track, sent.gap, sent.sent, frame);
        let mut decoder = Decoder::<()>::new();
        for part in packed
            .iter()
            .flat_map(|packed| [&packed.head, &packed.data])
        {
            decoder.buffer.extend_from_slice(part);
        }
        let Ok(Some(WireMessage::Frame(again))) = decoder.next() else {
            unreachable!("it was read once");
        };
        assert_eq!(format!("{again:?}"), format!("{sent:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(codec: Codec, ends: &[u32]) -> SentFrame {
        SentFrame {
            track: 3,
            gap: true,
            sent: Duration::from_nanos(77),
            frame: Frame {
                codec,
                keyframe: true,
                pts: Duration::from_nanos(1 << 40),
                timestamp: u64::MAX,
                data: vec![7; ends.last().map_or(0, |end| *end as usize)].into(),
                ends: ends.to_vec(),
            },
        }
    }

    fn packed(sent: &SentFrame) -> Result<Packed, WireError> {
        Packed::frame(sent.track, sent.gap, sent.sent, &sent.frame)
    }

    fn bytes(packed: &Packed) -> Vec<u8> {
        [&packed.head[..], &packed.data].concat()
    }

    fn decoder(bytes: &[u8]) -> Decoder<String> {
        let mut decoder = Decoder::new();
        decoder.buffer.extend_from_slice(bytes);
        decoder
    }

    #[test]
    fn messages_arrive_whole_in_whatever_pieces() {
        let frame = sent(Codec::Av1, &[1200, 2400, 2401]);
        let mut stream = bytes(&packed(&frame).unwrap());
        stream.extend(bytes(&Packed::note(&"hello").unwrap()));
        for piece in [1, 3, 100, 5000] {
            let mut decoder = Decoder::<String>::new();
            let mut found = Vec::new();
            for piece in stream.chunks(piece) {
                decoder.buffer.extend_from_slice(piece);
                while let Some(message) = decoder.next().unwrap() {
                    found.push(format!("{message:?}"));
                }
            }
            assert_eq!(
                found,
                [format!("Frame({frame:?})"), "Note(\"hello\")".to_owned()]
            );
        }
    }

    #[test]
    fn lengths_are_checked_before_anything_is_reserved() {
        for kind in [NOTE, FRAME] {
            let head = [kind, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
            let mut decoder = decoder(&head);
            assert_eq!(
                decoder.next().unwrap_err(),
                WireError::TooLarge(u32::MAX as usize)
            );
            assert!(decoder.buffer.capacity() < 1000);
        }
        let many = [
            FRAME, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0x7f,
        ];
        let mut decoder = decoder(&[&many[..], &[0; 24]].concat());
        assert!(matches!(decoder.next(), Err(WireError::Frame(_))));
    }

    #[test]
    fn frames_without_sense_are_refused_on_both_sides() {
        for (codec, ends, reason) in [
            (Codec::H264, &[][..], "sum"),
            (Codec::H264, &[5, 5], "empty"),
            (Codec::H264, &[5, 3], "empty"),
            (Codec::H264, &[1501], "long"),
            (Codec::Opus, &[8001], "long"),
        ] {
            assert!(packed(&sent(codec, ends)).is_err(), "{reason}: {ends:?}");
        }
        let mut longer = sent(Codec::Vp8, &[10, 20]);
        longer.frame.data = vec![0; 21].into();
        assert!(packed(&longer).is_err(), "sum");
        let mut delta = sent(Codec::Opus, &[10]);
        delta.frame.keyframe = false;
        assert!(packed(&delta).is_err(), "delta");

        let good = bytes(&packed(&sent(Codec::H264, &[10, 20])).unwrap());
        for (at, value, reason) in [
            (10, 6, "codec"),
            (11, 4, "flags"),
            (12, 1, "sum"),
            (40, 21, "empty"),
            (44, 19, "sum"),
        ] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(decoder(&bad).next().is_err(), "{reason}: {at}");
        }
    }

    #[test]
    fn notes_that_are_none_are_refused() {
        let mut packed = bytes(&Packed::note(&"hello").unwrap());
        packed[8] = b'x';
        let error = decoder(&packed).next().unwrap_err();
        assert!(matches!(error, WireError::Note(_)), "{error}");
        assert_eq!(decoder(&[9; 8]).next().unwrap_err(), WireError::Kind(9));
    }
}
