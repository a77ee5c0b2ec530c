//! A viewer's peer connection on webrtcbin.
//!
//! How webrtcbin's sink pad behaves, measured on 1.22: until ICE and DTLS are up a push waits, so
//! nothing is pushed before that. It would also wait until the packets are due by the clock; that
//! is turned off (`pads`). Then a push runs through RTCP accounting, encryption and one
//! non-blocking send per packet on the caller's thread, and packets that the socket does not take
//! are lost as on the network: a slow peer never holds up the caller.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use gst::{glib, prelude::*};
use gstreamer as gst;
use tokio::sync::mpsc;

use super::{
    outlet::ViewerOutlet,
    pads,
    retransmission::RetransmissionGuard,
    setup::{Feedback, OnFeedback, SenderFigures, SenderSetup},
};
use crate::{
    peer::{End, Event},
    pipeline::running::{self, RunningPipeline},
    webrtcbin::element::{self, Error, Reporter},
};

/// A push that takes longer ends the session: the other viewers must not be held up.
const STUCK_MAX: Duration = Duration::from_secs(1);

/// Shortest time between two sender reports, in nanoseconds; the first comes after half of that.
/// Until then players cannot synchronise picture and sound. GStreamer's default is 5 s.
const REPORT_INTERVAL: u64 = 1_000_000_000;

/// Packets that are kept to be sent again: a keyframe of two megabytes. webrtcbin keeps 500, so that
/// the first ones of a large keyframe would be gone before they are asked for.
const HISTORY_PACKETS: u32 = 2048;
/// Milliseconds of media that are kept, at the most: who asks later shows the picture too late.
const HISTORY_MILLIS: u32 = 2000;

/// A viewer's peer connection. Dropping it ends the connection without a goodbye.
pub struct SendingElement {
    running: RunningPipeline,
    webrtcbin: glib::WeakRef<gst::Element>,
    outlet: ViewerOutlet,
    again: Arc<RetransmissionGuard>,
    reporter: Arc<Reporter>,
    on_feedback: OnFeedback,
    /// Authentic packets of RTCP.
    reports: Arc<AtomicU64>,
}

impl SendingElement {
    /// Starts a pipeline and makes webrtcbin's answer, with its candidate. Media for the viewer is
    /// pushed into its [`SendingElement::outlet`], once that is open.
    ///
    /// Events are sent without waiting, so the channel must have room: [`Event::Connected`] once,
    /// [`Event::Closed`] last. Keyframe requests go to `on_feedback` only.
    ///
    /// # Errors
    /// The engine's failure.
    pub(crate) async fn accept(
        setup: &SenderSetup,
        on_feedback: OnFeedback,
        events: mpsc::Sender<Event>,
    ) -> Result<(Self, String), Error> {
        let again = Arc::new(RetransmissionGuard::new());
        let build = {
            let (cname, guard) = (setup.cname.clone(), Arc::clone(&again));
            move || pads::build(&cname, &guard)
        };
        let (pipeline, webrtcbin) =
            running::blocking("building a viewer", running::STATE_TIMEOUT, build).await??;
        // The outlet is made during the negotiation; nothing connects before that ends.
        let outlet = Arc::new(std::sync::OnceLock::<ViewerOutlet>::new());
        let reporter = {
            let outlet = outlet.clone();
            Reporter::new(events.clone(), move |event| {
                if let (Event::Closed(_), Some(outlet)) = (event, outlet.get()) {
                    outlet.set_open(false);
                }
            })
        };
        let reporter = Arc::new(reporter);
        let reports = reporter.clone();
        let failed = move |report| {
            tracing::warn!(%report, "viewer's pipeline failed");
            reports.close(End::Failed)
        };
        let running = RunningPipeline::start(pipeline, |_, _| {}, events, failed).await?;
        let (pads, answer) = match negotiate(&webrtcbin, setup, &on_feedback).await {
            Ok(answered) => answered,
            Err(error) => {
                drop(webrtcbin); // the pipeline's stop is to free it
                running.stop().await;
                return Err(error);
            }
        };
        let outlet = outlet
            .get_or_init(|| ViewerOutlet::new(pads, Arc::clone(&again)))
            .clone();
        element::set_on_sessions(&webrtcbin, "rtcp-min-interval", REPORT_INTERVAL);
        keep_large_keyframes(&webrtcbin);
        element::watch(&webrtcbin, &reporter);
        let reports = Arc::<AtomicU64>::default();
        element::on_reports(&webrtcbin, {
            let reports = Arc::clone(&reports);
            move || {
                reports.fetch_add(1, Relaxed);
            }
        });
        let sender = Self {
            running,
            webrtcbin: webrtcbin.downgrade(),
            outlet,
            again,
            reporter,
            on_feedback,
            reports,
        };
        Ok((sender, answer))
    }

    /// Where to push the viewer's packets.
    pub(crate) const fn outlet(&self) -> &ViewerOutlet {
        &self.outlet
    }

    /// Media may flow: the relay knows that the handshake is done.
    pub(crate) fn open(&self) {
        if self.reporter.is_connected() {
            self.outlet.set_open(true);
            (self.on_feedback)(Feedback::Connected);
        }
    }

    /// Ends the connection if it holds up the other viewers.
    pub(crate) fn watch(&self) {
        if self.outlet.stuck().is_some_and(|time| time >= STUCK_MAX) {
            tracing::warn!("viewer's connection does not accept packets");
            self.reporter.send(self.reporter.close(End::Failed));
        }
    }

    /// Adds what webrtcbin has counted.
    pub(crate) fn figures(&self, counted: SenderFigures) -> SenderFigures {
        let webrtcbin = self.webrtcbin.upgrade();
        let senders = webrtcbin.iter().flat_map(retransmitters);
        SenderFigures {
            retransmitted: senders
                .map(|sender| u64::from(sender.property::<u32>("num-rtx-packets")))
                .sum(),
            refused: self.again.refused(),
            reports: self.reports.load(Relaxed),
            ..counted
        }
    }

    /// Says goodbye to the peer (DTLS `close_notify`), stops the pipeline and frees it, within a
    /// time limit.
    pub(crate) async fn close(self) {
        self.reporter.close(End::Deleted); // nothing is reported of what follows
        self.outlet.set_open(false);
        element::close(self.running, self.webrtcbin).await;
    }
}

/// The elements that send packets again.
fn retransmitters(webrtcbin: &gst::Element) -> Vec<gst::Element> {
    let bin = webrtcbin.downcast_ref::<gst::Bin>().into_iter();
    bin.flat_map(|bin| element::of_factory(bin, "rtprtxsend"))
        .collect()
}

/// Has enough kept to be sent again.
fn keep_large_keyframes(webrtcbin: &gst::Element) {
    for sender in retransmitters(webrtcbin) {
        sender.set_property("max-size-packets", HISTORY_PACKETS);
        sender.set_property("max-size-time", HISTORY_MILLIS);
    }
}

/// Makes the answer, and links the tracks.
async fn negotiate(
    webrtcbin: &gst::Element,
    setup: &SenderSetup,
    on_feedback: &OnFeedback,
) -> Result<(Vec<pads::TrackPad>, String), Error> {
    element::set_remote_description(webrtcbin, &setup.offer).await?;
    let link = {
        let (webrtcbin, tracks, on_feedback) =
            (webrtcbin.clone(), setup.tracks.clone(), on_feedback.clone());
        move || pads::link(&webrtcbin, &tracks, &on_feedback)
    };
    let pads = running::blocking("linking a viewer", running::STATE_TIMEOUT, link).await??;
    Ok((pads, element::answer(webrtcbin, |created| created).await?))
}
