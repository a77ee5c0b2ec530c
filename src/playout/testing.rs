//! What the engines provide for the playout's tests.

use std::time::Instant;

use super::{Arrival, Playout, RenditionCaches};
use crate::media::{
    Kind,
    rtp::{FIXED_BYTES, RtpHeader},
};

/// A packet as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) kind: Kind,
    pub(crate) sequence: u16,
    /// Without its stream's random offset.
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    /// Size of the payload.
    pub(crate) bytes: usize,
}

impl Taken {
    /// Reads a packet without header extensions; `kind` derives its track from its SSRC.
    pub(crate) fn read(packet: &[u8], kind: impl FnOnce(u32) -> Kind) -> Self {
        let header = RtpHeader::read(packet).unwrap();
        Self {
            kind: kind(header.ssrc),
            sequence: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            bytes: packet.len() - FIXED_BYTES,
        }
    }
}

/// An output, and what has been sent there.
pub(crate) trait TestEngine {
    type Stream;

    fn new() -> Self;

    fn stream(&self, kind: Kind, rendition: u64) -> Self::Stream;

    fn frame(&mut self, playout: &mut Playout<Self::Stream>, arrival: &Arrival<'_>, now: Instant);

    fn tick(
        &mut self,
        playout: &mut Playout<Self::Stream>,
        renditions: &RenditionCaches,
        now: Instant,
    );

    /// The packets sent since the last call.
    fn taken(&mut self) -> Vec<Taken>;
}
