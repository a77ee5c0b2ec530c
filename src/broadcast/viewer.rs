//! A viewer's session: negotiate, connect, run, close.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    ANSWER_TIMEOUT, AnswerDelivery, Created, Error, RETRY_MISSING, Reply, Session,
    attendance::LOOK_INTERVAL,
    figures::{SessionFigures, SessionReport},
    gate::MediaEvent,
    outcome::Outcome,
    participation::{Invitation, Participation},
    session::{Command, SwitchCommand},
    status::SharedCounters,
    tracks::{BroadcastTrack, BroadcastTracks},
};
use crate::{
    awake,
    fanout::{self, Fanout, Viewer, ViewerOptions, ViewerReports},
    media::Codec,
    peer::{
        End, Event,
        sdp::{Offer, Role},
    },
};

/// Events waiting for the task. Keyframe requests that find it full are not missed: one is in it.
const EVENTS_MAX: usize = 16;
/// Pause before retrying an overloaded engine.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(50);

/// Everything that a viewer's task needs.
pub(super) struct ViewerTask {
    pub(super) session: Arc<Session>,
    /// From the answer to the client's first check.
    pub(super) first_check: Duration,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) invitation: Invitation,
    pub(super) offer: Arc<Offer>,
    pub(super) tracks: BroadcastTracks,
    pub(super) options: ViewerOptions,
    pub(super) fanout: Fanout,
    pub(super) keyframe_wanted: Arc<Notify>,
    /// Where the actor learns that the viewer is connected.
    pub(super) reports: mpsc::Sender<MediaEvent>,
    pub(super) counters: SharedCounters,
}

impl ViewerTask {
    /// Runs the session to its end.
    pub(super) async fn run(self, reply: Reply<Created>) -> Outcome {
        let (events_sender, events) = mpsc::channel(EVENTS_MAX);
        let video = self.tracks.video.as_ref();
        let tracks = fanout::OfferedTracks {
            video: watched(video),
            audio: watched(self.tracks.audio.as_ref()),
            layers: video.map_or(&[], |track| &track.layers),
        };
        let (participation, channel) = self.invitation.accept(&self.offer);
        let reports = ViewerReports {
            events: events_sender,
            channel,
        };
        let watching = self
            .fanout
            .watch(&self.offer, tracks, &self.options, reports);
        let watching = tokio::select! {
            watching = awake::timeout(ANSWER_TIMEOUT, watching) => watching,
            end = self.session.stop.ended() => {
                return Outcome::Refused(reply, stopped(&self.session, end));
            }
        };
        let error = match watching {
            Ok(Ok((viewer, answer))) => {
                self.counters.started(Role::Viewer);
                let connection = ViewerConnection {
                    session: self.session,
                    first_check: self.first_check,
                    viewer,
                    commands: self.commands,
                    events,
                    participation,
                    keyframe_wanted: self.keyframe_wanted,
                    reports: self.reports,
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
        Outcome::Refused(reply, error)
    }
}

/// The error for a client whose session ends before the answer.
fn stopped(session: &Session, end: End) -> Error {
    match end {
        End::Shutdown => Error::Stopping,
        End::Yielded => Error::Full("sessions"),
        _ => Error::NotLive {
            name: session.broadcast.clone(),
            awaited: None,
            retry_after: RETRY_MISSING,
        },
    }
}

fn watched(track: Option<&BroadcastTrack>) -> Option<(Codec, &fanout::Rendition)> {
    track.and_then(|track| Some((track.codec?, &*track.rendition)))
}

/// A session that has its answer.
struct ViewerConnection {
    session: Arc<Session>,
    /// From the answer to the client's first check.
    first_check: Duration,
    viewer: Viewer,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Receiver<Event>,
    participation: Participation,
    /// Asks for a keyframe of what the viewer gets.
    keyframe_wanted: Arc<Notify>,
    reports: mpsc::Sender<MediaEvent>,
    counters: SharedCounters,
}

impl ViewerConnection {
    /// Gives the client its answer and runs the session to its end.
    async fn serve(mut self, answer: String, reply: Reply<Created>) -> End {
        let began = awake::now();
        tracing::info!("viewer started");
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
        let stats = self.viewer.statistics();
        self.viewer.close(end, &mut self.events).await;
        tracing::info!(
            end = end.name(),
            seconds = awake::since(began).as_secs(),
            packets = stats.packets,
            bytes = stats.bytes,
            retransmitted = stats.retransmitted,
            refused = stats.retransmissions_refused,
            dropped = stats.dropped,
            "viewer ended"
        );
        end
    }

    /// Runs until the session ends; returns why.
    async fn follow(&mut self) -> End {
        let mut awaited = true;
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(Event::Connected) => self.connected().await,
                    Some(Event::KeyframeWanted) => self.keyframe_wanted.notify_one(),
                    Some(Event::Track(..)) => {}
                    Some(Event::Closed(end)) => return end,
                    None => return End::Failed,
                },
                event = self.participation.next() => {
                    self.participation.take(event, || {
                        let channel = self.viewer.channel()?;
                        Some(move |text| channel.send(text))
                    });
                }
                Some(command) = self.commands.recv() => self.obey(command).await,
                end = self.session.stop.ended() => return end,
                _ = look.tick(), if awaited => {
                    awaited = !self.viewer.is_checked();
                    if !awaited {
                        self.checked().await;
                    } else if self.session.is_missed(self.first_check) {
                        return End::NoCheck;
                    }
                }
            }
        }
    }

    /// Tells the actor: others make room before it.
    async fn checked(&self) {
        self.session.checked();
        let session = self.session.number;
        // Err: the actor is gone, and stops this task.
        let _ = self.reports.send(MediaEvent::Checked { session }).await;
    }

    /// Tells the actor: what only this viewer needs starts now.
    async fn connected(&self) {
        tracing::debug!("viewer connected");
        self.session.connected();
        self.counters.connected(Role::Viewer, self.session.age());
        let session = self.session.number;
        // Err: the actor is gone, and stops this task.
        let _ = self.reports.send(MediaEvent::Connected { session }).await;
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Keyframe => {}
            Command::Figures(reply) => {
                // Err: the operator has not waited.
                let _ = reply.send(SessionReport {
                    figures: SessionFigures::Sent(self.viewer.statistics()),
                    process: self.viewer.process(),
                });
            }
            Command::Layer(layer) => self.viewer.select(layer),
            Command::Switch(to) => self.switch(to).await,
            Command::Restart {
                ice_ufrag,
                ice_pwd,
                reply,
            } => {
                // Err: the client has left.
                let _ = reply.send(self.viewer.restart(&ice_ufrag, &ice_pwd).await);
            }
        }
    }

    /// Gives the viewer another rendition; asks an overloaded engine again until it has room.
    async fn switch(&mut self, to: SwitchCommand) {
        let track = &to.track;
        while !self.viewer.switch(to.kind, &track.rendition, &track.layers) {
            if self.session.stop.is_set() {
                return;
            }
            sleep(OVERLOAD_PAUSE).await;
        }
        if let Some(keyframe) = to.keyframe {
            self.keyframe_wanted = keyframe;
        }
    }
}
