//! `whipsink`: an element that publishes to another WHIP server (RFC 9725).
//!
//! Debian 12 has none, and the one of gst-plugins-rs brings an HTTP client and a TLS library of its
//! own. This one takes the same properties, and uses what the server is built from anyway.

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

/// Makes the element known to GStreamer under this name.
///
/// # Errors
/// [`Error::Init`] if GStreamer refuses.
pub(super) fn register() -> Result<(), Error> {
    gst::Element::register(None, "whipsink", gst::Rank::NONE, WhipSink::static_type())
        .map_err(|error| Error::Init(error.to_string()))
}
