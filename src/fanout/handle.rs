//! A viewer as its owner holds it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use str0m::IceCreds;
use tokio::sync::oneshot;

use super::{Handle, Layer, Rendition, tracks::Target, worker::Message};
use crate::{
    media::Kind,
    peer::{End, sdp},
};

/// How long an ICE restart may take: a worker answers within one frame.
const RESTART_TIMEOUT: Duration = Duration::from_secs(1);

/// What one viewer has been sent.
#[derive(Debug, Default)]
pub(super) struct ViewerCounters {
    pub(super) packets: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) retransmitted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) keyframe_requests: AtomicU64,
    /// The handle is gone, so the viewer shall go too.
    pub(super) closed: AtomicBool,
}

impl ViewerCounters {
    pub(super) fn statistics(&self) -> ViewerStatistics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ViewerStatistics {
            packets: load(&self.packets),
            bytes: load(&self.bytes),
            retransmitted: load(&self.retransmitted),
            retransmissions_refused: load(&self.refused),
            dropped: load(&self.dropped),
            keyframe_requests: load(&self.keyframe_requests),
        }
    }
}

/// One viewer's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ViewerStatistics {
    /// RTP packets sent.
    pub packets: u64,
    /// Encrypted bytes of these.
    pub bytes: u64,
    /// Packets sent again on request.
    pub retransmitted: u64,
    /// Requests past the viewer's retransmission budget.
    pub retransmissions_refused: u64,
    /// Frames lost because the kernel did not take them.
    pub dropped: u64,
    /// Keyframes this viewer has asked for.
    pub keyframe_requests: u64,
}

/// A viewer's session, held by its owner. Dropping it ends the session.
pub struct Viewer {
    key: u64,
    worker: Handle,
    counters: Arc<ViewerCounters>,
}

impl Viewer {
    pub(super) fn new(key: u64, worker: Handle, counters: Arc<ViewerCounters>) -> Self {
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
    pub fn go_over(&self, kind: Kind, to: &Rendition, layers: &[Layer]) -> bool {
        let message = Message::GoOver {
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

impl Drop for Viewer {
    fn drop(&mut self) {
        self.worker.viewers.fetch_sub(1, Ordering::Relaxed);
        self.close(End::Deleted);
    }
}
