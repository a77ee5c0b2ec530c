//! Whether a decoder can start with a frame, judged by its bits.
//!
//! GStreamer's `DELTA_UNIT` flag is no help: payloaders lose it, depayloaders do not set it
//! for every codec, and `h264parse` leaves it out on pictures that are intra-coded but not a place
//! to start.

use super::{
    Codec,
    nal::{self, Separation, UnitKind},
    obu::{self, UnitStart},
    vp8::Vp8Descriptor,
    vp9::Vp9Descriptor,
};

/// Whether a decoder can start with the frame that these RTP payloads carry, in sending order.
pub fn in_payloads<'a>(codec: Codec, mut payloads: impl Iterator<Item = &'a [u8]>) -> bool {
    match codec {
        Codec::Opus => true,
        Codec::H264 | Codec::H265 => {
            let first = payloads.find_map(|payload| nal::first_slice(codec, payload));
            first == Some(UnitKind::StartingSlice)
        }
        Codec::Vp8 => payloads.next().is_some_and(vp8_payload),
        Codec::Vp9 => payloads.next().is_some_and(vp9_payload),
        Codec::Av1 => av1_payloads(payloads),
    }
}

/// Whether a decoder can start with this frame of an encoded stream. `separation` is that of NAL
/// units, for codecs that have them. `None` if the bytes do not tell.
pub fn in_frame(codec: Codec, separation: Separation, frame: &[u8]) -> Option<bool> {
    match codec {
        Codec::Opus => Some(true),
        Codec::H264 | Codec::H265 => {
            let mut kinds = separation
                .units(frame)
                .map(|unit| UnitKind::of(codec, unit));
            let first = kinds.find(|kind| kind.is_slice())?;
            Some(first == UnitKind::StartingSlice)
        }
        Codec::Vp8 => frame.first().map(|&first| vp8_starts(first)),
        Codec::Vp9 => frame.first().map(|&first| vp9_starts(first)),
        Codec::Av1 => obu::starts_here(frame),
    }
}

/// As [`in_frame`], for the beginning of a frame: depayloaders of AV1 pass on what a packet
/// completes.
pub fn in_beginning(codec: Codec, separation: Separation, bytes: &[u8]) -> Option<bool> {
    match codec {
        Codec::Av1 => obu::has_sequence(bytes),
        _ => in_frame(codec, separation, bytes),
    }
}

/// The inverse key frame flag in the first byte of a VP8 frame (RFC 6386 §9.1).
const fn vp8_starts(first: u8) -> bool {
    first & 1 == 0
}

/// A shown frame of the type "key" (VP9 bitstream specification §6.2).
const fn vp9_starts(first: u8) -> bool {
    const MARKER: u8 = 0b1000_0000;
    let of_profile_3 = first & 0b0011_0000 == 0b0011_0000;
    // In profile 3 a reserved bit stands in front of `show_existing_frame` and `frame_type`.
    let (existing, inter) = if of_profile_3 {
        (first & 0b0100 != 0, first & 0b0010 != 0)
    } else {
        (first & 0b1000 != 0, first & 0b0100 != 0)
    };
    first & 0b1100_0000 == MARKER && !existing && !inter
}

/// The beginning of a key frame, after the payload descriptor (RFC 7741 §4.3).
fn vp8_payload(payload: &[u8]) -> bool {
    Vp8Descriptor::read(payload).is_some_and(|descriptor| {
        let frame = payload.get(descriptor.bytes);
        descriptor.begins_frame() && frame.is_some_and(|&first| vp8_starts(first))
    })
}

/// The beginning of a key frame, after the payload descriptor (RFC 9628 §4.2).
fn vp9_payload(payload: &[u8]) -> bool {
    Vp9Descriptor::read(payload).is_some_and(|descriptor| {
        let starts = payload
            .get(descriptor.bytes)
            .is_some_and(|&first| vp9_starts(first));
        descriptor.begins && !descriptor.predicted && starts
    })
}

