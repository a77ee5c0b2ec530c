//! The actor task of a broadcast: all decisions about it, one after the other.

mod audience;
mod choice;
mod control;
mod outputs;
mod pipelines;
mod renditions;
mod status;
mod supply;
mod switching;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    sync::{Notify, mpsc, watch},
    task::{self, JoinError, JoinSet},
    time::{MissedTickBehavior, interval},
};

use self::{
    choice::GopWatch,
    outputs::Slot,
    pipelines::{At, RenditionPipeline},
    renditions::Waiting,
};
use super::{
    Created, Error, Reply, Session, SessionId, Shared,
    feed::{Gate, Report, Tracks},
    job::Snapshot,
    session::{Command, Stop},
    source::Restarts,
    status::{Details, PipelineFigures, SourceKind, State, Status},
    takeover::Pulse,
};
use crate::{
    fanout,
    media::{Codec, Kind},
    peer::{
        End,
        sdp::{Offer, Role},
    },
    pipeline::{Demands, EncodedStream, EncodedStreams},
    plan::{Name, PipelineFile, Plan},
};

/// When to ask again for a broadcast that nobody publishes.
pub(super) const RETRY_MISSING: Duration = Duration::from_secs(2);
/// When to ask again while a publisher is about to go live.
const RETRY_STARTING: Duration = Duration::from_secs(1);
/// When a second publisher may try again: after that long without RTP the first is stale.
pub(super) const RETRY_TAKEN: Duration = Duration::from_secs(2);
/// How often time limits are checked.
const TICK: Duration = Duration::from_millis(250);
/// Shortest time between two keyframe requests to a publisher.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);
/// How long the tracks of a source pipeline are waited for after the first one has shown.
const SETTLE: Duration = Duration::from_millis(500);
/// How long a broadcast stays listed after its last publisher: long enough for the request that
/// made it to arrive.
const LINGER: Duration = Duration::from_secs(1);
/// Reports waiting for the actor: a few per feed and kind.
const REPORTS_MAX: usize = 64;

/// What an actor is asked.
pub(super) enum Request {
    /// Start a publisher.
    Publish {
        offer: Arc<Offer>,
        codecs: Vec<Codec>,
        arrived: Instant,
        reply: Reply<Created>,
    },
    /// Start a viewer, of a rendition that it names or of what fits.
    Watch {
        offer: Arc<Offer>,
        requested: Option<String>,
        reply: Reply<Created>,
    },
    /// End a session because its client wants so.
    End { id: SessionId, reply: Reply<()> },
    /// Tell what there is to know.
    Describe { reply: Reply<Details> },
    /// Tell of the pipelines.
    Pipelines { reply: Reply<Vec<PipelineFigures>> },
    /// Have a pipeline make a keyframe.
    Keyframe { pipeline: String, reply: Reply<()> },
}

/// A new session and its commands.
type Admitted = (Arc<Session>, mpsc::Receiver<Command>);

/// How a child task ended.
pub(super) enum Outcome {
    /// A session that had been answered.
    Ended(End),
    /// A session that never began. The actor tells the client, once nothing is left of it.
    Refused(Reply<Created>, Error),
    /// A run of a source pipeline.
    SourceEnded,
    /// An output or a pipeline of renditions.
    JobEnded,
}

/// What a child task was.
#[derive(Clone, Debug)]
enum Child {
    Feed(u64),
    Viewer(SessionId),
    Job(u64),
}

/// A viewer that has been let in.
struct Viewing {
    session: Arc<Session>,
    offer: Arc<Offer>,
    /// The rendition that it asks for by name.
    requested: Option<String>,
    /// At most one of each kind.
    subscriptions: Vec<Subscription>,
}

/// What a viewer gets of one kind.
struct Subscription {
    kind: Kind,
    /// How it is encoded: that is negotiated, and stays.
    codec: Codec,
    at: At,
    rendition: Arc<fanout::Rendition>,
    /// Whether the viewer can show well what is there.
    fits: bool,
}

/// The one that feeds the broadcast now.
struct Feed {
    number: u64,
    /// The publisher's session; `None` for a pipeline.
    session: Option<Arc<Session>>,
    stop: Stop,
    gate: Arc<Gate>,
    pulse: watch::Receiver<Pulse>,
    /// What it brings; becomes the broadcast's when it goes live.
    tracks: Tracks,
    /// Since when there has been a first frame, while other tracks may still show.
    first_frame: Option<Instant>,
    /// The tracks that have shown.
    started: Vec<Kind>,
    live_since: Option<SystemTime>,
}

