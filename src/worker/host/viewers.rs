//! Viewers on webrtcbin, in their worker.
//!
//! One thread plays out to all of them; a push into webrtcbin may hold it. A task for each viewer
//! negotiates and follows its connection.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tracing::Instrument as _;

use super::{runtime, tell};
use crate::{
    awake,
    media::Frame,
    peer::Event,
    playout::{Backlog, Target, ViewerCounters},
    webrtcbin::viewers::{
        Feedback, OnFeedback, SenderFigures, SenderSetup, SendingElement, WebrtcbinViewer,
        WebrtcbinViewers,
    },
    worker::{
        monotonic,
        note::{ToServer, ToWorker, ViewerCommand, ViewerNote},
        queue::{AgeGate, Outbox},
        wire::SentFrame,
    },
};

/// Frames and commands that may wait for the playout: then no more is read from the server, whose
/// queue has bounds of its own.
const MEDIA_MAX: usize = 64;
/// Keyframe requests that may wait for it; viewers repeat those that are lost.
const FEEDBACK_MAX: usize = 256;
/// Events of a viewer that may wait.
const EVENTS_MAX: usize = 16;
/// Commands that may wait for a viewer.
const COMMANDS_MAX: usize = 32;
/// How often to report to the server that frames are taken.
const SERVED_INTERVAL: Duration = Duration::from_millis(200);
/// How often a viewer is checked, and its figures are sent.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Longest rest of the playout.
const IDLE: Duration = Duration::from_secs(1);

/// Messages to the playout.
enum Media {
    Begin {
        rendition: u64,
        backlog: Backlog,
    },
    End {
        rendition: u64,
    },
    Frame {
        rendition: u64,
        gap: bool,
        /// When the server sent it.
        sent: Duration,
        frame: Arc<Frame>,
    },
    Join(Box<WebrtcbinViewer>),
    Select {
        viewer: u64,
        layer: Option<usize>,
    },
    Switch {
        viewer: u64,
        to: Target,
    },
    Remove {
        viewer: u64,
    },
}

/// The playout's thread, for those that send to it.
#[derive(Clone)]
pub(super) struct PlayoutThread {
    media: mpsc::Sender<Media>,
    feedback: mpsc::Sender<(u64, Feedback)>,
    taken: Arc<AtomicU64>,
}

impl PlayoutThread {
    /// Starts it. It ends when nobody can send to it any more.
    pub(super) fn start(outbox: &Arc<Outbox>) -> io::Result<Self> {
        let (media, received) = mpsc::channel(MEDIA_MAX);
        let (feedback, reported) = mpsc::channel(FEEDBACK_MAX);
        let taken = Arc::<AtomicU64>::default();
        let playing = Playing {
            media: received,
            feedback: reported,
            taken: Arc::clone(&taken),
            viewers: WebrtcbinViewers::default(),
            ages: HashMap::new(),
            outbox: Arc::clone(outbox),
        };
        let runtime = runtime()?;
        thread::Builder::new()
            .name("playout".to_owned())
            .spawn(move || runtime.block_on(playing.run()))?;
        Ok(Self {
            media,
            feedback,
            taken,
        })
    }

    async fn send(&self, media: Media) {
        // Err: the thread has panicked, which the server notices.
        let _ = self.media.send(media).await;
    }
}

/// What the playout's thread does.
struct Playing {
    media: mpsc::Receiver<Media>,
    feedback: mpsc::Receiver<(u64, Feedback)>,
    taken: Arc<AtomicU64>,
    viewers: WebrtcbinViewers,
    /// By rendition. Here, because a push into webrtcbin may have held this thread.
    ages: HashMap<u64, AgeGate>,
    outbox: Arc<Outbox>,
}

