//! The pipeline of one viewer: webrtcbin alone, with a source pad of ours per track.

use std::sync::Arc;

use gst::{glib, prelude::*};
use gstreamer as gst;
use gstreamer_webrtc as gst_webrtc;

use super::{
    retransmission::RetransmissionGuard,
    setup::{Feedback, OnFeedback, SentTrack},
};
use crate::{
    media::Kind,
    pipeline::{self, clock, keyframe_request},
    webrtcbin::element::{self, Error},
};

/// Where the packets of one track go.
pub(super) type TrackPad = (Kind, gst::Pad);

/// Makes the pipeline with its webrtcbin, not running yet. `cname` names the viewer's streams in
/// RTCP (RFC 3550 §6.5.1), as in the answer; webrtcbin's own reveals the user and the host.
pub(super) fn build(
    cname: &str,
    again: &Arc<RetransmissionGuard>,
) -> Result<(gst::Pipeline, gst::Element), pipeline::Error> {
    let failed = |error: glib::BoolError| pipeline::Error::Failed(error.to_string());
    let pipeline = gst::Pipeline::new();
    clock::share(&pipeline);
    let webrtcbin = gst::ElementFactory::make("webrtcbin")
        .property_from_str("bundle-policy", "max-bundle")
        .build()
        .map_err(failed)?;
    element::set_up_ice(&webrtcbin);
    if let Some(rtpbin) = element::rtpbin(&webrtcbin) {
        let names = gst::Structure::builder("application/x-rtp-source-sdes").field("cname", cname);
        rtpbin.set_property("sdes", names.build());
    }
    adjust_inside(&webrtcbin, again);
    pipeline.add(&webrtcbin).map_err(failed)?;
    Ok((pipeline, webrtcbin))
}

/// Adjusts the elements that webrtcbin adds when the answer is set. It holds packets back until
/// they are due, which would block a worker; and it retransmits whatever is requested.
fn adjust_inside(webrtcbin: &gst::Element, again: &Arc<RetransmissionGuard>) {
    let Some(bin) = webrtcbin.downcast_ref::<gst::Bin>() else {
        return;
    };
    let again = Arc::clone(again);
    bin.connect_deep_element_added(move |_, _, element| {
        match element.factory().map(|factory| factory.name()).as_deref() {
            Some("clocksync") => element.set_property("sync", false),
            Some("rtprtxsend") => again.guard(element),
            _ => {}
        }
    });
}

/// Binds each track to its section of the offer given to webrtcbin. Blocks briefly.
pub(super) fn link(
    webrtcbin: &gst::Element,
    tracks: &[SentTrack],
    on_feedback: &OnFeedback,
) -> Result<Vec<TrackPad>, Error> {
    let mut pads = Vec::with_capacity(tracks.len());
    for (index, track) in tracks.iter().enumerate() {
        let failed = |what: &str| Error::Engine(format!("track {index}: {what}"));
        let sink = webrtcbin
            .request_pad_simple(&format!("sink_{index}"))
            .ok_or_else(|| failed("no pad for it"))?;
        let transceiver = sink.property::<gst_webrtc::WebRTCRTPTransceiver>("transceiver");
        let caps = caps(track);
        transceiver.set_property_from_str("direction", "sendonly");
        transceiver.set_property("codec-preferences", &caps);
        transceiver.set_property("do-nack", true);
        transceiver.set_property_from_str("fec-type", "none");
        let mut sent = caps;
        sent.make_mut().set("ssrc", track.ssrc);
        let pad = source(&sink, &sent, on_feedback).map_err(|error| failed(&error.to_string()))?;
        pads.push((track.codec.kind(), pad));
    }
    Ok(pads)
}

fn caps(track: &SentTrack) -> gst::Caps {
    let (codec, kind) = (track.codec, track.codec.kind());
    gst::Caps::builder("application/x-rtp")
        .field("media", kind.name())
        .field("encoding-name", codec.encoding_name().to_uppercase())
        .field(
            "clock-rate",
            i32::try_from(codec.clock_rate()).unwrap_or(i32::MAX),
        )
        .field("payload", i32::from(track.pt))
        .build()
}

/// A source pad without an element, linked and ready to push. Keyframe requests arrive on it.
pub(super) fn source(
    sink: &gst::Pad,
    caps: &gst::Caps,
    on_feedback: &OnFeedback,
) -> Result<gst::Pad, Box<dyn std::error::Error>> {
    let on_feedback = on_feedback.clone();
    let pad = gst::Pad::builder(gst::PadDirection::Src)
        .event_function(move |pad, parent, event| {
            if keyframe_request::is_request(&event) {
                on_feedback(Feedback::KeyframeWanted);
                return true;
            }
            gst::Pad::event_default(pad, parent, event)
        })
        .build();
    pad.set_active(true)?;
    pad.link(sink)?;
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    let stream = format!("viewer/{}", sink.name());
    for event in [
        gst::event::StreamStart::new(&stream),
        gst::event::Caps::new(caps),
        gst::event::Segment::new(&segment),
    ] {
        pad.push_event(event);
    }
    Ok(pad)
}
