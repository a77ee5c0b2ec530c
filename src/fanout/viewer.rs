//! A viewer on whichever engine carries it.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use tokio::{sync::mpsc, time::timeout};

use super::{
    Fanout, Layer, Rendition, Tracks,
    direct::DirectHandle,
    error::Error,
    webrtcbin::{ConnectionOptions, WebrtcbinHandle},
};
use crate::{
    media::Kind,
    peer::{
        End, Event,
        sdp::{self, Offer},
    },
    plan::Engine,
};

/// How long the engine may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How viewers are served.
#[derive(Clone, Debug)]
pub struct ViewerOptions {
    /// The engine that carries them.
    pub engine: Engine,
    /// How webrtcbin connects.
    pub webrtcbin: ConnectionOptions,
}

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
    /// Bytes of these: encrypted on the direct engine, before encryption on webrtcbin.
    pub bytes: u64,
    /// Packets sent again on request.
    pub retransmitted: u64,
    /// Requests past the viewer's retransmission budget.
    pub retransmissions_refused: u64,
    /// Frames lost because the connection did not take them.
    pub dropped: u64,
    /// Keyframes this viewer has asked for.
    pub keyframe_requests: u64,
}

/// A viewer's connection, held by its session. Dropping it ends the connection.
pub enum Viewer {
    /// On the direct engine.
    Direct(DirectHandle),
    /// On webrtcbin.
    Webrtcbin(Box<WebrtcbinHandle>),
}

impl Fanout {
    /// Answers a viewer's offer on the engine that the options name, and sends it the given
    /// tracks from now on. `events` gets [`Event::Connected`], [`Event::KeyframeWanted`] and,
    /// last, [`Event::Closed`].
    ///
    /// # Errors
    /// If the offer has no codec that fits a track it asks for, or cannot be served at all.
    pub async fn watch(
        &self,
        offer: &Offer,
        tracks: Tracks<'_>,
        options: &ViewerOptions,
        events: mpsc::Sender<Event>,
    ) -> Result<(Viewer, String), Error> {
        match options.engine {
            Engine::Direct => {
                let (viewer, answer) = self.watch_on_direct(offer, tracks, events)?;
                Ok((Viewer::Direct(viewer), answer))
            }
            Engine::Webrtcbin => {
                let watching = self.watch_on_webrtcbin(offer, tracks, &options.webrtcbin, events);
                let (viewer, answer) = watching.await?;
                Ok((Viewer::Webrtcbin(Box::new(viewer)), answer))
            }
        }
    }
}

impl Viewer {
    /// Adds trickled candidates (RFC 8840).
    pub fn add_candidates(&self, candidates: &[SocketAddr]) {
        match self {
            Self::Direct(viewer) => viewer.add_candidates(candidates),
            Self::Webrtcbin(viewer) => viewer.add_candidates(candidates),
        }
    }

    /// Gives the viewer this layer of a simulcast picture (its index), or, with `None`, leaves the
    /// choice to the server again. Does nothing without simulcast.
    pub fn select(&self, layer: Option<usize>) {
        match self {
            Self::Direct(viewer) => viewer.select(layer),
            Self::Webrtcbin(viewer) => viewer.select(layer),
        }
    }

    /// Sends another rendition of the track of this kind, of the same codec, from that rendition's
    /// keyframe on. With `layers` it is one of several, as in [`Layer`]. Returns false if the
    /// viewer's worker is overloaded: then nothing has changed.
    pub fn switch(&self, kind: Kind, to: &Rendition, layers: &[Layer]) -> bool {
        match self {
            Self::Direct(viewer) => viewer.switch(kind, to, layers),
            Self::Webrtcbin(viewer) => viewer.switch(kind, to, layers),
        }
    }

    /// Restarts ICE with the peer's new credentials and returns the server's (RFC 9725 §4.3.3).
    /// Media goes on meanwhile.
    ///
    /// # Errors
    /// If the engine cannot do it, the session has ended, or no answer comes within a second.
    pub async fn restart(&self, ufrag: &str, pwd: &str) -> Result<sdp::Transport, sdp::Error> {
        match self {
            Self::Direct(viewer) => viewer.restart(ufrag, pwd).await,
            // webrtcbin 1.22 keeps its credentials whatever it is told.
            Self::Webrtcbin(_) => Err(sdp::Error::Unsupported(
                "ICE restart is not supported; the session goes on unchanged".to_owned(),
            )),
        }
    }

    /// What the viewer has been sent.
    pub fn statistics(&self) -> ViewerStatistics {
        match self {
            Self::Direct(viewer) => viewer.statistics(),
            Self::Webrtcbin(viewer) => viewer.statistics(),
        }
    }

    /// Says goodbye and waits until the engine has done so and freed everything, within a time
    /// limit. `events` is what was given to [`Fanout::watch`].
    pub async fn close(self, why: End, events: &mut mpsc::Receiver<Event>) {
        match self {
            Self::Direct(viewer) => {
                viewer.close(why);
                let closed = async {
                    while !matches!(events.recv().await, Some(Event::Closed(_)) | None) {}
                };
                if timeout(CLOSE_TIMEOUT, closed).await.is_err() {
                    tracing::debug!("engine did not confirm the close");
                }
            }
            Self::Webrtcbin(viewer) => viewer.close().await,
        }
    }
}
