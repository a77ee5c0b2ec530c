//! A publisher on webrtcbin: one pipeline that receives RTP and makes frames of it.
//!
//! ```text
//!  webrtcbin (ICE, DTLS, SRTP, jitter buffer, NACK, RTX) -- a pad per track --> depayloader
//!      --> packetizer --> frames
//! ```
//!
//! - `receiver`: webrtcbin set up to receive.
//! - `tracks`: the elements linked behind its pads, and the counters.
//! - this file: the publisher's life from offer to close.
//!
//! webrtcbin 1.22 lacks some things, which are done around it: [`sdp`] validates and normalises
//! offers and rewrites answers; [`element`] says goodbye (DTLS `close_notify`); and webrtcbin never
//! gives up on a vanished peer, so the broadcast uses [`WebrtcbinPublisher::statistics`] to judge
//! whether media is still coming.

mod receiver;
mod remb;
#[cfg(test)]
mod tests;
mod tracks;

use std::sync::Arc;

use gst::{glib, prelude::*};
use gstreamer as gst;
use tokio::sync::mpsc;

use self::{remb::BitrateRequests, tracks::ReceivedTracks};
use super::{Options, Statistics};
use crate::{
    peer::{
        End, Event,
        element::{self, Error, Reporter},
        relay::{Relay, RelayOffer},
        sdp,
        udp::Port,
    },
    pipeline::{
        TrackSinks,
        running::{self, RunningPipeline},
    },
};

/// A publisher's peer connection. Dropping it ends the connection without a goodbye.
pub struct WebrtcbinPublisher {
    running: RunningPipeline,
    webrtcbin: glib::WeakRef<gst::Element>,
    tracks: Arc<ReceivedTracks>,
    relay: Relay,
    reporter: Arc<Reporter>,
    bitrate: BitrateRequests,
}

impl WebrtcbinPublisher {
    /// Accepts an offer: starts a pipeline behind `port`, and makes the answer. Frames go to the
    /// sinks as soon as media flows.
    ///
    /// Events are sent without waiting, so the channel must have room for the few there are:
    /// [`Event::Connected`] once, [`Event::Track`] once per track and codec, [`Event::Closed`]
    /// last.
    ///
    /// # Errors
    /// [`Error::Sdp`] if the offer cannot be accepted, else the engine's failure.
    pub(super) async fn accept(
        offer: &sdp::Offer,
        options: &Options,
        port: &Port,
        sinks: TrackSinks,
        events: mpsc::Sender<Event>,
    ) -> Result<(Self, String), Error> {
        let choices = offer.choose_publish()?;
        let relay = RelayOffer::new()?;
        let signals = Arc::clone(relay.signals());
        let tracks = ReceivedTracks::new(sinks, events.clone(), Arc::clone(&signals));
        let tracks = Arc::new(tracks);
        let work = {
            let (options, tracks) = (options.clone(), tracks.clone());
            move || receiver::build(&options, &tracks)
        };
        let (pipeline, webrtcbin) =
            running::blocking("building a publisher", running::STATE_TIMEOUT, work).await??;
        let reporter = Arc::new(Reporter::new(events.clone(), move |event| {
            if *event == Event::Connected {
                signals.handshake_done();
            }
        }));
        let reports = reporter.clone();
        let failed = move |report| {
            tracing::warn!(%report, "publisher's pipeline failed");
            reports.close(End::Failed)
        };
        let running = RunningPipeline::start(pipeline, |_, _| {}, events, failed).await?;
        let answered = answer(&webrtcbin, relay, offer, &choices, port).await;
        let (relay, answer) = match answered {
            Ok(answered) => answered,
            Err(error) => {
                drop(webrtcbin); // the pipeline's stop is to free it
                running.stop().await;
                return Err(error);
            }
        };
        receiver::speed_up_feedback(&webrtcbin);
        let bitrate = BitrateRequests::default();
        bitrate.attach(&webrtcbin);
        tracks.note_reports(&webrtcbin);
        element::watch(&webrtcbin, &reporter);
        let publisher = Self {
            running,
            webrtcbin: webrtcbin.downgrade(),
            tracks,
            relay,
            reporter,
            bitrate,
        };
        Ok((publisher, answer))
    }

    /// Asks the publisher for a video keyframe now (PLI). Nothing happens before video flows, and
    /// some publishers (OBS) ignore it.
    pub(super) fn request_keyframe(&self) {
        self.tracks.request_keyframe();
    }

    /// Asks the publisher for at most this many bit/s. Nothing happens before video flows.
    pub(super) fn request_bitrate(&self, bitrate: u64) {
        if let Some(webrtcbin) = self.webrtcbin.upgrade()
            && let Some(media) = self.tracks.video_ssrc()
        {
            self.bitrate.ask(&webrtcbin, media, bitrate);
        }
    }

    /// Restarts ICE.
    pub(super) fn restart(&self, ufrag: &str, pwd: &str) -> Result<sdp::Transport, sdp::Error> {
        self.relay.restart(ufrag, pwd)
    }

    /// Whether the publisher has sent an authentic check.
    pub(super) fn is_checked(&self) -> bool {
        self.relay.is_checked()
    }

    /// What has been received so far.
    pub(super) fn statistics(&self) -> Statistics {
        let lost = self
            .webrtcbin
            .upgrade()
            .map_or(0, |webrtcbin| receiver::lost(&webrtcbin));
        let statistics = self.tracks.statistics();
        let heard = self.reporter.is_connected().then(|| self.relay.heard());
        Statistics {
            lost,
            last_sign: statistics.last_sign.max(heard),
            ..statistics
        }
    }

    /// Says goodbye to the peer (DTLS `close_notify`), stops the pipeline and frees it, within a
    /// time limit.
    pub(super) async fn close(self) {
        self.reporter.close(End::Deleted); // nothing is reported of what follows
        element::close(self.running, self.webrtcbin).await;
    }
}

/// Makes the answer, and starts the relay that it names.
async fn answer(
    webrtcbin: &gst::Element,
    relay: RelayOffer,
    offer: &sdp::Offer,
    choices: &[sdp::Choice],
    port: &Port,
) -> Result<(Relay, String), Error> {
    let engine_answer = receiver::negotiate(webrtcbin, &relay, offer, choices).await?;
    let relay = relay.start(offer, &engine_answer, port).await?;
    let answer = sdp::publisher_answer(offer, choices, &engine_answer, relay.transport())?;
    Ok((relay, answer))
}
