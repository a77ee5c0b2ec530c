//! The actor of a broadcast: one task that hands events to the parts, one at a time, and carries
//! out the actions that they return.

mod children;
mod happenings;
mod nodes;
mod sessions;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc, watch},
    task::{self, JoinError, JoinSet},
    time::{MissedTickBehavior, interval},
};

pub(super) use self::nodes::NodeQuestion;
use super::{
    Created, Error, Options, Reply, Session, Shared,
    action::{Action, Switched},
    attendee::Attendee,
    audience::Visitor,
    gate::MediaEvent,
    happenings::between,
    outcome::Outcome,
    parts::Parts,
    session::{Applicant, Command, Stop},
    slot::RunId,
    status::{Details, PipelineFigures, Status},
    tracks::NewRendition,
};
use crate::{
    awake,
    chat::Guest,
    cluster::ClaimHold,
    fanout::webrtcbin::ViewerWorkers,
    media::Codec,
    peer::{
        End,
        sdp::{Offer, Role},
    },
    plan::Name,
};

/// How often time limits are checked.
const TICK: Duration = Duration::from_millis(250);
/// Media events waiting for the actor: a few per input and rendition.
const MEDIA_EVENTS_MAX: usize = 64;

/// A request to an actor.
pub(super) enum ActorRequest {
    /// Start a publisher.
    Publish {
        applicant: Applicant,
        codecs: Vec<Codec>,
        arrived: Instant,
        /// Identifies the token that it came with.
        token: Option<Arc<str>>,
        /// This node's claim as the origin; none for a server on its own.
        claim: Option<Arc<ClaimHold>>,
        reply: Reply<Created>,
    },
    /// Start a viewer of the rendition that it names, or of whatever suits it.
    Watch {
        applicant: Applicant,
        requested: Option<String>,
        reply: Reply<Created>,
    },
    /// End a session, by number, at its client's or the operator's request.
    End {
        session: u64,
        why: End,
        reply: Reply<()>,
    },
    /// Have a viewer, by number, ask for the rendition with this name, or for none.
    Move {
        session: u64,
        requested: Option<String>,
        reply: Reply<()>,
    },
    /// List the sessions.
    Attendees { reply: Reply<Vec<Attendee>> },
    /// Describe the broadcast.
    Describe { reply: Reply<Details> },
    /// List the pipelines.
    Pipelines { reply: Reply<Vec<PipelineFigures>> },
    /// Force a keyframe in a pipeline.
    Keyframe { pipeline: String, reply: Reply<()> },
    /// Answer another node.
    Node(NodeQuestion),
}

/// The kind of a child task.
#[derive(Clone, Copy, Debug)]
enum Child {
    Publisher(u64),
    Viewer(u64),
    Run(RunId),
    Claim,
    Remote,
}

/// A run of a pipeline.
struct ActiveRun {
    stop: Stop,
    /// The pipeline's name.
    pipeline: String,
}

/// A session of the broadcast.
struct Member {
    session: Arc<Session>,
    /// Until its task begins.
    pending: Option<Pending>,
}

/// What a session's task needs to start.
struct Pending {
    commands: mpsc::Receiver<Command>,
    offer: Arc<Offer>,
    guest: Guest,
    reply: Reply<Created>,
}

/// The task of a broadcast.
pub(super) struct Actor {
    name: Name,
    shared: Arc<Shared>,
    /// Tells when the options change.
    followed: watch::Receiver<Arc<Options>>,
    parts: Parts,
    requests: mpsc::Receiver<ActorRequest>,
    media: mpsc::Receiver<MediaEvent>,
    /// For everyone who reports.
    reports: mpsc::Sender<MediaEvent>,
    keyframe_wanted: Arc<Notify>,
    /// By number.
    members: BTreeMap<u64, Member>,
    runs: HashMap<RunId, ActiveRun>,
    /// Viewers whose connections have come up, by number.
    joined: BTreeSet<u64>,
    children: JoinSet<Outcome>,
    child_names: HashMap<task::Id, Child>,
    status: watch::Sender<Status>,
    /// While this node is the origin, if there are several nodes.
    claim: Option<Arc<ClaimHold>>,
    /// Whether an attempt is being made to get one.
    claiming: bool,
    /// Ends what follows another node.
    remote: Option<Stop>,
    /// Counts what has followed other nodes.
    remotes: u64,
    /// This node's viewers, for the origin.
    watchers: watch::Sender<usize>,
    /// The processes of its viewers on webrtcbin.
    viewer_workers: ViewerWorkers,
}

