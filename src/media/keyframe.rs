//! Tells from the RTP payloads of a frame whether a decoder can start with it.
//!
//! Looks at payloads rather than at GStreamer's `DELTA_UNIT` flag: payloaders lose the flag,
//! depayloaders do not set it for every codec, and `h264parse` leaves it out on pictures that are
//! intra-coded but not a place to start.

use super::Codec;

/// Whether a decoder can start with the frame that these payloads carry, in sending order.
pub fn starts_here<'a>(codec: Codec, mut payloads: impl Iterator<Item = &'a [u8]>) -> bool {
    match codec {
        Codec::Opus => true,
        Codec::H264 => payloads.find_map(h264).unwrap_or(false),
        Codec::H265 => payloads.find_map(h265).unwrap_or(false),
        Codec::Vp8 => payloads.next().and_then(vp8).unwrap_or(false),
        Codec::Vp9 => payloads.next().and_then(vp9).unwrap_or(false),
        Codec::Av1 => payloads.next().and_then(av1).unwrap_or(false),
    }
}

/// IDR or not; `None` if the payload begins no slice (RFC 6184 §5.2, §5.7, §5.8).
fn h264(payload: &[u8]) -> Option<bool> {
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let slice = |header: u8| match header & 0x1f {
        5 => Some(true),
        1..=4 => Some(false),
        _ => None,
    };
    let (&header, rest) = payload.split_first()?;
    match header & 0x1f {
        STAP_A => aggregated(rest).find_map(|unit| slice(*unit.first()?)),
        FU_A => slice(*rest.first()?),
        _ => slice(header),
    }
}

/// IRAP or not; `None` if the payload begins no slice (RFC 7798 §4.4).
fn h265(payload: &[u8]) -> Option<bool> {
    const AGGREGATION: u8 = 48;
    const FRAGMENT: u8 = 49;
    let slice = |kind: u8| match kind {
        16..=23 => Some(true),
        0..=31 => Some(false),
        _ => None,
    };
    let kind = |header: u8| header >> 1 & 0x3f;
    match kind(*payload.first()?) {
        AGGREGATION => aggregated(payload.get(2..)?).find_map(|unit| slice(kind(*unit.first()?))),
        FRAGMENT => slice(payload.get(2)? & 0x3f),
        other => slice(other),
    }
}

/// The NAL units of an aggregation packet, each behind a 16-bit length.
fn aggregated(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (unit, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = tail;
        Some(unit)
    })
}

/// The inverse key frame flag behind the payload descriptor (RFC 7741 §4.2, §4.3).
fn vp8(payload: &[u8]) -> Option<bool> {
    let mut bytes = payload.iter().copied();
    let first = bytes.next()?;
    let starts_frame = first & 0x17 == 0x10; // S set, partition 0
    if first & 0x80 != 0 {
        let extended = bytes.next()?;
        if extended & 0x80 != 0 && bytes.next()? & 0x80 != 0 {
            bytes.next()?; // second byte of the picture id
        }
        if extended & 0x40 != 0 {
            bytes.next()?; // TL0PICIDX
        }
        if extended & 0x30 != 0 {
            bytes.next()?; // TID, KEYIDX
        }
    }
    Some(starts_frame && bytes.next()? & 1 == 0)
}

/// Not predicted from other pictures, and the beginning of a frame (RFC 9628 §4.2).
fn vp9(payload: &[u8]) -> Option<bool> {
    let first = *payload.first()?;
    Some(first & 0x40 == 0 && first & 0x08 != 0)
}

/// First packet of a coded video sequence (AV1 RTP §4.4, the N bit).
fn av1(payload: &[u8]) -> Option<bool> {
    Some(payload.first()? & 0x08 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(codec: Codec, payloads: &[&[u8]]) -> bool {
        starts_here(codec, payloads.iter().copied())
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
        assert!(check(
            Codec::H265,
            &[&[0x60, 1, 0, 2, 0x40, 1, 0, 2, 0x26, 1]]
        ));
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
    fn vp9_and_av1_say_it_in_the_first_byte() {
        assert!(check(Codec::Vp9, &[&[0x88, 0x80, 1]]));
        assert!(!check(Codec::Vp9, &[&[0xc8, 0x80, 1]]));
        assert!(check(Codec::Av1, &[&[0x18, 0], &[0x80]]));
        assert!(!check(Codec::Av1, &[&[0x10, 0]]));
    }
}
