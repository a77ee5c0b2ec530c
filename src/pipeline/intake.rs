//! Passes what an appsink receives into a packetizer.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::{Error, codec, guards, keyframe_request, packetizer};
use crate::media::{Codec, Frame, Kind};

/// Buffers that may wait in an appsink that sets no limit itself: they are taken at once.
const SINK_BUFFERS_MAX: u32 = 64;

/// Transcodes other audio to Opus.
const TRANSCODER_AUDIO: &str = "decodebin name=first ! audioconvert ! audioresample \
    ! audio/x-raw,rate=48000,channels=2 ! opusenc name=last frame-size=20";

/// Transcodes other video to H.264. Drops old pictures if it cannot keep up.
const TRANSCODER_VIDEO: &str = "decodebin name=first ! videoconvert ! deinterlace ! videoscale \
    ! video/x-raw,format=I420,width=[2,8192,2],height=[2,8192,2],pixel-aspect-ratio=1/1 \
    ! queue leaky=downstream max-size-buffers=5 \
    ! x264enc tune=zerolatency speed-preset=superfast bitrate=2500 key-int-max=60 bframes=0 \
    ! capsfilter name=last caps=video/x-h264,profile=constrained-baseline";

/// Gets the media type that is transcoded.
type TranscodingBegins = Box<dyn Fn(&str) + Send>;

