//! webrtcbin as both directions use it: negotiated, watched and asked to say goodbye, here only.

use std::{
    fmt,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use gst::{glib, prelude::*};
use gstreamer as gst;
use gstreamer_sdp as gst_sdp;
use gstreamer_webrtc as gst_webrtc;
use tokio::sync::mpsc;
use tracing::Span;

pub(crate) use crate::pipeline::elements::of_factory;
use crate::{
    awake,
    peer::{End, Event, sdp},
    pipeline::{
        self,
        running::{self, RunningPipeline},
    },
};

/// Longest time for one step of the negotiation.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for gathering candidates: only local addresses are gathered.
const GATHERING_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a goodbye may take to get from the DTLS encoder to the socket. Its thread only has to
/// be scheduled; nothing waits for the peer.
const GOODBYE_WAIT: Duration = Duration::from_millis(200);

/// Why there is no connection.
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

impl From<Error> for pipeline::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Pipeline(error) => error,
            Error::Sdp(_) | Error::Engine(_) => Self::Failed(error.to_string()),
        }
    }
}

/// Prepares what the first session would otherwise wait for: GStreamer generates one DTLS
/// certificate for the life of the process, with an RSA key that takes 0.2 s, and seconds on a busy
/// machine. Blocks.
pub fn prepare() {
    for element in ["webrtcbin", "dtlssrtpdec"] {
        if let Err(error) = gst::ElementFactory::make(element).build() {
            tracing::warn!(element, %error, "cannot create element");
        }
    }
}

/// One candidate: UDP on loopback, where only the session's relay knows it. `upnp` is off: its
/// discovery adds 200 ms to every negotiation.
pub(crate) fn set_up_ice(webrtcbin: &gst::Element) {
    let ice = webrtcbin.property::<glib::Object>("ice-agent");
    let agent = ice.property::<glib::Object>("agent");
    agent.set_property("upnp", false);
    agent.set_property("ice-tcp", false);
    let address = Ipv4Addr::LOCALHOST.to_string();
    if !ice.emit_by_name::<bool>("add-local-ip-address", &[&address]) {
        tracing::warn!(address, "cannot gather candidates on this address");
    }
}

/// Calls `noted` for every authentic packet of RTCP. It must not wait.
pub(crate) fn on_reports(
    webrtcbin: &gst::Element,
    noted: impl Fn() + Clone + Send + Sync + 'static,
) {
    for session in rtp_sessions(webrtcbin) {
        // Behind the SRTP decoder.
        let Some(pad) = session.static_pad("recv_rtcp_sink") else {
            continue;
        };
        let noted = noted.clone();
        let all = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(all, move |_, _| {
            noted();
            gst::PadProbeReturn::Ok
        });
    }
}

pub(crate) fn rtpbin(webrtcbin: &gst::Element) -> Option<gst::Element> {
    webrtcbin.downcast_ref::<gst::Bin>()?.by_name("rtpbin")
}

/// Reports the state of a connection, each change once.
pub(crate) struct Reporter {
    events: mpsc::Sender<Event>,
    /// The session's span: GStreamer's threads have none.
    span: Span,
    /// Called with each event before it is sent; must not wait.
    first: Box<dyn Fn(&Event) + Send + Sync>,
    connected: AtomicBool,
    closed: AtomicBool,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}

