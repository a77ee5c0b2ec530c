//! A publisher's session: negotiate, connect, run, close.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{MissedTickBehavior, interval},
};

use super::{
    ANSWER_TIMEOUT, AnswerDelivery, Created, Error, Reply, Session,
    bitrate::{BitrateWatch, Pace},
    figures::{SessionFigures, SessionReport},
    keyframes::REQUEST_INTERVAL,
    outcome::Outcome,
    participation::{Invitation, Participation},
    session::Command,
    status::SharedCounters,
    takeover::Pulse,
};
use crate::{
    awake,
    fanout::Fanout,
    ingest::{self, Publisher, Reports, Sinks},
    peer::{
        End, Event,
        sdp::{Offer, Role},
    },
};

/// How often the engine's counters are read.
const PULSE: Duration = Duration::from_millis(250);
/// Events waiting for the task: connected, two tracks, closed.
const EVENTS_MAX: usize = 16;

/// Everything that a publisher's task needs.
pub(super) struct PublisherTask {
    pub(super) session: Arc<Session>,
    /// From the answer to the client's first check.
    pub(super) first_check: Duration,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) invitation: Invitation,
    pub(super) offer: Arc<Offer>,
    pub(super) sinks: Sinks,
    pub(super) options: ingest::Options,
    pub(super) fanout: Fanout,
    pub(super) pulse: watch::Sender<Pulse>,
    pub(super) counters: SharedCounters,
}

impl PublisherTask {
    /// Runs the session to its end.
    pub(super) async fn run(self, reply: Reply<Created>) -> Outcome {
        let (events_sender, events) = mpsc::channel(EVENTS_MAX);
        let keyframe_wanted = Arc::<Notify>::default();
        let (participation, channel) = self.invitation.accept(&self.offer);
        let reports = Reports {
            events: events_sender,
            keyframe_wanted: Arc::clone(&keyframe_wanted),
            channel,
        };
        let port = self.fanout.port();
        let accepted = Publisher::accept(&self.offer, &self.options, port, self.sinks, reports);
        let accepted = tokio::select! {
            accepted = awake::timeout(ANSWER_TIMEOUT, accepted) => accepted,
            end = self.session.stop.ended() => {
                return Outcome::Refused(reply, stopped(&self.session, end));
            }
        };
        let error = match accepted {
            Ok(Ok((publisher, answer))) => {
                self.counters.started(Role::Publisher);
                let connection = PublisherConnection {
                    session: self.session,
                    first_check: self.first_check,
                    awaited: true,
                    publisher,
                    commands: self.commands,
                    events,
                    participation,
                    keyframe_wanted,
                    pulse: self.pulse,
                    bitrate: BitrateWatch::new(self.options.bitrate_max, awake::now()),
                    counters: self.counters,
                };
                return Outcome::Ended(connection.serve(answer, reply).await);
            }
            Ok(Err(error)) => error.into(),
            Err(_) => {
                tracing::warn!("the engine did not answer in time");
                Error::Overloaded
            }
        };
        tracing::debug!(%error, "publisher refused");
        Outcome::Refused(reply, error)
    }
}

/// The error for a client whose session ends before the answer.
fn stopped(session: &Session, end: End) -> Error {
    match end {
        End::Shutdown => Error::Stopping,
        End::Yielded => Error::Full("sessions"),
        _ => Error::taken(&session.broadcast),
    }
}

/// A session that has its answer.
struct PublisherConnection {
    session: Arc<Session>,
    /// From the answer to the client's first check.
    first_check: Duration,
    /// Until that check.
    awaited: bool,
    publisher: Publisher,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Receiver<Event>,
    participation: Participation,
    /// Notified when a loss has broken the picture.
    keyframe_wanted: Arc<Notify>,
    pulse: watch::Sender<Pulse>,
    bitrate: BitrateWatch,
    counters: SharedCounters,
}

