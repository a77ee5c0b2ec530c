//! A viewer's session: negotiate, connect, run, close.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc},
    time::{sleep, timeout},
};

use super::{
    ANSWER_TIMEOUT, Created, Error, Reply, Session,
    actor::{Outcome, RETRY_MISSING},
    feed::{Track, Tracks},
    session::Command,
    status::SharedCounters,
};
use crate::{
    fanout::{self, Fanout, Viewer, ViewerOptions},
    media::Codec,
    peer::{
        End, Event,
        sdp::{Offer, Role},
    },
};

/// Events waiting for the task. Keyframe requests that find it full are not missed: one is in it.
const EVENTS_MAX: usize = 16;
/// Pause before an overloaded engine is told again.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(50);

/// Everything a viewer's task needs.
pub(super) struct Task {
    pub(super) session: Arc<Session>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) offer: Arc<Offer>,
    pub(super) tracks: Tracks,
    pub(super) options: ViewerOptions,
    pub(super) fanout: Fanout,
    pub(super) keyframe_wanted: Arc<Notify>,
    pub(super) counters: SharedCounters,
}

impl Task {
    /// Runs the session to its end.
    pub(super) async fn run(self, reply: Reply<Created>) -> Outcome {
        let (events_sender, events) = mpsc::channel(EVENTS_MAX);
        let tracks = fanout::Tracks {
            video: watched(self.tracks.video.as_ref()),
            audio: watched(self.tracks.audio.as_ref()),
            layers: self
                .tracks
                .video
                .as_ref()
                .map_or(&[], |track| &track.layers),
        };
        let watching = self
            .fanout
            .watch(&self.offer, tracks, &self.options, events_sender);
        let watching = tokio::select! {
            watching = timeout(ANSWER_TIMEOUT, watching) => watching,
            end = self.session.stop.ended() => {
                return Outcome::Refused(reply, stopped(&self.session, end));
            }
        };
        let error = match watching {
            Ok(Ok(watching)) => return self.serve(watching, events, reply).await,
            Ok(Err(error)) => error.into(),
            Err(_) => Error::Failed("the engine did not answer in time".to_owned()),
        };
        Outcome::Refused(reply, error)
    }

    /// Runs a session that has its answer.
    async fn serve(
        mut self,
        (viewer, answer): (Viewer, String),
        mut events: mpsc::Receiver<Event>,
        reply: Reply<Created>,
    ) -> Outcome {
        let began = Instant::now();
        let session = &self.session;
        self.counters.started(Role::Viewer);
        tracing::info!(broadcast = %session.broadcast, session = session.number, "viewer begins");
        let end = if reply
            .send(Ok(Created {
                session: Arc::clone(session),
                answer,
            }))
            .is_ok()
        {
            let queues = (&mut self.commands, &mut events);
            follow(session, &viewer, queues, self.keyframe_wanted).await
        } else {
            // The client has left before the answer.
            End::Deleted
        };
        let stats = viewer.statistics();
        viewer.close(end, &mut events).await;
        tracing::info!(
            broadcast = %session.broadcast,
            session = session.number,
            ?end,
            seconds = began.elapsed().as_secs(),
            packets = stats.packets,
            bytes = stats.bytes,
            retransmitted = stats.retransmitted,
            refused = stats.retransmissions_refused,
            dropped = stats.dropped,
            "viewer ended"
        );
        Outcome::Ended(end)
    }
}

/// What a client is told whose session ended before it was answered.
fn stopped(session: &Session, end: End) -> Error {
    match end {
        End::Shutdown => Error::Stopping,
        _ => Error::NotLive {
            name: session.broadcast.clone(),
            retry_after: RETRY_MISSING,
        },
    }
}

fn watched(track: Option<&Track>) -> Option<(Codec, &fanout::Rendition)> {
    track.and_then(|track| Some((track.codec?, &*track.rendition)))
}

/// Runs a session that has been answered; returns why it ends.
async fn follow(
    session: &Session,
    viewer: &Viewer,
    (commands, events): (&mut mpsc::Receiver<Command>, &mut mpsc::Receiver<Event>),
    mut keyframe_wanted: Arc<Notify>,
) -> End {
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Connected) => {
                    tracing::debug!(session = session.number, "viewer connected");
                }
                Some(Event::KeyframeWanted) => keyframe_wanted.notify_one(),
                Some(Event::Track(..)) => {}
                Some(Event::Closed(end)) => return end,
                None => return End::Failed,
            },
            Some(command) = commands.recv() => match command {
                Command::Candidates(candidates) => viewer.add_candidates(&candidates),
                Command::Keyframe => {}
                Command::Layer(layer) => viewer.select(layer),
                Command::Switch(to) => {
                    keyframe_wanted = to.keyframe.clone().unwrap_or(keyframe_wanted);
                    let track = &to.track;
                    while !viewer.switch(to.kind, &track.rendition, &track.layers)
                        && !session.stop.is_set()
                    {
                        sleep(OVERLOAD_PAUSE).await;
                    }
                }
                Command::Restart { ice_ufrag, ice_pwd, reply } => {
                    // Err: the client has left.
                    let _ = reply.send(viewer.restart(&ice_ufrag, &ice_pwd).await);
                }
            },
            end = session.stop.ended() => return end,
        }
    }
}