/// A sequence header and a shown key frame, or the word of the sender if the bytes do not tell.
fn av1_payloads<'a>(payloads: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut payloads = payloads.peekable();
    let said = payloads
        .peek()
        .is_some_and(|first| obu::begins_sequence(first));
    UnitStart::in_payloads(payloads).starts().unwrap_or(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(codec: Codec, payloads: &[&[u8]]) -> bool {
        in_payloads(codec, payloads.iter().copied())
    }

    #[test]
    fn h264_needs_an_idr_slice() {
        let parameter_sets: &[u8] = &[24, 0, 2, 0x67, 1, 0, 2, 0x68, 1];
        assert!(check(Codec::H264, &[parameter_sets, &[0x65, 0x88]]));
        assert!(check(Codec::H264, &[parameter_sets, &[0x7c, 0x85, 0]])); // FU-A
        assert!(check(Codec::H264, &[&[24, 0, 1, 0x67, 0, 1, 0x65]])); // all in one STAP-A
        assert!(!check(Codec::H264, &[parameter_sets, &[0x41, 0x9a]]));
        assert!(!check(Codec::H264, &[&[0x06, 5], &[0x61, 0x88]])); // SEI, intra-coded non-IDR
        assert!(!check(Codec::H264, &[&[24, 0, 9, 0x65], &[]])); // length past the end
        assert!(!check(Codec::H264, &[]));
    }

    #[test]
    fn h265_needs_an_irap_slice() {
        assert!(check(Codec::H265, &[&[0x40, 1, 0], &[0x26, 1, 0]])); // VPS, IDR_W_RADL
        assert!(check(Codec::H265, &[&[0x62, 1, 0x95]])); // fragmented CRA
        let aggregated: &[u8] = &[0x60, 1, 0, 2, 0x40, 1, 0, 2, 0x26, 1];
        assert!(check(Codec::H265, &[aggregated]));
        assert!(!check(Codec::H265, &[&[0x02, 1, 0]]));
    }

    #[test]
    fn vp8_flag_is_behind_the_descriptor() {
        assert!(check(Codec::Vp8, &[&[0x10, 0x00]]));
        assert!(check(Codec::Vp8, &[&[0x90, 0x80, 0x81, 0x02, 0x00]]));
        assert!(check(Codec::Vp8, &[&[0x90, 0xf0, 0x01, 7, 0x20, 0x00]]));
        assert!(!check(Codec::Vp8, &[&[0x90, 0x80, 0x81, 0x02, 0x01]]));
        assert!(!check(Codec::Vp8, &[&[0x90, 0x80]]));
    }

    #[test]
    fn vp9_needs_a_key_frame_that_begins() {
        assert!(check(Codec::Vp9, &[&[0x88, 0x01, 0x82]]));
        assert!(!check(Codec::Vp9, &[&[0xc8, 0x01, 0x82]]), "predicted");
        assert!(!check(Codec::Vp9, &[&[0x80, 0x01, 0x82]]), "a rest");
        assert!(!check(Codec::Vp9, &[&[0x88, 0x01, 0x86]]), "an inter frame");
    }

    #[test]
    fn av1_needs_a_sequence_header_and_a_key_frame() {
        let key = [0x10, 0x30, 0b0001_0000];
        assert!(check(Codec::Av1, &[&[0x18, 0x08, 0, 0], &key]));
        assert!(!check(
            Codec::Av1,
            &[&[0x18, 0x08, 0, 0], &[0x10, 0x30, 0x30]]
        ));
        assert!(!check(Codec::Av1, &[&key]));
        assert!(check(Codec::Av1, &[&[0x18, 0x7a, 0]]), "the sender's word");
        assert!(!check(Codec::Av1, &[&[0x10, 0x7a, 0]]));
    }

    #[test]
    fn frames_of_a_stream() {
        let coded = |codec, frame: &[u8]| in_frame(codec, Separation::StartCodes, frame);
        let parameters = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x68, 3];
        let with = |slice: &[u8]| [&parameters, slice].concat();
        assert_eq!(coded(Codec::H264, &with(&[0, 0, 1, 0x65, 9])), Some(true));
        let mixed = with(&[0, 0, 1, 0x41, 9, 0, 0, 1, 0x65]);
        assert_eq!(
            coded(Codec::H264, &mixed),
            Some(false),
            "the first slice counts"
        );
        assert_eq!(coded(Codec::H264, &parameters), None);
        let irap = [0, 0, 1, 0x40, 1, 0, 0, 1, 0x26, 1];
        assert_eq!(coded(Codec::H265, &irap), Some(true));
        assert_eq!(coded(Codec::H265, &[0, 0, 1, 0x02, 1]), Some(false));
        let prefixed = |codec, frame: &[u8]| in_frame(codec, Separation::Lengths, frame);
        let idr = [0, 0, 0, 2, 0x67, 1, 0, 0, 0, 2, 0x65, 9];
        assert_eq!(prefixed(Codec::H264, &idr), Some(true));
        assert_eq!(prefixed(Codec::H264, &[0, 0, 0, 2, 0x41, 9]), Some(false));
        assert_eq!(prefixed(Codec::H264, &[0, 0, 0, 9, 0x65]), None);
        assert_eq!(prefixed(Codec::H265, &[0, 0, 0, 2, 0x26, 1]), Some(true));
        assert_eq!(coded(Codec::Vp8, &[0x10]), Some(true));
        assert_eq!(coded(Codec::Vp8, &[0x11]), Some(false));
        assert_eq!(coded(Codec::Vp8, &[]), None);
    }

    #[test]
    fn av1_begins_with_a_sequence_header() {
        let begins = |bytes: &[u8]| in_beginning(Codec::Av1, Separation::StartCodes, bytes);
        let (delimiter, sequence, frame) = ([0x12, 0], [0x0a, 1, 0], [0x32, 1, 0]);
        assert_eq!(begins(&delimiter), None);
        assert_eq!(begins(&[&delimiter[..], &sequence].concat()), Some(true));
        assert_eq!(begins(&[&delimiter[..], &frame].concat()), Some(false));
    }

    #[test]
    fn vp9_frames_of_every_profile() {
        let starts = |first| in_frame(Codec::Vp9, Separation::StartCodes, &[first]);
        assert_eq!(starts(0b1000_0010), Some(true));
        assert_eq!(starts(0b1000_0110), Some(false), "an inter frame");
        assert_eq!(starts(0b1000_1000), Some(false), "shows an older frame");
        assert_eq!(starts(0b1011_0001), Some(true), "profile 3");
        assert_eq!(
            starts(0b1011_0011),
            Some(false),
            "profile 3, an inter frame"
        );
        assert_eq!(starts(0b0100_0000), Some(false), "no VP9");
    }
}
