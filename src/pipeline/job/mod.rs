//! A running pipeline text: source, renditions or output.
//!
//! Its surface: streams of frames in, frames out through outlets, [`Event`]s, [`Control`], and figures as
//! plain data. A job ends with its pipeline; restarts are decided elsewhere. A job that fails or stalls
//! reports it and disturbs nothing else.

mod adjust;
mod control;
mod feed;
mod figures;
mod files;
mod fit;
mod flood;
mod graph;
mod inputs;
mod meters;
mod missing_tracks;
mod peers;
mod playlists;
mod watch;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use adjust::declared;
pub use adjust::{Adjustable, Property};
pub use control::Control;
pub use figures::JobFigures;
#[cfg(test)]
pub use figures::OutputFigures;
pub use fit::video_codecs;
pub(crate) use flood::Flood;
pub(crate) use graph::svg;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use inputs::Inputs;
use tokio::sync::{mpsc, watch as channel};

pub(crate) use self::watch::Stalls;
use self::{meters::Meters, playlists::Playlists, watch::Progress};
use super::{
    Error, Event, PipelineRole, TrackOutlet, Variables, clock, intake, keyframe_request, launch,
    running::{self, PipelineEnd, RunningPipeline},
    tidy,
};
use crate::{
    awake,
    media::{Frame, Kind},
    stream::{EncodedStream, EncodedStreams},
};

/// How long a job may produce nothing, while media goes in, before it counts as stalled.
pub const STALL_DEFAULT: Duration = Duration::from_secs(10);
/// How long an output may take to write what it holds and finish its files when it is stopped.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// How to start a job.
#[derive(Clone, Debug)]
pub struct JobSetup {
    /// The pipeline's name in the log and in graphs.
    pub name: String,
    /// The pipeline file's text.
    pub text: String,
    /// The values of its variables. `video_parser` is set here: the parser of the codec that the
    /// video input has when the job starts.
    pub variables: Variables,
    /// The streams for its appsrc elements. An appsrc without a stream is ended at once.
    pub inputs: EncodedStreams,
    /// Where its appsinks' media goes, by the name of the appsink. Media without an outlet is
    /// discarded.
    pub outlets: BTreeMap<String, TrackOutlet>,
    /// See [`STALL_DEFAULT`].
    pub stall: Duration,
}

impl JobSetup {
    /// A job without inputs, outlets and variables.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            variables: Variables::default(),
            inputs: EncodedStreams::default(),
            outlets: BTreeMap::new(),
            stall: STALL_DEFAULT,
        }
    }
}

/// A running pipeline text. Dropping it stops it in the background; see [`Job::stop`].
#[derive(Debug)]
pub struct Job {
    role: PipelineRole,
    running: RunningPipeline,
    inputs: Inputs,
    meters: Meters,
    playlists: Playlists,
    adjustables: Arc<[Adjustable]>,
    /// Becomes true when the pipeline has failed or ended.
    over: channel::Receiver<bool>,
}

impl Job {
    /// Starts a job. Media goes to the outlets on streaming threads. `events` gets [`Event::Track`]
    /// or [`Event::Rendition`] with the first frame of each, and the pipeline's other events. After
    /// [`Event::Failed`] or [`Event::Ended`] nothing follows, and the job must be stopped.
    ///
    /// # Errors
    /// The text fits no role, a variable has no value, an element is missing, or an element does
    /// not start.
    pub async fn start(setup: JobSetup, events: mpsc::Sender<Event>) -> Result<Self, Error> {
        let mut setup = setup;
        if let Some(codec) = setup.inputs.of(Kind::Video).and_then(EncodedStream::codec) {
            setup.variables = setup.variables.with_parser(codec);
        }
        let description = setup.variables.expand(&setup.text)?;
        let role = PipelineRole::of(&description)?;
        let loops = loops(&setup.text);
        let adjustables = declared(&setup.text)?.into();
        let stall = setup.stall;
        let streams = setup.inputs.clone();
        let (parts, announce, failures) = (role.clone(), events.clone(), events.clone());
        let build = move || build(&setup, &description, &parts, &announce);
        let Built {
            pipeline,
            meters,
            mut inputs,
            playlists,
        } = running::blocking("parsing", running::STATE_TIMEOUT, build).await??;
        let (end, over) = channel::channel(false);
        let event = move |report| {
            // Err: the receiver is gone.
            let _ = end.send(true);
            Some(match report {
                PipelineEnd::Failed(reason) => Event::Failed(reason),
                PipelineEnd::Ended => Event::Ended,
            })
        };
        let is_source = matches!(role, PipelineRole::Source { .. });
        let ready = move |pipeline: &gst::Pipeline, live| {
            if is_source && live {
                render_at_once(pipeline);
            }
        };
        let mut running =
            RunningPipeline::start_again(pipeline, ready, events.clone(), event, loops).await?;
        if let Some(pipeline) = running.pipeline() {
            inputs.attach(pipeline, &streams, &failures)?;
        }
        running.spawn(watch::run(progress(&meters, &inputs), stall, events));
        if is_source && let Some(pipeline) = running.pipeline() {
            running.spawn(missing_tracks::run(pipeline.downgrade(), meters.appsinks()));
        }
        Ok(Self {
            role,
            running,
            inputs,
            meters,
            playlists,
            adjustables,
            over,
        })
    }

