//! The GStreamer engine: a peer connection as one webrtcbin pipeline.
//!
//! ```text
//!  publisher:
//!  webrtcbin (ICE, DTLS, SRTP, jitter buffer, NACK, RTX) -- pad per track --> depayloader
//!      --> packetizer --> FrameSink
//! ```
//!
//! - `engine`: makes the element and asks it for an answer.
//! - `tracks`: what is linked behind its pads, and the counters.
//! - this file: the publisher's life from offer to close.
//!
//! What webrtcbin 1.22 does not do is done around it: offers are validated, normalised and answers
//! rewritten by [`super::sdp`]; the goodbye (DTLS `close_notify`) is made in [`Publisher::close`];
//! and whether media still comes is for the broadcast to judge by [`Publisher::stats`], because
//! webrtcbin never gives up a vanished peer.

pub(crate) mod engine;
#[cfg(test)]
mod tests;
mod tracks;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use gst::{glib, prelude::*};
use gstreamer as gst;
use tokio::sync::mpsc;

use super::{End, Event, sdp};
use crate::pipeline::{
    self, TrackSinks,
    running::{self, RunningPipeline},
};
use engine::Reporter;
use tracks::Tracks;

/// How long a goodbye may take to get from the DTLS encoder to the socket. Its thread only has to
/// be scheduled; the wait is not for the peer.
const GOODBYE_WAIT: Duration = Duration::from_millis(200);

/// UDP ports, both ends included. Each connection takes one per address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ports {
    /// The first one.
    pub first: u16,
    /// The last one.
    pub last: u16,
}

/// Why there is no publisher.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The offer cannot be accepted.
    #[error(transparent)]
    Sdp(#[from] sdp::Error),
    /// The pipeline does not start.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// The element does not negotiate.
    #[error("webrtcbin: {0}")]
    Engine(String),
}

/// Makes what the first session would otherwise wait for: GStreamer generates one DTLS certificate
/// for the life of the process, with an RSA key that takes 0.2 s, and seconds on a busy machine.
/// Blocks.
pub fn prepare() {
    engine::prepare();
}

/// How a publisher's connection is made.
#[derive(Clone, Debug, Default)]
pub struct PublisherOptions {
    /// ICE candidates are gathered on these addresses only; on all if empty.
    pub addresses: Vec<IpAddr>,
    /// Addresses announced in front of the local ones: 1:1 NAT with the same ports.
    pub public_addresses: Vec<IpAddr>,
    /// The ports to use on these addresses; default: the system's choice.
    pub ports: Option<Ports>,
    /// How long a missing packet is waited for. Packets that arrive in order are not delayed.
    pub jitter: Duration,
}

/// What has come from a publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublisherStats {
    /// RTP packets received and passed on.
    pub packets: u64,
    /// Their bytes, RTP headers included.
    pub bytes: u64,
    /// RTP packets that did not come in time, retransmissions included.
    pub lost: u64,
    /// When the last RTP packet was passed on.
    pub last_packet: Option<Instant>,
}

/// A publisher's peer connection. Dropping it ends the connection without a goodbye.
#[derive(Debug)]
pub struct Publisher {
    running: RunningPipeline,
    webrtcbin: glib::WeakRef<gst::Element>,
    tracks: Arc<Tracks>,
    reporter: Arc<Reporter>,
}

impl Publisher {
    /// Accepts an offer: starts a pipeline and makes the answer, with all candidates. Frames go to
    /// the sinks as soon as media flows.
    ///
    /// Events are sent without waiting, so the channel must have room for the few there are:
    /// [`Event::Connected`] once, [`Event::Track`] once per track and codec, [`Event::Closed`]
    /// last.
    ///
    /// # Errors
    /// [`Error::Sdp`] if the offer cannot be accepted, else the engine's failure.
    pub async fn accept(
        offer: &sdp::Offer,
        options: &PublisherOptions,
        sinks: TrackSinks,
        events: mpsc::Sender<Event>,
    ) -> Result<(Self, String), Error> {
        let choices = offer.choose_publish()?;
        let offered = offer.normalised(&choices);
        let tracks = Arc::new(Tracks::new(sinks, events.clone()));
        let work = {
            let (options, tracks) = (options.clone(), tracks.clone());
            move || engine::build(&options, &tracks)
        };
        let (pipeline, webrtcbin) =
            running::blocking("building a publisher", running::START_TIMEOUT, work).await??;
        let reporter = Arc::new(Reporter::new(events.clone(), |_| ()));
        let reports = reporter.clone();
        let failed = move |report| {
            tracing::warn!(?report, "publisher's pipeline failed");
            reports.close(End::Failed)
        };
        let running = RunningPipeline::start(pipeline, |_, _| {}, events, failed).await?;
        let answered = engine::negotiate(&webrtcbin, &offered).await;
        engine::speed_up_feedback(&webrtcbin);
        engine::watch(&webrtcbin, &reporter);
        let publisher = Self {
            running,
            webrtcbin: webrtcbin.downgrade(),
            tracks,
            reporter,
        };
        drop(webrtcbin); // the pipeline's stop is to free it
        let answer = answered.and_then(|answer| {
            Ok(sdp::publisher_answer(
                offer,
                &choices,
                &answer,
                &options.public_addresses,
            )?)
        });
        match answer {
            Ok(answer) => Ok((publisher, answer)),
            Err(error) => {
                publisher.running.stop().await;
                Err(error)
            }
        }
    }

    /// Adds remote candidates (trickle ICE) on the bundle's transport.
    pub fn add_candidates(&self, candidates: &[SocketAddr]) {
        let Some(webrtcbin) = self.webrtcbin.upgrade() else {
            return;
        };
        for (index, address) in candidates.iter().enumerate() {
            engine::add_candidate(&webrtcbin, index, *address);
        }
    }

    /// Asks the publisher for a video keyframe now (PLI). Nothing happens before video flows; and
    /// some publishers (OBS) never listen.
    pub fn request_keyframe(&self) {
        self.tracks.request_keyframe();
    }

    /// What has come so far.
    pub fn stats(&self) -> PublisherStats {
        let lost = self
            .webrtcbin
            .upgrade()
            .map_or(0, |webrtcbin| engine::lost(&webrtcbin));
        PublisherStats {
            lost,
            ..self.tracks.stats()
        }
    }

    /// Says goodbye to the peer (DTLS `close_notify`), stops the pipeline and frees it, within a
    /// time limit.
    pub async fn close(self) {
        self.reporter.close(End::Deleted); // nothing is reported of what follows
        close(self.running, self.webrtcbin).await;
    }
}

/// Says goodbye to the peer, stops the pipeline and frees it.
pub(crate) async fn close(running: RunningPipeline, webrtcbin: glib::WeakRef<gst::Element>) {
    let goodbye = move || {
        webrtcbin
            .upgrade()
            .is_some_and(|it| engine::say_goodbye(&it))
    };
    match running::blocking("a goodbye", running::STOP_TIMEOUT, goodbye).await {
        Ok(true) => tokio::time::sleep(GOODBYE_WAIT).await,
        Ok(false) => {}
        Err(error) => tracing::debug!(%error, "no goodbye"),
    }
    running.stop().await;
}