impl Playing {
    async fn run(mut self) {
        loop {
            let rest = match self.viewers.wake() {
                Some(at) => at.saturating_duration_since(awake::now()).min(IDLE),
                None => IDLE,
            };
            tokio::select! {
                // Frames first, whatever viewers ask for.
                biased;
                media = self.media.recv() => match media {
                    Some(media) => self.take(media, awake::now()),
                    None => return,
                },
                Some((viewer, feedback)) = self.feedback.recv() => {
                    self.viewers.feedback(viewer, feedback, awake::now());
                }
                () = tokio::time::sleep(rest) => {}
            }
            self.viewers.run_timers(awake::now());
        }
    }

    fn take(&mut self, media: Media, now: Instant) {
        let viewers = &mut self.viewers;
        match media {
            Media::Begin { rendition, backlog } => {
                self.ages.insert(rendition, AgeGate::default());
                viewers.begin(rendition, backlog, now);
            }
            Media::End { rendition } => {
                self.ages.remove(&rendition);
                viewers.forget(rendition);
            }
            Media::Frame {
                rendition,
                gap,
                sent,
                frame,
            } => {
                self.taken.fetch_add(1, Relaxed);
                let ages = self.ages.entry(rendition).or_default();
                if let Some(lost) = ages.pass(&frame, sent, monotonic()) {
                    viewers.frame(rendition, gap || lost, &frame, now);
                } else if ages.is_closed() {
                    tell(&self.outbox, &ToServer::KeyframeWanted(frame.codec.kind()));
                }
            }
            Media::Join(viewer) => viewers.join(viewer, now),
            Media::Select { viewer, layer } => viewers.select(viewer, layer, now),
            Media::Switch { viewer, to } => viewers.switch(viewer, to, now),
            Media::Remove { viewer } => viewers.remove(viewer),
        }
    }
}

/// Passes the frames of the server on to the playout.
pub(super) struct ViewersInput {
    playout: PlayoutThread,
    /// The renditions on their way.
    tracks: HashMap<u16, u64>,
}

impl ViewersInput {
    pub(super) fn new(playout: PlayoutThread) -> Self {
        Self {
            playout,
            tracks: HashMap::new(),
        }
    }

    pub(super) async fn begin(&mut self, track: u16, rendition: u64, backlog: Backlog) {
        self.tracks.insert(track, rendition);
        self.playout.send(Media::Begin { rendition, backlog }).await;
    }

    pub(super) async fn end(&mut self, track: u16) {
        if let Some(rendition) = self.tracks.remove(&track) {
            self.playout.send(Media::End { rendition }).await;
        }
    }

    /// In its place among the frames.
    pub(super) async fn switch(&self, viewer: u64, to: Target) {
        self.playout.send(Media::Switch { viewer, to }).await;
    }

    pub(super) async fn frame(&self, sent: SentFrame) {
        if let Some(&rendition) = self.tracks.get(&sent.track) {
            let frame = Media::Frame {
                rendition,
                gap: sent.gap,
                sent: sent.sent,
                frame: Arc::new(sent.frame),
            };
            self.playout.send(frame).await;
        }
    }
}

/// The viewers that this process serves.
pub(super) struct HostedViewers {
    pub(super) outbox: Arc<Outbox>,
    pub(super) playout: PlayoutThread,
}