impl Feed {
    /// A pipeline that has not shown anything yet.
    fn new(
        number: u64,
        stop: Stop,
        gate: &Arc<Gate>,
        pulse: &watch::Sender<Pulse>,
        tracks: &Tracks,
    ) -> Self {
        Self {
            number,
            session: None,
            stop,
            gate: Arc::clone(gate),
            pulse: pulse.subscribe(),
            tracks: tracks.clone(),
            first_frame: None,
            started: Vec::new(),
            live_since: None,
        }
    }
}

/// A broadcast.
pub(super) struct Actor {
    name: Name,
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    keyframe_wanted: Arc<Notify>,
    plan: Arc<Plan>,
    /// The pipeline that feeds it, and when to start that again.
    source: Option<(PipelineFile, Restarts)>,
    /// Asks the source for a keyframe.
    source_keyframe: Arc<Notify>,
    /// What its last run has told.
    source_snapshot: watch::Receiver<Snapshot>,
    /// Its encoded media, for pipelines.
    streams: EncodedStreams,
    outputs: Vec<Slot>,
    feed: Option<Feed>,
    /// When somebody watched or wanted to last; for a source on demand.
    demanded: Instant,
    tracks: Tracks,
    rendition_pipelines: Vec<RenditionPipeline>,
    /// Whether viewers see the slate: nobody feeds the broadcast.
    slate: bool,
    /// When somebody watched the slate last.
    slate_watched: Instant,
    slate_streams: EncodedStreams,
    gop: GopWatch,
    /// What the source and each rendition demanded of decoders when viewers were judged last.
    judged: Vec<(Option<Codec>, Demands)>,
    viewers: HashMap<SessionId, Viewing>,
    /// Viewers whose rendition has no frame yet; they count as viewers.
    waiting: Vec<Waiting>,
    children: JoinSet<Outcome>,
    child_names: HashMap<task::Id, Child>,
    vacant_since: Instant,
    /// When the last one who went live had gone; for the grace period.
    gone_since: Option<Instant>,
    keyframe_asked: Option<Instant>,
    keyframe_due: bool,
    status: watch::Sender<Status>,
}

impl Actor {
    pub(super) fn new(
        name: &Name,
        shared: Arc<Shared>,
        requests: mpsc::Receiver<Request>,
    ) -> (Self, watch::Receiver<Status>) {
        let plan = Arc::new(shared.options.plans.of(name));
        let keyframe_wanted = Arc::<Notify>::default();
        let stream = |kind| {
            let wanted = Arc::clone(&keyframe_wanted);
            Some(EncodedStream::new(kind, move || wanted.notify_one()))
        };
        let streams = EncodedStreams {
            video: stream(Kind::Video),
            audio: stream(Kind::Audio),
        };
        let outputs: Vec<_> = plan.outputs.iter().cloned().map(Slot::new).collect();
        let rendition_pipelines = pipelines::all(&plan, name);
        let (status, receiver) = watch::channel(Status {
            name: name.clone(),
            state: State::Waiting,
            viewers: 0,
            started: None,
            source: if plan.source.is_some() {
                SourceKind::Pipeline
            } else {
                SourceKind::Whip
            },
            tracks: Vec::new(),
            outputs: Vec::new(),
            renditions: Vec::new(),
            on_demand: plan.on_demand,
            live: false,
        });
        let actor = Self {
            name: name.clone(),
            shared,
            requests,
            reports: mpsc::channel(REPORTS_MAX),
            keyframe_wanted,
            source: plan.source.clone().map(|text| (text, Restarts::default())),
            source_keyframe: Arc::default(),
            source_snapshot: watch::channel(Snapshot::default()).1,
            plan,
            streams,
            outputs,
            slate: false,
            slate_watched: Instant::now(),
            slate_streams: pipelines::slate_streams(&rendition_pipelines),
            gop: GopWatch::default(),
            judged: Vec::new(),
            rendition_pipelines,
            waiting: Vec::new(),
            feed: None,
            demanded: Instant::now(),
            tracks: Tracks::default(),
            viewers: HashMap::new(),
            children: JoinSet::new(),
            child_names: HashMap::new(),
            vacant_since: Instant::now(),
            gone_since: None,
            keyframe_asked: None,
            keyframe_due: false,
            status,
        };
        (actor, receiver)
    }

    pub(super) async fn run(mut self) {
        let begun = Instant::now();
        tracing::info!(broadcast = %self.name, "broadcast begins");
        let stopping = self.shared.stopping.clone();
        tokio::select! {
            () = self.work() => {}
            () = stopping.cancelled() => self.drain().await,
        }
        let seconds = begun.elapsed().as_secs();
        tracing::info!(broadcast = %self.name, seconds, "broadcast ended");
    }

