//! RTP packets of an encoded picture, framed as senders of all kinds frame them.

use crate::media::{
    Codec,
    nal::{self, Payload, UnitKind},
    rtp::{self, RtpHeader},
};

/// One RTP packet.
#[derive(Clone, Debug)]
pub struct RtpPacket {
    /// When its picture is due, in units of the clock.
    pub timestamp: u32,
    /// The marker bit.
    pub marker: bool,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl RtpPacket {
    /// The output of a payloader.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let header = RtpHeader::read(packet)?;
        Some(Self {
            timestamp: header.timestamp,
            marker: header.marker,
            payload: packet.get(rtp::payload(packet)?)?.to_vec(),
        })
    }

    fn has_slice(&self) -> bool {
        nal::first_slice(Codec::H264, &self.payload).is_some()
    }

    /// Whether a slice ends with this packet.
    fn ends_slice(&self) -> bool {
        match Payload::read(Codec::H264, &self.payload) {
            Payload::Fragment(fragment) => fragment.ends && fragment.kind.is_slice(),
            Payload::Units(_) => self.has_slice(),
        }
    }
}

/// Sets the marker on everything except slices of H.264.
pub fn mark_parameter_sets(packets: &mut [RtpPacket]) {
    for packet in packets {
        packet.marker |= !packet.has_slice();
    }
}

/// Sets the marker on every slice of H.264.
pub fn mark_slices(packets: &mut [RtpPacket]) {
    for packet in packets {
        packet.marker |= packet.ends_slice();
    }
}

/// Gives everything except slices of H.264 the timestamp of the previous picture.
pub fn date_parameter_sets_back(packets: &mut [RtpPacket]) {
    let mut before = None;
    for packet in packets {
        if packet.has_slice() {
            before = Some(packet.timestamp);
        } else {
            packet.timestamp = before.unwrap_or(packet.timestamp);
        }
    }
}

/// The first header byte of each NAL unit of H.264 in a payload, or of the one that it is a part of.
fn unit_headers(payload: &[u8]) -> Vec<u8> {
    match Payload::read(Codec::H264, payload) {
        Payload::Fragment(fragment) => fragment.header().first().copied().into_iter().collect(),
        Payload::Units(units) => units
            .filter_map(|range| payload.get(range)?.first().copied())
            .collect(),
    }
}

/// Whether a payload of H.264 holds filler data, or a part of it.
pub fn has_filler(payload: &[u8]) -> bool {
    unit_headers(payload)
        .into_iter()
        .any(|header| nal::as_filler(Codec::H264, header) == Some(header))
}

/// Whether a payload of H.264 holds a parameter set.
pub fn has_parameter_sets(payload: &[u8]) -> bool {
    unit_headers(payload).into_iter().any(|header| {
        matches!(
            UnitKind::of(Codec::H264, &[header]),
            UnitKind::SequenceParameters | UnitKind::PictureParameters
        )
    })
}
