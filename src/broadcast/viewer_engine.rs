//! A viewer on whichever engine carries it.

use std::net::SocketAddr;

use tokio::{sync::mpsc, time::timeout};

use super::{feed::Track, viewer::CLOSE_TIMEOUT};
use crate::{
    error::Error,
    fanout::{self, Fanout, FedViewer, ViewerStatistics},
    media::Kind,
    peer::{
        End, Engine, Event,
        sdp::{self, Offer},
        webrtcbin,
    },
};

/// How viewers are served.
#[derive(Clone, Debug)]
pub struct ViewerOptions {
    /// The engine that carries them.
    pub engine: Engine,
    /// How webrtcbin connects.
    pub webrtcbin: webrtcbin::ViewerOptions,
}

/// A viewer's connection. Dropping it ends the session.
pub(super) enum Viewer {
    Direct(fanout::Viewer),
    Webrtcbin(Box<FedViewer>),
}

impl Viewer {
    /// Answers an offer on the engine that the options name.
    pub(super) async fn watch(
        offer: &Offer,
        (options, fanout): (&ViewerOptions, &Fanout),
        tracks: fanout::Tracks<'_>,
        events: mpsc::Sender<Event>,
    ) -> Result<(Self, String), Error> {
        match options.engine {
            Engine::Direct => {
                let (viewer, answer) = fanout.watch(offer, tracks, events)?;
                Ok((Self::Direct(viewer), answer))
            }
            Engine::Webrtcbin => {
                let options = &options.webrtcbin;
                let watching = fanout.watch_on_webrtcbin(offer, tracks, options, events);
                let (viewer, answer) = watching.await?;
                Ok((Self::Webrtcbin(Box::new(viewer)), answer))
            }
        }
    }

    pub(super) fn add_candidates(&self, candidates: &[SocketAddr]) {
        match self {
            Self::Direct(viewer) => viewer.add_candidates(candidates),
            Self::Webrtcbin(viewer) => viewer.add_candidates(candidates),
        }
    }

    pub(super) fn select(&self, layer: Option<usize>) {
        match self {
            Self::Direct(viewer) => viewer.select(layer),
            Self::Webrtcbin(viewer) => viewer.select(layer),
        }
    }

    /// Sends another rendition of a track from now on; false if the engine is overloaded.
    pub(super) fn go_over(&self, kind: Kind, to: &Track) -> bool {
        match self {
            Self::Direct(viewer) => viewer.go_over(kind, &to.rendition, &to.layers),
            Self::Webrtcbin(viewer) => viewer.go_over(kind, &to.rendition, &to.layers),
        }
    }

    pub(super) async fn restart(
        &self,
        ufrag: &str,
        pwd: &str,
    ) -> Result<sdp::Transport, sdp::Error> {
        match self {
            Self::Direct(viewer) => viewer.restart(ufrag, pwd).await,
            // webrtcbin 1.22 keeps its credentials whatever it is told.
            Self::Webrtcbin(_) => Err(sdp::Error::Unsupported(
                "ICE restart is not supported; the session goes on unchanged".to_owned(),
            )),
        }
    }

    pub(super) fn statistics(&self) -> ViewerStatistics {
        match self {
            Self::Direct(viewer) => viewer.statistics(),
            Self::Webrtcbin(viewer) => viewer.statistics(),
        }
    }

    /// Says goodbye and waits until the engine has done so and freed everything, within a time
    /// limit. `events` is what was given to [`Viewer::watch`].
    pub(super) async fn close(self, why: End, events: &mut mpsc::Receiver<Event>) {
        match self {
            Self::Direct(viewer) => {
                viewer.close(why);
                let closed = async {
                    while !matches!(events.recv().await, Some(Event::Closed(_)) | None) {}
                };
                if timeout(CLOSE_TIMEOUT, closed).await.is_err() {
                    tracing::debug!("the engine did not confirm the close");
                }
            }
            Self::Webrtcbin(viewer) => viewer.close().await,
        }
    }
}
