//! The frame that is being gathered.

use std::time::Duration;

use super::{
    Packet,
    part::{PicturePart, Piece},
    payloads::Payloads,
    sets::{Completion, KnownSets},
};
use crate::media::{
    Codec, FRAME_BYTES_MAX, FRAME_PAYLOADS_MAX, keyframe,
    obu::{BEGINS_SEQUENCE, UnitStart},
    recovery, vp9,
};

/// Bytes that may wait for a picture: parameter sets and supplements are a few hundred at most.
const LEADING_BYTES_MAX: usize = 64 << 10;

/// The payloads of one timestamp, and parameter sets in front of them.
#[derive(Debug, Default)]
pub(super) struct Picture {
    timestamp: u32,
    /// When it is due, once a part has arrived.
    due: Option<Duration>,
    /// Part of it is missing.
    incomplete: bool,
    /// Packets in front of it are missing: parameter sets, perhaps.
    lost_before: bool,
    too_large: bool,
    payloads: Payloads,
}

/// A frame with all its payloads.
#[derive(Debug)]
pub(super) struct WholePicture {
    pub(super) payloads: Payloads,
    pub(super) keyframe: bool,
    /// A decoder can start here: with a keyframe, or at a recovery point.
    pub(super) starts: bool,
}

impl Picture {
    /// The RTP timestamp of its packets.
    pub(super) const fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// When it is due; `None` if there are only parameter sets and the like.
    pub(super) const fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Whether a part of a picture has arrived.
    pub(super) const fn has_begun(&self) -> bool {
        self.due.is_some()
    }

    /// Whether the picture has ended if a packet with this timestamp and piece comes next.
    pub(super) fn ends_before(&self, timestamp: u32, piece: Option<Piece>) -> bool {
        self.has_begun() && (timestamp != self.timestamp || piece == Some(Piece::Beginning))
    }

    /// Packets are missing after those that have arrived.
    pub(super) const fn lose(&mut self) {
        if self.has_begun() {
            self.incomplete = true;
        } else {
            self.lost_before = true;
        }
    }

    /// Adds a packet.
    pub(super) fn add(
        &mut self,
        codec: Codec,
        picture_id: u16,
        packet: &Packet,
        part: PicturePart,
    ) {
        if !self.has_begun() {
            self.timestamp = packet.timestamp;
            if self.payloads.data.len() > LEADING_BYTES_MAX {
                self.payloads = Payloads::default();
            }
        }
        if let Some(piece) = part.piece
            && !self.has_begun()
        {
            self.due = Some(packet.pts);
            self.incomplete = piece == Piece::Rest;
        }
        let bytes = self.payloads.data.len() + packet.payload.len();
        self.too_large |= bytes > FRAME_BYTES_MAX || self.payloads.ends.len() >= FRAME_PAYLOADS_MAX;
        if self.incomplete || self.too_large {
            self.payloads = Payloads::default();
        } else {
            let begun = self.has_begun() && part.piece != Some(Piece::Beginning);
            self.payloads.add(codec, picture_id, &packet.payload, begun);
        }
    }

    /// Ends the frame. `None` if part of it is missing, or it is too large.
    pub(super) fn finish(mut self, codec: Codec, sets: &KnownSets) -> Option<WholePicture> {
        if self.too_large {
            tracing::warn!(%codec, "frame dropped: too large");
        }
        if self.incomplete || self.too_large || self.payloads.ends.is_empty() {
            return None;
        }
        let payloads = &mut self.payloads;
        let key = keyframe::in_payloads(codec, payloads.iter());
        let starts = key || recovery::in_payloads(codec, payloads.iter());
        let completion = match codec {
            Codec::H264 | Codec::H265 if starts => sets.complete_units(codec, payloads),
            Codec::Av1 => complete_av1(payloads, sets),
            _ => Completion::Whole,
        };
        let complete = match completion {
            Completion::Whole => true,
            // The lost packet may have been newer.
            Completion::Inserted => !self.lost_before,
            Completion::Unknown => false,
        };
        // A key frame of AV1 is none without a sequence header.
        let inserted = codec == Codec::Av1 && completion == Completion::Inserted;
        let keyframe = complete && (key || inserted);
        let starts = complete && (starts || inserted);
        match codec {
            Codec::Vp9 => mark_ends(payloads),
            Codec::Av1 => mark_sequence(payloads, keyframe),
            Codec::H264 | Codec::H265 | Codec::Vp8 | Codec::Opus => {}
        }
        Some(WholePicture {
            payloads: self.payloads,
            keyframe,
            starts,
        })
    }
}

/// Gives a temporal unit with a key frame the sequence header that it lacks.
fn complete_av1(payloads: &mut Payloads, sets: &KnownSets) -> Completion {
    let start = UnitStart::in_payloads(payloads.iter());
    if start.is_key == Some(true) && !start.has_sequence {
        return sets.complete_obus(payloads);
    }
    Completion::Whole
}

/// Says in the aggregation headers whether a coded video sequence begins: browsers look there.
fn mark_sequence(payloads: &mut Payloads, begins: bool) {
    payloads.for_each_head(|index, head| {
        *head &= !BEGINS_SEQUENCE;
        if begins && index == 0 {
            *head |= BEGINS_SEQUENCE;
        }
    });
}

/// The spatial layers of VP9 become one frame, as the descriptors say nothing about layers.
fn mark_ends(payloads: &mut Payloads) {
    let last = payloads.ends.len().saturating_sub(1);
    let mut predicted = false;
    payloads.for_each_head(|index, head| {
        if index == 0 {
            predicted = vp9::is_predicted(*head);
        }
        *head = vp9::head(predicted, index == 0, index == last);
    });
}
