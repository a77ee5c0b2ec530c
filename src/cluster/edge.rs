//! Follows tracks of a broadcast whose origin is another node: asks for them, receives them, and
//! fills gaps.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Message, Subscriber};
use futures_util::{StreamExt as _, stream::SelectAll};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use super::{
    Cluster, ClusterShared,
    clock::ClockOffset,
    control::{self, Unanswered},
    frames::{Assembly, HEAD_BYTES, NumberedFrame},
    sequence::TrackSequence,
    subject::{self, TrackName},
    want::{Want, Wanted},
};
use crate::{awake, media::Frame, plan::Name};

/// How often a request for a track is renewed.
const RENEWAL: Duration = Duration::from_secs(1);
/// Time for the origin to answer one.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// How often to ask for a track that has not begun.
const RETRY: Duration = Duration::from_millis(250);
/// How often to check for gaps and silence.
const TICK: Duration = Duration::from_millis(50);
/// How long the origin may take to answer after a silence before the NATS server is suspected.
const DOUBT: Duration = Duration::from_millis(100);

/// Tracks of another node's broadcast to follow.
#[derive(Clone, Debug)]
pub struct FollowRequest {
    /// The broadcast.
    pub broadcast: Name,
    /// Its origin.
    pub node: String,
    /// Of the origin's claim.
    pub epoch: u64,
    /// The tracks.
    pub tracks: Vec<TrackName>,
    /// This node's viewers.
    pub viewers: watch::Receiver<usize>,
}

/// What following yields.
#[derive(Debug)]
pub enum Followed {
    /// The next frame of a track, on this node's clock.
    Frame {
        /// Index of the track in the request.
        track: usize,
        /// The frame.
        frame: Frame,
    },
    /// The origin has given a sign of life.
    Alive,
}

impl Cluster {
    /// Follows tracks until their origin has no claim to the broadcast any more.
    pub async fn follow(&self, request: FollowRequest, take: impl FnMut(Followed) + Send) {
        let tracks = request.tracks.iter().map(FollowedTrack::new).collect();
        let client = &self.shared.connection.client;
        let inbox = client.new_inbox();
        let mut messages = SelectAll::new();
        let subjects = request
            .tracks
            .iter()
            .map(|track| subject::frames(&request.broadcast, request.epoch, track));
        for subject in subjects.chain([format!("{inbox}.>")]) {
            match client.subscribe(subject).await {
                Ok(subscriber) => messages.push(subscriber),
                Err(_) => return, // the client is closing
            }
        }
        let following = Following {
            shared: Arc::clone(&self.shared),
            request,
            inbox,
            messages,
            tracks,
            clock: ClockOffset::default(),
            answers: JoinSet::new(),
            heard: awake::now(),
            doubt_after: self.shared.options.silence + DOUBT,
            absent: false,
            connections: *self.shared.connection.connected.borrow(),
            take,
        };
        following.run().await;
    }
}

/// One track.
struct FollowedTrack {
    name: TrackName,
    live: Assembly,
    again: Assembly,
    sequence: TrackSequence,
    /// When it was last requested.
    asked: Option<Instant>,
    keyframe_asked: Option<Instant>,
}

impl FollowedTrack {
    fn new(name: &TrackName) -> Self {
        Self {
            name: name.clone(),
            live: Assembly::default(),
            again: Assembly::default(),
            sequence: TrackSequence::default(),
            asked: None,
            keyframe_asked: None,
        }
    }
}

/// An answer to the request for the track with this index.
struct TrackAnswer {
    track: usize,
    wanted: Result<Wanted, Unanswered>,
}

struct Following<T> {
    shared: Arc<ClusterShared>,
    request: FollowRequest,
    inbox: String,
    messages: SelectAll<Subscriber>,
    tracks: Vec<FollowedTrack>,
    /// One for all tracks: they stay in sync.
    clock: ClockOffset,
    answers: JoinSet<TrackAnswer>,
    /// When the last frame or answer arrived, or the connection came up.
    heard: Instant,
    /// How long a silence may last before switching to another server. Doubles each time that this
    /// does not help.
    doubt_after: Duration,
    /// The server does not know the origin: it has died, or cannot be reached from there.
    absent: bool,
    /// The number of connections at the last check.
    connections: u64,
    take: T,
}

