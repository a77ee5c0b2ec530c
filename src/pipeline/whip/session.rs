//! One session on the other server, from the offer to the goodbye.

use std::{
    io,
    thread::{self, JoinHandle},
    time::Duration,
};

use gst::{glib, prelude::*};
use gstreamer as gst;
use gstreamer_sdp::SDPMessage;
use gstreamer_webrtc::{
    WebRTCICEGatheringState, WebRTCRTPTransceiver, WebRTCSDPType, WebRTCSessionDescription,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

use super::client::{Endpoint, Published};

/// Longest gathering of candidates; with an unresponsive STUN server it takes seconds.
const GATHERING_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest goodbye: it holds up the pipeline's end.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);
/// Wakes the session's thread: one is enough, however many there are.
const NEGOTIATIONS_MAX: usize = 1;

/// A session with a thread of its own. Dropping it ends both.
pub(super) struct WhipSession {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl WhipSession {
    /// Begins as soon as webrtcbin knows what it is to send. Errors are passed to `failed`.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(super) fn start(
        webrtcbin: &gst::Element,
        endpoint: Endpoint,
        failed: impl FnOnce(String) + Send + 'static,
    ) -> io::Result<Self> {
        let signals = Signals::watch(webrtcbin);
        let webrtcbin = webrtcbin.downgrade();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let work = move || runtime.block_on(run(&webrtcbin, signals, &endpoint, failed, stopped));
        let thread = thread::Builder::new().name("whipsink".to_owned());
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread.spawn(work)?),
        })
    }
}

impl Drop for WhipSession {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Err: it has panicked, which has been logged.
            let _ = thread.join();
        }
    }
}

/// Signals from webrtcbin's own threads.
struct Signals {
    negotiation: mpsc::Receiver<()>,
    gathered: watch::Receiver<bool>,
}

impl Signals {
    fn watch(webrtcbin: &gst::Element) -> Self {
        let (wanted, negotiation) = mpsc::channel(NEGOTIATIONS_MAX);
        webrtcbin.connect("on-negotiation-needed", false, move |_| {
            // Err: already pending, or the session is over.
            let _ = wanted.try_send(());
            None
        });
        let (complete, gathered) = watch::channel(false);
        webrtcbin.connect_notify(Some("ice-gathering-state"), move |webrtcbin, _| {
            let state = webrtcbin.property::<WebRTCICEGatheringState>("ice-gathering-state");
            complete.send_replace(state == WebRTCICEGatheringState::Complete);
        });
        Self {
            negotiation,
            gathered,
        }
    }
}

async fn run(
    webrtcbin: &glib::WeakRef<gst::Element>,
    signals: Signals,
    endpoint: &Endpoint,
    failed: impl FnOnce(String),
    stopped: oneshot::Receiver<()>,
) {
    let mut stopped = stopped;
    let published = tokio::select! {
        published = publish(webrtcbin, signals, endpoint) => published,
        _ = &mut stopped => return,
    };
    let published = match published {
        Ok(published) => published,
        Err(reason) => return failed(reason),
    };
    match accept(webrtcbin, &published.answer) {
        // Err: nothing sends; the sender is dropped.
        Ok(()) => drop(stopped.await),
        Err(reason) => failed(reason),
    }
    match timeout(GOODBYE_TIMEOUT, endpoint.end(&published)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "session at the WHIP server not ended"),
        Err(_) => tracing::debug!("session at the WHIP server not ended in time"),
    }
}

/// Makes an offer and has the server answer it.
async fn publish(
    webrtcbin: &glib::WeakRef<gst::Element>,
    signals: Signals,
    endpoint: &Endpoint,
) -> Result<Published, String> {
    let mut signals = signals;
    let gone = || "webrtcbin is gone".to_owned();
    signals.negotiation.recv().await.ok_or_else(gone)?;
    let (promise, offered) = gst::Promise::new_future();
    {
        let webrtcbin = webrtcbin.upgrade().ok_or_else(gone)?;
        send_again(&webrtcbin);
        webrtcbin.emit_by_name::<()>("create-offer", &[&None::<gst::Structure>, &promise]);
    }
    let offer = match offered.await {
        Ok(Some(reply)) => reply.get::<WebRTCSessionDescription>("offer").ok(),
        _ => None,
    };
    let offer = offer.ok_or_else(|| "webrtcbin makes no offer".to_owned())?;
    describe(webrtcbin, "set-local-description", &offer)?;
    let complete = signals.gathered.wait_for(|complete| *complete);
    if timeout(GATHERING_TIMEOUT, complete).await.is_err() {
        tracing::debug!("candidates are still being gathered; the offer has those found so far");
    }
    let offer = {
        let webrtcbin = webrtcbin.upgrade().ok_or_else(gone)?;
        webrtcbin.property::<Option<WebRTCSessionDescription>>("local-description")
    };
    let offer = offer.and_then(|offer| offer.sdp().as_text().ok());
    let offer = offer.ok_or_else(|| "webrtcbin has no offer".to_owned())?;
    endpoint
        .publish(offer)
        .await
        .map_err(|error| error.to_string())
}

/// Offers to send lost packets of the picture again (RFC 4588).
fn send_again(webrtcbin: &gst::Element) {
    for pad in webrtcbin.sink_pads() {
        // webrtcbin's own pad has its caps a moment after it asks to negotiate.
        let caps = pad.peer().and_then(|peer| peer.current_caps());
        let caps = caps.as_ref().and_then(|caps| caps.structure(0));
        let media = caps.and_then(|caps| caps.get::<&str>("media").ok());
        if media == Some("video") {
            pad.property::<WebRTCRTPTransceiver>("transceiver")
                .set_property("do-nack", true);
        }
    }
}

fn accept(webrtcbin: &glib::WeakRef<gst::Element>, answer: &[u8]) -> Result<(), String> {
    let answer = SDPMessage::parse_buffer(answer);
    let answer = answer.map_err(|_| "the WHIP server's answer is not SDP".to_owned())?;
    let answer = WebRTCSessionDescription::new(WebRTCSDPType::Answer, answer);
    describe(webrtcbin, "set-remote-description", &answer)
}

fn describe(
    webrtcbin: &glib::WeakRef<gst::Element>,
    action: &str,
    description: &WebRTCSessionDescription,
) -> Result<(), String> {
    let webrtcbin = webrtcbin.upgrade().ok_or("webrtcbin is gone")?;
    webrtcbin.emit_by_name::<()>(action, &[description, &None::<gst::Promise>]);
    Ok(())
}
