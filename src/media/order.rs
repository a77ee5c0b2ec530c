//! Whether a decoder must put pictures back in order: B-frames, told by the bits.
//!
//! Times would tell, too, but those of a publisher's first frames are corrected as its clock
//! becomes known, and jump back then.

use super::Codec;

/// Whether these NAL units, of one frame, say that frames come in another order than they are
/// shown in. H.264: the first slice is a B slice (§7.3.3). H.265, where B slices are used without
/// that: the video parameter set says so (§7.3.2.1), which stands in front of every keyframe.
pub fn is_reordered<'a>(codec: Codec, mut units: impl Iterator<Item = &'a [u8]>) -> bool {
    match codec {
        Codec::H264 => units.find_map(h264).unwrap_or(false),
        Codec::H265 => units.find_map(h265).unwrap_or(false),
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 | Codec::Opus => false,
    }
}

/// `None` if the unit is no slice.
fn h264(unit: &[u8]) -> Option<bool> {
    let (header, rest) = unit.split_first()?;
    let mut bits = Bits::new(rest);
    match header & 0x1f {
        1 => {
            bits.exp_golomb()?; // first_mb_in_slice
            Some(bits.exp_golomb()? % 5 == 1)
        }
        5 => Some(false),
        _ => None,
    }
}

/// `None` if the unit is no video parameter set.
fn h265(unit: &[u8]) -> Option<bool> {
    const VPS: u8 = 32;
    let (&[header, _], rest) = unit.split_first_chunk()?;
    if header >> 1 & 0x3f != VPS {
        return None;
    }
    let mut bits = Bits::new(rest);
    bits.skip(12)?; // id, two flags, layers
    let sub_layers = bits.take(3)?;
    bits.skip(1 + 16 + 88 + 8)?; // nesting, reserved, profile, level
    if sub_layers > 0 {
        let mut present = Vec::new();
        for _ in 0..8 {
            let (profile, level) = (bits.take(1)?, bits.take(1)?);
            present.push(profile * 88 + level * 8);
        }
        for length in present.into_iter().take(usize::try_from(sub_layers).ok()?) {
            bits.skip(length)?;
        }
    }
    let each = bits.take(1)? == 1;
    // What counts is the highest layer: it comes last.
    let mut reordered = 0;
    for _ in 0..=if each { sub_layers } else { 0 } {
        bits.exp_golomb()?; // buffered pictures
        reordered = bits.exp_golomb()?;
        bits.exp_golomb()?; // latency
    }
    Some(reordered > 0)
}

/// The bits of a NAL unit behind its header, without the bytes that keep start codes out of it
/// (H.264 §7.4.1).
struct Bits<'a> {
    bytes: &'a [u8],
    /// Zero bytes in front of the present one.
    zeros: u32,
    bit: u32,
}

impl<'a> Bits<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            zeros: 0,
            bit: 0,
        }
    }

    fn one(&mut self) -> Option<u32> {
        if self.bit == 0 && self.zeros >= 2 && *self.bytes.first()? == 3 {
            self.bytes = self.bytes.get(1..)?;
            self.zeros = 0;
        }
        let byte = *self.bytes.first()?;
        let value = u32::from(byte) >> (7 - self.bit) & 1;
        self.bit += 1;
        if self.bit == 8 {
            self.bit = 0;
            self.zeros = if byte == 0 { self.zeros + 1 } else { 0 };
            self.bytes = self.bytes.get(1..)?;
        }
        Some(value)
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | self.one()?))
    }

    fn skip(&mut self, count: u32) -> Option<()> {
        (0..count).try_for_each(|_| self.one().map(drop))
    }

    /// An unsigned Exp-Golomb code (H.264 §9.1).
    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.one()? == 0 {
            zeros += 1;
            if zeros > 24 {
                return None; // nothing that is read here is so large
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }
}

#[cfg(test)]
mod tests {
    use gst::prelude::*;
    use gstreamer as gst;

    use super::*;

    #[test]
    fn slice_types_of_h264() {
        let reordered = |units: &[&[u8]]| is_reordered(Codec::H264, units.iter().copied());
        // first_mb 0: 1; slice_type 5 (P): 00110, 6 (B): 00111, 1 (B): 010
        assert!(!reordered(&[&[0x67, 1], &[0x41, 0b1001_1000, 0]]));
        assert!(reordered(&[&[0x09, 0], &[0x01, 0b1001_1100, 0]]));
        assert!(reordered(&[&[0x01, 0b1010_0000, 0]]));
        assert!(!reordered(&[&[0x65, 0b1010_0000, 0]]), "a keyframe");
        assert!(!reordered(&[&[0x01], &[]]));
    }

    #[test]
    fn zeros_are_kept_apart() {
        let mut bits = Bits::new(&[0, 0, 3, 1, 0x80]);
        assert_eq!(bits.take(24), Some(1));
        assert_eq!(bits.one(), Some(1));
    }

    /// What an encoder makes of ten moving pictures.
    fn encoded(encoder: &str) -> Vec<Vec<u8>> {
        gst::init().unwrap();
        let text = format!(
            "videotestsrc num-buffers=10 pattern=ball ! video/x-raw,width=160,height=120 \
             ! {encoder} ! appsink name=sink sync=false"
        );
        let pipeline = crate::pipeline::launch::parse("test", &text).unwrap();
        let sink = pipeline.by_name("sink").unwrap();
        let sink = sink.downcast::<gstreamer_app::AppSink>().unwrap();
        play(&pipeline, gst::State::Playing);
        let samples = std::iter::from_fn(|| sink.pull_sample().ok());
        let frames = samples
            .map(|sample| sample.buffer().unwrap().map_readable().unwrap().to_vec())
            .collect();
        play(&pipeline, gst::State::Null);
        frames
    }

    #[expect(clippy::disallowed_methods, reason = "a test has its own thread")]
    fn play(pipeline: &gst::Pipeline, state: gst::State) {
        pipeline.set_state(state).unwrap();
    }

    fn units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
        let starts = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&[0, 0, 1]));
        starts.map(|at| &bytes[at + 3..])
    }

    #[test]
    fn what_encoders_make() {
        for (encoder, codec, expected) in [
            ("x264enc bframes=2 b-adapt=false", Codec::H264, true),
            ("x264enc tune=zerolatency", Codec::H264, false),
            ("x264enc bframes=0", Codec::H264, false),
            ("x265enc option-string=bframes=2", Codec::H265, true),
            ("x265enc tune=zerolatency", Codec::H265, false),
        ] {
            let format = if codec == Codec::H264 { "h264" } else { "h265" };
            let caps = format!("video/x-{format},stream-format=byte-stream,alignment=au");
            let frames = encoded(&format!("{encoder} ! {format}parse ! {caps}"));
            let found = frames.iter().any(|it| is_reordered(codec, units(it)));
            assert_eq!(found, expected, "{encoder}");
        }
    }
}
