//! A client whose peer connection is GStreamer's: libnice, OpenSSL and libsrtp.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use gst::{glib, prelude::*};
use gstreamer as gst;
use gstreamer_app::{AppSink, AppSinkCallbacks};
use gstreamer_webrtc::{
    WebRTCDTLSTransport, WebRTCDTLSTransportState, WebRTCICEGatheringState, WebRTCSDPType,
    WebRTCSessionDescription,
};

use crate::{
    networks::Relay,
    support::{Server, wait_for},
};

/// Media that a watcher has decoded.
#[derive(Default)]
pub(crate) struct Decoded {
    pub(crate) pictures: AtomicU64,
    /// Pictures that differ from the previous one.
    pub(crate) moved: AtomicU64,
    last: Mutex<Option<u64>>,
    pub(crate) sounds: AtomicU64,
}

/// A client that runs until it is dropped.
pub(crate) struct Peer {
    pipeline: gst::Pipeline,
    pub(crate) session: String,
    pub(crate) decoded: Arc<Decoded>,
}

impl Peer {
    /// Publishes the media that the description feeds into the element `w`.
    pub(crate) fn publish(server: &Server, path: &str, streams: &str) -> Self {
        let peer = Self::new(streams);
        let webrtcbin = peer.webrtcbin();
        for pad in webrtcbin.sink_pads() {
            let transceiver = pad.property::<glib::Object>("transceiver");
            transceiver.set_property_from_str("direction", "sendonly");
            transceiver.set_property("do-nack", true);
        }
        peer.pipeline.set_state(gst::State::Playing).unwrap();
        // An offer requires the caps of every stream.
        for pad in webrtcbin.sink_pads() {
            wait_for("caps", || pad.current_caps());
        }
        peer.negotiate(server, path, None)
    }

    /// Watches and decodes streams with these caps.
    pub(crate) fn watch(server: &Server, path: &str, streams: &[&str]) -> Self {
        Self::watcher(streams).negotiate(server, path, None)
    }

    /// Watches and decodes through a bad network.
    pub(crate) fn watch_through(
        server: &Server,
        path: &str,
        streams: &[&str],
        relay: &Relay,
    ) -> Self {
        Self::watcher(streams).negotiate(server, path, Some(relay))
    }

    fn watcher(streams: &[&str]) -> Self {
        let peer = Self::new("");
        let webrtcbin = peer.webrtcbin();
        let direction = gstreamer_webrtc::WebRTCRTPTransceiverDirection::Recvonly;
        for caps in streams {
            let caps: gst::Caps = caps.parse().unwrap();
            let transceiver =
                webrtcbin.emit_by_name::<glib::Object>("add-transceiver", &[&direction, &caps]);
            transceiver.set_property("do-nack", true);
        }
        let (pipeline, decoded) = (peer.pipeline.downgrade(), Arc::clone(&peer.decoded));
        webrtcbin.connect_pad_added(move |_, pad| {
            if let Some(pipeline) = pipeline.upgrade() {
                decode(&pipeline, pad, &decoded);
            }
        });
        peer.pipeline.set_state(gst::State::Playing).unwrap();
        peer
    }

    fn new(streams: &str) -> Self {
        // Debian 12 has no AV1 payloader; Aerial links it in.
        aerial::for_tests::init().unwrap();
        // Its jitter buffer does not adapt, and an encoder on a busy machine can be a second late.
        let webrtcbin = "webrtcbin name=w bundle-policy=max-bundle latency=1000";
        let element = gst::parse::launch(&format!("{webrtcbin} {streams}")).unwrap();
        // A description of a single element yields that element without a bin.
        let pipeline = element
            .downcast::<gst::Pipeline>()
            .unwrap_or_else(|element| {
                let pipeline = gst::Pipeline::new();
                pipeline.add(&element).unwrap();
                pipeline
            });
        let peer = Self {
            pipeline,
            session: String::new(),
            decoded: Arc::default(),
        };
        let ice = peer.webrtcbin().property::<glib::Object>("ice-agent");
        let agent = ice.property::<glib::Object>("agent");
        agent.set_property("upnp", false);
        assert!(ice.emit_by_name::<bool>("add-local-ip-address", &[&"127.0.0.1"]));
        peer
    }

    fn webrtcbin(&self) -> gst::Element {
        self.pipeline.by_name("w").unwrap()
    }

