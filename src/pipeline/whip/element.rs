//! The element: properties, pads and state changes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::{glib, prelude::*, subclass::prelude::*};
use gstreamer as gst;
use gstreamer_webrtc::{WebRTCRTPTransceiver, WebRTCRTPTransceiverDirection::Sendonly};

use super::{client::Endpoint, session::WhipSession};

/// Default of the property `timeout`, in seconds.
const TIMEOUT_DEFAULT: u32 = 15;
/// Largest value of the property `timeout`, in seconds.
const TIMEOUT_MAX: u32 = 3600;

/// The values of the properties.
struct Settings {
    endpoint: Option<String>,
    token: Option<String>,
    timeout: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            token: None,
            timeout: TIMEOUT_DEFAULT,
        }
    }
}

/// The element's private half.
#[derive(Default, glib::Properties)]
#[properties(wrapper_type = super::WhipSink)]
pub struct WhipSinkBin {
    #[property(name = "whip-endpoint", type = Option<String>, member = endpoint, get, set, mutable_ready, blurb = "URL to POST the offer to")]
    #[property(name = "auth-token", type = Option<String>, member = token, get, set, mutable_ready, blurb = "Bearer token")]
    #[property(name = "timeout", type = u32, member = timeout, get, set, mutable_ready, maximum = TIMEOUT_MAX, default = TIMEOUT_DEFAULT, blurb = "Seconds that the server may take to answer; 0: the default")]
    settings: Mutex<Settings>,
    #[property(name = "stun-server", type = Option<String>, get = Self::stun_server, set = Self::set_stun_server, blurb = "stun://host:port")]
    #[property(name = "turn-server", type = Option<String>, get = Self::turn_server, set = Self::set_turn_server, blurb = "turn(s)://user:password@host:port")]
    webrtcbin: Mutex<Option<gst::Element>>,
    session: Mutex<Option<WhipSession>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// webrtcbin holds packets back until they are due, which is as late as an output may be, and for ever
/// if their times leap. What comes here is live.
fn send_at_once(webrtcbin: &gst::Element) {
    let Some(bin) = webrtcbin.downcast_ref::<gst::Bin>() else {
        return;
    };
    bin.connect_deep_element_added(|_, _, element| {
        let factory = element.factory();
        if factory.is_some_and(|factory| factory.name() == "clocksync") {
            element.set_property("sync", false);
        }
    });
}

#[glib::object_subclass]
impl ObjectSubclass for WhipSinkBin {
    const NAME: &'static str = "AerialWhipSink";
    type Type = super::WhipSink;
    type ParentType = gst::Bin;
}

#[glib::derived_properties]
impl ObjectImpl for WhipSinkBin {
    fn constructed(&self) {
        self.parent_constructed();
        let bin = self.obj();
        bin.set_suppressed_flags(gst::ElementFlags::SINK | gst::ElementFlags::SOURCE);
        bin.set_element_flags(gst::ElementFlags::SINK);
        // `elements::check` has found it at startup; without it, pads do not exist.
        let Ok(webrtcbin) = gst::ElementFactory::make("webrtcbin").build() else {
            return;
        };
        // RFC 9725 §4.4.1: all sections in one bundle.
        webrtcbin.set_property_from_str("bundle-policy", "max-bundle");
        webrtcbin.connect("on-new-transceiver", false, |values| {
            let transceiver = values.get(1)?.get::<WebRTCRTPTransceiver>().ok()?;
            transceiver.set_property("direction", Sendonly);
            None
        });
        send_at_once(&webrtcbin);
        if bin.add(&webrtcbin).is_ok() {
            *lock(&self.webrtcbin) = Some(webrtcbin);
        }
    }
}

impl GstObjectImpl for WhipSinkBin {}

impl ElementImpl for WhipSinkBin {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: std::sync::LazyLock<gst::subclass::ElementMetadata> =
            std::sync::LazyLock::new(|| {
                gst::subclass::ElementMetadata::new(
                    "WHIP sink",
                    "Sink/Network/WebRTC",
                    "Publishes RTP to a WHIP server",
                    "Aerial",
                )
            });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: std::sync::LazyLock<Vec<gst::PadTemplate>> =
            std::sync::LazyLock::new(|| {
                let caps = gst::Caps::new_empty_simple("application/x-rtp");
                let (direction, presence) = (gst::PadDirection::Sink, gst::PadPresence::Request);
                gst::PadTemplate::new("sink_%u", direction, presence, &caps)
                    .into_iter()
                    .collect()
            });
        &TEMPLATES
    }

    fn request_new_pad(
        &self,
        _template: &gst::PadTemplate,
        name: Option<&str>,
        caps: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        let webrtcbin = self.webrtcbin()?;
        let template = webrtcbin.pad_template("sink_%u")?;
        let target = webrtcbin.request_pad(&template, name, caps)?;
        let pad = gst::GhostPad::builder_with_target(&target)
            .ok()?
            .name(target.name())
            .build();
        self.obj().add_pad(&pad).ok()?;
        Some(pad.upcast())
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            self.begin()?;
        }
        let changed = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PausedToReady {
            let session = lock(&self.session).take();
            drop(session); // says goodbye
        }
        Ok(changed)
    }
}

impl BinImpl for WhipSinkBin {}

impl WhipSinkBin {
    fn webrtcbin(&self) -> Option<gst::Element> {
        lock(&self.webrtcbin).clone()
    }

    fn begin(&self) -> Result<(), gst::StateChangeError> {
        let refused = |reason: &str| {
            gst::element_imp_error!(self, gst::ResourceError::Settings, ["{}", reason]);
            Err(gst::StateChangeError)
        };
        let Some(webrtcbin) = self.webrtcbin() else {
            return refused("no webrtcbin");
        };
        let endpoint = {
            let settings = lock(&self.settings);
            let seconds = match settings.timeout {
                0 => TIMEOUT_DEFAULT,
                seconds => seconds,
            };
            let url = settings.endpoint.as_deref().unwrap_or_default();
            Endpoint::new(url, settings.token.as_deref(), seconds)
        };
        let endpoint = match endpoint {
            Ok(endpoint) => endpoint,
            Err(error) => return refused(&error.to_string()),
        };
        let element = self.obj().downgrade();
        let failed = move |reason: String| {
            if let Some(element) = element.upgrade() {
                gst::element_error!(element, gst::ResourceError::OpenWrite, ["{}", reason]);
            }
        };
        match WhipSession::start(&webrtcbin, endpoint, failed) {
            Ok(session) => *lock(&self.session) = Some(session),
            Err(error) => return refused(&format!("no thread: {error}")),
        }
        Ok(())
    }

    fn stun_server(&self) -> Option<String> {
        self.webrtcbin()?.property("stun-server")
    }

    fn set_stun_server(&self, url: Option<String>) {
        if let Some(webrtcbin) = self.webrtcbin() {
            webrtcbin.set_property("stun-server", url);
        }
    }

    fn turn_server(&self) -> Option<String> {
        self.webrtcbin()?.property("turn-server")
    }

    fn set_turn_server(&self, url: Option<String>) {
        if let Some(webrtcbin) = self.webrtcbin() {
            webrtcbin.set_property("turn-server", url);
        }
    }
}
