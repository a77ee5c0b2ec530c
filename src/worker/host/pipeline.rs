//! A pipeline file, in its worker.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{frames::FrameQueue, tell};
use crate::{
    awake,
    media::KeyframeRequestLimit,
    pipeline::{
        self, Event, TrackOutlet,
        job::{Control, Job, JobSetup},
    },
    stream::EncodedStreams,
    worker::{
        note::{Answer, OutletSetup, Request, ToServer, ToWorker, WorkerSetup},
        queue::Outbox,
    },
};

/// Events that may wait: one per rendition of a file, and an end.
const EVENTS_MAX: usize = 64;
/// Requests of operators that are answered at once.
const REQUESTS_MAX: usize = 16;
/// How often the server gets figures.
const FIGURES_INTERVAL: Duration = Duration::from_millis(500);

/// A pipeline file that runs in this process.
pub(super) struct HostedPipeline {
    pub(super) outbox: Arc<Outbox>,
    pub(super) streams: EncodedStreams,
    pub(super) keyframe_wanted: Arc<Notify>,
}

impl HostedPipeline {
    /// Runs it until it is told to stop.
    pub(super) async fn run(&self, setup: WorkerSetup, commands: &mut mpsc::Receiver<ToWorker>) {
        for (name, value) in &setup.secrets {
            pipeline::remember(name, value);
        }
        let video = setup.outlets.iter().map(|outlet| outlet.appsink.clone());
        let video: Vec<_> = video.filter(|name| name.starts_with("video")).collect();
        let (events, mut happened) = mpsc::channel(EVENTS_MAX);
        let job = match Job::start(self.setup(setup), events).await {
            Ok(job) => job,
            Err(error) => return self.tell(&ToServer::Refused(error)),
        };
        self.tell(&ToServer::Started);
        self.follow(&job, commands, &mut happened, &video).await;
        job.stop().await;
        // Stopping finishes files.
        while let Ok(event) = happened.try_recv() {
            if matches!(event, Event::FileFinished(_)) {
                self.tell(&ToServer::Event(event));
            }
        }
        self.tell(&ToServer::Stopped);
    }

    fn tell(&self, note: &ToServer) {
        tell(&self.outbox, note);
    }

    fn setup(&self, setup: WorkerSetup) -> JobSetup {
        let WorkerSetup {
            name,
            text,
            variables,
            stall,
            outlets,
            ..
        } = setup;
        let frames = FrameQueue {
            outbox: &self.outbox,
            keyframe_wanted: &self.keyframe_wanted,
        };
        let outlets = (0..).zip(outlets).map(|(track, outlet)| {
            let OutletSetup { appsink, transcode } = outlet;
            let outlet = TrackOutlet {
                transcode,
                ..TrackOutlet::new(frames.sink(track))
            };
            (appsink, outlet)
        });
        JobSetup {
            variables,
            stall,
            outlets: outlets.collect(),
            inputs: self.streams.clone(),
            ..JobSetup::new(name, text)
        }
    }

    /// Serves a running job until it is told to stop.
    async fn follow(
        &self,
        job: &Job,
        commands: &mut mpsc::Receiver<ToWorker>,
        happened: &mut mpsc::Receiver<Event>,
        video: &[String],
    ) {
        let mut figures = interval(FIGURES_INTERVAL);
        figures.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut keyframes = KeyframeRequestLimit::default();
        let mut requests = JoinSet::new();
        loop {
            tokio::select! {
                Some(event) = happened.recv() => self.tell(&ToServer::Event(event)),
                command = commands.recv() => match command {
                    Some(ToWorker::ForceKeyframe { appsink }) => {
                        job.force_keyframe(&appsink);
                    }
                    Some(ToWorker::Request { id, request }) => {
                        if requests.len() >= REQUESTS_MAX {
                            requests.join_next().await;
                        }
                        requests.spawn(answer(Arc::clone(&self.outbox), job.control(), id, request));
                    }
                    Some(ToWorker::Stop) | None => return,
                    // For other work.
                    Some(_) => {}
                },
                () = self.keyframe_wanted.notified(), if keyframes.is_due(awake::now()) => {
                    keyframes.note(awake::now());
                    for appsink in video {
                        job.force_keyframe(appsink);
                    }
                }
                _ = figures.tick() => self.tell(&ToServer::Figures {
                    figures: job.figures(),
                    taken: job.taken(),
                }),
                Some(_) = requests.join_next() => {}
            }
        }
    }
}

async fn answer(outbox: Arc<Outbox>, control: Control, id: u64, request: Request) {
    let answer = match request {
        Request::Properties => control.properties().await.map(Answer::Properties),
        Request::Adjust(changes) => control.adjust(changes).await.map(|()| Answer::Adjusted),
        Request::Dot(figures) => control.dot(&figures).await.map(Answer::Dot),
    };
    tell(&outbox, &ToServer::Answer { id, answer });
}
