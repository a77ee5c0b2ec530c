//! A viewer on either engine.

use std::time::Duration;

use tokio::sync::mpsc;

use super::{
    Fanout,
    direct::{DirectHandle, ViewerChannel},
    error::Error,
    place::WorkerPlace,
    rendition::Rendition,
    reports::ViewerReports,
    tracks::{Layer, OfferedTracks, target},
    webrtcbin::{ConnectionOptions, WebrtcbinHandle},
};
use crate::{
    awake,
    media::Kind,
    peer::{
        End, Event,
        sdp::{self, Offer},
    },
    plan::Engine,
    playout::ViewerStatistics,
    resources::ProcessFigures,
};

/// How long the engine may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How viewers are served.
#[derive(Clone, Debug)]
pub struct ViewerOptions {
    /// The engine that carries them.
    pub engine: Engine,
    /// How connections on webrtcbin are made.
    pub webrtcbin: ConnectionOptions,
}

/// A viewer's connection, held by its session. Dropping it ends the connection.
pub enum Viewer {
    /// On the direct engine.
    Direct(DirectHandle),
    /// On webrtcbin.
    Webrtcbin(Box<WebrtcbinHandle>),
}

impl Fanout {
    /// Answers a viewer's offer on the engine that the options name, and sends it the given tracks
    /// from now on.
    ///
    /// # Errors
    /// If the offer has no codec that fits a track it asks for, or cannot be served at all.
    pub async fn watch(
        &self,
        offer: &Offer,
        tracks: OfferedTracks<'_>,
        options: &ViewerOptions,
        reports: ViewerReports,
    ) -> Result<(Viewer, String), Error> {
        match options.engine {
            Engine::Direct => {
                let (viewer, answer) = self.watch_on_direct(offer, tracks, reports)?;
                Ok((Viewer::Direct(viewer), answer))
            }
            Engine::Webrtcbin => {
                let events = reports.events;
                let watching = self.watch_on_webrtcbin(offer, tracks, &options.webrtcbin, events);
                let (viewer, answer) = watching.await?;
                Ok((Viewer::Webrtcbin(Box::new(viewer)), answer))
            }
        }
    }

    /// A place for a new viewer.
    pub(super) fn place(&self) -> Result<WorkerPlace, Error> {
        let key = self.inner.port.next_session();
        self.inner.pool.place(key).ok_or(Error::Overloaded)
    }
}

impl Viewer {
    /// Gives the viewer this layer of a simulcast picture (its index), or, with `None`, leaves the
    /// choice to the server again. Does nothing without simulcast.
    pub fn select(&self, layer: Option<usize>) {
        match self {
            Self::Direct(viewer) => viewer.place().select(layer),
            Self::Webrtcbin(viewer) => viewer.select(layer),
        }
    }

    /// Sends another rendition of the track of this kind, of the same codec, starting at that
    /// rendition's keyframe. With `layers` it is one of several, as in [`Layer`]. Returns false if
    /// the viewer's worker is overloaded: then nothing has changed.
    pub fn switch(&self, kind: Kind, to: &Rendition, layers: &[Layer]) -> bool {
        let to = target(kind, to, layers);
        match self {
            Self::Direct(viewer) => viewer.place().switch(to),
            Self::Webrtcbin(viewer) => viewer.switch(to),
        }
    }

    /// Its data channel, if its engine has one.
    pub fn channel(&self) -> Option<ViewerChannel> {
        match self {
            Self::Direct(viewer) => Some(viewer.channel()),
            Self::Webrtcbin(_) => None,
        }
    }

    /// Restarts ICE with the peer's new credentials and returns the server's (RFC 9725 §4.3.3).
    /// Media continues meanwhile.
    ///
    /// # Errors
    /// If the session has ended, or no answer comes within a second.
    pub async fn restart(&self, ufrag: &str, pwd: &str) -> Result<sdp::Transport, sdp::Error> {
        match self {
            Self::Direct(viewer) => viewer.restart(ufrag, pwd).await,
            Self::Webrtcbin(viewer) => viewer.restart(ufrag, pwd),
        }
    }

    /// Whether the viewer has sent an authentic connectivity check.
    pub fn is_checked(&self) -> bool {
        match self {
            Self::Direct(viewer) => viewer.is_checked(),
            Self::Webrtcbin(viewer) => viewer.is_checked(),
        }
    }

    /// The media sent to the viewer.
    pub fn statistics(&self) -> ViewerStatistics {
        match self {
            Self::Direct(viewer) => viewer.statistics(),
            Self::Webrtcbin(viewer) => viewer.statistics(),
        }
    }

    /// What its process uses, if it has one and that has been measured; others share it.
    pub fn process(&self) -> Option<ProcessFigures> {
        match self {
            Self::Direct(_) => None,
            Self::Webrtcbin(viewer) => viewer.process(),
        }
    }

    /// Says goodbye and waits, within a time limit, until the engine has done so and freed
    /// everything. `events` is the channel given to [`Fanout::watch`].
    pub async fn close(self, why: End, events: &mut mpsc::Receiver<Event>) {
        match self {
            Self::Direct(viewer) => {
                viewer.close(why);
                let closed = async {
                    while !matches!(events.recv().await, Some(Event::Closed(_)) | None) {}
                };
                if awake::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
                    tracing::debug!("engine did not confirm the close");
                }
            }
            Self::Webrtcbin(viewer) => viewer.close().await,
        }
    }
}
