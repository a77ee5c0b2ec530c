//! A publisher on webrtcbin: a worker runs the element, the server does ICE with the client and hands
//! the worker its datagrams.
//!
//! ```text
//!  client -- the port -- relay -- loopback -- worker: webrtcbin --> depayloader --> packetizer
//!                                                                                      |
//!                                   frames <-- the worker's socket <-------------------+
//! ```

#[cfg(test)]
mod tests;

use tokio::sync::mpsc;

use super::{Error, Options, Statistics};
use crate::{
    peer::{
        Event,
        relay::{Relay, RelayOffer},
        sdp,
        udp::Port,
    },
    pipeline::TrackSinks,
    resources::ProcessFigures,
    webrtcbin::publisher::ReceiverSetup,
    worker::{Receiving, WorkerReceiver},
};

/// A publisher's peer connection. Dropping it ends the connection without a goodbye.
pub struct WebrtcbinPublisher {
    receiver: WorkerReceiver,
    relay: Relay,
}

impl WebrtcbinPublisher {
    /// Accepts an offer: starts webrtcbin in a worker, behind `port`, and makes the answer. Frames go
    /// to the sinks as soon as media flows.
    ///
    /// Events are sent without waiting, so the channel must have room for the few there are:
    /// [`Event::Connected`] once, [`Event::Track`] once per track and codec, [`Event::Closed`]
    /// last.
    ///
    /// # Errors
    /// [`Error::Offer`] if the offer cannot be accepted, else the engine's failure.
    pub(super) async fn accept(
        offer: &sdp::Offer,
        options: &Options,
        port: &Port,
        sinks: TrackSinks,
        events: mpsc::Sender<Event>,
    ) -> Result<(Self, String), Error> {
        let choices = offer.choose_publish()?;
        let relay = RelayOffer::new()?;
        let setup = ReceiverSetup {
            offer: relay.in_place_of(offer).normalised(&choices),
            extensions: sdp::section_extensions(offer),
            types: choices.iter().filter_map(payload_type).collect(),
            jitter: options.jitter,
        };
        let receiving = Receiving {
            sinks,
            events,
            signals: relay.signals().clone(),
        };
        let (receiver, engine_answer) = options.workers.receive(setup, receiving).await?;
        let relay = relay.start(offer, &engine_answer, port).await?;
        let answer = sdp::publisher_answer(offer, &choices, &engine_answer, relay.transport())?;
        Ok((Self { receiver, relay }, answer))
    }

    /// Asks the publisher for a video keyframe now (PLI). Nothing happens before video flows, and
    /// some publishers (OBS) ignore it.
    pub(super) fn request_keyframe(&self) {
        self.receiver.request_keyframe();
    }

    /// Asks the publisher for at most this many bit/s. Nothing happens before video flows.
    pub(super) fn request_bitrate(&self, bitrate: u64) {
        self.receiver.request_bitrate(bitrate);
    }

    /// Restarts ICE.
    pub(super) fn restart(&self, ufrag: &str, pwd: &str) -> Result<sdp::Transport, sdp::Error> {
        self.relay.restart(ufrag, pwd)
    }

    /// Whether the publisher has sent an authentic check.
    pub(super) fn is_checked(&self) -> bool {
        self.relay.is_checked()
    }

    /// The media received so far.
    pub(super) fn statistics(&self) -> Statistics {
        let received = self.receiver.received();
        let figures = received.figures;
        let heard = received.connected.then(|| self.relay.heard());
        Statistics {
            packets: figures.packets,
            bytes: figures.bytes,
            lost: figures.lost,
            last_packet: received.last_packet,
            last_sign: received.last_report.max(heard),
        }
    }

    /// What its worker uses, once that has been measured.
    pub(super) fn process(&self) -> Option<ProcessFigures> {
        self.receiver.received().process
    }

    /// Says goodbye to the peer (DTLS `close_notify`), and ends the worker, within a time limit.
    pub(super) async fn close(self) {
        self.receiver.close().await;
    }
}

/// The track and the payload type of a section.
fn payload_type(choice: &sdp::Choice) -> Option<(crate::media::Kind, u8)> {
    let sdp::Choice::Receive(format) = choice else {
        return None;
    };
    Some((format.codec?.kind(), format.pt))
}