impl Reporter {
    /// Call it within the session's span.
    pub(crate) fn new(
        events: mpsc::Sender<Event>,
        first: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Self {
        Self {
            events,
            span: Span::current(),
            first: Box::new(first),
            connected: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// The event that ends a connection; `None` if it has ended already.
    pub(crate) fn close(&self, end: End) -> Option<Event> {
        (!self.closed.swap(true, Relaxed)).then_some(Event::Closed(end))
    }

    fn connected(&self) -> Option<Event> {
        (!self.connected.swap(true, Relaxed)).then_some(Event::Connected)
    }

    fn lost(&self) -> Option<Event> {
        self.close(if self.connected.load(Relaxed) {
            End::Vanished
        } else {
            End::Failed
        })
    }

    /// Whether the connection has come up.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    pub(crate) fn send(&self, event: Option<Event>) {
        let Some(event) = event else { return };
        (self.first)(&event);
        if let Err(error) = self.events.try_send(event) {
            tracing::warn!(parent: &self.span, %error, "event lost");
        }
    }
}

/// A value of one of GStreamer's enumerations, as GStreamer's tools write it.
fn nick(value: impl Into<glib::Value>) -> String {
    let value = value.into();
    let known = glib::EnumValue::from_value(&value);
    known.map_or_else(String::new, |(_, known)| known.nick().to_owned())
}

/// Watches the connection, and the DTLS transport of its bundle: webrtcbin's own state does not
/// show when the peer says goodbye. Call it once the negotiation is done.
pub(crate) fn watch(webrtcbin: &gst::Element, reporter: &Arc<Reporter>) {
    use gst_webrtc::{WebRTCDTLSTransportState as Dtls, WebRTCPeerConnectionState as State};
    let reports = reporter.clone();
    let look = move |webrtcbin: &gst::Element| {
        let state = webrtcbin.property::<State>("connection-state");
        tracing::debug!(parent: &reports.span, state = nick(state), "connection");
        reports.send(match state {
            State::Connected => reports.connected(),
            State::Closed => reports.close(End::PeerClosed),
            State::Failed => reports.lost(),
            _ => None,
        });
    };
    look(webrtcbin);
    webrtcbin.connect_notify(Some("connection-state"), move |webrtcbin, _| {
        look(webrtcbin);
    });
    let Some(transport) = dtls_transport(webrtcbin) else {
        return;
    };
    let reports = reporter.clone();
    transport.connect_notify(Some("state"), move |transport, _| {
        let state = transport.state();
        tracing::debug!(parent: &reports.span, state = nick(state), "DTLS");
        reports.send(match state {
            Dtls::Closed => reports.close(End::PeerClosed),
            Dtls::Failed => reports.lost(),
            _ => None,
        });
    });
}

fn dtls_transport(webrtcbin: &gst::Element) -> Option<gst_webrtc::WebRTCDTLSTransport> {
    webrtcbin
        .emit_by_name::<Option<gst_webrtc::WebRTCRTPTransceiver>>("get-transceiver", &[&0_i32])?
        .receiver()?
        .property("transport")
}

/// Sets a property of every RTP session.
pub(crate) fn set_on_sessions(
    webrtcbin: &gst::Element,
    property: &str,
    value: impl Into<glib::Value> + Copy,
) {
    for session in rtp_sessions(webrtcbin) {
        session.set_property(property, value);
    }
}

/// The RTP sessions, once there is a remote description.
pub(crate) fn rtp_sessions(webrtcbin: &gst::Element) -> Vec<gst::Element> {
    let rtpbin = rtpbin(webrtcbin).and_then(|rtpbin| rtpbin.downcast::<gst::Bin>().ok());
    let sessions = rtpbin
        .iter()
        .flat_map(|rtpbin| of_factory(rtpbin, "rtpsession"));
    sessions.collect()
}

/// Gives webrtcbin an offer.
pub(crate) async fn set_remote_description(
    webrtcbin: &gst::Element,
    offer: &str,
) -> Result<(), Error> {
    let offer = description(gst_webrtc::WebRTCSDPType::Offer, offer)?;
    ask(webrtcbin, "set-remote-description", &[&offer])
        .await
        .map(drop)
}

/// Takes webrtcbin's answer to its offer, including every candidate. `complete` turns webrtcbin's
/// answer into the local description.
pub(crate) async fn answer(
    webrtcbin: &gst::Element,
    complete: impl FnOnce(String) -> String,
) -> Result<String, Error> {
    let reply = ask(webrtcbin, "create-answer", &[&None::<gst::Structure>]).await?;
    let created = reply
        .and_then(|reply| {
            reply
                .get::<gst_webrtc::WebRTCSessionDescription>("answer")
                .ok()
        })
        .ok_or_else(|| Error::Engine("create-answer gave no answer".to_owned()))?;
    let local = complete(text(&created)?);
    let local = description(gst_webrtc::WebRTCSDPType::Answer, &local)?;
    set_local_description(webrtcbin, &local).await
}

fn description(
    kind: gst_webrtc::WebRTCSDPType,
    text: &str,
) -> Result<gst_webrtc::WebRTCSessionDescription, Error> {
    let message = gst_sdp::SDPMessage::parse_buffer(text.as_bytes());
    let message = message.map_err(|error| Error::Engine(format!("{kind:?}: {error}")))?;
    Ok(gst_webrtc::WebRTCSessionDescription::new(kind, message))
}

fn text(description: &gst_webrtc::WebRTCSessionDescription) -> Result<String, Error> {
    description
        .sdp()
        .as_text()
        .map_err(|error| Error::Engine(format!("description: {error}")))
}

/// Sets the local description; returns it including every candidate.
pub(crate) async fn set_local_description(
    webrtcbin: &gst::Element,
    description: &gst_webrtc::WebRTCSessionDescription,
) -> Result<String, Error> {
    let (sender, gathered) = tokio::sync::oneshot::channel();
    let sender = std::sync::Mutex::new(Some(sender));
    let handler = webrtcbin.connect_notify(Some("ice-gathering-state"), move |webrtcbin, _| {
        if is_gathered(webrtcbin)
            && let Some(sender) = sender.lock().ok().and_then(|mut sender| sender.take())
        {
            sender.send(()).ok();
        }
    });
    ask(webrtcbin, "set-local-description", &[description]).await?;
    if !is_gathered(webrtcbin) && awake::timeout(GATHERING_TIMEOUT, gathered).await.is_err() {
        tracing::warn!("candidate gathering timed out");
    }
    webrtcbin.disconnect(handler);
    let local = webrtcbin
        .property::<Option<gst_webrtc::WebRTCSessionDescription>>("local-description")
        .ok_or_else(|| Error::Engine("no local description".to_owned()))?;
    text(&local)
}

fn is_gathered(webrtcbin: &gst::Element) -> bool {
    webrtcbin.property::<gst_webrtc::WebRTCICEGatheringState>("ice-gathering-state")
        == gst_webrtc::WebRTCICEGatheringState::Complete
}

/// Emits an action signal that replies through a promise, and waits for the reply.
pub(crate) async fn ask(
    webrtcbin: &gst::Element,
    action: &'static str,
    arguments: &[&(dyn ToValue + Sync)],
) -> Result<Option<gst::Structure>, Error> {
    // In a block of their own: values are not Send, and the caller's future has to be.
    let reply = {
        let (promise, reply) = gst::Promise::new_future();
        let mut values: Vec<_> = arguments
            .iter()
            .map(|argument| argument.to_value())
            .collect();
        values.push(promise.to_value());
        webrtcbin.emit_by_name_with_values(action, &values);
        reply
    };
    let reply = awake::timeout(STEP_TIMEOUT, reply)
        .await
        .map_err(|_| pipeline::Error::Timeout {
            step: format!("webrtcbin: {action}").into(),
            limit: STEP_TIMEOUT,
        })?
        .map_err(|error| Error::Engine(format!("{action}: {error:?}")))?;
    match reply
        .as_ref()
        .and_then(|reply| reply.get::<glib::Error>("error").ok())
    {
        Some(error) => Err(Error::Engine(format!("{action}: {error}"))),
        None => Ok(reply.map(|reply| reply.to_owned())),
    }
}

/// Makes every DTLS encoder send `close_notify`, which webrtcbin 1.22 does not do by itself.
/// Returns whether that was possible: there must be a peer. Blocks.
fn say_goodbye(webrtcbin: &gst::Element) -> bool {
    let state = dtls_transport(webrtcbin).map(|transport| transport.state());
    let Some(bin) = webrtcbin.downcast_ref::<gst::Bin>() else {
        return false;
    };
    if state != Some(gst_webrtc::WebRTCDTLSTransportState::Connected) {
        return false; // an encoder that was never connected takes no end of stream
    }
    let mut said = false;
    for encoder in of_factory(bin, "dtlsenc") {
        for pad in encoder.sink_pads() {
            said |= pad.send_event(gst::event::Eos::new());
        }
    }
    said
}

/// Says goodbye to the peer, stops the pipeline and frees it.
pub(crate) async fn close(running: RunningPipeline, webrtcbin: glib::WeakRef<gst::Element>) {
    let goodbye = move || {
        let webrtcbin = webrtcbin.upgrade();
        webrtcbin.is_some_and(|webrtcbin| say_goodbye(&webrtcbin))
    };
    match running::blocking("a goodbye", running::STOP_TIMEOUT, goodbye).await {
        Ok(true) => tokio::time::sleep(GOODBYE_WAIT).await,
        Ok(false) => {}
        Err(error) => tracing::debug!(%error, "close_notify not sent"),
    }
    running.stop().await;
}
