//! A viewer's session: negotiate, connect, run, close.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};

use super::{
    Created, Reply, Session,
    feed::{Track, Tracks},
    owner::Outcome,
    session::Command,
    status::SharedCounters,
};
use crate::{
    fanout::{self, Fanout, Viewer},
    media::Codec,
    peer::{
        End, Event,
        sdp::{Offer, Role},
    },
};

/// Events waiting for the task. Keyframe wishes that find it full are not missed: one is in it.
const EVENTS_MAX: usize = 16;
/// How long the engine may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything a viewer's task needs.
pub(super) struct Task {
    pub(super) session: Arc<Session>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) offer: Arc<Offer>,
    pub(super) tracks: Tracks,
    pub(super) fanout: Fanout,
    pub(super) keyframe_wanted: Arc<Notify>,
    pub(super) counters: SharedCounters,
}

impl Task {
    /// Runs the session to its end.
    pub(super) async fn run(mut self, reply: Reply<Created>) -> Outcome {
        let (events_sender, mut events) = mpsc::channel(EVENTS_MAX);
        let tracks = fanout::Tracks {
            video: watched(self.tracks.video.as_ref()),
            audio: watched(self.tracks.audio.as_ref()),
            layers: self
                .tracks
                .video
                .as_ref()
                .map_or(&[], |track| &track.layers),
        };
        let (viewer, answer) = match self.fanout.watch(&self.offer, tracks, events_sender) {
            Ok(watching) => watching,
            Err(error) => return Outcome::Refused(reply, error.into()),
        };
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
            follow(
                session,
                &viewer,
                (&mut self.commands, &mut events),
                &self.keyframe_wanted,
            )
            .await
        } else {
            // The client has left before the answer.
            close(&viewer, End::Deleted, &mut events).await
        };
        let stats = viewer.statistics();
        tracing::info!(
            broadcast = %session.broadcast,
            session = session.number,
            ?end,
            seconds = began.elapsed().as_secs(),
            packets = stats.packets,
            bytes = stats.bytes,
            retransmitted = stats.retransmitted,
            dropped = stats.dropped,
            "viewer ended"
        );
        Outcome::Ended(end)
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
    keyframe_wanted: &Notify,
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
                Command::Restart { ice_ufrag, ice_pwd, reply } => {
                    // Err: the client has left.
                    let _ = reply.send(viewer.restart(&ice_ufrag, &ice_pwd).await);
                }
            },
            end = session.stop.ended() => return close(viewer, end, events).await,
        }
    }
}

/// Says goodbye and waits until the engine has done so.
async fn close(viewer: &Viewer, why: End, events: &mut mpsc::Receiver<Event>) -> End {
    viewer.close(why);
    let closed = async { while !matches!(events.recv().await, Some(Event::Closed(_)) | None) {} };
    if timeout(CLOSE_TIMEOUT, closed).await.is_err() {
        tracing::debug!("the engine did not confirm the close");
    }
    why
}
