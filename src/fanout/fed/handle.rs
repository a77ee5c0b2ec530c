//! A fed viewer as its owner holds it, and how it begins.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::mpsc;

use super::{
    Message, ssrc,
    viewer::{Fed, Track},
};
use crate::{
    fanout::{
        Fanout, Handle, Layer, Rendition, Tracks, ViewerStatistics, handle::ViewerCounters,
        tracks::Target, worker,
    },
    media::Kind,
    peer::{
        Event, sdp,
        webrtcbin::{self, Error, Heard},
    },
};

/// A viewer on webrtcbin, held by its owner. Dropping it ends the session without a goodbye.
pub struct FedViewer {
    /// Taken out by [`FedViewer::close`].
    peer: Option<webrtcbin::Viewer>,
    place: Place,
    counters: Arc<ViewerCounters>,
}

/// A place on a worker; given up when dropped.
struct Place {
    key: u64,
    worker: Handle,
}

impl Place {
    fn tell(&self, message: Message) -> bool {
        let queue = &self.worker.queue;
        queue.try_send(worker::Message::Fed(message)).is_ok()
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
    pub async fn watch_on_webrtcbin(
        &self,
        offer: &sdp::Offer,
        tracks: Tracks<'_>,
        options: &webrtcbin::ViewerOptions,
        events: mpsc::Sender<Event>,
    ) -> Result<(FedViewer, String), Error> {
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
        let overloaded = || sdp::Error::Unsupported("the server is overloaded".to_owned());
        let place = self.place().ok_or_else(overloaded)?;
        let told = {
            let (key, queue) = (place.key, place.worker.queue.clone());
            move |heard: Heard| {
                // A lost one is made up for: the worker looks by itself, and viewers ask again.
                drop(queue.try_send(worker::Message::Fed(Message::Heard(key, heard))));
            }
        };
        let asked = (offer, sections.as_slice());
        let accepted =
            webrtcbin::Viewer::accept(asked, options, Arc::new(told), events.clone()).await?;
        let (peer, answer) = accepted;
        let counters = Arc::<ViewerCounters>::default();
        let outlet = peer.outlet().clone();
        let fed = Fed::new(place.key, outlet, tracks, (events, Arc::clone(&counters)));
        if !place.tell(Message::Join(Box::new(fed))) {
            peer.close().await;
            return Err(overloaded().into());
        }
        let viewer = FedViewer {
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

impl FedViewer {
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

    /// Sends the viewer another rendition, as [`crate::fanout::Viewer::go_over`] does.
    pub fn go_over(&self, kind: Kind, to: &Rendition, layers: &[Layer]) -> bool {
        let to = Target::new(to, layers);
        self.place.tell(Message::GoOver(self.place.key, kind, to))
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
            retransmitted: peer.map_or(0, webrtcbin::Viewer::retransmitted),
            retransmissions_refused: peer.map_or(0, webrtcbin::Viewer::refused),
            ..self.counters.statistics()
        }
    }
}
