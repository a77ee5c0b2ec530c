//! The path of packets into webrtcbin: made once, pushed from the playout's thread.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use gst::prelude::*;
use gstreamer as gst;
use tracing::Span;

use super::{pads::TrackPad, retransmission::RetransmissionGuard};
use crate::{
    awake,
    media::{
        Frame, Kind,
        rtp::{FIXED_BYTES, RtpHeader},
    },
};

/// A push that takes longer has been held up by the connection: webrtcbin works in microseconds,
/// and its UDP socket never waits.
const PUSH_MAX: Duration = Duration::from_millis(100);

/// The RTP header fields of a run of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunHeader {
    /// SSRC, as in the answer.
    pub(super) ssrc: u32,
    /// Payload type.
    pub(super) pt: u8,
    /// Sequence number of the first packet; the others follow.
    pub(super) sequence: u16,
    /// RTP timestamp of all.
    pub(super) timestamp: u32,
}

/// RTP packets of one frame, ready for any number of viewers. Cheap to clone: shares its memory.
#[derive(Clone, Debug)]
pub(super) struct Packets {
    list: gst::BufferList,
    bytes: usize,
}

impl Packets {
    /// Packets `range` of `frame`. `pts` is the server's running time at which the viewer is to see
    /// them: sender reports depend on it.
    pub(super) fn new(
        header: RunHeader,
        frame: &Frame,
        range: Range<usize>,
        pts: Duration,
    ) -> Self {
        let video = frame.codec.kind() == Kind::Video;
        let last = frame.ends.len().saturating_sub(1);
        let payloads = frame
            .ranges()
            .enumerate()
            .skip(range.start)
            .take(range.len());
        let mut bytes = Vec::with_capacity(frame.data.len() + range.len() * FIXED_BYTES);
        let mut cuts = Vec::with_capacity(range.len());
        let mut sequence = header.sequence;
        for (index, payload) in payloads {
            let start = bytes.len();
            let head = RtpHeader {
                marker: video && index == last,
                payload_type: header.pt,
                sequence,
                timestamp: header.timestamp,
                ssrc: header.ssrc,
            };
            head.write(&mut bytes, &[]);
            bytes.extend_from_slice(frame.data.get(payload).unwrap_or_default());
            cuts.push(start..bytes.len());
            sequence = sequence.wrapping_add(1);
        }
        let total = bytes.len();
        // All packets are cut from one piece of memory, in one part each, so that nothing
        // downstream has to join parts.
        let memory = gst::Memory::from_slice(bytes);
        let pts = gst::ClockTime::try_from(pts).ok();
        let buffers = cuts.into_iter().map(|cut| {
            let mut buffer = gst::Buffer::new();
            if let Some(buffer) = buffer.get_mut() {
                buffer.append_memory(memory.share(cut));
                buffer.set_pts(pts);
            }
            buffer
        });
        Self {
            list: buffers.collect(),
            bytes: total,
        }
    }

    /// Number of packets.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Bytes of all packets, headers included.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The outcome of pushed packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// They are on their way.
    Sent,
    /// They are on their way, but were held up: the peer's connection does not keep pace.
    Late,
    /// They are lost: there is no such track, or no connection.
    Refused,
}

/// The way into one viewer's webrtcbin. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ViewerOutlet {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// The viewer's span: one thread serves many.
    span: Span,
    /// At most one of each kind.
    pads: Vec<TrackPad>,
    again: Arc<RetransmissionGuard>,
    /// Before the connection is up a push would wait for it; after its end a push is useless.
    open: AtomicBool,
    begin: Instant,
    /// Milliseconds from `begin` to the start of the push under way, plus one; 0 without one.
    pushing: AtomicU64,
}

impl ViewerOutlet {
    /// Call it within the viewer's span.
    pub(super) fn new(pads: Vec<TrackPad>, again: Arc<RetransmissionGuard>) -> Self {
        let state = State {
            span: Span::current(),
            pads,
            again,
            open: AtomicBool::new(false),
            begin: awake::now(),
            pushing: AtomicU64::new(0),
        };
        Self {
            state: Arc::new(state),
        }
    }

    /// Whether packets can be pushed: ICE and DTLS are up.
    pub(super) fn is_open(&self) -> bool {
        self.state.open.load(Relaxed)
    }

    pub(super) fn set_open(&self, open: bool) {
        self.state.open.store(open, Relaxed);
    }

    /// Pushes the packets through to the socket, on the caller's thread.
    pub(super) fn push(&self, kind: Kind, packets: &Packets) -> Pushed {
        let state = &self.state;
        let pad = state.pads.iter().find(|(of, _)| *of == kind);
        let Some((_, pad)) = pad else {
            return Pushed::Refused;
        };
        if !self.is_open() {
            return Pushed::Refused;
        }
        let begin = self.clock();
        state.pushing.store(begin, Relaxed);
        let result = pad.push_list(packets.list.clone());
        state.pushing.store(0, Relaxed);
        state.again.earn(kind, packets.bytes(), packets.len());
        // The clock may step back a little, when a pause of the process is discovered.
        let took = Duration::from_millis(self.clock().saturating_sub(begin));
        match result {
            Ok(_) if took > PUSH_MAX => Pushed::Late,
            Ok(_) => Pushed::Sent,
            Err(error) => {
                tracing::debug!(
                    parent: &state.span, %error, %kind,
                    "viewer no longer accepts packets"
                );
                self.set_open(false);
                Pushed::Refused
            }
        }
    }

    /// How long the push under way has taken so far.
    pub(super) fn stuck(&self) -> Option<Duration> {
        self.since(&self.state.pushing)
    }

    fn since(&self, moment: &AtomicU64) -> Option<Duration> {
        let at = moment.load(Relaxed);
        (at > 0).then(|| Duration::from_millis(self.clock().saturating_sub(at)))
    }

    fn clock(&self) -> u64 {
        u64::try_from(awake::since(self.state.begin).as_millis()).unwrap_or(u64::MAX - 1) + 1
    }
}