impl<T: FnMut(Followed) + Send> Following<T> {
    async fn run(mut self) {
        let mut changes = self.shared.changes.subscribe();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = self.messages.next() => match message {
                    Some(message) => self.receive(message),
                    None => return, // the client is closing
                },
                Some(answer) = self.answers.join_next() => if let Ok(answer) = answer {
                    self.answered(&answer);
                },
                _ = tick.tick() => self.look(),
                Ok(()) = changes.changed() => if !self.is_current() {
                    return;
                },
            }
        }
    }

    /// Whether the broadcast still has this origin.
    fn is_current(&self) -> bool {
        let key = subject::token(self.request.broadcast.as_str());
        let replica = self.shared.replica();
        let claim = replica.claim(&key);
        claim.is_some_and(|claim| claim.epoch == self.request.epoch)
    }

    fn receive(&mut self, message: Message) {
        let again = message.subject.starts_with(&self.inbox);
        let name = TrackName::of_subject(&message.subject);
        let mut tracks = self.tracks.iter_mut().enumerate();
        let found = tracks.find(|(_, track)| Some(&track.name) == name.as_ref());
        let Some((index, track)) = found else {
            return;
        };
        let bytes = message.payload.len().saturating_sub(HEAD_BYTES);
        self.shared.counters.received_bytes(bytes);
        let assembly = if again {
            &mut track.again
        } else {
            &mut track.live
        };
        let frame = match assembly.take(message.payload) {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, track = %track.name, "unreadable frame");
                return;
            }
        };
        if frame.frame.codec.kind() != track.name.kind {
            return;
        }
        let now = awake::now();
        let due = track.sequence.push(frame, now);
        self.hear(now);
        self.shared.counters.received_frame();
        self.hand_over(index, due);
    }

    fn hand_over(&mut self, track: usize, due: Vec<NumberedFrame>) {
        for NumberedFrame { sent, frame, .. } in due {
            let now = (self.shared.options.clock)();
            let frame = self.clock.apply(frame, sent, now);
            (self.take)(Followed::Frame { track, frame });
        }
    }

    /// The origin has given a sign of life.
    fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.doubt_after = self.shared.options.silence + DOUBT;
        self.absent = false;
    }

    fn answered(&mut self, answer: &TrackAnswer) {
        let now = awake::now();
        let begins = match answer.wanted {
            Ok(Wanted { lent, begins }) => {
                self.hear(now);
                if !lent {
                    return;
                }
                begins
            }
            Err(unanswered) => {
                self.absent = unanswered == Unanswered::Absent;
                return;
            }
        };
        (self.take)(Followed::Alive);
        if let Some(begins) = begins
            && let Some(track) = self.tracks.get_mut(answer.track)
        {
            let due = track.sequence.begin_at(begins, now);
            self.hand_over(answer.track, due);
        }
    }

    /// Asks for what is due or missing.
    fn look(&mut self) {
        let now = awake::now();
        let past = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        let resumes = self.is_new_connection();
        if resumes {
            self.heard = now;
        }
        let silent = past(self.heard, self.shared.options.silence);
        let mut keyframes = Vec::new();
        for index in 0..self.tracks.len() {
            let Some(track) = self.tracks.get_mut(index) else {
                continue;
            };
            let due = track.sequence.tick(now);
            let (repaired, lost) = (track.sequence.take_repaired(), track.sequence.take_lost());
            self.shared.counters.gaps(repaired, lost);
            let waits = track.sequence.needs_keyframe();
            let limit = if waits || silent { RETRY } else { RENEWAL };
            let is_due = resumes || track.asked.is_none_or(|asked| past(asked, limit));
            let asks = track.sequence.asks(now);
            let begun = track.asked.is_some();
            if is_due || asks {
                track.asked = Some(now);
            }
            let late = |asked: Option<Instant>| asked.is_none_or(|asked| past(asked, RENEWAL));
            if waits && begun && is_due && late(track.keyframe_asked) {
                track.keyframe_asked = Some(now);
                keyframes.push(track.name.clone());
            }
            self.hand_over(index, due);
            if is_due || asks {
                self.ask(index, waits || silent || asks || resumes);
            }
        }
        for track in keyframes {
            let cluster = Cluster {
                shared: Arc::clone(&self.shared),
            };
            let FollowRequest {
                node, broadcast, ..
            } = &self.request;
            cluster.request_keyframe(node, broadcast, &track);
        }
        self.doubt(now);
    }

    /// Whether there has been another connection since this was asked last.
    fn is_new_connection(&mut self) -> bool {
        let connections = *self.shared.connection.connected.borrow();
        std::mem::replace(&mut self.connections, connections) != connections
    }

    /// Switches to another server if this one delivers nothing from a live origin.
    fn doubt(&mut self, now: Instant) {
        // An origin that has died is not in the replica for longer than that.
        let lease = if self.absent {
            self.shared.options.lease
        } else {
            Duration::ZERO
        };
        if now.saturating_duration_since(self.heard) < lease + self.doubt_after {
            return;
        }
        self.doubt_after *= 2;
        let shared = Arc::clone(&self.shared);
        self.shared
            .spawn(async move { shared.connection.change().await });
    }

    /// Asks for a track; `again`: and for its cached frames.
    fn ask(&mut self, index: usize, again: bool) {
        let Some(track) = self.tracks.get(index) else {
            return;
        };
        let want = Want {
            broadcast: self.request.broadcast.to_string(),
            epoch: self.request.epoch,
            track: track.name.to_string(),
            node: self.shared.options.node.clone(),
            viewers: *self.request.viewers.borrow(),
            again,
            after: track.sequence.last(),
            inbox: self.inbox.clone(),
        };
        let (shared, node) = (Arc::clone(&self.shared), self.request.node.clone());
        self.answers.spawn(async move {
            TrackAnswer {
                track: index,
                wanted: control::ask_for_track(&shared, &node, &want, ANSWER_MAX).await,
            }
        });
    }
}
