//! Whether a decoder must reorder pictures: B-frames, judged by the bits.
//!
//! Times would show it too, but those of a publisher's first frames are corrected as its clock
//! becomes known, and jump back then.

use std::time::Duration;

use super::{
    Codec,
    bits::Bits,
    format,
    nal::{Payload, UnitKind},
};

/// Whether the frame in these RTP payloads, in sending order, says that frames arrive in another
/// order than they are shown in. H.264: its first slice is a B slice (§7.3.3). H.265, where B slices
/// are used without that: the video parameter set says so (§7.3.2.1), which precedes every keyframe.
pub fn in_payloads<'a>(codec: Codec, payloads: impl Iterator<Item = &'a [u8]>) -> bool {
    let read = match codec {
        Codec::H264 => h264,
        Codec::H265 => h265,
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus => return false,
    };
    for payload in payloads {
        match Payload::read(codec, payload) {
            Payload::Fragment(fragment) => {
                return codec == Codec::H264
                    && fragment.kind == UnitKind::Slice
                    && h264_slice(fragment.body) == Some(true);
            }
            Payload::Units(units) => {
                let mut units = units.filter_map(|range| payload.get(range));
                if let Some(reordered) = units.find_map(read) {
                    return reordered;
                }
            }
        }
    }
    false
}

/// `None` if the unit is not a slice.
fn h264(unit: &[u8]) -> Option<bool> {
    match UnitKind::of(Codec::H264, unit) {
        UnitKind::Slice => h264_slice(unit.get(1..)?),
        UnitKind::StartingSlice => Some(false),
        _ => None,
    }
}

/// Whether a slice is a B slice, from the bytes after its header.
fn h264_slice(slice: &[u8]) -> Option<bool> {
    const B_SLICE: u32 = 1;
    let mut bits = Bits::of_unit(slice);
    bits.exp_golomb()?; // first_mb_in_slice
    Some(bits.exp_golomb()? % 5 == B_SLICE)
}

/// `None` if the unit is not a video parameter set.
fn h265(unit: &[u8]) -> Option<bool> {
    if UnitKind::of(Codec::H265, unit) != UnitKind::VideoParameters {
        return None;
    }
    let mut bits = Bits::of_unit(unit.get(2..)?);
    bits.skip(12)?; // id, two flags, layers
    let sub_layers = bits.take(3)?;
    bits.skip(1 + 16)?; // nesting, reserved
    format::h265::tier(&mut bits, sub_layers)?;
    Some(format::h265::reordered_max(&mut bits, sub_layers)? > 0)
}

/// Most pictures that may arrive before one that is shown earlier (H.264 §A.3.1, H.265 §A.4.1).
const REORDERED_MAX: u32 = 16;
/// How far apart decoding times are where there is nothing to take them from.
const STEP: Duration = Duration::from_millis(1);
/// Muxers expect every decoding time to be later than the one before.
const LEAST_STEP: Duration = Duration::from_nanos(1);

/// Computes when to decode the frames of a stream from when to show them.
#[derive(Debug, Default)]
pub struct DecodingTimes {
    /// How many frames may arrive before one that is shown earlier.
    reordered_max: usize,
    /// The latest times so far at which frames are shown, the earliest first; one more than frames
    /// are reordered.
    shown: Vec<Duration>,
    last: Option<Duration>,
}

impl DecodingTimes {
    /// The next frame does not continue the stream.
    pub fn interrupt(&mut self) {
        self.shown.clear();
    }

    /// When to decode a frame that is shown at `pts`. `reordered_max`: how far frames are reordered
    /// from here on, if it says so.
    ///
    /// If `n` frames are reordered, at most `n` of those before a frame are shown after it. So the
    /// `n+1`-th latest time at which any is shown is never later than its own, and never steps back.
    pub fn next(&mut self, pts: Duration, reordered_max: Option<u32>) -> Duration {
        if let Some(frames) = reordered_max {
            self.reordered_max = usize::try_from(frames.min(REORDERED_MAX)).unwrap_or_default();
        }
        let place = self.shown.partition_point(|shown| *shown <= pts);
        self.shown.insert(place, pts);
        let wanted = self.reordered_max + 1;
        let surplus = self.shown.len().saturating_sub(wanted);
        self.shown.drain(..surplus);
        let missing = u32::try_from(wanted - self.shown.len()).unwrap_or_default();
        let earliest = self.shown.first().copied().unwrap_or(pts);
        let due = earliest.saturating_sub(STEP * missing);
        let time = self.last.map_or(due, |last| due.max(last + LEAST_STEP));
        self.last = Some(time);
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_times_increase_and_are_never_later_than_the_picture() {
        let mut times = DecodingTimes::default();
        let mut decoded = |pts: u64, reordered_max| {
            times
                .next(Duration::from_millis(pts), reordered_max)
                .as_millis()
        };
        // I P B B P B B, two of which arrive early
        let shown = [100, 220, 140, 180, 340, 260, 300];
        let found: Vec<_> = (0..)
            .zip(shown)
            .map(|(index, pts)| decoded(pts, (index == 0).then_some(2)))
            .collect();
        assert_eq!(found, [98, 99, 100, 140, 180, 220, 260]);
        let mut plain = DecodingTimes::default();
        let times = [100, 140, 130, 180].map(|pts| plain.next(Duration::from_millis(pts), None));
        assert_eq!(
            times.map(|time| time.as_nanos()),
            [100_000_000, 140_000_000, 140_000_001, 180_000_000]
        );
        plain.next(Duration::from_millis(200), Some(1));
        plain.interrupt();
        let after = plain.next(Duration::from_secs(9), None);
        assert_eq!(after, Duration::from_millis(8999), "not before the gap");
    }

    #[test]
    fn slice_types_of_h264() {
        let reordered = |payloads: &[&[u8]]| in_payloads(Codec::H264, payloads.iter().copied());
        // first_mb 0: 1; slice_type 5 (P): 00110, 6 (B): 00111, 1 (B): 010
        assert!(!reordered(&[&[0x67, 1], &[0x41, 0b1001_1000, 0]]));
        assert!(reordered(&[&[0x09, 0], &[0x01, 0b1001_1100, 0]]));
        assert!(reordered(&[&[0x01, 0b1010_0000, 0]]));
        assert!(!reordered(&[&[0x65, 0b1010_0000, 0]]), "a keyframe");
        assert!(!reordered(&[&[0x01], &[]]));
        assert!(reordered(&[&[0x1c, 0x81, 0b1010_0000, 0]]), "in parts");
        assert!(!reordered(&[&[0x1c, 0x85, 0b1010_0000, 0]]));
    }
}
