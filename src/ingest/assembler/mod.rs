//! RTP packets of one track in, frames out. Pure: time is an argument.
//!
//! A frame is what the packets of one timestamp carry, cut as it came. What changes on the way:
//! - parameter sets and sequence headers are remembered, and put in front of keyframes without them;
//! - payloads that are too large for viewers are split;
//! - descriptors of VP8 and VP9 get picture ids of our own and say nothing about layers, because
//!   receivers relate both across frames: another publisher or layer would confuse them.
//!
//! A marker bit ends a frame early, but proves nothing: the first one of H.264 and H.265 is believed
//! once the next packet begins another picture, and if a picture goes on behind a marker, frames end
//! only where the timestamp changes.
//!
//! A frame that has lost a packet is dropped, and so is what follows, up to the next place where a
//! decoder can start.

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod gate;
mod part;
mod payloads;
mod picture;
mod sets;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use self::{
    gate::StartGate,
    part::{PicturePart, Piece},
    payloads::Payloads,
    picture::Picture,
    sets::KnownSets,
};
use super::reorder::JUMP;
use crate::media::{
    Codec, Frame, Kind,
    timestamps::{OpusTimestamps, VideoTimestamps},
};

/// Packets that may wait after the first marker: supplements and parameter sets, a few at most.
const HELD_PACKETS_MAX: usize = 16;
/// How long the first frame may wait for what follows its marker: longer than between two pictures,
/// but a slide show's first picture comes at once.
const PROOF_TIMEOUT: Duration = Duration::from_millis(100);
/// A jump of the sequence numbers without a jump of the timestamps by this many seconds is not a
/// loss.
const RENUMBERED_WITHIN: u32 = 1;

/// One RTP packet, in order.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    /// Server running time at which its media is due, as in [`Frame::pts`].
    pub(super) pts: Duration,
    /// RTP sequence number, extended to 64 bits.
    pub(super) sequence: u64,
    /// RTP timestamp as sent.
    pub(super) timestamp: u32,
    /// RTP marker bit.
    pub(super) marker: bool,
    /// True if it is the first one from another source: nothing builds on the packets before it.
    pub(super) restart: bool,
    /// RTP payload.
    pub(super) payload: Arc<[u8]>,
}

/// Makes frames of one stream's packets.
pub(super) struct Assembler {
    codec: Codec,
    /// The packet before this one.
    before: Option<Position>,
    picture: Picture,
    markers: Markers,
    /// Timestamp of the frame that a marker has ended.
    ended: Option<u32>,
    gate: StartGate,
    sets: KnownSets,
    video: VideoTimestamps,
    opus: OpusTimestamps,
    /// Of the frame being gathered.
    picture_id: u16,
}

/// A packet's place in its stream.
#[derive(Clone, Copy, Debug)]
struct Position {
    sequence: u64,
    timestamp: u32,
}

/// Whether frames end at marker bits.
enum Markers {
    /// Nobody knows yet.
    Unproven,
    /// A marker would end the frame that is being gathered.
    Proving(Proof),
    Trusted,
    Distrusted,
}

/// A frame whose marker waits for proof.
struct Proof {
    until: Instant,
    /// Packets after the marker that prove nothing: they belong to this frame or to the next.
    held: Vec<Packet>,
}

impl Assembler {
    /// Makes frames of a stream's packets, from the first place on where a decoder can start.
    pub(super) fn new(codec: Codec) -> Self {
        Self {
            codec,
            before: None,
            picture: Picture::default(),
            markers: Markers::initial(codec),
            ended: None,
            gate: StartGate::closed(),
            sets: KnownSets::default(),
            video: VideoTimestamps::default(),
            opus: OpusTimestamps::default(),
            picture_id: 0,
        }
    }

