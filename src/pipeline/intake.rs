//! What an appsink gets goes into a packetizer.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::{EncodedStream, Error, codec, packetizer};
use crate::media::{Codec, Frame, Kind};

/// Buffers that may wait in an appsink whose own limit is not set: what comes is taken at once.
const SINK_BUFFERS_MAX: u32 = 64;

/// What makes Opus of other sound.
const TRANSCODER_AUDIO: &str = "decodebin name=first ! audioconvert ! audioresample \
    ! audio/x-raw,rate=48000,channels=2 ! opusenc name=last frame-size=20";

/// What makes H.264 of other pictures. Old ones are left out if it does not keep up.
const TRANSCODER_VIDEO: &str = "decodebin name=first ! videoconvert ! video/x-raw,format=I420 \
    ! deinterlace ! queue leaky=downstream max-size-buffers=5 \
    ! x264enc tune=zerolatency speed-preset=superfast bitrate=2500 key-int-max=60 bframes=0 \
    ! capsfilter name=last caps=video/x-h264,profile=constrained-baseline";

/// Takes everything that an appsink gets. `deliver` is called with each frame on a streaming
/// thread; the encoded stream goes to `stream`. A packetizer is made when the first buffer shows
/// the codec. With `transcode`, what no browser receives is made Opus or H.264 first.
pub(crate) fn take(
    sink: &gst_app::AppSink,
    kind: Kind,
    (stream, transcode): (Option<EncodedStream>, bool),
    deliver: impl FnMut(Frame) + Send + 'static,
) {
    if sink.caps().is_none_or(|caps| caps.is_any()) {
        let mut caps = codec::accepted(kind);
        if transcode {
            caps.merge(codec::foreign(kind));
        }
        sink.set_caps(Some(&caps));
    }
    if sink.max_buffers() == 0 {
        sink.set_max_buffers(SINK_BUFFERS_MAX);
    }
    sink.set_enable_last_sample(false);
    let intake = Intake {
        kind,
        stream,
        transcode,
        deliver: Some(Box::new(deliver)),
        chain: None,
    };
    let intake = Arc::new(Mutex::new(intake));
    let ending = Arc::clone(&intake);
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let mut intake = intake.lock().map_err(|_| gst::FlowError::Error)?;
            intake.push(sink, &sample)
        })
        .eos(move |_| {
            if let Ok(mut intake) = ending.lock() {
                intake.end();
            }
        })
        .build();
    sink.set_callbacks(callbacks);
}

struct Intake {
    kind: Kind,
    stream: Option<EncodedStream>,
    transcode: bool,
    deliver: Option<Box<dyn FnMut(Frame) + Send>>,
    chain: Option<Chain>,
}

struct Chain {
    codec: Codec,
    /// It is made this codec first.
    foreign: bool,
    pad: gst::Pad,
    caps: gst::Caps,
    segment: gst::Segment,
    /// The end has passed: what follows is a new beginning.
    ended: bool,
}

impl Intake {
    fn push(
        &mut self,
        sink: &gst_app::AppSink,
        sample: &gst::Sample,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let (Some(caps), Some(segment), Some(buffer)) =
            (sample.caps(), sample.segment(), sample.buffer_owned())
        else {
            return Ok(gst::FlowSuccess::Ok);
        };
        let fail = |reason: String| {
            gst::element_error!(sink, gst::StreamError::WrongType, ["{}", reason]);
            gst::FlowError::NotNegotiated
        };
        let codec = codec::of_caps(caps).filter(|codec| codec.kind() == self.kind);
        let foreign =
            codec.is_none() && self.transcode && codec::foreign(self.kind).can_intersect(caps);
        let made = || foreign.then(|| codec::instead_of_foreign(self.kind));
        let Some(codec) = codec.or_else(made) else {
            return Err(fail(format!(
                "{caps} is not an encoding that Aerial carries"
            )));
        };
        match &mut self.chain {
            Some(chain) if chain.codec != codec || chain.foreign != foreign => {
                return Err(fail(format!("changed from {} to {codec}", chain.codec)));
            }
            Some(chain) => chain.follow(caps, segment),
            none => {
                let deliver = self.deliver.take();
                let deliver = deliver.ok_or_else(|| fail("no second packetizer".to_owned()))?;
                let codec = (codec, foreign);
                let chain = Chain::new(sink, (codec, self.stream.as_ref()), caps, segment, deliver);
                *none = Some(chain.map_err(|error| fail(error.to_string()))?);
            }
        }
        self.chain
            .as_ref()
            .map_or(Err(gst::FlowError::Error), |chain| chain.pad.push(buffer))
    }

    fn end(&mut self) {
        if let Some(chain) = &mut self.chain {
            chain.pad.push_event(gst::event::Eos::new());
            chain.ended = true;
        }
    }
}

