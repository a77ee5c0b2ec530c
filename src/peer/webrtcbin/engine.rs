//! The element: made, negotiated, watched and asked to say goodbye, here only.

use std::{
    net::{IpAddr, SocketAddr},
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

use super::{Error, Ports, PublisherOptions, tracks::Tracks};
pub(crate) use crate::pipeline::elements::of_factory;
use crate::{
    peer::{End, Event},
    pipeline::{self, clock},
};

/// Longest time for one step of the negotiation.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for gathering candidates: only local addresses are asked for.
const GATHERING_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest shift of one track against the other that sender reports may bring about, in
/// nanoseconds: beyond a second a report is wrong rather than the stream late.
const SYNC_SHIFT_MAX: i64 = 1_000_000_000;
/// The session's bandwidth in bit/s, from which RTCP gets a share. It is what sets the pace of
/// feedback (RFC 4585 §3.5.2): at GStreamer's default, a voice call's 64 kbit/s, a NACK waits up
/// to 600 ms for the one before; at this, 20 to 30 ms.
const SESSION_BANDWIDTH: f64 = 2_000_000.0;
/// The jitter buffer passes on this many packets in a row at the beginning without first waiting
/// for its latency.
const FASTSTART_PACKETS: u32 = 1;

/// Loads the plugins, and makes the DTLS certificate: the element that needs it first does that.
pub(super) fn prepare() {
    for element in ["webrtcbin", "dtlssrtpdec"] {
        if let Err(error) = gst::ElementFactory::make(element).build() {
            tracing::warn!(element, %error, "cannot be made");
        }
    }
}

/// Makes the pipeline with its webrtcbin, not running yet.
pub(super) fn build(
    options: &PublisherOptions,
    tracks: &Arc<Tracks>,
) -> Result<(gst::Pipeline, gst::Element), pipeline::Error> {
    let failed = |error: glib::BoolError| pipeline::Error::Failed(error.to_string());
    let pipeline = gst::Pipeline::new();
    clock::share(&pipeline);
    let latency = u32::try_from(options.jitter.as_millis()).unwrap_or(u32::MAX);
    let webrtcbin = gst::ElementFactory::make("webrtcbin")
        .property_from_str("bundle-policy", "max-bundle")
        .property("latency", latency)
        .build()
        .map_err(failed)?;
    set_up_ice(&webrtcbin, &options.addresses, options.ports);
    set_up_rtp(&webrtcbin);
    let (weak_pipeline, weak_tracks) = (pipeline.downgrade(), Arc::downgrade(tracks));
    webrtcbin.connect_pad_added(move |_, pad| {
        if let (Some(pipeline), Some(tracks)) = (weak_pipeline.upgrade(), weak_tracks.upgrade()) {
            tracks.add(&pipeline, pad);
        }
    });
    webrtcbin.connect_closure(
        "on-new-transceiver",
        false,
        glib::closure!(|_: &gst::Element, transceiver: &glib::Object| {
            transceiver.set_property("do-nack", true);
            transceiver.set_property_from_str("fec-type", "none");
        }),
    );
    pipeline.add(&webrtcbin).map_err(failed)?;
    Ok((pipeline, webrtcbin))
}

/// Candidates are UDP, on the given addresses and ports. `upnp` is off: its discovery costs 200 ms
/// of every negotiation. Consent is not checked, because some publishers never answer (`FFmpeg`
/// 8.0): that media or reports come is the proof of life.
pub(crate) fn set_up_ice(webrtcbin: &gst::Element, addresses: &[IpAddr], ports: Option<Ports>) {
    let ice = webrtcbin.property::<glib::Object>("ice-agent");
    let agent = ice.property::<glib::Object>("agent");
    agent.set_property("upnp", false);
    agent.set_property("ice-tcp", false);
    if let Some(ports) = ports {
        ice.set_property("min-rtp-port", u32::from(ports.first));
        ice.set_property("max-rtp-port", u32::from(ports.last));
    }
    for address in addresses {
        let address = address.to_string();
        if !ice.emit_by_name::<bool>("add-local-ip-address", &[&address]) {
            tracing::warn!(address, "cannot gather candidates on this address");
        }
    }
}

fn set_up_rtp(webrtcbin: &gst::Element) {
    let Some(rtpbin) = rtpbin(webrtcbin) else {
        return;
    };
    rtpbin.set_property("max-ts-offset", SYNC_SHIFT_MAX);
    rtpbin.connect_closure(
        "new-jitterbuffer",
        false,
        glib::closure!(
            |_: &gst::Element, jitterbuffer: &gst::Element, _: u32, _: u32| {
                jitterbuffer.set_property("faststart-min-packets", FASTSTART_PACKETS);
                // only gaps are asked for, not packets that are merely late: video comes in bursts
                jitterbuffer.set_property("rtx-next-seqnum", false);
            }
        ),
    );
}

pub(crate) fn rtpbin(webrtcbin: &gst::Element) -> Option<gst::Element> {
    webrtcbin.downcast_ref::<gst::Bin>()?.by_name("rtpbin")
}

/// What the connection's owner hears of its state: each thing once.
pub(crate) struct Reporter {
    events: mpsc::Sender<Event>,
    /// Told of each event before its receiver; must not wait.
    first: Box<dyn Fn(&Event) + Send + Sync>,
    connected: AtomicBool,
    closed: AtomicBool,
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").finish_non_exhaustive()
    }
}