impl Actor {
    pub(super) fn new(
        name: &Name,
        shared: Arc<Shared>,
        requests: mpsc::Receiver<ActorRequest>,
    ) -> (Self, watch::Receiver<Status>) {
        let now = awake::now();
        let fanout = shared.fanout.clone();
        let new_rendition: NewRendition = Arc::new(move |kind| fanout.rendition(kind));
        let mut followed = shared.options.follow();
        let options = Arc::clone(&followed.borrow_and_update());
        let rules = shared.rules(&options);
        let plan = Arc::new(options.plans.of(name));
        let parts = Parts::new(name, &rules, plan, &new_rendition, now);
        let (status, receiver) = watch::channel(parts.status(now));
        let (reports, media) = mpsc::channel(MEDIA_EVENTS_MAX);
        let actor = Self {
            name: name.clone(),
            shared,
            followed,
            keyframe_wanted: parts.keyframe_notify(),
            parts,
            requests,
            media,
            reports,
            members: BTreeMap::new(),
            runs: HashMap::new(),
            joined: BTreeSet::new(),
            children: JoinSet::new(),
            child_names: HashMap::new(),
            status,
            claim: None,
            claiming: false,
            remote: None,
            remotes: 0,
            watchers: watch::Sender::new(0),
            viewer_workers: options.viewer.webrtcbin.workers.of(name.as_str()),
        };
        (actor, receiver)
    }

    pub(super) async fn run(mut self) {
        let begun = awake::now();
        tracing::info!("broadcast started");
        self.tell_started();
        let stopping = self.shared.stopping.clone();
        tokio::select! {
            () = self.work() => {}
            () = stopping.cancelled() => self.drain().await,
        }
        tracing::info!(seconds = awake::since(begun).as_secs(), "broadcast ended");
        self.tell_ended();
    }

    /// Runs until nothing is left of the broadcast and it is removed from the directory.
    async fn work(&mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.node_changes();
        self.look_around();
        loop {
            let claim = self.claim.clone();
            tokio::select! {
                Some(request) = self.requests.recv() => self.answer(request),
                Some(()) = changed(&mut changes) => self.look_around(),
                Some(()) = lost(claim.as_ref()) => self.lose_claim(),
                Some(event) = self.media.recv() => {
                    if let MediaEvent::Connected { session } = event {
                        self.tell_joined(session);
                    }
                    let actions = self.parts.media(event, awake::now());
                    self.perform(actions);
                }
                Some(child) = self.children.join_next_with_id() => self.reap(child),
                () = self.keyframe_wanted.notified() => {
                    let action = self.parts.keyframe_wanted(awake::now());
                    self.perform(action);
                    continue; // it changes nothing that the status tells
                }
                Ok(()) = self.followed.changed() => self.reconfigure(),
                _ = tick.tick() => self.tick(),
            }
            self.publish_status();
            drop(claim);
            self.tell_nodes();
            if self.is_idle() && self.shared.remove(&self.name, &mut self.requests) {
                break;
            }
        }
    }

    /// Follows the options that hold now.
    fn reconfigure(&mut self) {
        let options = self.shared.options.now();
        let rules = self.shared.rules(&options);
        let plan = Arc::new(options.plans.of(&self.name));
        let actions = self.parts.reconfigure(rules, plan, awake::now());
        self.perform(actions);
    }

