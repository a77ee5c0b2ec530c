//! A publisher's pipeline: webrtcbin, set up to receive.

use std::{sync::Arc, time::Duration};

use gst::{glib, prelude::*};
use gstreamer as gst;

use super::{ReceiverSetup, tracks::ReceivedTracks};
use crate::{
    peer::sdp,
    pipeline::{self, clock},
    webrtcbin::element::{self, Error},
};

/// Largest shift of one track against the other that sender reports may cause, in nanoseconds:
/// beyond a second, the report is wrong rather than the stream late.
const SYNC_SHIFT_MAX: i64 = 1_000_000_000;
/// Sources (SSRCs) in a session's life, retransmissions included: a publisher that restarts its
/// encoder uses new ones, and each costs a jitter buffer with a thread.
const STREAMS_MAX: u32 = 64;
/// The session's bandwidth in bit/s, of which RTCP gets a share. It sets the pace of feedback
/// (RFC 4585 §3.5.2): at GStreamer's default, a voice call's 64 kbit/s, a NACK waits up to 600 ms
/// for the previous one; at this, 20 to 30 ms.
const SESSION_BANDWIDTH: f64 = 2_000_000.0;
/// The jitter buffer passes on this many packets in a row at the beginning without first waiting
/// for its latency.
const FASTSTART_PACKETS: u32 = 1;

/// Makes the pipeline with its webrtcbin, not running yet.
pub(super) fn build(
    jitter: Duration,
    tracks: &Arc<ReceivedTracks>,
) -> Result<(gst::Pipeline, gst::Element), pipeline::Error> {
    let failed = |error: glib::BoolError| pipeline::Error::Failed(error.to_string());
    let pipeline = gst::Pipeline::new();
    clock::share(&pipeline);
    let latency = u32::try_from(jitter.as_millis()).unwrap_or(u32::MAX);
    let webrtcbin = gst::ElementFactory::make("webrtcbin")
        .property_from_str("bundle-policy", "max-bundle")
        .property("latency", latency)
        .build()
        .map_err(failed)?;
    element::set_up_ice(&webrtcbin);
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

fn set_up_rtp(webrtcbin: &gst::Element) {
    let Some(rtpbin) = element::rtpbin(webrtcbin) else {
        return;
    };
    rtpbin.set_property("max-ts-offset", SYNC_SHIFT_MAX);
    rtpbin.set_property("max-streams", STREAMS_MAX);
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

/// Lets feedback (NACK, PLI) go out soon after the previous one.
pub(super) fn speed_up_feedback(webrtcbin: &gst::Element) {
    element::set_on_sessions(webrtcbin, "bandwidth", SESSION_BANDWIDTH);
}

/// Gives webrtcbin its offer, and takes its answer, including its candidate.
pub(super) async fn negotiate(
    webrtcbin: &gst::Element,
    setup: &ReceiverSetup,
) -> Result<String, Error> {
    element::set_remote_description(webrtcbin, &setup.offer).await?;
    let complete = |created: String| sdp::local_description(&setup.extensions, &created);
    element::answer(webrtcbin, complete).await
}

/// RTP packets that the jitter buffers have given up on.
pub(super) fn lost(webrtcbin: &gst::Element) -> u64 {
    let Some(rtpbin) =
        element::rtpbin(webrtcbin).and_then(|rtpbin| rtpbin.downcast::<gst::Bin>().ok())
    else {
        return 0;
    };
    element::of_factory(&rtpbin, "rtpjitterbuffer")
        .filter_map(|buffer| {
            buffer
                .property::<gst::Structure>("stats")
                .get::<u64>("num-lost")
                .ok()
        })
        .sum()
}
