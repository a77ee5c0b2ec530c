//! `whipsink`: an element that publishes to another WHIP server (RFC 9725).
//!
//! Debian 12 has none, and the one in gst-plugins-rs brings its own HTTP client and TLS library.
//! This one has the same properties, and uses only what the server is built from anyway.

mod client;
mod element;
mod exchange;
mod session;

use gst::{glib, prelude::*};
use gstreamer as gst;

use super::Error;

glib::wrapper! {
    /// A bin around webrtcbin. Each of its request pads takes RTP.
    pub struct WhipSink(ObjectSubclass<element::WhipSinkBin>)
        @extends gst::Bin, gst::Element, gst::Object;
}

/// Registers the element with GStreamer under this name.
///
/// # Errors
/// [`Error::Init`] if GStreamer refuses.
pub(super) fn register() -> Result<(), Error> {
    gst::Element::register(None, "whipsink", gst::Rank::NONE, WhipSink::static_type())
        .map_err(|error| Error::Init(error.to_string()))
}