/// Takes everything that an appsink receives. `deliver` is called with each frame on a streaming
/// thread. The packetizer is created when the first buffer shows the codec. With `transcode`, media
/// that no browser plays is first transcoded to Opus or H.264.
pub(crate) fn take(
    sink: &gst_app::AppSink,
    kind: Kind,
    transcode: Option<TranscodingBegins>,
    deliver: impl FnMut(Frame) + Send + 'static,
) {
    if sink.caps().is_none_or(|caps| caps.is_any()) {
        let mut caps = codec::accepted(kind);
        if transcode.is_some() {
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

/// An appsink's media, and where it goes.
struct Intake {
    kind: Kind,
    transcode: Option<TranscodingBegins>,
    /// `None` once the chain is created.
    deliver: Option<Box<dyn FnMut(Frame) + Send>>,
    chain: Option<Chain>,
}

/// What happens to an appsink's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Encoding {
    /// The codec that viewers receive.
    codec: Codec,
    /// Whether the media is transcoded to it first.
    transcoded: bool,
}

/// How to interpret buffers.
#[derive(Clone, Debug)]
struct Format {
    caps: gst::Caps,
    segment: gst::Segment,
}

impl Format {
    fn media_type(&self) -> &str {
        let name = self.caps.structure(0).map(gst::StructureRef::name);
        name.map_or("?", |name| name.as_str())
    }
}

/// A packetizer, with a transcoder before it if need be.
struct Chain {
    encoding: Encoding,
    pad: gst::Pad,
    format: Format,
    /// The end has passed: whatever follows is a new beginning.
    ended: bool,
}

impl Intake {
    fn push(
        &mut self,
        sink: &gst_app::AppSink,
        sample: &gst::Sample,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let (Some(caps), Some(segment), Some(buffer)) =
            (sample.caps_owned(), sample.segment(), sample.buffer_owned())
        else {
            return Ok(gst::FlowSuccess::Ok);
        };
        let fail = |reason: String| {
            gst::element_error!(sink, gst::StreamError::WrongType, ["{}", reason]);
            gst::FlowError::NotNegotiated
        };
        let Some(encoding) = self.encoding(&caps) else {
            return Err(fail(format!(
                "{caps} is not an encoding that Aerial carries"
            )));
        };
        let segment = segment.clone();
        let format = Format { caps, segment };
        match &mut self.chain {
            Some(chain) if chain.encoding != encoding => {
                let (before, now) = (chain.encoding.codec, encoding.codec);
                return Err(fail(format!("changed from {before} to {now}")));
            }
            Some(chain) => chain.follow(format),
            none => {
                let deliver = self.deliver.take();
                let deliver = deliver.ok_or_else(|| fail("no second packetizer".to_owned()))?;
                if encoding.transcoded
                    && let Some(begins) = &self.transcode
                {
                    begins(format.media_type());
                }
                let chain = Chain::new(sink, encoding, format, deliver);
                *none = Some(chain.map_err(|error| fail(error.to_string()))?);
            }
        }
        self.chain
            .as_ref()
            .map_or(Err(gst::FlowError::Error), |chain| chain.pad.push(buffer))
    }

    fn encoding(&self, caps: &gst::Caps) -> Option<Encoding> {
        match codec::of_caps(caps) {
            Some(codec) => (codec.kind() == self.kind).then_some(Encoding {
                codec,
                transcoded: false,
            }),
            None => (self.transcode.is_some() && codec::foreign(self.kind).can_intersect(caps))
                .then(|| Encoding {
                    codec: codec::instead_of_foreign(self.kind),
                    transcoded: true,
                }),
        }
    }

    fn end(&mut self) {
        if let Some(chain) = &mut self.chain {
            chain.pad.push_event(gst::event::Eos::new());
            chain.ended = true;
        }
    }
}

impl Chain {
    /// Adds a packetizer to the appsink's pipeline. It is not linked to anything there: buffers are
    /// pushed into it through a pad of its own, on the thread that brought them.
    fn new(
        sink: &gst_app::AppSink,
        encoding: Encoding,
        format: Format,
        deliver: Box<dyn FnMut(Frame) + Send>,
    ) -> Result<Self, Error> {
        let codec = encoding.codec;
        let packetizer = packetizer::bin(codec, deliver)?;
        // one pipeline may have several
        packetizer.set_property("name", format!("packetizer-{}", sink.name()));
        let failed = |error: glib::BoolError| Error::Failed(error.to_string());
        let gone = || Error::Failed("the pipeline is gone".to_owned());
        let parent = std::iter::successors(sink.parent(), gst::Object::parent)
            .find_map(|parent| parent.downcast::<gst::Pipeline>().ok());
        let parent = parent.ok_or_else(gone)?;
        parent.add(&packetizer).map_err(failed)?;
        packetizer.sync_state_with_parent().map_err(failed)?;
        let mut first = packetizer.clone();
        if encoding.transcoded {
            let from = format.media_type();
            tracing::info!(sink = %sink.name(), from, to = %codec, "transcoding a source's media");
            let transcoder = transcoder(codec.kind())?;
            transcoder.set_property("name", format!("transcoder-{}", sink.name()));
            parent.add(&transcoder).map_err(failed)?;
            transcoder.link(&packetizer).map_err(failed)?;
            transcoder.sync_state_with_parent().map_err(failed)?;
            pass_requests(sink, &transcoder);
            first = transcoder;
        }
        let pad = gst::Pad::builder(gst::PadDirection::Src).build();
        pad.set_active(true).map_err(failed)?;
        pad.link(&first.static_pad("sink").ok_or_else(gone)?)
            .map_err(|error| Error::Failed(error.to_string()))?;
        let chain = Self {
            encoding,
            pad,
            format,
            ended: false,
        };
        chain.begin();
        Ok(chain)
    }

    fn begin(&self) {
        let Format { caps, segment } = &self.format;
        self.pad
            .push_event(gst::event::StreamStart::new(&self.pad.name()));
        self.pad.push_event(gst::event::Caps::new(caps));
        self.pad.push_event(gst::event::Segment::new(segment));
    }

    /// Passes on new caps (another size, new parameter sets) and segments (a file that loops).
    fn follow(&mut self, format: Format) {
        let before = std::mem::replace(&mut self.format, format);
        if std::mem::take(&mut self.ended) {
            self.pad.push_event(gst::event::FlushStart::new());
            self.pad.push_event(gst::event::FlushStop::new(true));
            self.begin();
            return;
        }
        let Format { caps, segment } = &self.format;
        if before.caps != *caps {
            self.pad.push_event(gst::event::Caps::new(caps));
        }
        if before.segment != *segment {
            self.pad.push_event(gst::event::Segment::new(segment));
        }
    }
}

/// Forwards keyframe requests to the encoder, which is not upstream of the appsink.
fn pass_requests(sink: &gst_app::AppSink, transcoder: &gst::Bin) {
    let (Some(pad), Some(encoded)) = (sink.static_pad("sink"), transcoder.static_pad("src")) else {
        return;
    };
    let encoded = encoded.downgrade();
    keyframe_request::watch(&pad, move |event| {
        if let Some(encoded) = encoded.upgrade() {
            // False: it has not started, and will start with a keyframe.
            encoded.send_event(event.clone());
        }
    });
}

/// A bin with the pads `sink` and `src`.
fn transcoder(kind: Kind) -> Result<gst::Bin, Error> {
    let failed = |error: glib::BoolError| Error::Failed(error.to_string());
    let description = match kind {
        Kind::Audio => TRANSCODER_AUDIO,
        Kind::Video => TRANSCODER_VIDEO,
    };
    // Not ghosted by the parser: it would pick the converter's pad, which is not linked yet.
    let bin = gst::parse::bin_from_description(description, false);
    let bin = bin.map_err(|error| Error::Failed(error.to_string()))?;
    // decodebin comes up once its decoder has made a picture, for which some need the next one. Until
    // then the pipeline would wait with its appsinks paused, and the next picture would never come.
    bin.set_property("async-handling", true);
    guards::set_up(&bin);
    for (element, name) in [("first", "sink"), ("last", "src")] {
        let target = bin
            .by_name(element)
            .and_then(|element| element.static_pad(name));
        let target = target.ok_or_else(|| Error::Failed(format!("{element} has no pad")))?;
        let pad = gst::GhostPad::builder_with_target(&target).map_err(failed)?;
        bin.add_pad(&pad.name(name).build()).map_err(failed)?;
    }
    Ok(bin)
}
