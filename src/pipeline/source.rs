//! A source: a pipeline file that makes a broadcast's media.

use gst::{glib, prelude::*};
use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::sync::mpsc;

use super::{
    Error, Event, Role, TrackSinks, codec, launch, packetizer,
    running::{self, Report, Running},
    text,
};
use crate::media::{Codec, Frame, Kind};

/// A running source pipeline. Dropping it stops it in the background.
#[derive(Debug)]
pub struct Source {
    running: Running,
}

impl Source {
    /// Starts a source from the text of a pipeline file. The variable `name` is the broadcast's
    /// name; others have their defaults. Each appsink's frames go to the sink of its track, at
    /// the pace of the pipeline. Events come in the order in which things happen; after
    /// [`Event::Failed`] or [`Event::Ended`] nothing follows, and the source wants to be stopped.
    ///
    /// # Errors
    /// The text is not a source, an element is missing, or an element does not start.
    pub async fn start(
        name: &str,
        description: &str,
        sinks: TrackSinks,
        events: mpsc::Sender<Event>,
    ) -> Result<Self, Error> {
        let description =
            text::expand(description, |variable| (variable == "name").then_some(name))?;
        let Role::Source { tracks } = Role::of(&description)? else {
            return Err(Error::Text(format!(
                "{name}: not a source: it has an appsrc; a source has only appsinks"
            )));
        };
        let pipeline_name = format!("source-{name}");
        let first_frames = events.clone();
        let build = move || {
            let pipeline = launch::parse(&pipeline_name, &description)?;
            // not the shared base time: a file begins at zero, whenever it is started
            pipeline.use_clock(Some(&super::clock::clock()));
            for kind in tracks {
                take_frames(&pipeline, kind, &sinks, &first_frames)?;
            }
            Ok(pipeline)
        };
        let pipeline = running::blocking("parsing", running::START_TIMEOUT, build).await??;
        let event = |report| match report {
            Report::Failed(reason) => Some(Event::Failed(reason)),
            Report::Ended => Some(Event::Ended),
        };
        let ready = |pipeline: &gst::Pipeline, live| {
            for sink in [Kind::Video, Kind::Audio].map(|kind| pipeline.by_name(kind.name())) {
                // live media is passed on when it comes; a file's when it is due
                if let Some(sink) = sink.filter(|_| live) {
                    sink.set_property("sync", false);
                }
            }
        };
        let running = Running::start(pipeline, ready, events, event).await?;
        Ok(Self { running })
    }

    /// Asks the video encoder for a keyframe. Nothing happens if the pipeline has none that takes
    /// requests.
    pub fn request_keyframe(&self) {
        let pipeline = self.running.pipeline();
        if let Some(sink) = pipeline.and_then(|pipeline| pipeline.by_name(Kind::Video.name())) {
            let request = gst::Structure::builder("GstForceKeyUnit").field("all-headers", true);
            sink.send_event(gst::event::CustomUpstream::new(request.build()));
        }
    }

    /// Stops the pipeline and frees what it holds, within a time limit.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

fn take_frames(
    pipeline: &gst::Pipeline,
    kind: Kind,
    sinks: &TrackSinks,
    events: &mpsc::Sender<Event>,
) -> Result<(), Error> {
    let sink = pipeline
        .by_name(kind.name())
        .and_then(|e| e.downcast::<gst_app::AppSink>().ok());
    let sink = sink.ok_or_else(|| Error::Text(format!("no appsink name={kind}")))?;
    if sink.caps().is_none_or(|caps| caps.is_any()) {
        sink.set_caps(Some(&codec::accepted(kind)));
    }
    sink.set_enable_last_sample(false);
    let deliver = sinks.of(kind).clone();
    let events = events.clone();
    let mut announced = None;
    let deliver = move |frame: Frame| {
        if announced != Some(frame.codec)
            && events.try_send(Event::Track(kind, frame.codec)).is_ok()
        {
            announced = Some(frame.codec);
        }
        deliver(frame);
    };
    let feed = Feed {
        kind,
        deliver: Some(Box::new(deliver)),
        chain: None,
    };
    let feed = std::sync::Arc::new(std::sync::Mutex::new(feed));
    let ending = feed.clone();
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let mut feed = feed.lock().map_err(|_| gst::FlowError::Error)?;
            feed.push(sink, &sample)
        })
        .eos(move |_| {
            if let Ok(feed) = ending.lock() {
                feed.end();
            }
        })
        .build();
    sink.set_callbacks(callbacks);
    Ok(())
}

/// Carries what one appsink gets into a packetizer that is made when the first buffer shows the
/// codec.
struct Feed {
    kind: Kind,
    deliver: Option<Box<dyn FnMut(Frame) + Send>>,
    chain: Option<Chain>,
}

struct Chain {
    codec: Codec,
    pad: gst::Pad,
    caps: gst::Caps,
    segment: gst::Segment,
}

impl Feed {
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
        let Some(codec) = codec else {
            return Err(fail(format!(
                "{caps} is not an encoding that Aerial carries"
            )));
        };
        match &mut self.chain {
            Some(chain) if chain.codec != codec => {
                return Err(fail(format!("changed from {} to {codec}", chain.codec)));
            }
            Some(chain) => chain.follow(caps, segment),
            none => {
                let deliver = self.deliver.take();
                let deliver = deliver.ok_or_else(|| fail("no second packetizer".to_owned()))?;
                let chain = Chain::new(sink, codec, caps, segment, deliver);
                *none = Some(chain.map_err(|error| fail(error.to_string()))?);
            }
        }
        self.chain
            .as_ref()
            .map_or(Err(gst::FlowError::Error), |chain| chain.pad.push(buffer))
    }

    fn end(&self) {
        if let Some(chain) = &self.chain {
            chain.pad.push_event(gst::event::Eos::new());
        }
    }
}

impl Chain {
    /// Adds a packetizer to the appsink's pipeline. It is not linked to anything there: buffers
    /// are pushed into it through a pad of its own, on the thread that brought them.
    fn new(
        sink: &gst_app::AppSink,
        codec: Codec,
        caps: &gst::CapsRef,
        segment: &gst::Segment,
        deliver: Box<dyn FnMut(Frame) + Send>,
    ) -> Result<Self, Error> {
        let bin = packetizer::bin(codec, deliver)?;
        let failed = |error: glib::BoolError| Error::Failed(error.to_string());
        let gone = || Error::Failed("the pipeline is gone".to_owned());
        let parent = std::iter::successors(sink.parent(), gst::Object::parent)
            .find_map(|parent| parent.downcast::<gst::Pipeline>().ok());
        parent.ok_or_else(gone)?.add(&bin).map_err(failed)?;
        bin.sync_state_with_parent().map_err(failed)?;
        let pad = gst::Pad::builder(gst::PadDirection::Src).build();
        pad.set_active(true).map_err(failed)?;
        let target = bin.static_pad("sink").ok_or_else(gone)?;
        pad.link(&target)
            .map_err(|error| Error::Failed(error.to_string()))?;
        pad.push_event(gst::event::StreamStart::new(&bin.name()));
        pad.push_event(gst::event::Caps::new(&caps.to_owned()));
        pad.push_event(gst::event::Segment::new(segment));
        Ok(Self {
            codec,
            pad,
            caps: caps.to_owned(),
            segment: segment.clone(),
        })
    }

    /// Passes on new caps (another size, new parameter sets) and segments (a file that loops).
    fn follow(&mut self, caps: &gst::CapsRef, segment: &gst::Segment) {
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
