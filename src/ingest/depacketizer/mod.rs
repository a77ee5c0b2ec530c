//! RTP packets of one track in, frames out: for engines that receive RTP without GStreamer.
//!
//! Packets come in order and with the time they are due; this pipeline has no jitter buffer.

#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::sync::mpsc;

use crate::{
    media::{
        Codec, Packet, PacketSink,
        rtp::{self, RtpHeader},
    },
    pipeline::{
        Error, Event, TrackOutlet, clock, codec, keyframe_request, packetizer, restart,
        running::{self, PipelineEnd, RunningPipeline},
    },
};

/// Bytes that may wait in front of the depayloader before packets are dropped: it never waits, so
/// more than a frame or two means that the machine is overloaded.
const QUEUE_BYTES_MAX: u64 = 8 << 20;
/// Payload type inside the pipeline, invisible outside.
const PAYLOAD_TYPE: u8 = 96;

/// A running depayloader and packetizer for one track. Dropping it stops it in the background.
#[derive(Debug)]
pub(super) struct Depacketizer {
    running: RunningPipeline,
}

impl Depacketizer {
    /// Starts the pipeline and returns the entry for its packets. Frames go to `outlet` on a
    /// streaming thread. `events` gets [`Event::Track`] with the first frame, and
    /// [`Event::Failed`], after which nothing follows. `keyframe_wanted` is called, without
    /// waiting, when a loss has broken the picture.
    ///
    /// # Errors
    /// If an element is missing or does not start.
    pub(super) async fn start(
        codec: Codec,
        outlet: TrackOutlet,
        events: mpsc::Sender<Event>,
        keyframe_wanted: impl Fn() + Send + Sync + 'static,
    ) -> Result<(Self, PacketSink), Error> {
        let tracks = events.clone();
        let build = move || build(codec, outlet, tracks, keyframe_wanted);
        let (pipeline, source) =
            running::blocking("building a depacketizer", running::STATE_TIMEOUT, build).await??;
        let event = |report| match report {
            PipelineEnd::Failed(reason) => Some(Event::Failed(reason)),
            PipelineEnd::Ended => Some(Event::Ended),
        };
        let running = RunningPipeline::start(pipeline, |_, _| {}, events, event).await?;
        let source = source.downgrade();
        let restarts = AtomicU32::new(0);
        let packets: PacketSink = Arc::new(move |packet| {
            let more = u32::from(packet.restart);
            let ssrc = restarts.fetch_add(more, Relaxed).wrapping_add(more);
            if let Some(source) = source.upgrade()
                && source.push_buffer(buffer_of(&packet, ssrc)).is_err()
            {
                tracing::trace!("packet after the end of its pipeline");
            }
        });
        Ok((Self { running }, packets))
    }

    /// Stops the pipeline and frees it, within a time limit.
    pub(super) async fn stop(self) {
        self.running.stop().await;
    }
}

fn build(
    codec: Codec,
    outlet: TrackOutlet,
    events: mpsc::Sender<Event>,
    keyframe_wanted: impl Fn() + Send + Sync + 'static,
) -> Result<(gst::Pipeline, gst_app::AppSrc), Error> {
    let failed = |error: glib::BoolError| Error::Failed(format!("depacketizer: {error}"));
    let pipeline = gst::Pipeline::with_name(&format!("depacketizer-{}", codec.kind()));
    clock::share(&pipeline);
    let source = source(codec);
    let pad = source.static_pad("src");
    let pad = pad.ok_or_else(|| Error::Failed("appsrc has no pad".to_owned()))?;
    keyframe_request::watch(&pad, move |_| keyframe_wanted());
    restart::announce_flagged(&pad);
    let mut announced = false;
    let frames = outlet.frames;
    let deliver = move |frame: crate::media::Frame| {
        let track = Event::Track(codec.kind(), frame.codec);
        announced = announced || events.try_send(track).is_ok();
        frames(frame);
    };
    let mut chain = vec![source.clone().upcast()];
    chain.extend(codec::elements(codec).depayloader()?);
    chain.push(packetizer::bin(codec, deliver)?.upcast());
    pipeline.add_many(&chain).map_err(failed)?;
    gst::Element::link_many(&chain).map_err(failed)?;
    Ok((pipeline, source))
}

fn source(codec: Codec) -> gst_app::AppSrc {
    let caps = gst::Caps::builder("application/x-rtp")
        .field("media", codec.kind().name())
        .field("encoding-name", codec.encoding_name().to_ascii_uppercase())
        .field(
            "clock-rate",
            i32::try_from(codec.clock_rate()).unwrap_or(90_000),
        )
        .field("payload", i32::from(PAYLOAD_TYPE))
        .build();
    let source = gst_app::AppSrc::builder()
        .name(format!("packets-{}", codec.kind()))
        .caps(&caps)
        .format(gst::Format::Time)
        .is_live(true)
        .max_bytes(QUEUE_BYTES_MAX)
        .build();
    source.set_property_from_str("leaky-type", "upstream");
    source
}

/// A depayloader takes lower sequence numbers only under another SSRC.
fn buffer_of(packet: &Packet, ssrc: u32) -> gst::Buffer {
    let [.., high, low] = packet.sequence.to_be_bytes();
    let header = RtpHeader {
        marker: packet.marker,
        payload_type: PAYLOAD_TYPE,
        sequence: u16::from_be_bytes([high, low]),
        timestamp: packet.timestamp,
        ssrc,
    };
    let mut bytes = Vec::with_capacity(rtp::FIXED_BYTES + packet.payload.len());
    header.write(&mut bytes, &[]);
    bytes.extend_from_slice(&packet.payload);
    let mut buffer = gst::Buffer::from_slice(bytes);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(gst::ClockTime::try_from(packet.pts).ok());
        if packet.gap {
            buffer.set_flags(gst::BufferFlags::DISCONT);
        }
        if packet.restart {
            buffer.set_flags(gst::BufferFlags::RESYNC);
        }
    }
    buffer
}