    /// Ends every session and waits for their goodbyes; the server limits the time.
    async fn drain(&mut self) {
        self.requests.close();
        let actions = self.parts.shut_down(awake::now());
        self.perform(actions);
        while let Some(child) = self.children.join_next_with_id().await {
            match self.name_child(child) {
                (child, Outcome::Ended(end)) => {
                    if let Some(Child::Viewer(number)) = child {
                        self.tell_left(number, end);
                    }
                    self.shared.counters.ended(end);
                }
                (_, Outcome::Refused(reply, error)) => respond(reply, Err(error)),
                (_, Outcome::Run(_) | Outcome::Claimed(_) | Outcome::Followed(_)) => {}
            }
        }
        self.claim = None;
    }

    /// Whether nobody publishes or watches and nobody is about to.
    fn is_idle(&self) -> bool {
        self.children.is_empty() && self.parts.is_idle(awake::now())
    }

    fn tick(&mut self) {
        let gone = |(number, member): (&u64, &Member)| {
            let pending = member.pending.as_ref()?;
            let gone = pending.reply.is_closed() || member.session.stop.is_set();
            gone.then_some(*number)
        };
        // Clients that left before they were answered, and those that made room on a full server.
        let gone: Vec<u64> = self.members.iter().filter_map(gone).collect();
        for number in gone {
            self.parts.viewer_ended(number);
            let member = self.forget(number);
            if let Some(pending) = member.and_then(|member| member.pending) {
                respond(pending.reply, Err(Error::Full("sessions")));
            }
        }
        let actions = self.parts.tick(awake::now());
        self.perform(actions);
    }

    fn answer(&mut self, request: ActorRequest) {
        let now = awake::now();
        match request {
            ActorRequest::Publish { reply, .. } | ActorRequest::Watch { reply, .. }
                if reply.is_closed() => {}
            ActorRequest::Publish {
                applicant,
                codecs,
                arrived,
                token,
                claim,
                reply,
            } => {
                if let Err(error) = self.check_publisher(arrived, claim.as_deref(), now) {
                    return respond(reply, Err(error));
                }
                let rids = applicant.offer.layers().to_vec();
                if let Some(number) = self.admit(Role::Publisher, applicant, token, reply) {
                    if claim.is_some() {
                        self.claim = claim;
                        self.look_around();
                    }
                    let actions = self.parts.publish(number, &codecs, &rids, now);
                    self.perform(actions);
                }
            }
            ActorRequest::Watch {
                applicant,
                requested,
                reply,
            } => {
                if let Err(error) = self.parts.check_viewer(requested.as_deref(), now) {
                    return respond(reply, Err(error));
                }
                let visitor = Visitor {
                    offer: Arc::clone(&applicant.offer),
                    requested,
                };
                if let Some(number) = self.admit(Role::Viewer, applicant, None, reply) {
                    let actions = self.parts.watch(number, visitor, now);
                    self.perform(actions);
                }
            }
            ActorRequest::End {
                session,
                why,
                reply,
            } => {
                let actions = self.parts.delete(session, why, now);
                let known = actions.is_some();
                self.perform(actions.into_iter().flatten());
                respond(reply, known.then_some(()).ok_or(Error::Missing("session")));
            }
            ActorRequest::Move {
                session,
                requested,
                reply,
            } => {
                let moved = self.parts.move_viewer(session, requested, now);
                respond(reply, moved.map(|actions| self.perform(actions)));
            }
            ActorRequest::Node(question) => self.answer_node(question),
            ActorRequest::Attendees { reply } => respond(reply, Ok(self.attendees())),
            ActorRequest::Describe { reply } => respond(reply, Ok(self.parts.details(now))),
            ActorRequest::Pipelines { reply } => respond(reply, Ok(self.parts.pipelines())),
            ActorRequest::Keyframe { pipeline, reply } => {
                let asked = self.parts.force_keyframe(&pipeline, now);
                respond(reply, asked.map(|action| self.perform(action)));
            }
        }
    }

