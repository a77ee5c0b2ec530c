//! A publisher on webrtcbin, in its worker.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval},
};

use super::{frames::FrameQueue, tell};
use crate::{
    awake,
    media::{FrameSink, KeyframeRequestLimit, Kind},
    peer::Event,
    pipeline::TrackSinks,
    webrtcbin::publisher::{ReceiverSetup, ReceivingElement},
    worker::{
        note::{ToServer, ToWorker, track_of},
        queue::Outbox,
    },
};

/// Events that may wait: connected, tracks, closed.
const EVENTS_MAX: usize = 16;
/// How often the server gets figures: it looks at publishers a little less often.
const FIGURES_INTERVAL: Duration = Duration::from_millis(200);

/// A publisher that this process receives.
pub(super) struct HostedReceiver {
    pub(super) outbox: Arc<Outbox>,
    pub(super) keyframe_wanted: Arc<Notify>,
}

impl HostedReceiver {
    /// Receives it until it is to end.
    pub(super) async fn run(&self, setup: ReceiverSetup, commands: &mut mpsc::Receiver<ToWorker>) {
        let (events, mut happened) = mpsc::channel(EVENTS_MAX);
        let sinks = TrackSinks::new(self.sink(Kind::Video), self.sink(Kind::Audio));
        let (publisher, answer) = match ReceivingElement::accept(setup, sinks, events).await {
            Ok(accepted) => accepted,
            Err(error) => {
                return tell(&self.outbox, &ToServer::Refused(error.into()));
            }
        };
        tell(&self.outbox, &ToServer::Answered(answer));
        self.follow(&publisher, commands, &mut happened).await;
        publisher.close().await;
        tell(&self.outbox, &ToServer::Stopped);
    }

    /// Sends the frames of one track to the server.
    fn sink(&self, kind: Kind) -> FrameSink {
        let frames = FrameQueue {
            outbox: &self.outbox,
            keyframe_wanted: &self.keyframe_wanted,
        };
        Arc::new(frames.sink(track_of(kind)))
    }

    async fn follow(
        &self,
        publisher: &ReceivingElement,
        commands: &mut mpsc::Receiver<ToWorker>,
        happened: &mut mpsc::Receiver<Event>,
    ) {
        let mut figures = interval(FIGURES_INTERVAL);
        figures.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keyframes = KeyframeRequestLimit::default();
        loop {
            tokio::select! {
                Some(event) = happened.recv() => {
                    tell(&self.outbox, &ToServer::Connection(event));
                }
                command = commands.recv() => match command {
                    Some(ToWorker::RequestKeyframe) => publisher.request_keyframe(),
                    Some(ToWorker::RequestBitrate(bitrate)) => publisher.request_bitrate(bitrate),
                    Some(ToWorker::Stop) | None => return,
                    // For other work.
                    Some(_) => {}
                },
                () = self.keyframe_wanted.notified(), if keyframes.is_due(awake::now()) => {
                    keyframes.note(awake::now());
                    publisher.request_keyframe();
                }
                _ = figures.tick() => {
                    tell(&self.outbox, &ToServer::Received(publisher.figures()));
                }
            }
        }
    }
}