    /// Runs until nothing is left of the broadcast and it is removed from the directory.
    async fn work(&mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(request) = self.requests.recv() => self.answer(request),
                Some(report) = self.reports.1.recv() => self.note(report),
                Some(child) = self.children.join_next_with_id() => self.reap(child),
                () = self.keyframe_wanted.notified() => self.keyframe_due = true,
                _ = tick.tick() => self.check_times(Instant::now()),
            }
            self.ask_for_keyframe(Instant::now());
            self.run_outputs();
            self.publish_status();
            if self.is_idle() && self.shared.remove(&self.name, &mut self.requests) {
                break;
            }
        }
    }

    /// Ends every session and waits for their goodbyes; the server limits the time.
    async fn drain(&mut self) {
        self.requests.close();
        self.source = None;
        self.retire_feed(End::Shutdown);
        self.close_viewers(End::Shutdown);
        self.end_jobs(End::Shutdown);
        self.settle_all(Instant::now());
        while let Some(child) = self.children.join_next_with_id().await {
            self.reap(child);
        }
    }

    /// Whether nobody publishes or watches and nobody is about to.
    fn is_idle(&self) -> bool {
        self.source.is_none()
            && self.feed.is_none()
            && self.children.is_empty()
            && self.waiting.is_empty()
            && !self.slate
            && self.vacant_since.elapsed() >= LINGER
    }

    fn answer(&mut self, request: Request) {
        match request {
            Request::Publish { reply, .. } | Request::Watch { reply, .. } if reply.is_closed() => {}
            Request::Publish {
                offer,
                codecs,
                arrived,
                reply,
            } => match self.admit_publisher(&offer, arrived) {
                Ok(admitted) => self.start_publisher(admitted, (offer, codecs), reply),
                Err(error) => respond(reply, Err(error)),
            },
            Request::Watch {
                offer,
                requested,
                reply,
            } => match self.admit_viewer(&offer, requested.as_deref()) {
                Ok(admitted) => {
                    let since = Instant::now();
                    let waiting = Waiting {
                        admitted,
                        offer,
                        requested,
                        reply,
                        since,
                    };
                    self.settle(waiting, since);
                    if self.is_on_demand() {
                        self.run_source(since);
                    }
                }
                Err(error) => respond(reply, Err(error)),
            },
            Request::End { id, reply } => respond(reply, self.end_session(&id)),
            Request::Describe { reply } => respond(reply, Ok(self.details())),
            Request::Pipelines { reply } => respond(reply, Ok(self.pipelines())),
            Request::Keyframe { pipeline, reply } => {
                respond(reply, self.force_keyframe(&pipeline));
            }
        }
    }

    /// A session for `offer`, known to the directory from now on.
    fn new_session(&self, role: Role, offer: &Offer) -> Result<Admitted, Error> {
        let number = self.shared.number();
        let (session, commands) = Session::new(number, role, self.name.clone(), offer)?;
        self.shared.register(&session)?;
        Ok((session, commands))
    }

    fn end_session(&mut self, id: &SessionId) -> Result<(), Error> {
        if let Some(viewer) = self.viewers.remove(id) {
            viewer.session.stop.end(End::Deleted);
            self.shared.unregister(id);
            return Ok(());
        }
        if self
            .feed
            .as_ref()
            .and_then(|feed| feed.session.as_ref())
            .is_some_and(|s| s.id == *id)
        {
            self.retire_feed(End::Deleted);
            return Ok(());
        }
        Err(Error::Missing("session"))
    }

    /// Takes note of a child task that has ended.
    fn reap(&mut self, child: Result<(task::Id, Outcome), JoinError>) {
        let (id, outcome) = child.unwrap_or_else(|error| {
            tracing::error!(broadcast = %self.name, %error, "a session's task failed");
            (error.id(), Outcome::Ended(End::Failed))
        });
        let end = match outcome {
            Outcome::Ended(end) => end,
            Outcome::Refused(..) | Outcome::SourceEnded | Outcome::JobEnded => End::Failed,
        };
        match self.child_names.remove(&id) {
            Some(Child::Viewer(id)) => {
                self.viewers.remove(&id);
                self.shared.unregister(&id);
            }
            Some(Child::Feed(number))
                if self.feed.as_ref().is_some_and(|feed| feed.number == number) =>
            {
                self.retire_feed(end);
            }
            Some(Child::Job(number)) => self.reap_job(number),
            Some(Child::Feed(_)) | None => {}
        }
        match outcome {
            Outcome::Ended(end) => self.shared.counters.ended(end),
            Outcome::Refused(reply, error) => {
                self.publish_status();
                respond(reply, Err(error));
            }
            Outcome::SourceEnded | Outcome::JobEnded => {}
        }
    }
}

fn respond<T>(reply: Reply<T>, answer: Result<T, Error>) {
    // Err: the client has left.
    let _ = reply.send(answer);
}
