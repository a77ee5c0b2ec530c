//! The session's handle of a viewer on webrtcbin, and how a viewer begins.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tracing::Instrument as _;

use super::{options::ConnectionOptions, workers::Served};
use crate::{
    awake,
    fanout::{
        Fanout,
        error::Error,
        message::Message,
        tracks::{ChosenTrack, OfferedTracks},
    },
    media::{ByKind, Kind},
    peer::{
        End, Event,
        relay::{Relay, RelayOffer},
        sdp,
    },
    playout::{Target, ViewerStatistics},
    resources::ProcessFigures,
    webrtcbin::viewers::{SenderSetup, SentTrack, ssrc},
    worker::{Viewing, WorkerViewer, WorkerViewerState},
};

/// How often liveness is checked.
const WATCH: Duration = Duration::from_millis(250);

/// A viewer on webrtcbin, held by its session. Dropping it ends the connection without a goodbye.
pub struct WebrtcbinHandle {
    viewer: WorkerViewer,
    relay: Arc<Relay>,
    subscribed: Subscribed,
    /// The watch; it ends with the viewer.
    tasks: JoinSet<()>,
}

/// The renditions that a viewer may be sent. Its process gets them for as long as this lives.
struct Subscribed {
    served: Arc<Served>,
    renditions: Mutex<ByKind<Vec<u64>>>,
}

impl Subscribed {
    fn new(served: Arc<Served>, tracks: &[ChosenTrack]) -> Result<Self, Error> {
        let subscribed = Self {
            served,
            renditions: Mutex::default(),
        };
        for track in tracks {
            if !subscribed.change(&track.target) {
                return Err(Error::Overloaded);
            }
        }
        Ok(subscribed)
    }

    /// Takes other renditions for a track. Returns false if the thread that passes them on is
    /// overloaded: then nothing has changed.
    fn change(&self, to: &Target) -> bool {
        let entered = renditions(to);
        let done = self.served.enter(&entered);
        if done {
            let mut all = self
                .renditions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let before = std::mem::replace(all.get_mut(to.kind), entered);
            drop(all);
            self.served.leave(&before);
        }
        done
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        let all = self
            .renditions
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for kind in Kind::ALL {
            self.served.leave(all.get_mut(kind));
        }
    }
}

/// Every rendition that a track may be sent.
fn renditions(target: &Target) -> Vec<u64> {
    let mut renditions = target.layers.clone();
    if !renditions.contains(&target.rendition) {
        renditions.push(target.rendition);
    }
    renditions
}

impl Fanout {
    /// [`Fanout::watch`] on webrtcbin.
    pub(in crate::fanout) async fn watch_on_webrtcbin(
        &self,
        offer: &sdp::Offer,
        tracks: OfferedTracks<'_>,
        options: &ConnectionOptions,
        events: mpsc::Sender<Event>,
    ) -> Result<(WebrtcbinHandle, String), Error> {
        let (sections, chosen) =
            tracks.choose(offer, |rendition, kind| Ok(ssrc(rendition.key(), kind)))?;
        let served = options.workers.with_room(self).await?;
        let relay = RelayOffer::new()?;
        let setup = SenderSetup {
            offer: relay.in_place_of(offer).normalised_for_sending(&sections),
            cname: sdp::stream_id(&sections),
            tracks: sent_tracks(&sections, &chosen),
        };
        let totals = Arc::clone(&served.place.worker.totals);
        let viewing = Viewing {
            events,
            signals: Arc::clone(relay.signals()),
            on_sent: Arc::new(move |figures| totals.sent_by_worker(figures)),
        };
        let worker = Arc::clone(&served.worker);
        let subscribed = Subscribed::new(served, &chosen)?;
        let joined = worker
            .join(self.port().next_session(), setup, viewing)
            .await
            .map_err(|error| {
                let passing = error.is_passing();
                Error::without_worker(error, passing)
            });
        let (viewer, engine_answer) = joined?;
        let relay = Arc::new(
            relay
                .start(offer, &engine_answer, self.relay_port())
                .await?,
        );
        let transport = relay.transport();
        let answer = sdp::engine_viewer_answer(offer, &sections, &engine_answer, &transport)?;
        let tasks = watch(viewer.state().clone(), Arc::clone(&relay), options);
        let handle = WebrtcbinHandle {
            viewer,
            relay,
            subscribed,
            tasks,
        };
        Ok((handle, answer))
    }
}