    /// Requests a keyframe from the encoder before an appsink; false if there is no such appsink.
    /// Does nothing if the encoder takes no requests.
    pub fn force_keyframe(&self, appsink: &str) -> bool {
        let pipeline = self.running.pipeline();
        let sink = pipeline.and_then(|pipeline| pipeline.by_name(appsink));
        let Some(sink) = sink.filter(ObjectExt::is::<gst_app::AppSink>) else {
            return false;
        };
        sink.send_event(keyframe_request::event(true))
    }

    /// What an operator may do with the job.
    pub fn control(&self) -> Control {
        Control {
            pipeline: self
                .running
                .pipeline()
                .map(ObjectExt::downgrade)
                .unwrap_or_default(),
            adjustables: Arc::clone(&self.adjustables),
        }
    }

    /// Figures at this moment.
    pub fn figures(&self) -> JobFigures {
        JobFigures {
            inputs: self.inputs.figures(),
            outputs: self.meters.figures(),
            queues: self
                .running
                .pipeline()
                .map(meters::queues)
                .unwrap_or_default(),
            process: None,
            sandbox: None,
        }
    }

    /// Frames that the pipeline has taken from its inputs.
    pub(crate) fn taken(&self) -> u64 {
        self.inputs.taken().iter().map(|meter| meter.frames()).sum()
    }

    /// Stops the pipeline and frees it, within a time limit. An output first writes what it holds,
    /// so that its files are complete.
    pub async fn stop(mut self) {
        self.inputs.detach().await;
        if self.inputs.are_reshaped() {
            self.playlists.leave_open();
        }
        if matches!(self.role, PipelineRole::Output { .. }) && !*self.over.borrow() {
            self.inputs.end();
            let finished = awake::timeout(FINISH_TIMEOUT, self.over.wait_for(|over| *over)).await;
            if finished.is_err() {
                tracing::warn!(
                    seconds = FINISH_TIMEOUT.as_secs_f64(),
                    "output did not finish in time"
                );
            }
        }
        self.running.stop().await;
    }
}

/// The counters that show whether a job makes progress.
fn progress(meters: &Meters, inputs: &Inputs) -> Progress {
    let made = meters.made();
    Progress {
        inputs: inputs.counters(),
        made: if made.is_empty() {
            inputs.taken()
        } else {
            made
        },
    }
}

/// Whether the file says `# loop`: it starts over when it reaches its end.
fn loops(text: &str) -> bool {
    let comments = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix('#'));
    comments.map(str::trim).any(|comment| comment == "loop")
}

/// Live media is passed on as it arrives; a file's media when it is due.
fn render_at_once(pipeline: &gst::Pipeline) {
    let sinks = Kind::ALL.map(|kind| pipeline.by_name(kind.name()));
    for sink in sinks.into_iter().flatten() {
        sink.set_property("sync", false);
    }
}

/// A pipeline that has not started.
struct Built {
    pipeline: gst::Pipeline,
    meters: Meters,
    inputs: Inputs,
    playlists: Playlists,
}

