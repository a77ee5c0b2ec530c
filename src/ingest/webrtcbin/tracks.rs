//! The elements linked behind webrtcbin's pads: one depayloader and packetizer per track.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use gst::{glib, prelude::*};
use gstreamer as gst;
use tokio::sync::mpsc;
use tracing::Span;

use crate::{
    ingest::Statistics,
    media::{Codec, Frame, Kind},
    peer::Event,
    pipeline::{Error, TrackSinks, codec, keyframe_request, packetizer},
};

/// The tracks of one publisher.
#[derive(Debug)]
pub(super) struct ReceivedTracks {
    sinks: TrackSinks,
    events: mpsc::Sender<Event>,
    counters: Arc<Counters>,
    /// The session's span: GStreamer's threads have none.
    span: Span,
    video: OnceLock<glib::WeakRef<gst::Pad>>,
    audio: OnceLock<glib::WeakRef<gst::Pad>>,
}

#[derive(Debug)]
struct Counters {
    begin: Instant,
    packets: AtomicU64,
    bytes: AtomicU64,
    /// Nanoseconds from `begin` to the last packet; 0 before the first.
    last_packet: AtomicU64,
}

impl ReceivedTracks {
    /// Call it within the session's span.
    pub(super) fn new(sinks: TrackSinks, events: mpsc::Sender<Event>) -> Self {
        let counters = Counters {
            begin: Instant::now(),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            last_packet: AtomicU64::new(0),
        };
        let (video, audio) = (OnceLock::new(), OnceLock::new());
        Self {
            sinks,
            events,
            counters: Arc::new(counters),
            span: Span::current(),
            video,
            audio,
        }
    }

    /// Takes a new pad of webrtcbin. Called on a streaming thread.
    pub(super) fn add(&self, pipeline: &gst::Pipeline, pad: &gst::Pad) {
        if pad.direction() != gst::PadDirection::Src {
            return;
        }
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let codec = caps
            .structure(0)
            .and_then(|rtp| rtp.get::<&str>("encoding-name").ok())
            .and_then(Codec::from_encoding_name);
        let linked = match codec {
            Some(codec) if self.remember(codec.kind(), pad) => self.link(pipeline, pad, codec),
            _ => Err(Error::Failed(
                "unsupported codec, or a second track of this kind".to_owned(),
            )),
        };
        if let Err(error) = linked {
            tracing::warn!(parent: &self.span, %error, %caps, "publisher's stream ignored");
            // an unlinked pad would make the whole pipeline fail (gstreamer-rs 0.24: the return
            // value Drop makes GStreamer 1.22 free the buffer twice)
            let all = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
            pad.add_probe(all, |_, _| gst::PadProbeReturn::Handled);
        }
    }

    /// The SSRC of the picture, once it flows.
    pub(super) fn video_ssrc(&self) -> Option<u32> {
        let pad = self.video.get()?.upgrade()?;
        pad.current_caps()?.structure(0)?.get("ssrc").ok()
    }

    /// Whether this is the first pad of its kind.
    fn remember(&self, kind: Kind, pad: &gst::Pad) -> bool {
        let track = match kind {
            Kind::Video => &self.video,
            Kind::Audio => &self.audio,
        };
        track.set(pad.downgrade()).is_ok()
    }

    fn link(&self, pipeline: &gst::Pipeline, pad: &gst::Pad, codec: Codec) -> Result<(), Error> {
        let failed = |error: glib::BoolError| Error::Failed(error.to_string());
        let mut chain = codec::elements(codec).depayloader()?;
        let stream = self.sinks.streams.of(codec.kind());
        let deliver = self.deliver(codec.kind(), pad);
        chain.push(packetizer::bin(codec, stream, deliver)?.upcast());
        pipeline.add_many(&chain).map_err(failed)?;
        gst::Element::link_many(&chain).map_err(failed)?;
        for element in chain.iter().rev() {
            element.sync_state_with_parent().map_err(failed)?;
        }
        let target = chain.first().and_then(|first| first.static_pad("sink"));
        let target = target.ok_or_else(|| Error::Failed("depayloader has no sink".to_owned()))?;
        self.count(pad);
        if codec == Codec::H265 {
            request_keyframe_after_loss(pad);
        }
        pad.link(&target)
            .map_err(|error| Error::Failed(error.to_string()))?;
        Ok(())
    }

    /// Passes frames on, and reports the codec with the first one. If that is not a keyframe, asks
    /// for one: the publisher may have begun to send before the connection was up.
    fn deliver(&self, kind: Kind, pad: &gst::Pad) -> impl FnMut(Frame) + Send + 'static {
        let (sink, events) = (self.sinks.of(kind).clone(), self.events.clone());
        let pad = pad.downgrade();
        let mut announced = None;
        move |frame: Frame| {
            if announced != Some(frame.codec)
                && events.try_send(Event::Track(kind, frame.codec)).is_ok()
            {
                announced = Some(frame.codec);
                if !frame.keyframe
                    && let Some(pad) = pad.upgrade()
                {
                    request_keyframe(&pad);
                }
            }
            sink(frame);
        }
    }

    fn count(&self, pad: &gst::Pad) {
        let counters = self.counters.clone();
        let all = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        pad.add_probe(all, move |_, info| {
            match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => counters.add(1, buffer.size()),
                Some(gst::PadProbeData::BufferList(list)) => {
                    counters.add(list.len(), list.calculate_size());
                }
                _ => {}
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Asks the publisher for a keyframe of its picture.
    pub(super) fn request_keyframe(&self) {
        if let Some(pad) = self.video.get().and_then(glib::WeakRef::upgrade) {
            request_keyframe(&pad);
        }
    }

    pub(super) fn statistics(&self) -> Statistics {
        let counters = &self.counters;
        let last = Duration::from_nanos(counters.last_packet.load(Relaxed));
        Statistics {
            packets: counters.packets.load(Relaxed),
            bytes: counters.bytes.load(Relaxed),
            lost: 0,
            last_packet: (!last.is_zero()).then(|| counters.begin + last),
        }
    }
}

/// Sends a keyframe request upstream from a pad of webrtcbin, which makes a FIR of one for all
/// headers, and a PLI of others. Fewer publishers understand FIR, so it is for those that understand
/// nothing else.
fn request_keyframe(pad: &gst::Pad) {
    let caps = pad.current_caps();
    let takes_pli = caps.is_none_or(|caps| {
        let rtp = caps.structure(0);
        rtp.is_some_and(|rtp| rtp.has_field("rtcp-fb-nack-pli"))
    });
    pad.send_event(keyframe_request::event(!takes_pli));
}

/// Does what the other depayloaders do on their own (`request-keyframe`).
fn request_keyframe_after_loss(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |pad, info| {
        if info
            .event()
            .is_some_and(|event| event.has_name("GstRTPPacketLost"))
        {
            request_keyframe(pad);
        }
        gst::PadProbeReturn::Ok
    });
}

impl Counters {
    fn add(&self, packets: usize, bytes: usize) {
        let now = u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.packets.fetch_add(packets as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.last_packet.store(now, Relaxed);
    }
}
