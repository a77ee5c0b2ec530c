//! Requests for keyframes, as GStreamer's elements send and understand them.

use gst::prelude::*;
use gstreamer as gst;

const NAME: &str = "GstForceKeyUnit";

/// An upstream event that requests a keyframe. Encoders then repeat parameter sets if
/// `all_headers`; webrtcbin sends a FIR for it, and a PLI otherwise.
pub(crate) fn event(all_headers: bool) -> gst::Event {
    let request = gst::Structure::builder(NAME).field("all-headers", all_headers);
    gst::event::CustomUpstream::new(request.build())
}

/// Whether an event requests a keyframe.
pub(crate) fn is_request(event: &gst::EventRef) -> bool {
    event
        .structure()
        .is_some_and(|structure| structure.name() == NAME)
}

/// Calls `requested` with each keyframe request that passes `pad` upstream, on the thread that sends
/// it: it must not block.
pub(crate) fn watch(pad: &gst::Pad, requested: impl Fn(&gst::Event) + Send + Sync + 'static) {
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
        if let Some(event) = info.event()
            && is_request(event)
        {
            requested(event);
        }
        gst::PadProbeReturn::Ok
    });
}
