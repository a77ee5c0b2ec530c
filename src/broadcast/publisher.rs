//! A publisher's session: negotiate, connect, run, close.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    ANSWER_TIMEOUT, Created, Error, Reply, Session,
    actor::{Outcome, RETRY_TAKEN},
    session::Command,
    status::SharedCounters,
    takeover::Pulse,
};
use crate::{
    fanout::Fanout,
    ingest::{self, Publisher, Reports, Sinks},
    peer::{
        End, Event,
        sdp::{Offer, Role},
    },
};

/// How often the engine's counters are read.
const PULSE: Duration = Duration::from_millis(250);
/// Pause between two keyframe requests because of losses.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);
/// Events waiting for the task: connected, two tracks, closed.
const EVENTS_MAX: usize = 16;

/// Everything a publisher's task needs.
pub(super) struct Task {
    pub(super) session: Arc<Session>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) offer: Arc<Offer>,
    pub(super) sinks: Sinks,
    pub(super) options: ingest::Options,
    pub(super) fanout: Fanout,
    pub(super) pulse: watch::Sender<Pulse>,
    pub(super) counters: SharedCounters,
}

impl Task {
    /// Runs the session to its end.
    pub(super) async fn run(self, reply: Reply<Created>) -> Outcome {
        let Self {
            session,
            commands,
            offer,
            sinks,
            options,
            fanout,
            pulse,
            counters,
        } = self;
        let (events_sender, events) = mpsc::channel(EVENTS_MAX);
        let keyframe = Arc::<Notify>::default();
        let reports = Reports {
            events: events_sender,
            keyframe_wanted: Arc::clone(&keyframe),
        };
        let accepted = timeout(
            ANSWER_TIMEOUT,
            Publisher::accept(&offer, &options, fanout.port(), sinks, reports),
        );
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            end = session.stop.ended() => return Outcome::Refused(reply, stopped(&session, end)),
        };
        let error = match accepted {
            Ok(Ok((publisher, answer))) => {
                let began = Instant::now();
                pulse.send_modify(|pulse| pulse.answered = Some(began));
                counters.started(Role::Publisher);
                tracing::info!(broadcast = %session.broadcast, session = session.number, "publisher begins");
                let end = if reply
                    .send(Ok(Created {
                        session: Arc::clone(&session),
                        answer,
                    }))
                    .is_ok()
                {
                    follow(&session, &publisher, (commands, events, &keyframe), &pulse).await
                } else {
                    // The client has left before the answer.
                    End::Deleted
                };
                let stats = publisher.statistics();
                publisher.close(end).await;
                tracing::info!(
                    broadcast = %session.broadcast,
                    session = session.number,
                    ?end,
                    seconds = began.elapsed().as_secs(),
                    packets = stats.packets,
                    bytes = stats.bytes,
                    lost = stats.lost,
                    "publisher ended"
                );
                return Outcome::Ended(end);
            }
            Ok(Err(error)) => error.into(),
            Err(_) => Error::Failed("the engine did not answer in time".to_owned()),
        };
        tracing::warn!(broadcast = %session.broadcast, session = session.number, %error, "publisher refused");
        Outcome::Refused(reply, error)
    }
}

/// What a client is told whose session ended before it was answered.
fn stopped(session: &Session, end: End) -> Error {
    match end {
        End::Shutdown => Error::Stopping,
        _ => Error::Taken {
            name: session.broadcast.clone(),
            retry_after: RETRY_TAKEN,
        },
    }
}

/// Runs a session that has been answered; returns why it ends.
async fn follow(
    session: &Session,
    publisher: &Publisher,
    (mut commands, mut events, keyframe): (mpsc::Receiver<Command>, mpsc::Receiver<Event>, &Notify),
    pulse: &watch::Sender<Pulse>,
) -> End {
    let mut last_request = Instant::now();
    let mut tick = interval(PULSE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Connected) => {
                    pulse.send_modify(|pulse| pulse.connected = Some(Instant::now()));
                    tracing::debug!(session = session.number, "publisher connected");
                }
                Some(Event::Track(kind, codec)) => {
                    tracing::debug!(session = session.number, %kind, %codec, "first frame");
                }
                Some(Event::KeyframeWanted) => {}
                Some(Event::Closed(end)) => return end,
                None => return End::Failed,
            },
            Some(command) = commands.recv() => match command {
                Command::Candidates(candidates) => publisher.add_candidates(&candidates),
                Command::Keyframe => publisher.request_keyframe(),
                Command::Layer(_) | Command::Switch(_) => {}
                Command::Restart { ice_ufrag, ice_pwd, reply } => {
                    // Err: the client has left.
                    let _ = reply.send(publisher.restart(&ice_ufrag, &ice_pwd).await);
                }
            },
            () = keyframe.notified(), if last_request.elapsed() >= KEYFRAME_INTERVAL => {
                last_request = Instant::now();
                publisher.request_keyframe();
            }
            end = session.stop.ended() => return end,
            _ = tick.tick() => {
                let last_packet = publisher.statistics().last_packet;
                pulse.send_if_modified(|pulse| {
                    let changed = pulse.last_packet != last_packet;
                    pulse.last_packet = last_packet;
                    changed
                });
            }
        }
    }
}
