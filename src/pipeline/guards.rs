//! Works around elements of GStreamer 1.22 that fail, or abort the whole process, on certain
//! pipeline files or publishers' media.

use std::sync::Mutex;

use gst::prelude::*;
use gstreamer as gst;

use super::{elements, frame_rate};

/// Assumed length of a frame without a duration if there is no previous frame to judge by.
const FRAME: gst::ClockTime = gst::ClockTime::from_mseconds(33);
/// A longer pause between two frames says nothing about how long a frame lasts.
const FRAME_MAX: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// Encoders that need to know a frame rate.
const ENCODERS: [&str; 2] = ["x264enc", "x265enc"];

/// Prepares a pipeline, or a part of one, that does not run yet.
pub(super) fn set_up(bin: &gst::Bin) {
    bound_quantizers(bin);
    for videorate in elements::of_factory(bin, "videorate") {
        if let Some(pad) = videorate.static_pad("sink") {
            give_durations(&pad);
        }
        frame_rate::for_videorate(&videorate);
    }
    for factory in ENCODERS {
        for encoder in elements::of_factory(bin, factory) {
            if let Some(pad) = encoder.static_pad("sink") {
                frame_rate::for_encoder(&pad);
            }
        }
    }
}

/// By default, `av1enc` allows no quantizer but zero. With a constant bit rate libaom then aborts
/// the process. 63 is libaom's own default.
fn bound_quantizers(bin: &gst::Bin) {
    for encoder in elements::of_factory(bin, "av1enc") {
        if encoder.property::<u32>("max-quantizer") == 0 {
            encoder.set_property("max-quantizer", 63_u32);
        }
    }
}

/// `videorate` asserts that every frame has a duration if the frame rate varies. VP8 and VP9 from
/// RTP have none: a frame is given the length of the previous one.
fn give_durations(pad: &gst::Pad) {
    let durations = Mutex::new(Durations::default());
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let Some(buffer) = info.buffer_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        // Never contended: a pad has one streaming thread. Never poisoned: nothing in it panics.
        if let Ok(mut durations) = durations.lock() {
            let duration = durations.of(buffer.pts(), buffer.duration());
            if buffer.duration() != Some(duration) {
                buffer.make_mut().set_duration(duration);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// How long the frames of a stream last.
#[derive(Debug, Default)]
struct Durations {
    pts: Option<gst::ClockTime>,
    last: Option<gst::ClockTime>,
}

impl Durations {
    /// The length of a frame that is due at `pts` and itself claims this `duration`.
    fn of(
        &mut self,
        pts: Option<gst::ClockTime>,
        duration: Option<gst::ClockTime>,
    ) -> gst::ClockTime {
        let before = std::mem::replace(&mut self.pts, pts);
        let apart = pts
            .zip(before)
            .and_then(|(pts, before)| pts.checked_sub(before));
        if let Some(apart) = apart
            && (gst::ClockTime::from_nseconds(1)..=FRAME_MAX).contains(&apart)
        {
            self.last = Some(apart);
        }
        match duration {
            Some(duration) if !duration.is_zero() => duration,
            _ => self.last.unwrap_or(FRAME),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::launch;

    #[test]
    fn no_av1_encoder_aborts_the_process() {
        crate::pipeline::init().unwrap();
        let text = "videotestsrc ! tee name=t ! av1enc name=a end-usage=cbr ! appsink \
                    t. ! av1enc name=b max-quantizer=40 ! appsink";
        let pipeline = launch::parse("test", text).unwrap();
        let quantizer = |name| pipeline.by_name(name).unwrap().property("max-quantizer");
        let (unset, set): (u32, u32) = (quantizer("a"), quantizer("b"));
        assert_eq!((unset, set), (63, 40));
    }

    #[test]
    fn a_frame_lasts_as_long_as_the_one_before_unless_it_says_so() {
        let ms = gst::ClockTime::from_mseconds;
        let mut durations = Durations::default();
        assert_eq!(durations.of(Some(ms(100)), None), FRAME);
        assert_eq!(durations.of(Some(ms(140)), None), ms(40));
        assert_eq!(
            durations.of(Some(ms(140)), Some(ms(0))),
            ms(40),
            "no time has passed"
        );
        assert_eq!(durations.of(Some(ms(9000)), None), ms(40), "a pause");
        assert_eq!(durations.of(Some(ms(9020)), Some(ms(50))), ms(50));
        assert_eq!(durations.of(Some(ms(10)), None), ms(20), "a step back");
        assert_eq!(durations.of(None, None), ms(20));
    }
}