    fn perform(&mut self, actions: impl IntoIterator<Item = Action>) {
        let mut switched = BTreeMap::new();
        for action in actions {
            match action {
                Action::StartPublisher { session, input } => self.start_publisher(session, input),
                Action::StartRun(start) => self.start_run(*start),
                Action::StopRun(stop) => {
                    if let Some(run) = self.runs.get(&stop.run) {
                        run.stop.end(stop.why);
                    }
                }
                Action::Admit { session, view } => self.start_viewer(session, view),
                Action::Refuse { session, error } => {
                    let member = self.forget(session);
                    if let Some(pending) = member.and_then(|member| member.pending) {
                        respond(pending.reply, Err(error));
                    }
                }
                Action::Switch(switching) => self.switch(&switching, &mut switched),
                Action::Close { session, why } => {
                    if let Some(member) = self.forget(session) {
                        member.session.stop.end(why);
                    }
                }
                Action::RequestKeyframe { session } => self.request_keyframe(session),
                Action::Claim => self.start_claim(),
                Action::StartRemote(start) => self.start_remote(*start),
                Action::StopRemote => self.stop_remote(),
                Action::AskOrigin => self.ask_origin(),
            }
        }
        for (Switched { kind, from, to }, viewers) in switched {
            tracing::info!(%kind, from, to, viewers, "viewers switched");
        }
    }

    /// Handles the end of a child task.
    fn reap(&mut self, child: Result<(task::Id, Outcome), JoinError>) {
        let now = awake::now();
        let (child, outcome) = self.name_child(child);
        let why = match &outcome {
            Outcome::Ended(end) => *end,
            Outcome::Refused(..) | Outcome::Run(_) | Outcome::Claimed(_) | Outcome::Followed(_) => {
                End::Failed
            }
        };
        match (child, &outcome) {
            (Some(Child::Viewer(number)), _) => {
                self.tell_left(number, why);
                self.parts.viewer_ended(number);
                self.forget_ended(number, why);
            }
            (Some(Child::Publisher(number)), _) => {
                let actions = self.parts.publisher_ended(number, why, now);
                self.perform(actions);
                self.forget_ended(number, why);
            }
            (Some(Child::Run(run)), Outcome::Run(end)) => {
                if let Some(error) = &end.error {
                    self.tell_failed(run, error);
                }
                self.runs.remove(&run);
                let actions = self.parts.run_ended(end, now);
                self.perform(actions);
            }
            (Some(Child::Run(_) | Child::Claim | Child::Remote) | None, _) => {}
        }
        match outcome {
            Outcome::Ended(end) => self.shared.counters.ended(end),
            Outcome::Refused(reply, error) => {
                self.publish_status();
                respond(reply, Err(error));
            }
            Outcome::Run(_) => {}
            Outcome::Claimed(claim) => self.claimed(claim),
            Outcome::Followed(number) => self.followed(number),
        }
    }

    fn publish_status(&self) {
        let new = self.parts.status(awake::now());
        let mut happened = Vec::new();
        let changed = self.status.send_if_modified(|status| {
            let changed = *status != new;
            if changed {
                happened = between(status, &new);
            }
            *status = new;
            changed
        });
        for what in happened {
            self.shared.events.tell(what);
        }
        if changed {
            self.shared.notify();
        }
    }
}

/// Waits for a change, if there can be one.
async fn changed(changes: &mut Option<watch::Receiver<u64>>) -> Option<()> {
    changes.as_mut()?.changed().await.ok()
}

/// Waits for the loss of a claim, if there is one.
async fn lost(claim: Option<&Arc<ClaimHold>>) -> Option<()> {
    claim?.lost().await;
    Some(())
}

fn respond<T>(reply: Reply<T>, answer: Result<T, Error>) {
    // Err: the client has left.
    let _ = reply.send(answer);
}
