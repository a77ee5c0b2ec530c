//! A webrtcbin client publishes into a [`WebrtcbinPublisher`]: the client. The tests are in the parts.

mod life;
mod media;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use gst::{glib, prelude::*};
use gstreamer as gst;
use gstreamer_webrtc as gst_webrtc;

use super::*;
use crate::{
    media::{Codec, Frame, FrameSink, Kind},
    peer::{End, udp},
    pipeline::{
        self, launch,
        running::{PipelineEnd, RunningPipeline},
    },
    plan::Engine,
    webrtcbin::element,
    worker::{PeerWorkers, WorkerLimits},
};

/// Longest wait on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

const H264: &str = "videotestsrc is-live=true pattern=smpte horizontal-speed=3
    ! video/x-raw,format=I420,width=320,height=180,framerate=30/1
    ! x264enc name=encoder tune=zerolatency speed-preset=veryfast key-int-max=300 bitrate=600
    ! video/x-h264,profile=high ! h264parse ! rtph264pay aggregate-mode=zero-latency
    ! application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000,
      packetization-mode=(string)1 ! w. ";
const OPUS: &str = "audiotestsrc is-live=true samplesperbuffer=960
    ! audio/x-raw,rate=48000,channels=2
    ! opusenc ! rtpopuspay
    ! application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000,
      encoding-params=(string)2 ! w. ";

struct Client {
    running: RunningPipeline,
}

impl Client {
    /// Starts a client and makes its offer, with all candidates.
    async fn offer(streams: &str) -> (Self, String) {
        pipeline::init().unwrap();
        // The first offer would wait for the certificate, on a busy machine longer than it may.
        tokio::task::spawn_blocking(element::prepare).await.unwrap();
        let text = format!("webrtcbin name=w bundle-policy=max-bundle {streams}");
        let pipeline = launch::parse("client", &text).unwrap();
        let webrtcbin = pipeline.by_name("w").unwrap();
        for transceiver in transceivers(&webrtcbin) {
            transceiver.set_property_from_str("direction", "sendonly");
            transceiver.set_property("do-nack", true);
        }
        let ice = webrtcbin.property::<glib::Object>("ice-agent");
        ice.property::<glib::Object>("agent")
            .set_property("upnp", false);
        ice.emit_by_name::<bool>("add-local-ip-address", &[&"127.0.0.1"]);
        let rtpbin = webrtcbin
            .downcast_ref::<gst::Bin>()
            .unwrap()
            .by_name("rtpbin")
            .unwrap();
        // sender reports give capture times, as browsers' do
        rtpbin.set_property("rtcp-sync-send-time", false);
        let (sender, mut reports) = mpsc::channel(1);
        let report = |report: PipelineEnd| Some(report);
        let running = RunningPipeline::start(pipeline, |_, _| {}, sender, report)
            .await
            .unwrap();
        // the offer needs the caps of every stream
        for pad in webrtcbin.sink_pads() {
            while pad.current_caps().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
                assert!(reports.try_recv().is_err(), "client failed");
            }
        }
        let reply = element::ask(&webrtcbin, "create-offer", &[&None::<gst::Structure>]);
        let reply = reply.await.unwrap().unwrap();
        let offer = reply
            .get::<gst_webrtc::WebRTCSessionDescription>("offer")
            .unwrap();
        let local = element::set_local_description(&webrtcbin, &offer)
            .await
            .unwrap();
        (Self { running }, local)
    }

    fn webrtcbin(&self) -> gst::Element {
        self.running.pipeline().unwrap().by_name("w").unwrap()
    }

    async fn answer(&self, answer: &str) {
        let message = gstreamer_sdp::SDPMessage::parse_buffer(answer.as_bytes()).unwrap();
        let kind = gst_webrtc::WebRTCSDPType::Answer;
        let answer = gst_webrtc::WebRTCSessionDescription::new(kind, message);
        element::ask(&self.webrtcbin(), "set-remote-description", &[&answer])
            .await
            .unwrap();
    }
}

fn transceivers(webrtcbin: &gst::Element) -> Vec<gst_webrtc::WebRTCRTPTransceiver> {
    webrtcbin
        .sink_pads()
        .iter()
        .map(|pad| pad.property("transceiver"))
        .collect()
}

/// Says 42e01f whatever the stream is, as OBS does.
fn claim_constrained_baseline(offer: &str) -> String {
    let parts: Vec<_> = offer.split("profile-level-id=").collect();
    let parts = parts.iter().enumerate().map(|(index, part)| match index {
        0 => (*part).to_owned(),
        _ => format!(
            "profile-level-id=42e01f{}",
            part.trim_start_matches(|c: char| c.is_ascii_hexdigit())
        ),
    });
    parts.collect()
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(Duration, Frame)>>>);

impl Seen {
    fn sink(&self) -> FrameSink {
        let seen = self.0.clone();
        Arc::new(move |frame| {
            let now = pipeline::clock::running_time();
            seen.lock().unwrap().push((now, frame));
        })
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// How much later than due the last frames came, in milliseconds.
    fn delay_ms(&self) -> i64 {
        let seen = self.0.lock().unwrap();
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap();
        let mut delays: Vec<_> = seen
            .iter()
            .rev()
            .take(25)
            .map(|(now, frame)| ms(*now) - ms(frame.pts))
            .collect();
        delays.sort_unstable();
        delays[delays.len() / 2]
    }

    async fn more_than(&self, count: usize) {
        let more = async {
            while self.count() <= count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, more).await.is_ok(),
            "{} frames",
            self.count()
        );
    }
}

struct Call {
    client: Client,
    publisher: WebrtcbinPublisher,
    port: Port,
    events: mpsc::Receiver<Event>,
    video: Seen,
    audio: Seen,
}

async fn call(streams: &str) -> Call {
    call_waiting(streams, options().jitter).await
}

/// A call whose receiver waits for a missing packet as long as this.
async fn call_waiting(streams: &str, jitter: Duration) -> Call {
    let (client, offer) = Client::offer(streams).await;
    let offer = claim_constrained_baseline(&offer);
    let offer = sdp::Offer::parse(offer.as_bytes(), sdp::Role::Publisher).unwrap();
    let (video, audio) = (Seen::default(), Seen::default());
    let sinks = TrackSinks::new(video.sink(), audio.sink());
    let (sender, events) = mpsc::channel(16);
    let port = port();
    let options = Options {
        jitter,
        ..options()
    };
    let accepting = WebrtcbinPublisher::accept(&offer, &options, &port, sinks, sender);
    let (publisher, answer) = accepting.await.unwrap();
    client.answer(&answer).await;
    Call {
        client,
        publisher,
        port,
        events,
        video,
        audio,
    }
}

fn port() -> Port {
    let options = udp::Options {
        loopback: true,
        ..udp::Options::at("127.0.0.1:0".parse().unwrap())
    };
    let port = Port::bind(&options).unwrap();
    port.start();
    port
}

fn options() -> Options {
    Options {
        engine: Engine::Webrtcbin,
        jitter: Duration::from_millis(100),
        consent: Duration::from_secs(15),
        bitrate_max: 50_000_000,
        workers: PeerWorkers::new(WorkerLimits::new(1 << 32)),
    }
}

async fn close(call: Call) {
    call.publisher.close().await;
    call.client.running.stop().await;
    call.port.stop().await;
}

async fn next(events: &mut mpsc::Receiver<Event>, limit: Duration) -> Event {
    tokio::time::timeout(limit, events.recv())
        .await
        .expect("event in time")
        .unwrap()
}
