//! A viewer on the direct engine as its session holds it, and how it begins.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use str0m::IceCreds;
use tokio::sync::{mpsc, oneshot};

use super::viewer::DirectViewer;
use crate::{
    fanout::{
        Fanout, Layer, Rendition, Tracks, WorkerHandle,
        error::Error,
        tracks::{self, Target},
        viewer::{ViewerCounters, ViewerStatistics},
        worker::Message,
    },
    media::Kind,
    peer::{
        End, Event, sdp,
        session::{Incoming, Session},
        udp::{Destination, Route},
    },
};

/// How long an ICE restart may take: a worker answers within one frame.
const RESTART_TIMEOUT: Duration = Duration::from_secs(1);

/// A viewer on the direct engine, held by its session. Dropping it ends the connection.
pub struct DirectHandle {
    key: u64,
    worker: WorkerHandle,
    counters: Arc<ViewerCounters>,
}

impl Fanout {
    /// [`Fanout::watch`] on the direct engine.
    pub(in crate::fanout) fn watch_on_direct(
        &self,
        offer: &sdp::Offer,
        tracks: Tracks<'_>,
        events: mpsc::Sender<Event>,
    ) -> Result<(DirectHandle, String), Error> {
        let (sections, tracks) = tracks.choose(offer)?;
        let key = self.inner.port.next_session();
        let Some((worker, handle)) = self
            .inner
            .workers
            .iter()
            .enumerate()
            .min_by_key(|(_, worker)| worker.viewers.load(Ordering::Relaxed))
        else {
            return Err(Error::Overloaded);
        };
        let now = Instant::now();
        let route = Route {
            session: key,
            to: Destination::Worker(worker),
        };
        let (session, transport) =
            Session::accept(offer, &self.inner.port, route, Incoming::default())?;
        let transport = if tracks.iter().any(|track| track.layers.is_some()) {
            // The viewer's receiver estimates its bandwidth, from our send times.
            let (extensions_used, feedback_used) = (&[tracks::SEND_TIME][..], &["goog-remb"][..]);
            sdp::Transport {
                extensions_used,
                feedback_used,
                ..transport
            }
        } else {
            transport
        };
        let answer = sdp::viewer_answer(offer, &sections, &transport);
        let media = (tracks, sdp::stream_id(&sections));
        let counters = Arc::<ViewerCounters>::default();
        let viewer = DirectViewer::new(key, session, media, (events, Arc::clone(&counters)), now);
        if handle
            .queue
            .try_send(Message::Join(Box::new(viewer)))
            .is_err()
        {
            return Err(Error::Overloaded);
        }
        Ok((DirectHandle::new(key, handle.clone(), counters), answer))
    }
}

impl DirectHandle {
    pub(in crate::fanout) fn new(
        key: u64,
        worker: WorkerHandle,
        counters: Arc<ViewerCounters>,
    ) -> Self {
        worker.viewers.fetch_add(1, Ordering::Relaxed);
        Self {
            key,
            worker,
            counters,
        }
    }

    /// Adds trickled candidates (RFC 8840).
    pub fn add_candidates(&self, candidates: &[SocketAddr]) {
        let candidates = candidates.to_vec();
        // With ICE-lite candidates are a hint only: losing them to a full queue does no harm.
        drop(self.worker.queue.try_send(Message::Candidates {
            viewer: self.key,
            candidates,
        }));
    }

    /// Gives the viewer this layer of a simulcast picture (its index), or, with `None`, leaves the
    /// choice to the server again. Without simulcast it does nothing.
    pub fn select(&self, layer: Option<usize>) {
        // A full queue means overload: the viewer keeps what it has.
        drop(self.worker.queue.try_send(Message::Select {
            viewer: self.key,
            layer,
        }));
    }

    /// Sends the viewer another rendition of the track of this kind, of the same codec, beginning
    /// with that rendition's keyframe. With `layers` it is one of several, as in [`Layer`].
    /// Returns false if the viewer's worker is overloaded: then nothing has changed.
    pub fn switch(&self, kind: Kind, to: &Rendition, layers: &[Layer]) -> bool {
        let message = Message::Switch {
            viewer: self.key,
            kind,
            to: Target::new(to, layers),
        };
        self.worker.queue.try_send(message).is_ok()
    }

    /// Restarts ICE with the peer's new credentials and returns the server's (RFC 9725 §4.3.3).
    /// Media goes on meanwhile.
    ///
    /// # Errors
    /// If the session has ended, or does not answer within a second.
    pub async fn restart(&self, ufrag: &str, pwd: &str) -> Result<sdp::Transport, sdp::Error> {
        let gone = || sdp::Error::Unsupported("the session has ended".to_owned());
        let remote = IceCreds {
            ufrag: ufrag.to_owned(),
            pass: pwd.to_owned(),
        };
        let (reply, answer) = oneshot::channel();
        let message = Message::Restart {
            viewer: self.key,
            remote,
            reply,
        };
        self.worker.queue.try_send(message).map_err(|_| gone())?;
        let answer = tokio::time::timeout(RESTART_TIMEOUT, answer).await;
        answer.ok().and_then(Result::ok).ok_or_else(gone)?
    }

    /// Ends the session with a `close_notify`; `Event::Closed` follows with this reason.
    pub fn close(&self, why: End) {
        if self
            .worker
            .queue
            .try_send(Message::Close {
                viewer: self.key,
                why,
            })
            .is_err()
        {
            self.counters.closed.store(true, Ordering::Relaxed);
        }
    }

    /// What the viewer has been sent.
    pub fn statistics(&self) -> ViewerStatistics {
        self.counters.statistics()
    }
}

impl Drop for DirectHandle {
    fn drop(&mut self) {
        self.worker.viewers.fetch_sub(1, Ordering::Relaxed);
        self.close(End::Deleted);
    }
}
