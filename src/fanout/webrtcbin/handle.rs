//! The session's handle of a viewer on webrtcbin, and how a viewer begins.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use tokio::sync::mpsc;
use tracing::Span;

use super::{
    connection::{Negotiation, WebrtcbinConnection},
    numbering::{NumberedStream, ssrc},
    options::{ConnectionOptions, Feedback},
    viewer::WebrtcbinViewer,
};
use crate::{
    awake,
    fanout::{
        Fanout,
        error::Error,
        message::Message,
        slot::ViewerSlot,
        tracks::{ChosenTrack, OfferedTracks},
    },
    peer::{End, Event, sdp},
    playout::{LayerChoice, PlayoutTrack, Target, ViewerCounters, ViewerStatistics},
};

/// A viewer on webrtcbin, held by its session. Dropping it ends the connection without a goodbye.
pub struct WebrtcbinHandle {
    /// Taken out by [`WebrtcbinHandle::close`].
    connection: Option<WebrtcbinConnection>,
    subscribed: Subscribed,
    counters: Arc<ViewerCounters>,
}

/// A viewer that a worker may know; dropping this makes the worker forget it.
struct Subscribed {
    slot: ViewerSlot,
    span: Span,
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        let message = Message::Close {
            viewer: self.slot.key,
            why: End::Deleted,
        };
        if !self.slot.worker.tell(message) {
            // From now on every push is refused, and little is left to free.
            tracing::debug!(parent: &self.span, "close not passed on: the worker is behind");
        }
    }
}

impl Fanout {
    /// [`Fanout::watch`] on webrtcbin.
    pub(crate) async fn watch_on_webrtcbin(
        &self,
        offer: &sdp::Offer,
        tracks: OfferedTracks<'_>,
        options: ConnectionOptions,
        events: mpsc::Sender<Event>,
    ) -> Result<(WebrtcbinHandle, String), Error> {
        let (sections, chosen) =
            tracks.choose(offer, |rendition, kind| Ok(ssrc(rendition.key(), kind)))?;
        let subscribed = Subscribed {
            slot: self.slot()?,
            span: Span::current(),
        };
        let slot = &subscribed.slot;
        let on_feedback = {
            let (viewer, worker) = (slot.key, slot.worker.clone());
            move |feedback: Feedback| {
                // Losing one does no harm: the worker checks by itself, and viewers ask again.
                worker.tell(Message::Feedback { viewer, feedback });
            }
        };
        let negotiation = Negotiation {
            offer,
            sections: &sections,
            port: self.port(),
        };
        let on_feedback = Arc::new(on_feedback);
        let accepting =
            WebrtcbinConnection::accept(negotiation, options, on_feedback, events.clone());
        let (connection, answer) = accepting.await?;
        let counters = Arc::<ViewerCounters>::default();
        let viewer = WebrtcbinViewer::new(
            slot.key,
            connection.outlet().clone(),
            chosen.into_iter().map(playout_track).collect(),
            events,
            Arc::clone(&counters),
        );
        if !slot.worker.tell(Message::JoinOnWebrtcbin(Box::new(viewer))) {
            connection.close().await;
            return Err(Error::Overloaded);
        }
        let viewer = WebrtcbinHandle {
            connection: Some(connection),
            subscribed,
            counters,
        };
        Ok((viewer, answer))
    }
}

fn playout_track(track: ChosenTrack) -> PlayoutTrack<NumberedStream> {
    let Target {
        rendition, layers, ..
    } = track.target;
    let stream = NumberedStream::new(rendition, track.codec.kind(), track.ssrc, track.pt);
    // webrtcbin 1.22 measures no bandwidth.
    let layers = LayerChoice::new(layers, false, awake::now());
    PlayoutTrack::new(rendition, track.codec, stream, layers)
}

impl WebrtcbinHandle {
    pub(in crate::fanout) const fn slot(&self) -> &ViewerSlot {
        &self.subscribed.slot
    }

    /// Ends the connection with a `close_notify`, and frees everything, within the engine's time
    /// limits. No event follows.
    pub(crate) async fn close(mut self) {
        let (totals, own) = (&self.slot().worker.totals, self.statistics());
        for (total, own) in [
            (&totals.retransmitted, own.retransmitted),
            (&totals.refused, own.retransmissions_refused),
        ] {
            total.fetch_add(own, Relaxed);
        }
        let connection = self.connection.take();
        drop(self);
        if let Some(connection) = connection {
            connection.close().await;
        }
    }

    /// Restarts ICE.
    pub(crate) fn restart(&self, ufrag: &str, pwd: &str) -> Result<sdp::Transport, sdp::Error> {
        let gone = || sdp::Error::Unsupported("the session has ended".to_owned());
        let connection = self.connection.as_ref().ok_or_else(gone)?;
        connection.restart(ufrag, pwd)
    }

    /// Whether the viewer has sent an authentic check.
    pub(crate) fn is_checked(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(WebrtcbinConnection::is_checked)
    }

    pub(crate) fn statistics(&self) -> ViewerStatistics {
        let connection = self.connection.as_ref();
        ViewerStatistics {
            retransmitted: connection.map_or(0, WebrtcbinConnection::retransmitted),
            retransmissions_refused: connection.map_or(0, WebrtcbinConnection::refused),
            ..self.counters.statistics()
        }
    }
}