impl Chain {
    /// Adds a packetizer to the appsink's pipeline. It is not linked to anything there: buffers
    /// are pushed into it through a pad of its own, on the thread that brought them.
    fn new(
        sink: &gst_app::AppSink,
        ((codec, foreign), stream): ((Codec, bool), Option<&EncodedStream>),
        caps: &gst::CapsRef,
        segment: &gst::Segment,
        deliver: Box<dyn FnMut(Frame) + Send>,
    ) -> Result<Self, Error> {
        let bin = packetizer::bin(codec, stream, deliver)?;
        // a ladder has several in one pipeline
        bin.set_property("name", format!("packetizer-{}", sink.name()));
        let failed = |error: glib::BoolError| Error::Failed(error.to_string());
        let gone = || Error::Failed("the pipeline is gone".to_owned());
        let parent = std::iter::successors(sink.parent(), gst::Object::parent)
            .find_map(|parent| parent.downcast::<gst::Pipeline>().ok());
        let parent = parent.ok_or_else(gone)?;
        parent.add(&bin).map_err(failed)?;
        bin.sync_state_with_parent().map_err(failed)?;
        let pad = gst::Pad::builder(gst::PadDirection::Src).build();
        pad.set_active(true).map_err(failed)?;
        let mut target = bin.static_pad("sink").ok_or_else(gone)?;
        if foreign {
            let from = caps.structure(0).map_or("?", |it| it.name().as_str());
            tracing::info!(sink = %sink.name(), from, to = %codec, "a source's media is transcoded");
            if let Some(stream) = stream {
                stream.set_origin(from);
            }
            let transcoder = transcoder(codec.kind())?;
            transcoder.set_property("name", format!("transcoder-{}", sink.name()));
            parent.add(&transcoder).map_err(failed)?;
            transcoder.link(&bin).map_err(failed)?;
            transcoder.sync_state_with_parent().map_err(failed)?;
            pass_requests(sink, &transcoder);
            target = transcoder.static_pad("sink").ok_or_else(gone)?;
        }
        pad.link(&target)
            .map_err(|error| Error::Failed(error.to_string()))?;
        pad.push_event(gst::event::StreamStart::new(&bin.name()));
        pad.push_event(gst::event::Caps::new(&caps.to_owned()));
        pad.push_event(gst::event::Segment::new(segment));
        Ok(Self {
            codec,
            foreign,
            pad,
            caps: caps.to_owned(),
            segment: segment.clone(),
            ended: false,
        })
    }

    /// Passes on new caps (another size, new parameter sets) and segments (a file that loops).
    fn follow(&mut self, caps: &gst::CapsRef, segment: &gst::Segment) {
        if std::mem::take(&mut self.ended) {
            self.pad.push_event(gst::event::FlushStart::new());
            self.pad.push_event(gst::event::FlushStop::new(true));
            self.pad
                .push_event(gst::event::StreamStart::new(&self.pad.name()));
            self.caps = caps.to_owned();
            self.segment = segment.clone();
            self.pad.push_event(gst::event::Caps::new(&self.caps));
            self.pad.push_event(gst::event::Segment::new(segment));
            return;
        }
        if self.caps.as_ref() != caps {
            self.caps = caps.to_owned();
            self.pad.push_event(gst::event::Caps::new(&self.caps));
        }
        if self.segment != *segment {
            self.segment = segment.clone();
            self.pad.push_event(gst::event::Segment::new(segment));
        }
    }
}

/// Has requests for keyframes reach the encoder: the appsink's own upstream has none.
fn pass_requests(sink: &gst_app::AppSink, transcoder: &gst::Bin) {
    let (Some(pad), Some(encoded)) = (sink.static_pad("sink"), transcoder.static_pad("src")) else {
        return;
    };
    let encoded = encoded.downgrade();
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        let request = info.event().filter(|event| {
            let structure = event.structure();
            structure.is_some_and(|it| it.name() == "GstForceKeyUnit")
        });
        if let (Some(event), Some(encoded)) = (request, encoded.upgrade()) {
            // False: it has not begun, and begins with a keyframe.
            encoded.send_event(event.clone());
        }
        gst::PadProbeReturn::Ok
    });
}

/// A bin with the pads `sink` and `src`.
fn transcoder(kind: Kind) -> Result<gst::Bin, Error> {
    let failed = |error: glib::BoolError| Error::Failed(error.to_string());
    let description = match kind {
        Kind::Audio => TRANSCODER_AUDIO,
        Kind::Video => TRANSCODER_VIDEO,
    };
    // Not ghosted by the parser, which would take the converter's pad: it is not linked yet.
    let bin = gst::parse::bin_from_description(description, false);
    let bin = bin.map_err(|error| Error::Failed(error.to_string()))?;
    for (element, name) in [("first", "sink"), ("last", "src")] {
        let target = bin.by_name(element).and_then(|it| it.static_pad(name));
        let target = target.ok_or_else(|| Error::Failed(format!("{element} has no pad")))?;
        let pad = gst::GhostPad::builder_with_target(&target).map_err(failed)?;
        bin.add_pad(&pad.name(name).build()).map_err(failed)?;
    }
    Ok(bin)
}