    /// Takes a packet. Packets come in order; missing numbers are lost for good. Calls `deliver`
    /// with each frame that is complete now.
    pub(super) fn push(&mut self, now: Instant, packet: Packet, mut deliver: impl FnMut(Frame)) {
        if packet.restart {
            self.restart();
        }
        self.look_for_losses(now, &packet, &mut deliver);
        if packet.payload.is_empty() {
            return; // padding that probes for bandwidth
        }
        if self.codec.kind() == Kind::Audio {
            self.sound(&packet).map(deliver);
            return;
        }
        if let Some(part) = PicturePart::read(self.codec, &packet.payload)
            && let Some(packet) = self.prove(now, packet, part, &mut deliver)
        {
            self.take(now, &packet, part, &mut deliver);
        }
    }

    /// When [`Assembler::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.markers {
            Markers::Proving(proof) => Some(proof.until),
            Markers::Unproven | Markers::Trusted | Markers::Distrusted => None,
        }
    }

    /// Delivers a frame that has waited too long for proof of its end.
    pub(super) fn tick(&mut self, now: Instant, mut deliver: impl FnMut(Frame)) {
        if self.deadline().is_some_and(|until| until <= now) {
            self.end_proof(now, Markers::Unproven, &mut deliver);
        }
    }

    /// Whether to request a keyframe; true once for each request.
    pub(super) fn takes_keyframe_request(&mut self) -> bool {
        self.gate.takes_request()
    }

    /// Another source: no picture builds on the packets before. It may be the same encoder, which
    /// sends its parameter sets only once.
    fn restart(&mut self) {
        self.before = None;
        self.picture = Picture::default();
        self.markers = Markers::initial(self.codec);
        self.ended = None;
        self.gate = StartGate::closed();
    }

    fn look_for_losses(&mut self, now: Instant, packet: &Packet, deliver: &mut impl FnMut(Frame)) {
        let Packet {
            sequence,
            timestamp,
            ..
        } = *packet;
        let here = Position {
            sequence,
            timestamp,
        };
        let Some(before) = self.before.replace(here) else {
            return;
        };
        let next = before.sequence + 1;
        if sequence == next || self.codec.kind() == Kind::Audio {
            return;
        }
        let elapsed = timestamp.wrapping_sub(before.timestamp).cast_signed();
        let close = elapsed.unsigned_abs() < RENUMBERED_WITHIN * self.codec.clock_rate();
        if close && sequence.abs_diff(next) > JUMP {
            return;
        }
        if matches!(self.markers, Markers::Proving(_)) {
            // Its end has arrived: what is missing comes after it.
            self.end_proof(now, Markers::Unproven, deliver);
        }
        if matches!(self.markers, Markers::Unproven) {
            // What comes next proves nothing about the marker before the loss.
            self.ended = None;
        }
        self.picture.lose();
        self.gate.lose(now);
    }

    fn sound(&mut self, packet: &Packet) -> Option<Frame> {
        let end = u32::try_from(packet.payload.len()).ok()?;
        Some(Frame {
            codec: self.codec,
            keyframe: true,
            pts: packet.pts,
            timestamp: self.opus.stamp(packet.pts, &packet.payload)?,
            data: Bytes::copy_from_slice(&packet.payload),
            ends: vec![end],
        })
    }

    /// Judges the first marker by this packet. Returns the packet unless it has to wait.
    fn prove(
        &mut self,
        now: Instant,
        packet: Packet,
        part: PicturePart,
        deliver: &mut impl FnMut(Frame),
    ) -> Option<Packet> {
        let Markers::Proving(proof) = &mut self.markers else {
            return Some(packet);
        };
        let verdict = match part.piece {
            _ if packet.timestamp != self.picture.timestamp() => Markers::Trusted,
            Some(Piece::Beginning) => Markers::Trusted,
            None if proof.held.len() < HELD_PACKETS_MAX => {
                proof.held.push(packet);
                return None;
            }
            None | Some(Piece::Unit | Piece::Rest) => Markers::Distrusted,
        };
        self.end_proof(now, verdict, deliver);
        Some(packet)
    }

    /// Ends the wait for proof: the frame ends at its marker, unless markers are distrusted.
    fn end_proof(&mut self, now: Instant, verdict: Markers, deliver: &mut impl FnMut(Frame)) {
        let Markers::Proving(proof) = std::mem::replace(&mut self.markers, verdict) else {
            return;
        };
        if matches!(self.markers, Markers::Distrusted) {
            tracing::debug!(codec = %self.codec, "pictures continue after their markers");
        } else {
            self.end_at_marker(now, deliver);
        }
        for packet in proof.held {
            if let Some(part) = PicturePart::read(self.codec, &packet.payload) {
                self.take(now, &packet, part, deliver);
            }
        }
    }

    fn take(
        &mut self,
        now: Instant,
        packet: &Packet,
        part: PicturePart,
        deliver: &mut impl FnMut(Frame),
    ) {
        if self.proves_last_marker(part) {
            self.markers = Markers::Trusted;
        }
        if self.picture.ends_before(packet.timestamp, part.piece) {
            self.finish(now, deliver);
        }
        if self.goes_on_behind_marker(packet, part) {
            tracing::debug!(codec = %self.codec, "pictures continue after their markers");
            self.markers = Markers::Distrusted;
            self.gate.lose(now);
        }
        self.sets.learn(self.codec, &packet.payload);
        self.picture.add(self.codec, self.picture_id, packet, part);
        if !packet.marker || !part.may_end || !self.picture.has_begun() {
            return;
        }
        match self.markers {
            Markers::Trusted => self.end_at_marker(now, deliver),
            Markers::Unproven if part.ends_unit => {
                self.markers = Markers::Proving(Proof {
                    until: now + PROOF_TIMEOUT,
                    held: Vec::new(),
                });
            }
            Markers::Unproven | Markers::Proving(_) | Markers::Distrusted => {}
        }
    }

    /// Whether a marker, for whose proof a frame did not wait, was right: another picture begins.
    fn proves_last_marker(&self, part: PicturePart) -> bool {
        matches!(self.markers, Markers::Unproven)
            && !self.picture.has_begun()
            && self.ended.is_some()
            && part.piece == Some(Piece::Beginning)
    }

    /// Whether a frame that its marker has ended continues with this packet.
    fn goes_on_behind_marker(&self, packet: &Packet, part: PicturePart) -> bool {
        !self.picture.has_begun()
            && part.piece == Some(Piece::Rest)
            && self.ended == Some(packet.timestamp)
            && !matches!(self.markers, Markers::Distrusted)
    }

    fn end_at_marker(&mut self, now: Instant, deliver: &mut impl FnMut(Frame)) {
        self.ended = Some(self.picture.timestamp());
        self.finish(now, deliver);
    }

    /// Ends the frame and delivers it, if a decoder can use it.
    fn finish(&mut self, now: Instant, deliver: &mut impl FnMut(Frame)) {
        let Some(pts) = self.picture.due() else {
            return; // parameter sets without a picture: they go in front of the next one
        };
        let Some(whole) = std::mem::take(&mut self.picture).finish(self.codec, &self.sets) else {
            tracing::debug!(codec = %self.codec, "incomplete frame dropped");
            self.gate.lose(now);
            return;
        };
        if !self.gate.admits(now, whole.starts) {
            return;
        }
        self.picture_id = self.picture_id.wrapping_add(1);
        let Payloads { mut data, mut ends } = whole.payloads;
        // Frames are kept for viewers that join.
        data.shrink_to_fit();
        ends.shrink_to_fit();
        deliver(Frame {
            codec: self.codec,
            keyframe: whole.keyframe,
            pts,
            timestamp: self.video.stamp(pts, self.codec.clock_rate()),
            data: Bytes::from(data),
            ends,
        });
    }
}

impl Markers {
    /// Only encoders of H.264 and H.265 hand over slices and parameter sets one by one.
    const fn initial(codec: Codec) -> Self {
        match codec {
            Codec::H264 | Codec::H265 => Self::Unproven,
            Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus => Self::Trusted,
        }
    }
}
