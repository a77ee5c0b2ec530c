//! The tasks that bring media from another node: the tracks of a broadcast, and renditions of it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::{
    action::{Made, RemoteStart, RunStart, Work},
    gate::MediaEvent,
    health::Activity,
    place::RemoteOrigin,
    session::{Stop, jitter},
    slot::{Retry, RunEnd},
    takeover::Pulse,
};
use crate::{
    awake,
    cluster::{Cluster, FollowRequest, Followed, TrackName},
    media::{Codec, FrameSink, Kind},
    plan::Name,
};

/// How often it is reported whether frames come.
const PULSE: Duration = Duration::from_millis(250);

/// Brings the tracks of a broadcast whose origin is another node.
pub(super) struct RemoteTask {
    pub(super) cluster: Cluster,
    pub(super) broadcast: Name,
    pub(super) start: RemoteStart,
    pub(super) reports: mpsc::Sender<MediaEvent>,
    pub(super) viewers: watch::Receiver<usize>,
    pub(super) stop: Stop,
}

impl RemoteTask {
    /// Runs until it is stopped, or the origin gives the broadcast up.
    pub(super) async fn run(self) {
        let RemoteStart { input, origin } = self.start;
        let sinks = input
            .gate
            .sinks(&input.tracks, &input.streams, &self.reports)
            .tracks;
        let now = awake::now();
        input.pulse.send_replace(Pulse {
            answered: Some(now),
            connected: Some(now),
            ..Pulse::default()
        });
        let codecs = origin.codecs.iter().copied();
        let request = FollowRequest {
            broadcast: self.broadcast,
            node: origin.node,
            epoch: origin.epoch,
            tracks: codecs
                .map(|codec| TrackName::original(codec.kind()))
                .collect(),
            viewers: self.viewers,
        };
        let outlets = Kind::ALL.map(|kind| (kind, sinks.outlet(kind)));
        let alive = Arc::new(Mutex::new(now));
        let heard = Arc::clone(&alive);
        let follow = self
            .cluster
            .follow(request, move |followed| match followed {
                Followed::Frame { frame, .. } => {
                    let kind = frame.codec.kind();
                    let outlet = outlets.iter().find(|(of, _)| *of == kind);
                    if let Some((_, outlet)) = outlet {
                        (outlet.frames)(frame);
                    }
                }
                Followed::Alive => {
                    *heard.lock().unwrap_or_else(PoisonError::into_inner) = awake::now();
                }
            });
        let mut tick = interval(PULSE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let report = async {
            loop {
                tick.tick().await;
                let alive = *alive.lock().unwrap_or_else(PoisonError::into_inner);
                input.pulse.send_if_modified(|pulse| {
                    let before = *pulse;
                    pulse.looked(input.gate.last_frame(), Some(alive));
                    *pulse != before
                });
            }
        };
        tokio::select! {
            () = follow => {}
            () = report => {}
            _ = self.stop.ended() => {}
        }
    }
}

/// Brings renditions that another node makes, in place of a run of their pipeline.
pub(super) struct RemoteRun {
    pub(super) cluster: Cluster,
    pub(super) broadcast: Name,
    pub(super) start: RunStart,
    pub(super) origin: RemoteOrigin,
    pub(super) reports: mpsc::Sender<MediaEvent>,
    pub(super) viewers: watch::Receiver<usize>,
    pub(super) stop: Stop,
}

/// A rendition on its way in.
struct RemoteRendition {
    frames: FrameSink,
    name: String,
    kind: Kind,
    begun: bool,
}

impl RemoteRun {
    /// Runs until it is stopped, or the origin gives the broadcast up.
    pub(super) async fn run(self) -> RunEnd {
        self.start.tell_start();
        let renditions = match &self.start.work {
            Work::Renditions { made, .. } => made.iter().map(incoming).collect(),
            Work::Source(_) | Work::Output { .. } => Vec::new(),
        };
        let track = |rendition: &RemoteRendition| TrackName {
            kind: rendition.kind,
            rendition: Some(rendition.name.clone()),
        };
        let tracks: Vec<_> = renditions.iter().map(track).collect();
        let request = FollowRequest {
            broadcast: self.broadcast.clone(),
            node: self.origin.node.clone(),
            epoch: self.origin.epoch,
            tracks: tracks.clone(),
            viewers: self.viewers.clone(),
        };
        let keyframes = async {
            loop {
                self.start.keyframe.notified().await;
                for track in tracks.iter().filter(|track| track.kind == Kind::Video) {
                    self.cluster
                        .request_keyframe(&self.origin.node, &self.broadcast, track);
                }
            }
        };
        let mut renditions = renditions;
        let follow = self.cluster.follow(request, |followed| {
            if let Followed::Frame { track, frame } = followed
                && let Some(rendition) = renditions.get_mut(track)
            {
                let codec = frame.codec;
                (rendition.frames)(frame);
                if !rendition.begun {
                    // If the queue is full, the next frame tries again.
                    rendition.begun = self.reports.try_send(self.first(rendition, codec)).is_ok();
                    self.tell_running();
                }
            }
        });
        let error = tokio::select! {
            () = follow => Some("its origin is gone".to_owned()),
            () = keyframes => None,
            _ = self.stop.ended() => None,
        };
        self.start.snapshot.send_modify(|snapshot| {
            snapshot.health.state = if error.is_some() {
                Activity::Failed
            } else {
                Activity::Idle
            };
            snapshot.health.error.clone_from(&error);
        });
        RunEnd {
            run: self.start.run,
            made_frames: renditions.iter().any(|rendition| rendition.begun),
            error,
            jitter: jitter(),
            retry: Retry::default(),
        }
    }

    fn first(&self, rendition: &RemoteRendition, codec: Codec) -> MediaEvent {
        MediaEvent::Rendition {
            run: self.start.run,
            kind: rendition.kind,
            name: rendition.name.clone(),
            codec,
        }
    }

    fn tell_running(&self) {
        self.start.snapshot.send_modify(|snapshot| {
            snapshot.health.state = Activity::Running;
            snapshot.health.error = None;
        });
    }
}

fn incoming(made: &Made) -> RemoteRendition {
    let (frames, stream) = (made.rendition.sink(), made.stream.writer());
    RemoteRendition {
        frames: Arc::new(move |frame| {
            stream.push(&frame);
            frames(frame);
        }),
        name: made.name.clone(),
        kind: made.stream.kind(),
        begun: false,
    }
}
