//! A publisher on webrtcbin: one pipeline that turns RTP into frames.
//!
//! ```text
//!  webrtcbin (ICE, DTLS, SRTP, jitter buffer, NACK, RTX) -- a pad per track --> depayloader
//!      --> packetizer --> frames
//! ```
//!
//! - `receiver`: webrtcbin set up to receive.
//! - `tracks`: the elements linked to its pads, and the counters.
//! - `socket`: a larger receive buffer.
//! - `remb`: requests for a lower bit rate.
//! - this file: its life from offer to close.
//!
//! webrtcbin 1.22 lacks some things, which are done around it: `peer::sdp` validates and normalises
//! offers and rewrites answers; [`element`] says goodbye (DTLS `close_notify`); and webrtcbin never
//! gives up on a vanished peer, so the broadcast judges by [`ReceiverFigures`] whether media is still
//! coming.

mod receiver;
mod remb;
mod socket;
mod tracks;

use std::{sync::Arc, time::Duration};

use gst::{glib, prelude::*};
use gstreamer as gst;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use self::{remb::BitrateRequests, tracks::ReceivedTracks};
use super::element::{self, Error, Reporter};
use crate::{
    media::Kind,
    peer::{
        End, Event,
        sdp::{self, SectionExtensions},
    },
    pipeline::{
        TrackSinks,
        running::{self, RunningPipeline},
    },
};

/// The setup of a publisher's webrtcbin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReceiverSetup {
    /// The offer, normalised, from the relay in place of the client.
    pub offer: String,
    /// Attributes that webrtcbin leaves out of its answer.
    pub extensions: Vec<SectionExtensions>,
    /// The payload types of the tracks.
    pub types: Vec<(Kind, u8)>,
    /// How long to wait for a missing packet.
    pub jitter: Duration,
}

/// The media received so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverFigures {
    /// RTP packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// RTP packets that the jitter buffers have given up on.
    pub lost: u64,
    /// How long ago the last RTP packet came.
    pub packet_age: Option<Duration>,
    /// How long ago the last authentic RTCP came.
    pub report_age: Option<Duration>,
    /// Authentic RTP packets of the picture and of the sound, before the jitter buffer.
    pub arrived: [u64; 2],
    /// Frames made of them.
    pub made: [u64; 2],
}

/// A publisher's webrtcbin, in its pipeline. Dropping it ends the connection without a goodbye.
pub struct ReceivingElement {
    running: RunningPipeline,
    webrtcbin: glib::WeakRef<gst::Element>,
    tracks: Arc<ReceivedTracks>,
    reporter: Arc<Reporter>,
    bitrate: BitrateRequests,
}

impl ReceivingElement {
    /// Starts a pipeline and makes webrtcbin's answer, with its candidate. Frames go to the sinks as
    /// soon as media flows.
    ///
    /// Events are sent without waiting, so the channel must have room for the few there are:
    /// [`Event::Connected`] once, [`Event::Track`] once per track and codec, [`Event::Closed`]
    /// last.
    ///
    /// # Errors
    /// The engine's failure.
    pub async fn accept(
        setup: ReceiverSetup,
        sinks: TrackSinks,
        events: mpsc::Sender<Event>,
    ) -> Result<(Self, String), Error> {
        let tracks = Arc::new(ReceivedTracks::new(sinks, events.clone()));
        let work = {
            let (jitter, tracks) = (setup.jitter, tracks.clone());
            move || receiver::build(jitter, &tracks)
        };
        let (pipeline, webrtcbin) =
            running::blocking("building a publisher", running::STATE_TIMEOUT, work).await??;
        let reporter = Arc::new(Reporter::new(events.clone(), |_| {}));
        let reports = reporter.clone();
        let failed = move |report| {
            tracing::warn!(%report, "publisher's pipeline failed");
            reports.close(End::Failed)
        };
        let running = RunningPipeline::start(pipeline, |_, _| {}, events, failed).await?;
        let answer = match receiver::negotiate(&webrtcbin, &setup).await {
            Ok(answer) => answer,
            Err(error) => {
                drop(webrtcbin); // the pipeline's stop is to free it
                running.stop().await;
                return Err(error);
            }
        };
        if let Ok(engine) = sdp::engine_transport(&answer) {
            let work = move || socket::enlarge(engine.candidate);
            running::blocking("enlarging a buffer", running::STATE_TIMEOUT, work).await?;
        }
        receiver::speed_up_feedback(&webrtcbin);
        let bitrate = BitrateRequests::default();
        bitrate.attach(&webrtcbin);
        tracks.note_arrivals(&webrtcbin, setup.types);
        element::watch(&webrtcbin, &reporter);
        let publisher = Self {
            running,
            webrtcbin: webrtcbin.downgrade(),
            tracks,
            reporter,
            bitrate,
        };
        Ok((publisher, answer))
    }

    /// Asks the publisher for a video keyframe now (PLI). Nothing happens before video flows, and
    /// some publishers (OBS) ignore it.
    pub fn request_keyframe(&self) {
        self.tracks.request_keyframe();
    }

    /// Asks the publisher for at most this many bit/s. Nothing happens before video flows.
    pub fn request_bitrate(&self, bitrate: u64) {
        if let Some(webrtcbin) = self.webrtcbin.upgrade()
            && let Some(media) = self.tracks.video_ssrc()
        {
            self.bitrate.ask(&webrtcbin, media, bitrate);
        }
    }

    /// The media received so far.
    pub fn figures(&self) -> ReceiverFigures {
        let webrtcbin = self.webrtcbin.upgrade();
        ReceiverFigures {
            lost: webrtcbin.map_or(0, |webrtcbin| receiver::lost(&webrtcbin)),
            ..self.tracks.figures()
        }
    }

    /// Says goodbye to the peer (DTLS `close_notify`), stops the pipeline and frees it, within a
    /// time limit.
    pub async fn close(self) {
        self.reporter.close(End::Deleted); // nothing is reported of what follows
        element::close(self.running, self.webrtcbin).await;
    }
}
