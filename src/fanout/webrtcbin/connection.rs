//! A viewer's peer connection on webrtcbin.
//!
//! How webrtcbin's sink pad behaves, measured on 1.22: until ICE and DTLS are up a push waits, so
//! nothing is pushed before that. It would also wait until the packets are due by the clock; that
//! is turned off (`pads`). Then a push runs through RTCP accounting, encryption and one
//! non-blocking send per packet on the caller's thread, and packets that the socket does not take
//! are lost as on the network: a slow peer never holds up the caller.

use std::{sync::Arc, time::Duration};

use gst::{glib, prelude::*};
use gstreamer as gst;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tracing::Instrument;

use super::{
    options::{ConnectionOptions, Feedback, OnFeedback},
    outlet::ViewerOutlet,
    pads,
    retransmission::RetransmissionGuard,
};
use crate::{
    awake,
    peer::{
        End, Event,
        relay::{Relay, RelayOffer},
        sdp,
        udp::Port,
    },
    pipeline::running::{self, RunningPipeline},
    webrtcbin::element::{self, Error, Reporter},
};

/// How often liveness is checked.
const WATCH: Duration = Duration::from_millis(250);
/// A push that takes longer ends the session: the worker must not be held up.
const STUCK_MAX: Duration = Duration::from_secs(1);

/// Shortest time between two sender reports, in nanoseconds; the first comes after half of that.
/// Until then players cannot synchronise picture and sound. GStreamer's default is 5 s.
const REPORT_INTERVAL: u64 = 1_000_000_000;

/// A viewer's peer connection. Dropping it ends the connection without a goodbye.
pub(super) struct WebrtcbinConnection {
    running: RunningPipeline,
    webrtcbin: glib::WeakRef<gst::Element>,
    relay: Arc<Relay>,
    outlet: ViewerOutlet,
    again: Arc<RetransmissionGuard>,
    reporter: Arc<Reporter>,
    /// The watch; it ends with the viewer.
    tasks: JoinSet<()>,
}

