//! A viewer on webrtcbin as its session holds it, and how it begins.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::mpsc;

use super::{
    Message,
    connection::{Connection, ConnectionOptions, Feedback},
    ssrc,
    viewer::{Track, WebrtcbinViewer},
};
use crate::{
    fanout::{
        Fanout, Layer, Rendition, Tracks, WorkerHandle,
        error::Error,
        tracks::Target,
        viewer::{ViewerCounters, ViewerStatistics},
        worker,
    },
    media::Kind,
    peer::{Event, sdp},
};

/// A viewer on webrtcbin, held by its owner. Dropping it ends the session without a goodbye.
pub struct WebrtcbinHandle {
    /// Taken out by [`WebrtcbinHandle::close`].
    peer: Option<Connection>,
    place: Place,
    counters: Arc<ViewerCounters>,
}

/// A place on a worker; given up when dropped.
struct Place {
    key: u64,
    worker: WorkerHandle,
}

impl Place {
    fn tell(&self, message: Message) -> bool {
        let queue = &self.worker.queue;
        queue.try_send(worker::Message::Webrtcbin(message)).is_ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.viewers.fetch_sub(1, Ordering::Relaxed);
        if !self.tell(Message::Leave(self.key)) {
            // It is refused everything from now on; its entry is small.
            tracing::debug!("a worker did not hear of a viewer's end");
        }
    }
}

impl Fanout {
    /// Answers a viewer's offer on webrtcbin, and feeds it the given tracks from now on. `events`
    /// gets the same as from [`Fanout::watch`].
    ///
    /// # Errors
    /// If the offer has no codec that fits a track it asks for, or the engine fails.
    pub(in crate::fanout) async fn watch_on_webrtcbin(
        &self,
        offer: &sdp::Offer,
        tracks: Tracks<'_>,
        options: &ConnectionOptions,
        events: mpsc::Sender<Event>,
    ) -> Result<(WebrtcbinHandle, String), Error> {
        let (mut sections, chosen) = tracks.choose(offer)?;
        let mut tracks = Vec::with_capacity(chosen.len());
        for track in chosen {
            let identity = track.stream.identity;
            let ours = ssrc(track.rendition, track.codec.kind());
            for section in &mut sections {
                if let sdp::Section::Send { ssrc, .. } = section
                    && *ssrc == identity.ssrc
                {
                    *ssrc = ours;
                }
            }
            let layers = track.layers.map(|layers| layers.renditions);
            let from = (track.rendition, track.codec);
            tracks.push(Track::new(
                from,
                layers.unwrap_or_default(),
                ours,
                identity.pt,
            ));
        }
        let place = self.place().ok_or(Error::Overloaded)?;
        let on_feedback = {
            let (key, queue) = (place.key, place.worker.queue.clone());
            move |heard: Feedback| {
                // A lost one is made up for: the worker looks by itself, and viewers ask again.
                drop(queue.try_send(worker::Message::Webrtcbin(Message::Feedback(key, heard))));
            }
        };
        let asked = (offer, sections.as_slice());
        let accepted =
            Connection::accept(asked, options, Arc::new(on_feedback), events.clone()).await?;
        let (peer, answer) = accepted;
        let counters = Arc::<ViewerCounters>::default();
        let outlet = peer.outlet().clone();
        let fed = WebrtcbinViewer::new(place.key, outlet, tracks, (events, Arc::clone(&counters)));
        if !place.tell(Message::Join(Box::new(fed))) {
            peer.close().await;
            return Err(Error::Overloaded);
        }
        let viewer = WebrtcbinHandle {
            peer: Some(peer),
            place,
            counters,
        };
        Ok((viewer, answer))
    }

    /// A place on the worker with the fewest viewers.
    fn place(&self) -> Option<Place> {
        let workers = self.inner.workers.iter();
        let worker = workers.min_by_key(|worker| worker.viewers.load(Ordering::Relaxed))?;
        worker.viewers.fetch_add(1, Ordering::Relaxed);
        Some(Place {
            key: self.inner.port.next_session(),
            worker: worker.clone(),
        })
    }
}

impl WebrtcbinHandle {
    /// Adds trickled candidates (RFC 8840).
    pub fn add_candidates(&self, candidates: &[SocketAddr]) {
        if let Some(peer) = &self.peer {
            peer.add_candidates(candidates);
        }
    }

    /// Gives the viewer this layer of a simulcast picture (its index), or, with `None`, leaves the
    /// choice to the server again: the best one there is, because webrtcbin 1.22 measures no
    /// bandwidth. Without simulcast it does nothing.
    pub fn select(&self, layer: Option<usize>) {
        self.place.tell(Message::Select(self.place.key, layer));
    }

    /// Sends the viewer another rendition, as [`crate::fanout::Viewer::switch`] does.
    pub fn switch(&self, kind: Kind, to: &Rendition, layers: &[Layer]) -> bool {
        let to = Target::new(to, layers);
        self.place.tell(Message::Switch(self.place.key, kind, to))
    }

    /// Ends the session with a `close_notify`, and frees everything, within the engine's time
    /// limits. No event follows.
    pub async fn close(mut self) {
        self.place.tell(Message::Leave(self.place.key));
        let (totals, own) = (&self.place.worker.totals, self.statistics());
        for (total, own) in [
            (&totals.retransmitted, own.retransmitted),
            (&totals.refused, own.retransmissions_refused),
        ] {
            total.fetch_add(own, Ordering::Relaxed);
        }
        if let Some(peer) = self.peer.take() {
            peer.close().await;
        }
    }

    /// What the viewer has been sent. Bytes are before encryption here.
    pub fn statistics(&self) -> ViewerStatistics {
        let peer = self.peer.as_ref();
        ViewerStatistics {
            retransmitted: peer.map_or(0, Connection::retransmitted),
            retransmissions_refused: peer.map_or(0, Connection::refused),
            ..self.counters.statistics()
        }
    }
}