impl Reporter {
    pub(crate) fn new(
        events: mpsc::Sender<Event>,
        first: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Self {
        Self {
            events,
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
            tracing::warn!(%error, "event lost");
        }
    }
}

/// Watches the connection, and the DTLS transport of its bundle: webrtcbin's own state does not
/// tell when the peer says goodbye. Call it when the negotiation is done.
pub(crate) fn watch(webrtcbin: &gst::Element, reporter: &Arc<Reporter>) {
    use gst_webrtc::{WebRTCDTLSTransportState as Dtls, WebRTCPeerConnectionState as State};
    let reports = reporter.clone();
    let look = move |webrtcbin: &gst::Element| {
        let state = webrtcbin.property::<State>("connection-state");
        tracing::debug!(?state, "connection");
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
        tracing::debug!(?state, "DTLS");
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

/// Lets feedback (NACK, PLI) go out soon after the one before.
pub(super) fn speed_up_feedback(webrtcbin: &gst::Element) {
    set_on_sessions(webrtcbin, "bandwidth", SESSION_BANDWIDTH);
}

/// Sets a property of every RTP session.
pub(crate) fn set_on_sessions(
    webrtcbin: &gst::Element,
    property: &str,
    value: impl Into<glib::Value> + Copy,
) {
    let rtpbin = rtpbin(webrtcbin).and_then(|rtpbin| rtpbin.downcast::<gst::Bin>().ok());
    for session in rtpbin
        .iter()
        .flat_map(|rtpbin| of_factory(rtpbin, "rtpsession"))
    {
        session.set_property(property, value);
    }
}

/// Gives webrtcbin an offer and takes its answer, with every candidate in it.
pub(super) async fn negotiate(webrtcbin: &gst::Element, offer: &str) -> Result<String, Error> {
    set_remote_description(webrtcbin, offer).await?;
    answer(webrtcbin).await
}

/// Gives webrtcbin an offer.
pub(crate) async fn set_remote_description(
    webrtcbin: &gst::Element,
    offer: &str,
) -> Result<(), Error> {
    let message = gst_sdp::SDPMessage::parse_buffer(offer.as_bytes());
    let message = message.map_err(|error| Error::Engine(format!("offer: {error}")))?;
    let offer =
        gst_webrtc::WebRTCSessionDescription::new(gst_webrtc::WebRTCSDPType::Offer, message);
    ask(webrtcbin, "set-remote-description", &[&offer])
        .await
        .map(drop)
}

/// Takes webrtcbin's answer to its offer, with every candidate in it.
pub(crate) async fn answer(webrtcbin: &gst::Element) -> Result<String, Error> {
    let reply = ask(webrtcbin, "create-answer", &[&None::<gst::Structure>]).await?;
    let answer = reply
        .and_then(|reply| {
            reply
                .get::<gst_webrtc::WebRTCSessionDescription>("answer")
                .ok()
        })
        .ok_or_else(|| Error::Engine("create-answer gave no answer".to_owned()))?;
    set_local_description(webrtcbin, &answer).await
}

/// Sets the local description; returns it with every candidate in it.
pub(super) async fn set_local_description(
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
    if !is_gathered(webrtcbin)
        && tokio::time::timeout(GATHERING_TIMEOUT, gathered)
            .await
            .is_err()
    {
        tracing::warn!("candidates are not all gathered in time");
    }
    webrtcbin.disconnect(handler);
    let local = webrtcbin
        .property::<Option<gst_webrtc::WebRTCSessionDescription>>("local-description")
        .ok_or_else(|| Error::Engine("no local description".to_owned()))?;
    local
        .sdp()
        .as_text()
        .map_err(|error| Error::Engine(format!("description: {error}")))
}

fn is_gathered(webrtcbin: &gst::Element) -> bool {
    webrtcbin.property::<gst_webrtc::WebRTCICEGatheringState>("ice-gathering-state")
        == gst_webrtc::WebRTCICEGatheringState::Complete
}

/// Emits an action signal that replies through a promise, and waits for the reply.
pub(super) async fn ask(
    webrtcbin: &gst::Element,
    action: &'static str,
    arguments: &[&(dyn ToValue + Sync)],
) -> Result<Option<gst::Structure>, Error> {
    // A block of their own: values are not Send, and the caller's future has to be.
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
    let reply = tokio::time::timeout(STEP_TIMEOUT, reply).await;
    let reply = reply.map_err(|_| Error::Engine(format!("{action} took too long")))?;
    let reply = reply.map_err(|error| Error::Engine(format!("{action}: {error:?}")))?;
    match reply
        .as_ref()
        .and_then(|reply| reply.get::<glib::Error>("error").ok())
    {
        Some(error) => Err(Error::Engine(format!("{action}: {error}"))),
        None => Ok(reply.map(|reply| reply.to_owned())),
    }
}

/// Adds a remote host candidate. All sections share the bundle's transport: it is of the first.
pub(crate) fn add_candidate(webrtcbin: &gst::Element, index: usize, address: SocketAddr) {
    let (ip, port) = (address.ip(), address.port());
    let candidate = format!("candidate:{index} 1 UDP 2130706431 {ip} {port} typ host");
    webrtcbin.emit_by_name::<()>("add-ice-candidate", &[&0_u32, &candidate]);
}

/// RTP packets that the jitter buffers have given up.
pub(super) fn lost(webrtcbin: &gst::Element) -> u64 {
    let Some(rtpbin) = rtpbin(webrtcbin).and_then(|rtpbin| rtpbin.downcast::<gst::Bin>().ok())
    else {
        return 0;
    };
    of_factory(&rtpbin, "rtpjitterbuffer")
        .filter_map(|buffer| {
            buffer
                .property::<gst::Structure>("stats")
                .get::<u64>("num-lost")
                .ok()
        })
        .sum()
}

/// Makes every DTLS encoder send `close_notify`, which webrtcbin 1.22 does not do by itself.
/// Returns whether that was possible: there must be a peer. Blocks.
pub(super) fn say_goodbye(webrtcbin: &gst::Element) -> bool {
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
