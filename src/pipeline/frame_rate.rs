//! Frame rates for pictures that state none, as most that arrive over RTP do.
//!
//! `x264enc` (GStreamer 1.22) then holds every picture back until the next one comes, to learn how
//! long it lasts, whatever `tune` says. `x265enc` refuses such pictures. `videorate drop-only=true`
//! makes no fixed rate of them. They are given a rate on the way in. It only guides the rate control
//! of encoders: times stay as they are.

use std::sync::Mutex;

use gst::prelude::*;
use gstreamer as gst;

/// The assumed rate at first, in pictures per second.
const ASSUMED: u64 = 30;
/// The highest assumed rate.
const ASSUMED_MAX: u64 = 240;
/// After this many pictures an assumed rate is judged.
const JUDGED: u64 = 60;
/// Pictures that come at more than this share (percent) of the assumed rate show that it is too low.
/// One that is too high makes an encoder use fewer bits than it may, and stays.
const TOO_LOW: u64 = 125;

/// Gives a rate to what passes the sink pad of an encoder. It rises with what comes, so that the
/// encoder keeps to its bit rate.
pub(super) fn for_encoder(pad: &gst::Pad) {
    let rate = Mutex::new(AssumedRate::new());
    let kinds = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER;
    pad.add_probe(kinds, move |pad, info| {
        // Contended by the event that is sent below and comes through here, and nothing else: a pad
        // has one streaming thread. Never poisoned: nothing in it panics.
        let Ok(mut rate) = rate.try_lock() else {
            return gst::PadProbeReturn::Ok;
        };
        match &mut info.data {
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Caps(caps) = event.view()
                    && let Some(caps) = rate.caps(caps.caps())
                {
                    *event = gst::event::Caps::new(&caps);
                }
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                if let Some(caps) = buffer.pts().and_then(|pts| rate.picture(pts)) {
                    tracing::debug!(rate = rate.rate, "pictures come faster than assumed");
                    pad.send_event(gst::event::Caps::new(&caps));
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// Gives a rate to pictures of which `videorate` must make a fixed one.
pub(super) fn for_videorate(videorate: &gst::Element) {
    let (Some(sink), Some(source)) = (videorate.static_pad("sink"), videorate.static_pad("src"))
    else {
        return;
    };
    let source = source.downgrade();
    sink.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &mut info.data
            && let gst::EventView::Caps(caps) = event.view()
            && !has_rate(caps.caps())
            && let Some(source) = source.upgrade()
            && !source.peer_query_caps(None).can_intersect(&varying())
        {
            *event = gst::event::Caps::new(&with_rate(caps.caps(), ASSUMED));
        }
        gst::PadProbeReturn::Ok
    });
}

/// Raw pictures without a fixed rate.
fn varying() -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .any_features()
        .field("framerate", gst::Fraction::new(0, 1))
        .build()
}

fn has_rate(caps: &gst::CapsRef) -> bool {
    let structure = caps.structure(0);
    let rate = structure.map(|structure| structure.get::<gst::Fraction>("framerate"));
    rate.is_some_and(|rate| rate.is_ok_and(|rate| rate.numer() > 0))
}

fn with_rate(caps: &gst::CapsRef, rate: u64) -> gst::Caps {
    let mut caps = caps.to_owned();
    let rate = i32::try_from(rate).unwrap_or(i32::MAX);
    caps.make_mut()
        .set("framerate", gst::Fraction::new(rate, 1));
    caps
}

/// The rate of pictures that state none.
#[derive(Debug)]
struct AssumedRate {
    /// In pictures per second.
    rate: u64,
    /// What the pictures state; `None` if that includes a rate.
    stated: Option<gst::Caps>,
    /// When the first of the counted pictures was due.
    since: Option<gst::ClockTime>,
    /// Pictures that have followed it.
    pictures: u64,
}

impl AssumedRate {
    const fn new() -> Self {
        Self {
            rate: ASSUMED,
            stated: None,
            since: None,
            pictures: 0,
        }
    }

    /// Takes the caps of what follows; returns those to replace them.
    fn caps(&mut self, caps: &gst::CapsRef) -> Option<gst::Caps> {
        self.since = None;
        self.stated = (!has_rate(caps)).then(|| caps.to_owned());
        self.replacement()
    }

    /// Takes a picture; returns new caps if pictures come faster than assumed.
    fn picture(&mut self, pts: gst::ClockTime) -> Option<gst::Caps> {
        self.stated.as_ref()?;
        let Some(since) = self.since else {
            (self.since, self.pictures) = (Some(pts), 0);
            return None;
        };
        self.pictures += 1;
        if self.pictures < JUDGED {
            return None;
        }
        self.since = None;
        let span = pts.checked_sub(since)?.nseconds();
        let second = gst::ClockTime::SECOND.nseconds();
        // Rounded.
        let measured = (self.pictures * second + span / 2).checked_div(span)?;
        if measured * 100 <= self.rate * TOO_LOW || self.rate == ASSUMED_MAX {
            return None;
        }
        self.rate = measured.min(ASSUMED_MAX);
        self.replacement()
    }

    fn replacement(&self) -> Option<gst::Caps> {
        Some(with_rate(self.stated.as_ref()?, self.rate))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    };

    use super::*;
    use crate::pipeline::launch;

    /// Pixels of a side.
    const SIZE: u16 = 64;

    fn caps() -> gst::Caps {
        gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", i32::from(SIZE))
            .field("height", i32::from(SIZE))
            .field("framerate", gst::Fraction::new(0, 1))
            .build()
    }

    /// The rates that an encoder is told of pictures at these times.
    fn told(pts: impl Iterator<Item = gst::ClockTime>) -> Vec<i32> {
        let mut rate = AssumedRate::new();
        let first = rate.caps(&caps());
        let later: Vec<_> = pts.filter_map(|pts| rate.picture(pts)).collect();
        let numer = |caps: gst::Caps| {
            caps.structure(0)
                .unwrap()
                .get::<gst::Fraction>("framerate")
                .unwrap()
                .numer()
        };
        first.into_iter().chain(later).map(numer).collect()
    }

    fn at(rate: u64) -> impl Iterator<Item = gst::ClockTime> {
        (0..1000).map(move |number| gst::ClockTime::SECOND * number / rate)
    }

    #[test]
    fn an_assumed_rate_rises_once_and_never_falls() {
        gst::init().unwrap();
        assert_eq!(told(at(30)), [30]);
        assert_eq!(told(at(35)), [30]);
        assert_eq!(told(at(60)), [30, 60]);
        assert_eq!(told(at(2)), [30]);
        assert_eq!(told(at(60).chain(at(15))), [30, 60]);
        assert_eq!(told(at(9000)), [30, 240]);
        let same = std::iter::repeat_n(gst::ClockTime::SECOND, 1000);
        assert_eq!(told(same), [30], "no time passes");
        let mut rate = AssumedRate::new();
        assert_eq!(rate.caps(&with_rate(&caps(), 25)), None, "it is stated");
    }

    fn sink_pad(pipeline: &gst::Pipeline, element: &str) -> gst::Pad {
        pipeline
            .by_name(element)
            .unwrap()
            .static_pad("sink")
            .unwrap()
    }

    /// A pad that feeds the first element of a pipeline, which runs from now on.
    fn source(pipeline: &gst::Pipeline) -> gst::Pad {
        let source = gst::Pad::builder(gst::PadDirection::Src).build();
        source.set_active(true).unwrap();
        source.link(&sink_pad(pipeline, "first")).unwrap();
        play(pipeline, gst::State::Playing);
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        source.push_event(gst::event::StreamStart::new("pictures"));
        source.push_event(gst::event::Caps::new(&caps()));
        source.push_event(gst::event::Segment::new(&segment));
        source
    }

    fn picture(pts: gst::ClockTime) -> gst::Buffer {
        let side = usize::from(SIZE);
        let mut picture = gst::Buffer::from_slice(vec![128; side * side * 3 / 2]);
        picture.get_mut().unwrap().set_pts(pts);
        picture
    }

    #[expect(clippy::disallowed_methods, reason = "a test has its own thread")]
    fn play(pipeline: &gst::Pipeline, state: gst::State) {
        pipeline.set_state(state).unwrap();
    }

    #[test]
    fn x264_waits_for_no_other_picture_and_learns_how_many_come() {
        crate::pipeline::init().unwrap();
        let text = "identity name=first ! x264enc tune=zerolatency speed-preset=ultrafast
            ! fakesink name=last async=false";
        let pipeline = launch::parse("test", text).unwrap();
        let last = sink_pad(&pipeline, "last");
        let made = Arc::<AtomicU64>::default();
        let counter = Arc::clone(&made);
        last.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            counter.fetch_add(1, Relaxed);
            gst::PadProbeReturn::Ok
        });
        let source = source(&pipeline);
        let made: Vec<u64> = at(60)
            .take(100)
            .map(|pts| {
                source.push(picture(pts)).unwrap();
                made.load(Relaxed)
            })
            .collect();
        let caps = last.current_caps().unwrap();
        play(&pipeline, gst::State::Null);
        assert_eq!(made, (1..=100).collect::<Vec<_>>());
        let rate = caps.structure(0).unwrap().get::<gst::Fraction>("framerate");
        assert_eq!(rate, Ok(gst::Fraction::new(60, 1)));
    }

    #[test]
    fn one_picture_in_ten_seconds_is_made_of_any() {
        crate::pipeline::init().unwrap();
        let text = "identity name=first ! videorate drop-only=true
            ! video/x-raw,framerate=1/10 ! fakesink name=last async=false";
        let pipeline = launch::parse("test", text).unwrap();
        let source = source(&pipeline);
        let pushed = source.push(picture(gst::ClockTime::ZERO));
        assert_eq!(pushed, Ok(gst::FlowSuccess::Ok));
        play(&pipeline, gst::State::Null);
    }
}
