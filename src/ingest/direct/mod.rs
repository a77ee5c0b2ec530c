//! A publisher on the direct engine: a session's task, and a pipeline per stream that makes frames
//! of its packets.

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod reception;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::{sync::mpsc, task::JoinSet};
use tracing::Instrument;

use self::reception::{Reception, ReceptionHandle, StreamInput};
use super::{Error, Options, Reports, Sinks, Statistics, depacketizer::Depacketizer};
use crate::{
    media::{Codec, Kind},
    peer::{
        End, Event,
        sdp::{self, Choice, Format, Offer},
        udp::Port,
    },
    pipeline::{self, TrackOutlet},
};

/// Most reports of a depacketizer waiting to be forwarded; there are two in all.
const REPORTS_MAX: usize = 4;

/// A publisher on the direct engine. Dropping it ends the session.
pub struct DirectPublisher {
    session: ReceptionHandle,
    depacketizers: Vec<Depacketizer>,
    tasks: JoinSet<()>,
}

/// A stream that a publisher sends: a track, or one layer of a simulcast track.
struct OfferedStream {
    codec: Codec,
    /// The layer's rid (RFC 8851); `None` without simulcast.
    rid: Option<String>,
    outlet: TrackOutlet,
}

impl DirectPublisher {
    /// Answers an offer and starts everything behind it.
    pub(super) async fn accept(
        offer: &Offer,
        options: &Options,
        port: &Port,
        sinks: &Sinks,
        reports: Reports,
    ) -> Result<(Self, String), Error> {
        let mut depacketizers = Vec::new();
        let mut tasks = JoinSet::new();
        let mut inputs = Vec::new();
        for stream in offered_streams(offer, sinks)? {
            let (sender, reported) = mpsc::channel(REPORTS_MAX);
            let keyframe_wanted = Arc::clone(&reports.keyframe_wanted);
            let started = Depacketizer::start(stream.codec, stream.outlet, sender, move || {
                keyframe_wanted.notify_one();
            });
            let (depacketizer, sink) = started.await?;
            let passing = pass_on(reported, reports.events.clone());
            tasks.spawn(passing.in_current_span());
            depacketizers.push(depacketizer);
            inputs.push(StreamInput {
                codec: stream.codec,
                rid: stream.rid,
                sink,
            });
        }
        let (session, task, answer) =
            Reception::accept(offer, port, options, inputs, reports.events)?;
        tasks.spawn(task.run().in_current_span());
        Ok((
            Self {
                session,
                depacketizers,
                tasks,
            },
            answer,
        ))
    }

    /// Asks for a keyframe.
    pub(super) fn request_keyframe(&self) {
        self.session.request_keyframe();
    }

    /// Asks for at most this many bit/s.
    pub(super) fn request_bitrate(&self, bitrate: u64) {
        self.session.request_bitrate(bitrate);
    }

    /// Restarts ICE.
    pub(super) async fn restart(
        &self,
        ufrag: &str,
        pwd: &str,
    ) -> Result<sdp::Transport, sdp::Error> {
        self.session.restart(ufrag, pwd).await
    }

    /// Whether the publisher has sent an authentic check.
    pub(super) fn is_checked(&self) -> bool {
        self.session.is_checked()
    }

    /// What has been received so far.
    pub(super) fn statistics(&self) -> Statistics {
        self.session.statistics()
    }

    /// Says goodbye, stops the pipelines and frees them.
    pub(super) async fn close(mut self, why: End) {
        self.session.close(why).await;
        for depacketizer in self.depacketizers {
            depacketizer.stop().await;
        }
        // The session's task ends with its goodbye, the others with their pipelines.
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The streams that a publisher sends, each with its destination.
fn offered_streams(offer: &Offer, sinks: &Sinks) -> Result<Vec<OfferedStream>, sdp::Error> {
    let mut streams = Vec::new();
    for choice in offer.choose_publish()? {
        let Choice::Receive(Format {
            codec: Some(codec), ..
        }) = choice
        else {
            continue;
        };
        if codec.kind() == Kind::Audio || sinks.layers.is_empty() {
            streams.push(OfferedStream {
                codec,
                rid: None,
                outlet: sinks.tracks.outlet(codec.kind()),
            });
            continue;
        }
        streams.extend(sinks.layers.iter().map(|layer| OfferedStream {
            codec,
            rid: Some(layer.rid.clone()),
            outlet: layer.outlet.clone(),
        }));
    }
    Ok(streams)
}

/// Forwards a depacketizer's reports as the engine's.
async fn pass_on(mut reported: mpsc::Receiver<pipeline::Event>, events: mpsc::Sender<Event>) {
    while let Some(report) = reported.recv().await {
        let event = match report {
            pipeline::Event::Track(kind, codec) => Event::Track(kind, codec),
            pipeline::Event::Failed(reason) => {
                tracing::warn!(reason, "publisher's pipeline failed");
                Event::Closed(End::Failed)
            }
            pipeline::Event::Ended
            | pipeline::Event::Rendition { .. }
            | pipeline::Event::Transcoded { .. }
            | pipeline::Event::Stalled
            | pipeline::Event::Resumed
            | pipeline::Event::Reshaped => continue,
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}
