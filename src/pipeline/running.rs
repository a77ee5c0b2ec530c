//! A running pipeline: its state changes, its messages, and its end.
//!
//! State changes block, so each runs on a thread of its own, under a time limit, and only here. Not
//! on the runtime's blocking pool: an element that hangs forever would hold up its shutdown.

use std::{fmt, thread, time::Duration};

use futures_util::StreamExt;
use gst::{glib, prelude::*};
use gstreamer as gst;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tracing::{Instrument, Span};

use super::{Error, failing_track, redact};
use crate::{
    awake,
    resources::{self, Amount, Asker},
};

/// How long to wait for a pipeline to start.
pub(crate) const STATE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for a pipeline to stop.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for the reason of a failed start on the bus.
const REASON_TIMEOUT: Duration = Duration::from_millis(500);

/// How a pipeline ended.
#[derive(Debug)]
pub(crate) enum PipelineEnd {
    /// An element failed; names the element and the reason.
    Failed(String),
    /// Every sink has received the end of its stream.
    Ended,
}

impl fmt::Display for PipelineEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(reason) => f.write_str(reason),
            Self::Ended => f.write_str("it has ended"),
        }
    }
}

/// A pipeline and the task that reads its messages. It goes to the NULL state outside its streaming
/// threads: at once with [`RunningPipeline::stop`], on a thread of its own when dropped.
#[derive(Debug)]
pub(crate) struct RunningPipeline {
    /// `None` once stopping has begun.
    pipeline: Option<Owned>,
    tasks: JoinSet<()>,
}

impl RunningPipeline {
    /// Brings a pipeline to PAUSED, calls `ready` with it and whether it is live, and plays it.
    /// Its end is sent as `event(end)`, unless that is `None`.
    ///
    /// # Errors
    /// The element that does not start, and why. The pipeline has been stopped.
    pub(crate) async fn start<E: Send + 'static>(
        pipeline: gst::Pipeline,
        ready: impl FnOnce(&gst::Pipeline, bool),
        events: mpsc::Sender<E>,
        event: impl FnOnce(PipelineEnd) -> Option<E> + Send + 'static,
    ) -> Result<Self, Error> {
        Self::start_again(pipeline, ready, events, event, false).await
    }

    /// As [`RunningPipeline::start`]. With `loops`, the pipeline starts over whenever it reaches its
    /// end.
    ///
    /// # Errors
    /// As [`RunningPipeline::start`].
    pub(crate) async fn start_again<E: Send + 'static>(
        pipeline: gst::Pipeline,
        ready: impl FnOnce(&gst::Pipeline, bool),
        events: mpsc::Sender<E>,
        event: impl FnOnce(PipelineEnd) -> Option<E> + Send + 'static,
        loops: bool,
    ) -> Result<Self, Error> {
        let permit = resources::reserve(Asker::Pipeline, Amount::PIPELINE);
        let _permit = permit.map_err(|short| Error::Failed(short.to_string()))?;
        let bus = pipeline.bus().map(|bus| bus.stream());
        let mut bus = bus.ok_or_else(|| Error::Failed("the pipeline has no bus".to_owned()))?;
        let mut running = Self {
            pipeline: Some(Owned(pipeline.clone())),
            tasks: JoinSet::new(),
        };
        let weak = pipeline.downgrade();
        if let Err(error) = play(pipeline, ready).await {
            let reason = awake::timeout(REASON_TIMEOUT, next_report(&mut bus, None)).await;
            running.stop().await;
            return Err(match reason {
                Ok(Some(PipelineEnd::Failed(reason))) => Error::Failed(reason),
                _ => error,
            });
        }
        running.spawn(async move {
            let mut report = next_report(&mut bus, Some(&weak)).await;
            while loops && matches!(report, Some(PipelineEnd::Ended)) && play_again(&weak).await {
                report = next_report(&mut bus, Some(&weak)).await;
            }
            if let Some(event) = report.and_then(event) {
                events.send(event).await.ok();
            }
        });
        Ok(running)
    }

    /// Runs a task while the pipeline runs.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task.in_current_span());
    }

    /// The pipeline, for queries and events. Do not keep a reference.
    pub(crate) fn pipeline(&self) -> Option<&gst::Pipeline> {
        self.pipeline.as_ref().map(|owned| &owned.0)
    }

    /// Stops the pipeline. When this returns, either the pipeline is in the NULL state, freed, and
    /// its threads are gone, or [`STOP_TIMEOUT`] has passed.
    pub(crate) async fn stop(mut self) {
        self.tasks.abort_all();
        let Some(pipeline) = self.pipeline.take() else {
            return;
        };
        if let Err(error) = blocking("stopping", STOP_TIMEOUT, move || drop(pipeline)).await {
            tracing::warn!(%error, "pipeline does not stop");
        }
    }
}

impl Drop for RunningPipeline {
    fn drop(&mut self) {
        let Some(pipeline) = self.pipeline.take() else {
            return;
        };
        // If there is no thread, it is dropped here, with the closure.
        drop(on_a_thread(move || drop(pipeline)));
    }
}

/// A pipeline that goes to NULL when dropped, which blocks.
#[derive(Debug)]
struct Owned(gst::Pipeline);

impl Drop for Owned {
    fn drop(&mut self) {
        if change_state(self.0.upcast_ref(), gst::State::Null).is_err() {
            tracing::warn!(pipeline = %self.0.name(), "pipeline does not stop");
        }
    }
}

