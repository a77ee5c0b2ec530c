//! The appsrc elements of a job, and the streams they are attached to.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tracing::Instrument as _;

use super::{
    feed::{Feed, TapCounters, TapLimits},
    figures::InputFigures,
    fit,
    meters::{BufferMeter, Meters},
};
use crate::{
    awake,
    media::Kind,
    pipeline::{Error, Event, keyframe_request},
    stream::{EncodedStream, EncodedStreams, StreamSubscription},
};

/// Media that may wait before renditions: they lag by this much.
const RENDITIONS_QUEUE: Duration = Duration::from_secs(2);
/// Media that may wait before an output: nothing is lost if a disk or network is away for this
/// long.
const OUTPUT_QUEUE: Duration = Duration::from_secs(10);
/// How late media may reach an output whose appsrc sets no `min-latency`: muxers wait that long for a
/// track that lags behind the other.
const OUTPUT_LATENCY: gst::ClockTime = gst::ClockTime::from_seconds(1);
/// How long the last frames may take to reach their appsrc when a job is stopped.
const DETACH_TIMEOUT: Duration = Duration::from_secs(1);

/// The appsrc elements of a job.
#[derive(Debug)]
pub(super) struct Inputs {
    list: Vec<JobInput>,
    limits: TapLimits,
    /// One for each appsrc that has a stream.
    feeding: JoinSet<()>,
    /// Becomes true when they are to end.
    detached: watch::Sender<bool>,
}

/// One appsrc.
#[derive(Debug)]
struct JobInput {
    kind: Kind,
    source: gst_app::AppSrc,
    /// Counts what has left the appsrc.
    taken: Arc<BufferMeter>,
    /// Once it is attached.
    counters: Option<Arc<TapCounters>>,
    stream: Arc<OnceLock<EncodedStream>>,
}

impl Inputs {
    /// Finds the appsrc elements and sets them up. Nothing flows yet.
    pub(super) fn prepare(
        pipeline: &gst::Pipeline,
        kinds: &[Kind],
        output: bool,
        meters: &Meters,
    ) -> Result<Self, Error> {
        let mut list = Vec::new();
        for &kind in kinds {
            let source = pipeline.by_name(kind.name());
            let source = source.and_then(|element| element.downcast::<gst_app::AppSrc>().ok());
            let source = source.ok_or_else(|| Error::Text(format!("no appsrc name={kind}")))?;
            source.set_format(gst::Format::Time);
            source.set_is_live(true);
            source.set_do_timestamp(false);
            source.set_block(false);
            source.set_property("handle-segment-change", true);
            let (least, most) = source.latency();
            if output && least.is_none() {
                source.set_latency(OUTPUT_LATENCY, most);
            }
            let taken = Arc::<BufferMeter>::default();
            let stream = Arc::default();
            if let Some(pad) = source.static_pad("src") {
                meters.watch_input(kind, &pad, &taken);
                pass_requests(&pad, &stream);
            }
            list.push(JobInput {
                kind,
                source,
                taken,
                counters: None,
                stream,
            });
        }
        let limits = TapLimits {
            queue: if output {
                OUTPUT_QUEUE
            } else {
                RENDITIONS_QUEUE
            },
            decodes: !output,
            fixed: output && fit::is_fixed(pipeline),
        };
        Ok(Self {
            list,
            limits,
            feeding: JoinSet::new(),
            detached: watch::Sender::new(false),
        })
    }

    /// Connects each appsrc to its stream, or ends it if there is none. `events` gets the failure of
    /// an input.
    pub(super) fn attach(
        &mut self,
        pipeline: &gst::Pipeline,
        streams: &EncodedStreams,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), Error> {
        for input in &mut self.list {
            let Some(stream) = streams.of(input.kind) else {
                end(&input.source);
                continue;
            };
            // Err: already set; it is attached only once.
            let _ = input.stream.set(stream.clone());
            let subscription = stream.subscribe().ok_or_else(|| {
                Error::Failed(format!("too many pipelines take the {} track", input.kind))
            })?;
            let feed = Feed::new(pipeline, &input.source, stream, &subscription, self.limits);
            input.counters = Some(Arc::clone(feed.counters()));
            let supplying = supply(
                feed,
                subscription,
                self.detached.subscribe(),
                events.clone(),
            );
            self.feeding.spawn(supplying.in_current_span());
        }
        Ok(())
    }

    /// Detaches every appsrc from its stream. Frames sent by then are still queued.
    pub(super) async fn detach(&mut self) {
        self.detached.send_replace(true);
        let ended = async { while self.feeding.join_next().await.is_some() {} };
        if awake::timeout(DETACH_TIMEOUT, ended).await.is_err() {
            tracing::warn!(
                seconds = DETACH_TIMEOUT.as_secs(),
                "an input did not end in time"
            );
        }
    }

    /// The figures of all inputs so far.
    pub(super) fn figures(&self) -> Vec<InputFigures> {
        self.list.iter().map(JobInput::figures).collect()
    }

    /// Whether a stream has changed its shape, and the pipeline must restart.
    pub(super) fn are_reshaped(&self) -> bool {
        let mut counters = self.list.iter().filter_map(JobInput::counters);
        counters.any(|counters| counters.is_reshaped())
    }

    /// The counters of the streams, by kind.
    pub(super) fn counters(&self) -> Vec<(Kind, Arc<TapCounters>)> {
        let counters = |input: &JobInput| Some((input.kind, input.counters()?));
        self.list.iter().filter_map(counters).collect()
    }

    /// Meters of what the pipeline has taken.
    pub(super) fn taken(&self) -> Vec<Arc<BufferMeter>> {
        self.list
            .iter()
            .map(|input| &input.taken)
            .cloned()
            .collect()
    }

    /// Ends every input, after what is queued.
    pub(super) fn end(&self) {
        self.list.iter().for_each(|input| end(&input.source));
    }
}

impl JobInput {
    fn counters(&self) -> Option<Arc<TapCounters>> {
        self.counters.clone()
    }

    fn figures(&self) -> InputFigures {
        let counters = self.counters();
        let counters = counters.as_deref();
        let queued = self.source.current_level_time();
        InputFigures {
            kind: self.kind,
            frames: counters.map_or(0, TapCounters::frames),
            bytes: counters.map_or(0, TapCounters::bytes),
            dropped: counters.map_or(0, TapCounters::dropped),
            queued_bytes: self.source.current_level_bytes(),
            queued_ms: queued.map_or(0, gst::ClockTime::mseconds),
        }
    }
}

/// Feeds an appsrc until its stream ends, or it is detached.
async fn supply(
    mut feed: Feed,
    mut subscription: StreamSubscription,
    mut detached: watch::Receiver<bool>,
    events: mpsc::Sender<Event>,
) {
    loop {
        let next = tokio::select! {
            next = subscription.next() => next,
            _ = detached.wait_for(|detached| *detached) => subscription.try_next(),
        };
        let Some(frame) = next else { return };
        if let Err(error) = feed.push(&frame) {
            // Err: the receiver is gone.
            let _ = events.send(Event::Failed(error.to_string())).await;
            return;
        }
    }
}

fn end(source: &gst_app::AppSrc) {
    if source.end_of_stream().is_err() {
        tracing::debug!(source = %source.name(), "already ended");
    }
}

/// Forwards to the publisher the keyframe requests of a decoder that has lost data.
fn pass_requests(pad: &gst::Pad, stream: &Arc<OnceLock<EncodedStream>>) {
    let stream = Arc::clone(stream);
    keyframe_request::watch(pad, move |_| {
        if let Some(stream) = stream.get() {
            stream.want_keyframe();
        }
    });
}
