//! What a picture's headers say about its encoding: profile, level, size, and how far pictures are
//! reordered.
//!
//! Profiles and levels are named as in GStreamer's caps (`constrained-baseline`, `main-10`; `3.1`).

mod av1;
mod h264;
pub(super) mod h265;
#[cfg(test)]
mod tests;
mod vpx;

use super::{
    Codec,
    nal::{Payload, Separation, UnitKind},
};

/// The format of a video track.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VideoFormat {
    /// `None` if the codec has no profiles, or this one has no name.
    pub profile: Option<&'static str>,
    /// `None` likewise.
    pub level: Option<String>,
    /// Size in pixels, as it is shown.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The most pictures that arrive before one that is shown earlier; `None` if the headers do not
    /// say.
    pub reordered_max: Option<u32>,
}

impl VideoFormat {
    /// Pixels per picture.
    pub const fn pixels(&self) -> u64 {
        self.width as u64 * self.height as u64
    }
}

/// The format that the frame in these RTP payloads, in sending order, begins with. `None` if it has
/// no such header, or a damaged one.
pub fn in_payloads<'a>(
    codec: Codec,
    mut payloads: impl Iterator<Item = &'a [u8]>,
) -> Option<VideoFormat> {
    match codec {
        Codec::H264 | Codec::H265 => {
            for payload in payloads {
                let Payload::Units(units) = Payload::read(codec, payload) else {
                    return None;
                };
                for unit in units.filter_map(|range| payload.get(range)) {
                    match UnitKind::of(codec, unit) {
                        UnitKind::SequenceParameters => return of_unit(codec, unit),
                        kind if kind.is_slice() => return None,
                        _ => {}
                    }
                }
            }
            None
        }
        Codec::Vp8 => vpx::vp8(vpx::vp8_frame(payloads.next()?)?),
        Codec::Vp9 => vpx::vp9(vpx::vp9_frame(payloads.next()?)?),
        Codec::Av1 => av1::in_payload(payloads.next()?),
        Codec::Opus => None,
    }
}

/// The format that a frame of an encoded stream of H.264 or H.265 begins with.
pub fn in_frame(codec: Codec, separation: Separation, frame: &[u8]) -> Option<VideoFormat> {
    for unit in separation.units(frame) {
        match UnitKind::of(codec, unit) {
            UnitKind::SequenceParameters => return of_unit(codec, unit),
            kind if kind.is_slice() => return None,
            _ => {}
        }
    }
    None
}

fn of_unit(codec: Codec, unit: &[u8]) -> Option<VideoFormat> {
    match codec {
        Codec::H264 => h264::sequence(unit),
        Codec::H265 => h265::sequence(unit),
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus => None,
    }
}