async fn play(
    pipeline: gst::Pipeline,
    ready: impl FnOnce(&gst::Pipeline, bool),
) -> Result<(), Error> {
    let paused = set_state(&pipeline, gst::State::Paused, STATE_TIMEOUT).await?;
    ready(&pipeline, paused == gst::StateChangeSuccess::NoPreroll);
    set_state(&pipeline, gst::State::Playing, STATE_TIMEOUT)
        .await
        .map(|_| ())
}

/// Changes an element's state on a thread of its own. A change that continues asynchronously counts
/// as done.
pub(crate) async fn set_state(
    element: &impl IsA<gst::Element>,
    state: gst::State,
    limit: Duration,
) -> Result<gst::StateChangeSuccess, Error> {
    let element = element.upcast_ref::<gst::Element>().clone();
    let name = element.name();
    let work = move || change_state(&element, state);
    let changed = blocking("a state change", limit, work).await;
    changed?.map_err(|_| Error::Failed(format!("{name} cannot be set to {state:?}")))
}

/// Runs blocking work on a thread of its own, and waits for it at most `limit`.
pub(crate) async fn blocking<T: Send + 'static>(
    step: &'static str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (sender, done) = oneshot::channel();
    // Err: the receiver is gone.
    let work = move || drop(sender.send(work()));
    on_a_thread(work).map_err(|error| Error::Failed(format!("{step}: no thread: {error}")))?;
    match awake::timeout(limit, done).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(Error::Failed(format!("{step}: it panicked"))),
        Err(_) => Err(Error::Timeout {
            step: step.into(),
            limit,
        }),
    }
}

/// Starts a thread, in the context of the runtime if there is one, and in the caller's span.
fn on_a_thread(work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let (runtime, span) = (Handle::try_current(), Span::current());
    let work = move || {
        let _context = runtime.as_ref().map(Handle::enter);
        span.in_scope(work);
    };
    thread::Builder::new()
        .name("pipeline".to_owned())
        .spawn(work)
        .map(drop)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place, on a thread of its own"
)]
fn change_state(
    element: &gst::Element,
    state: gst::State,
) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
    element.set_state(state)
}

/// Seeks to the beginning; false if the pipeline cannot.
async fn play_again(pipeline: &glib::WeakRef<gst::Pipeline>) -> bool {
    let Some(pipeline) = pipeline.upgrade() else {
        return false;
    };
    let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT;
    let seek = move || pipeline.seek_simple(flags, gst::ClockTime::ZERO).is_ok();
    blocking("seeking", STATE_TIMEOUT, seek)
        .await
        .unwrap_or(false)
}

/// Reads messages until the pipeline fails or ends. A source that lacks a decoder for one of its
/// tracks continues with the other one.
async fn next_report(
    bus: &mut gst::bus::BusStream,
    pipeline: Option<&glib::WeakRef<gst::Pipeline>>,
) -> Option<PipelineEnd> {
    let mut given_up = None;
    while let Some(message) = bus.next().await {
        let source = message.src().map(|object| object.path_string().to_string());
        let source = source.as_deref().unwrap_or("pipeline");
        match message.view() {
            gst::MessageView::Error(error) => {
                let reason = explain(source, &error.error(), error.debug().as_ref());
                let track = message.src().and_then(failing_track::of);
                let has_other = message.src().is_some_and(failing_track::has_other);
                let lacks_decoder = error.error().matches(gst::CoreError::MissingPlugin);
                match (track, given_up) {
                    (Some(kind), Some(gone)) if kind == gone => tracing::debug!("{reason}"),
                    // Of an element that is being taken out.
                    (None, Some(_)) if lacks_decoder => tracing::debug!("{reason}"),
                    (Some(kind), None) if lacks_decoder && has_other => {
                        let advice = failing_track::advice(kind);
                        tracing::warn!("{reason}; continuing without it; {advice}");
                        given_up = Some(kind);
                    }
                    (Some(kind), _) if has_other => {
                        let advice = failing_track::advice(kind);
                        return Some(PipelineEnd::Failed(format!("{reason}; {advice}")));
                    }
                    _ => return Some(PipelineEnd::Failed(reason)),
                }
            }
            gst::MessageView::Eos(_) => return Some(PipelineEnd::Ended),
            gst::MessageView::Warning(warning) => {
                let text = explain(source, &warning.error(), warning.debug().as_ref());
                tracing::warn!("{text}");
            }
            gst::MessageView::Latency(_) => {
                if let Some(pipeline) = pipeline.and_then(glib::WeakRef::upgrade) {
                    let recalculate = move || pipeline.recalculate_latency().map_err(|_| ());
                    let done = blocking("recalculating latency", STATE_TIMEOUT, recalculate).await;
                    let done = matches!(done, Ok(Ok(())));
                    tracing::debug!(done, source, "latency recalculated");
                }
            }
            _ => {}
        }
    }
    None
}

/// `element: what went wrong (details)`, on one line, without secrets.
fn explain(source: &str, error: &glib::Error, debug: Option<&glib::GString>) -> String {
    // the first line is a place in GStreamer's source code; the reason follows
    let details = debug.map_or("", |debug| debug.as_str());
    let details: Vec<_> = details.lines().skip(1).map(str::trim).collect();
    let element = source.rsplit('/').next().unwrap_or(source);
    let element = element.rsplit_once(':').map_or(element, |(_, name)| name);
    redact(&if details.is_empty() {
        format!("{element}: {error}")
    } else {
        format!("{element}: {error} ({})", details.join(" "))
    })
}