impl PublisherConnection {
    /// Gives the client its answer and runs the session to its end.
    async fn serve(mut self, answer: String, reply: Reply<Created>) -> End {
        let began = awake::now();
        self.pulse.send_modify(|pulse| pulse.answered = Some(began));
        tracing::info!("publisher started");
        let created = Created {
            session: Arc::clone(&self.session),
            answer,
            delivery: AnswerDelivery::new(&self.session.attendance),
        };
        let end = if reply.send(Ok(created)).is_ok() {
            self.follow().await
        } else {
            End::Deleted // the client has left before the answer
        };
        let stats = self.publisher.statistics();
        self.publisher.close(end).await;
        tracing::info!(
            end = end.name(),
            seconds = awake::since(began).as_secs(),
            packets = stats.packets,
            bytes = stats.bytes,
            lost = stats.lost,
            "publisher ended"
        );
        end
    }

    /// Runs until the session ends; returns why.
    async fn follow(&mut self) -> End {
        let mut requested = awake::now();
        let mut tick = interval(PULSE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(Event::Connected) => {
                        let now = awake::now();
                        self.pulse.send_modify(|pulse| pulse.connected = Some(now));
                        self.session.connected();
                        self.counters.connected(Role::Publisher, self.session.age());
                        tracing::debug!("publisher connected");
                    }
                    Some(Event::Track(kind, codec)) => {
                        tracing::debug!(%kind, %codec, "first frame");
                    }
                    Some(Event::KeyframeWanted) => {}
                    Some(Event::Closed(end)) => return end,
                    None => return End::Failed,
                },
                event = self.participation.next() => {
                    self.participation.take(event, || {
                        let channel = self.publisher.channel()?;
                        Some(move |text| channel.send(text))
                    });
                }
                Some(command) = self.commands.recv() => self.obey(command).await,
                () = self.keyframe_wanted.notified(), if awake::since(requested) >= REQUEST_INTERVAL => {
                    requested = awake::now();
                    self.publisher.request_keyframe();
                }
                end = self.session.stop.ended() => return end,
                _ = tick.tick() => if let Some(end) = self.look() {
                    return end;
                },
            }
        }
    }

    /// Reads the engine's counters. Returns why the session must end, if it must.
    fn look(&mut self) -> Option<End> {
        let received = self.publisher.statistics();
        self.session.received.set(&received);
        self.pulse.send_if_modified(|pulse| {
            let before = *pulse;
            pulse.looked(received.last_packet, received.last_sign);
            *pulse != before
        });
        if self.awaited && self.publisher.is_checked() {
            self.awaited = false;
            self.session.checked();
        }
        if self.awaited && self.session.is_missed(self.first_check) {
            return Some(End::NoCheck);
        }
        match self.bitrate.look(awake::now(), &received) {
            Pace::Fine => None,
            Pace::AskFor(bitrate) => {
                tracing::debug!(bitrate, "asking the publisher for a lower bit rate");
                self.publisher.request_bitrate(bitrate);
                None
            }
            Pace::TooFast(bitrate) => {
                tracing::warn!(bitrate, "publisher exceeds limits.publisher_bitrate");
                Some(End::BitrateExceeded)
            }
        }
    }

    async fn obey(&self, command: Command) {
        match command {
            Command::Keyframe => self.publisher.request_keyframe(),
            Command::Layer(_) | Command::Switch(_) => {}
            Command::Figures(reply) => {
                let received = self.publisher.statistics().into();
                // Err: the operator has not waited.
                let _ = reply.send(SessionReport {
                    figures: SessionFigures::Received(received),
                    process: self.publisher.process(),
                });
            }
            Command::Restart {
                ice_ufrag,
                ice_pwd,
                reply,
            } => {
                // Err: the client has left.
                let _ = reply.send(self.publisher.restart(&ice_ufrag, &ice_pwd).await);
            }
        }
    }
}