/// The tracks of the sections that send.
fn sent_tracks(sections: &[sdp::Section], chosen: &[ChosenTrack]) -> Vec<SentTrack> {
    let sent = sections.iter().filter_map(|section| {
        let sdp::Section::Send { ssrc, .. } = section else {
            return None;
        };
        let track = chosen.iter().find(|track| track.ssrc == *ssrc)?;
        Some(SentTrack {
            codec: track.codec,
            pt: track.pt,
            ssrc: *ssrc,
            target: track.target.clone(),
        })
    });
    sent.collect()
}

/// Ends the session when its peer does not arrive, or has gone.
fn watch(viewer: WorkerViewerState, relay: Arc<Relay>, options: &ConnectionOptions) -> JoinSet<()> {
    let (connect, consent) = (options.connect, options.consent);
    let mut tasks = JoinSet::new();
    let watching = async move {
        let begin = awake::now();
        let mut tick = interval(WATCH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let end = if viewer.is_connected() {
                let gone = relay.silence() >= consent || !relay.has_consent();
                gone.then_some(End::Vanished)
            } else {
                (awake::since(begin) >= connect).then_some(End::ConnectTimeout)
            };
            if let Some(end) = end {
                return viewer.report_end(end);
            }
        }
    };
    tasks.spawn(watching.in_current_span());
    tasks
}

impl WebrtcbinHandle {
    /// Gives the viewer this layer of its picture, or leaves the choice to the server.
    pub(in crate::fanout) fn select(&self, layer: Option<usize>) {
        self.viewer.select(layer);
    }

    /// Sends the viewer another rendition of a track. Returns false if the thread that passes it on
    /// is overloaded: then nothing has changed.
    pub(in crate::fanout) fn switch(&self, to: Target) -> bool {
        let subscribed = &self.subscribed;
        if !subscribed.change(&to) {
            return false;
        }
        // After the frames of the rendition, so that the viewer begins at its cached keyframe.
        let switch = self.viewer.switch(to);
        subscribed
            .served
            .place
            .worker
            .tell(Message::SwitchInWorker(switch))
    }

    /// Ends the connection with a `close_notify`, and frees everything, within the engine's time
    /// limits. No event follows.
    pub(in crate::fanout) async fn close(self) {
        let Self {
            viewer,
            relay,
            subscribed,
            mut tasks,
        } = self;
        tasks.abort_all();
        viewer.close().await;
        drop((relay, subscribed));
    }

    /// Restarts ICE.
    pub(in crate::fanout) fn restart(
        &self,
        ufrag: &str,
        pwd: &str,
    ) -> Result<sdp::Transport, sdp::Error> {
        self.relay.restart(ufrag, pwd)
    }

    /// Whether the viewer has sent an authentic check.
    pub(in crate::fanout) fn is_checked(&self) -> bool {
        self.relay.is_checked()
    }

    pub(in crate::fanout) fn process(&self) -> Option<ProcessFigures> {
        self.viewer.state().process()
    }

    pub(in crate::fanout) fn statistics(&self) -> ViewerStatistics {
        let figures = self.viewer.state().figures();
        ViewerStatistics {
            packets: figures.packets,
            bytes: figures.bytes,
            retransmitted: figures.retransmitted,
            retransmissions_refused: figures.refused,
            dropped: figures.dropped,
            keyframe_requests: figures.keyframe_requests,
            ..ViewerStatistics::default()
        }
    }
}