fn build(
    setup: &JobSetup,
    description: &str,
    role: &PipelineRole,
    events: &mpsc::Sender<Event>,
) -> Result<Built, Error> {
    let pipeline = match role {
        PipelineRole::Output { .. } => {
            let codecs = Kind::ALL
                .into_iter()
                .filter_map(|kind| setup.inputs.of(kind)?.codec());
            fit::parse(&setup.name, description, &codecs.collect::<Vec<_>>())?
        }
        PipelineRole::Source { .. } | PipelineRole::Renditions { .. } => {
            launch::parse(&setup.name, description)?
        }
    };
    peers::set_up(&pipeline);
    let (mut meters, mut playlists) = (Meters::new(), Playlists::default());
    let (takes, makes) = match role {
        PipelineRole::Source { tracks } => {
            // not the shared base time: a file begins at zero whenever it starts
            pipeline.use_clock(Some(&clock::clock()));
            tidy::tidy_pipeline(&pipeline);
            let products = tracks.iter().map(|&kind| Product {
                kind,
                rendition: None,
            });
            (&[][..], products.collect())
        }
        PipelineRole::Renditions { inputs, outputs } => {
            let products = outputs.iter().map(|(kind, name)| Product {
                kind: *kind,
                rendition: Some(name),
            });
            (&inputs[..], products.collect())
        }
        PipelineRole::Output { inputs } => {
            meters.watch_sinks(&pipeline);
            files::watch(&pipeline, events);
            playlists = Playlists::set_up(&pipeline);
            (&inputs[..], Vec::new())
        }
    };
    if !takes.is_empty() {
        clock::share(&pipeline);
    }
    let inputs = Inputs::prepare(
        &pipeline,
        takes,
        matches!(role, PipelineRole::Output { .. }),
        &meters,
    )?;
    for product in makes {
        product.connect(&pipeline, setup, events, &mut meters)?;
    }
    Ok(Built {
        pipeline,
        meters,
        inputs,
        playlists,
    })
}

/// The product of an appsink: a track of a source, or a rendition.
struct Product<'a> {
    kind: Kind,
    rendition: Option<&'a str>,
}

impl Product<'_> {
    /// The name of its appsink.
    fn appsink(&self) -> String {
        match self.rendition {
            Some(rendition) => format!("{}_{rendition}", self.kind),
            None => self.kind.name().to_owned(),
        }
    }

    /// Connects its appsink to its outlet.
    fn connect(
        &self,
        pipeline: &gst::Pipeline,
        setup: &JobSetup,
        events: &mpsc::Sender<Event>,
        meters: &mut Meters,
    ) -> Result<(), Error> {
        let Self { kind, rendition } = *self;
        let name = self.appsink();
        let sink = pipeline
            .by_name(&name)
            .and_then(|element| element.downcast::<gst_app::AppSink>().ok());
        let sink = sink.ok_or_else(|| Error::Text(format!("no appsink name={name}")))?;
        if rendition.is_some() {
            sink.set_sync(false);
            sink.set_async(false);
        }
        meters.watch_output(&name, &sink);
        let outlet = setup
            .outlets
            .get(&name)
            .cloned()
            .unwrap_or_else(|| TrackOutlet::new(|_| ()));
        let (events, rendition) = (events.clone(), rendition.map(str::to_owned));
        let mut announced = None;
        let transcoded = events.clone();
        let frames = outlet.frames;
        let mut flood = Some(Flood::new(kind, Instant::now()));
        let failing = sink.downgrade();
        let deliver = move |frame: Frame| {
            let Some(limit) = &mut flood else {
                return; // it has failed and is about to be stopped
            };
            if let Err(reason) = limit.note(&frame, Instant::now()) {
                flood = None;
                if let Some(sink) = failing.upgrade() {
                    gst::element_error!(sink, gst::StreamError::Failed, ["{}", reason]);
                }
                return;
            }
            let codec = frame.codec;
            if announced != Some(codec) {
                let event = match rendition.clone() {
                    Some(name) => Event::Rendition { kind, name, codec },
                    None => Event::Track(kind, codec),
                };
                if events.try_send(event).is_ok() {
                    announced = Some(codec);
                }
            }
            frames(frame);
        };
        let began = move |from: &str| {
            let event = Event::Transcoded {
                appsink: name.clone(),
                from: from.to_owned(),
            };
            if transcoded.try_send(event).is_err() {
                tracing::debug!("report of a transcoded source lost");
            }
        };
        let transcode = outlet.transcode.then(|| Box::new(began) as Box<_>);
        intake::take(&sink, kind, transcode, deliver);
        Ok(())
    }
}