    fn negotiate(mut self, server: &Server, path: &str, relay: Option<&Relay>) -> Self {
        let webrtcbin = self.webrtcbin();
        let promise = gst::Promise::new();
        webrtcbin.emit_by_name::<()>("create-offer", &[&None::<gst::Structure>, &promise]);
        promise.wait();
        let offer = promise.get_reply().unwrap().value("offer").unwrap();
        let offer = offer.get::<WebRTCSessionDescription>().unwrap();
        let promise = gst::Promise::new();
        webrtcbin.emit_by_name::<()>("set-local-description", &[&offer, &promise]);
        promise.wait();
        wait_for("candidates", || {
            let state = webrtcbin.property::<WebRTCICEGatheringState>("ice-gathering-state");
            (state == WebRTCICEGatheringState::Complete).then_some(())
        });
        let offer = webrtcbin.property::<WebRTCSessionDescription>("local-description");
        let offer = offer.sdp().as_text().unwrap();
        let offer = relay.map_or_else(|| offer.clone(), |_| Relay::offer(&offer));
        let reply = server.post_offer(path, &offer).expect(201);
        let answer = reply.text();
        let answer = relay.map_or_else(|| answer.to_owned(), |relay| relay.answer(answer));
        let answer = gstreamer_sdp::SDPMessage::parse_buffer(answer.as_bytes()).unwrap();
        let answer = WebRTCSessionDescription::new(WebRTCSDPType::Answer, answer);
        let promise = gst::Promise::new();
        webrtcbin.emit_by_name::<()>("set-remote-description", &[&answer, &promise]);
        promise.wait();
        let error = promise
            .get_reply()
            .and_then(|reply| reply.value("error").ok());
        assert!(error.is_none(), "{error:?}");
        self.session = reply.location();
        self
    }

    /// The DTLS state of the bundle.
    pub(crate) fn dtls(&self) -> Option<WebRTCDTLSTransportState> {
        let webrtcbin = self.webrtcbin();
        let transceiver = webrtcbin.emit_by_name::<glib::Object>("get-transceiver", &[&0]);
        ["sender", "receiver"].iter().find_map(|end| {
            let end = transceiver.property::<Option<glib::Object>>(end)?;
            let transport = end.property::<Option<WebRTCDTLSTransport>>("transport")?;
            Some(transport.state())
        })
    }

    /// Whether incoming SRTP is `AES128_CM_HMAC_SHA1_80`, the only profile that both engines and
    /// GStreamer support.
    pub(crate) fn is_aes_cm(&self) -> bool {
        let webrtcbin = self.webrtcbin().downcast::<gst::Bin>().unwrap();
        let decoders = webrtcbin.iterate_all_by_element_factory_name("dtlsdec");
        let decoder = decoders.into_iter().next().unwrap().unwrap();
        // GstDtlsSrtpCipher and GstDtlsSrtpAuth.
        let (aes_128_icm, hmac_sha1_80) = (1_u32, 2_u32);
        decoder.property::<u32>("srtp-cipher") == aes_128_icm
            && decoder.property::<u32>("srtp-auth") == hmac_sha1_80
    }

    /// Waits for this many more decoded, changing pictures, and for sound.
    pub(crate) fn wait_for_pictures(&self, more: u64) {
        let decoded = &self.decoded;
        let (pictures, sounds) = (decoded.pictures.load(Relaxed), decoded.sounds.load(Relaxed));
        wait_for(&format!("{more} decoded pictures after {pictures}"), || {
            self.check();
            let seen = decoded.pictures.load(Relaxed) >= pictures + more;
            (seen && decoded.sounds.load(Relaxed) >= sounds + more).then_some(())
        });
        assert!(decoded.moved.load(Relaxed) > decoded.pictures.load(Relaxed) / 2);
    }

    /// Panics if an element has failed.
    pub(crate) fn check(&self) {
        let error = self
            .pipeline
            .bus()
            .unwrap()
            .pop_filtered(&[gst::MessageType::Error]);
        assert!(error.is_none(), "{error:?}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}

/// Links a decoder and a counter behind a pad.
fn decode(pipeline: &gst::Pipeline, pad: &gst::Pad, decoded: &Arc<Decoded>) {
    let decodebin = gst::ElementFactory::make("decodebin").build().unwrap();
    let (weak, decoded) = (pipeline.downgrade(), Arc::clone(decoded));
    decodebin.connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        let caps = pad.current_caps().unwrap();
        let video = caps.structure(0).unwrap().name().starts_with("video/");
        let sink = AppSink::builder().sync(false).build();
        let decoded = Arc::clone(&decoded);
        let new_sample = move |sink: &AppSink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let map = sample.buffer().unwrap().map_readable().unwrap();
            decoded.note(video, &map);
            Ok(gst::FlowSuccess::Ok)
        };
        sink.set_callbacks(AppSinkCallbacks::builder().new_sample(new_sample).build());
        pipeline.add(&sink).unwrap();
        pad.link(&sink.static_pad("sink").unwrap()).unwrap();
        sink.sync_state_with_parent().unwrap();
    });
    pipeline.add(&decodebin).unwrap();
    pad.link(&decodebin.static_pad("sink").unwrap()).unwrap();
    decodebin.sync_state_with_parent().unwrap();
}

impl Decoded {
    fn note(&self, video: bool, bytes: &[u8]) {
        if !video {
            self.sounds.fetch_add(1, Relaxed);
            return;
        }
        let sum = bytes.iter().step_by(7).fold(0, |sum: u64, byte| {
            sum.wrapping_mul(31).wrapping_add((*byte).into())
        });
        let before = self.last.lock().unwrap().replace(sum);
        if before.is_some_and(|before| before != sum) {
            self.moved.fetch_add(1, Relaxed);
        }
        self.pictures.fetch_add(1, Relaxed);
    }
}