impl WebrtcbinConnection {
    /// Answers an offer: starts a pipeline behind the port, and makes the answer. Media for the
    /// viewer is pushed into its [`WebrtcbinConnection::outlet`].
    ///
    /// Events are sent without waiting, so the channel must have room: [`Event::Connected`] once,
    /// [`Event::Closed`] last. Keyframe requests go to `on_feedback` only.
    ///
    /// # Errors
    /// [`Error::Sdp`] if webrtcbin does not accept a chosen format, else the engine's failure.
    pub(super) async fn accept(
        negotiation: Negotiation<'_>,
        options: ConnectionOptions,
        on_feedback: OnFeedback,
        events: mpsc::Sender<Event>,
    ) -> Result<(Self, String), Error> {
        let relay = RelayOffer::new()?;
        let signals = Arc::clone(relay.signals());
        let cname = sdp::stream_id(negotiation.sections);
        let again = Arc::new(RetransmissionGuard::new());
        let guard = Arc::clone(&again);
        let build = move || pads::build(&cname, &guard);
        let (pipeline, webrtcbin) =
            running::blocking("building a viewer", running::STATE_TIMEOUT, build).await??;
        // The outlet is made during the negotiation; nothing connects before that ends.
        let outlet = Arc::new(std::sync::OnceLock::<ViewerOutlet>::new());
        let reporter = {
            let (outlet, on_feedback) = (outlet.clone(), on_feedback.clone());
            Reporter::new(events.clone(), move |event| {
                let connected = *event == Event::Connected;
                if connected {
                    signals.handshake_done();
                }
                if let Some(outlet) = outlet.get() {
                    outlet.set_open(connected);
                }
                if connected {
                    on_feedback(Feedback::Connected);
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
        let (relay, pads, answer) = match negotiation.run(&webrtcbin, relay, &on_feedback).await {
            Ok(answered) => answered,
            Err(error) => {
                drop(webrtcbin);
                running.stop().await;
                return Err(error);
            }
        };
        let outlet = outlet
            .get_or_init(|| ViewerOutlet::new(pads, Arc::clone(&again)))
            .clone();
        element::set_on_sessions(&webrtcbin, "rtcp-min-interval", REPORT_INTERVAL);
        element::watch(&webrtcbin, &reporter);
        let relay = Arc::new(relay);
        let signals = Arc::clone(relay.signals());
        element::on_reports(&webrtcbin, move || signals.authentic());
        let viewer = Self {
            running,
            webrtcbin: webrtcbin.downgrade(),
            tasks: watch(
                outlet.clone(),
                Arc::clone(&relay),
                reporter.clone(),
                options,
            ),
            relay,
            outlet,
            again,
            reporter,
        };
        Ok((viewer, answer))
    }

    /// Where to push the viewer's packets.
    pub(super) const fn outlet(&self) -> &ViewerOutlet {
        &self.outlet
    }

    /// Restarts ICE.
    pub(super) fn restart(&self, ufrag: &str, pwd: &str) -> Result<sdp::Transport, sdp::Error> {
        self.relay.restart(ufrag, pwd)
    }

    /// Whether the viewer has sent an authentic check.
    pub(super) fn is_checked(&self) -> bool {
        self.relay.is_checked()
    }

    /// RTP packets sent again on request.
    pub(super) fn retransmitted(&self) -> u64 {
        let bin = self.webrtcbin.upgrade();
        bin.and_then(|bin| bin.downcast::<gst::Bin>().ok())
            .iter()
            .flat_map(|bin| element::of_factory(bin, "rtprtxsend"))
            .map(|sender| u64::from(sender.property::<u32>("num-rtx-packets")))
            .sum()
    }

    /// Requests for packets past the viewer's budget.
    pub(super) fn refused(&self) -> u64 {
        self.again.refused()
    }

    /// Says goodbye to the peer (DTLS `close_notify`), stops the pipeline and frees it, within a
    /// time limit.
    pub(super) async fn close(mut self) {
        self.reporter.close(End::Deleted); // nothing is reported of what follows
        self.tasks.abort_all();
        self.outlet.set_open(false);
        element::close(self.running, self.webrtcbin).await;
    }
}

type Pads = Vec<(crate::media::Kind, gst::Pad)>;

/// What an answer is made from.
pub(super) struct Negotiation<'a> {
    pub(super) offer: &'a sdp::Offer,
    /// What has been chosen of it.
    pub(super) sections: &'a [sdp::Section],
    /// Where the client's datagrams come in.
    pub(super) port: &'a Port,
}

impl Negotiation<'_> {
    /// Makes the answer, links the tracks, and starts the relay that the answer names.
    async fn run(
        self,
        webrtcbin: &gst::Element,
        relay: RelayOffer,
        on_feedback: &OnFeedback,
    ) -> Result<(Relay, Pads, String), Error> {
        let Self {
            offer,
            sections,
            port,
        } = self;
        let offered = relay.in_place_of(offer).normalised_for_sending(sections);
        element::set_remote_description(webrtcbin, &offered).await?;
        let link = {
            let (webrtcbin, tracks, on_feedback) = (
                webrtcbin.clone(),
                pads::tracks(sections),
                on_feedback.clone(),
            );
            move || pads::link(&webrtcbin, &tracks, &on_feedback)
        };
        let pads = running::blocking("linking a viewer", running::STATE_TIMEOUT, link).await??;
        let engine_answer = element::answer(webrtcbin, |created| created).await?;
        let relay = relay.start(offer, &engine_answer, port).await?;
        let transport = relay.transport();
        let answer = sdp::engine_viewer_answer(offer, sections, &engine_answer, &transport)?;
        Ok((relay, pads, answer))
    }
}

/// Ends the session when its peer does not come, has gone, or holds up the worker.
fn watch(
    outlet: ViewerOutlet,
    relay: Arc<Relay>,
    reporter: Arc<Reporter>,
    options: ConnectionOptions,
) -> JoinSet<()> {
    let ConnectionOptions { connect, consent } = options;
    let mut tasks = JoinSet::new();
    let watching = async move {
        let begin = awake::now();
        let mut tick = interval(WATCH);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let end = if !reporter.is_connected() {
                (awake::since(begin) >= connect).then_some(End::ConnectTimeout)
            } else if outlet.stuck().is_some_and(|time| time >= STUCK_MAX) {
                tracing::warn!("viewer's connection does not accept packets");
                Some(End::Failed)
            } else {
                let gone = relay.silence() >= consent || !relay.has_consent();
                gone.then_some(End::Vanished)
            };
            if let Some(end) = end {
                reporter.send(reporter.close(end));
                return;
            }
        }
    };
    tasks.spawn(watching.in_current_span());
    tasks
}