impl HostedViewers {
    /// Serves them until the end.
    pub(super) async fn run(&self, commands: &mut mpsc::Receiver<ToWorker>) {
        tell(&self.outbox, &ToServer::Started);
        let mut viewers = HashMap::<u64, mpsc::Sender<ViewerCommand>>::new();
        let mut tasks = JoinSet::new();
        let mut served = interval(SERVED_INTERVAL);
        served.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(ToWorker::Viewer { viewer, command: ViewerCommand::Join(setup) }) => {
                        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
                        viewers.insert(viewer, sender);
                        let hosted = HostedViewer {
                            viewer,
                            outbox: Arc::clone(&self.outbox),
                            playout: self.playout.clone(),
                        };
                        let span = tracing::error_span!("viewer", viewer);
                        tasks.spawn(hosted.run(setup, commands).instrument(span));
                    }
                    Some(ToWorker::Viewer { viewer, command }) => {
                        if let Some(viewer) = viewers.get(&viewer) {
                            // Err: it has ended.
                            let _ = viewer.send(command).await;
                        }
                    }
                    Some(ToWorker::Stop) | None => return,
                    // For other work.
                    Some(_) => {}
                },
                Some(ended) = tasks.join_next() => {
                    if let Ok(viewer) = ended {
                        viewers.remove(&viewer);
                    }
                }
                _ = served.tick() => {
                    let taken = self.playout.taken.load(Relaxed);
                    tell(&self.outbox, &ToServer::Served { taken });
                }
            }
        }
    }
}

/// One viewer.
struct HostedViewer {
    viewer: u64,
    outbox: Arc<Outbox>,
    playout: PlayoutThread,
}

impl HostedViewer {
    /// Serves it until it is closed.
    async fn run(
        self,
        setup: Box<SenderSetup>,
        mut commands: mpsc::Receiver<ViewerCommand>,
    ) -> u64 {
        let (events, mut happened) = mpsc::channel(EVENTS_MAX);
        let accepting = SendingElement::accept(&setup, self.on_feedback(), events.clone());
        let (element, answer) = match accepting.await {
            Ok(accepted) => accepted,
            Err(error) => {
                self.tell(ViewerNote::Answered(Err(error.into())));
                return self.viewer;
            }
        };
        let counters = Arc::<ViewerCounters>::default();
        let viewer = WebrtcbinViewer::new(
            self.viewer,
            element.outlet().clone(),
            &setup.tracks,
            events,
            Arc::clone(&counters),
        );
        self.playout.send(Media::Join(Box::new(viewer))).await;
        self.tell(ViewerNote::Answered(Ok(answer)));
        self.follow(&element, &counters, &mut commands, &mut happened)
            .await;
        let viewer = self.viewer;
        let figures = element.figures(SenderFigures::new(&counters));
        // At once: the playout may be held up by this very viewer, until it is closed.
        let removed = self.playout.send(Media::Remove { viewer });
        tokio::join!(removed, element.close());
        self.tell(ViewerNote::Gone(figures));
        viewer
    }

    async fn follow(
        &self,
        element: &SendingElement,
        counters: &ViewerCounters,
        commands: &mut mpsc::Receiver<ViewerCommand>,
        happened: &mut mpsc::Receiver<Event>,
    ) {
        let viewer = self.viewer;
        let mut told = SenderFigures::default();
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(event) = happened.recv() => self.tell(ViewerNote::Event(event)),
                command = commands.recv() => match command {
                    Some(ViewerCommand::Open) => element.open(),
                    Some(ViewerCommand::Select(layer)) => {
                        self.playout.send(Media::Select { viewer, layer }).await;
                    }
                    Some(ViewerCommand::Close) | None => return,
                    // It has joined, and switches where the frames pass.
                    Some(ViewerCommand::Join(_) | ViewerCommand::Switch(_)) => {}
                },
                _ = look.tick() => {
                    element.watch();
                    let figures = element.figures(SenderFigures::new(counters));
                    if std::mem::replace(&mut told, figures) != figures {
                        self.tell(ViewerNote::Sent(figures));
                    }
                }
            }
        }
    }

    fn tell(&self, note: ViewerNote) {
        let viewer = self.viewer;
        tell(&self.outbox, &ToServer::Viewer { viewer, note });
    }

    /// Passes feedback on, on threads that must not wait. Losing some does no harm: the playout looks
    /// for itself, and viewers ask again.
    fn on_feedback(&self) -> OnFeedback {
        let (viewer, feedback) = (self.viewer, self.playout.feedback.clone());
        Arc::new(move |what| {
            let _ = feedback.try_send((viewer, what));
        })
    }
}
