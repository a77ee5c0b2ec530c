//! The elements linked to webrtcbin's pads: one depayloader and packetizer per track.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use gst::{glib, prelude::*};
use gstreamer as gst;
use tokio::sync::mpsc;
use tracing::Span;

use super::ReceiverFigures;
use crate::{
    awake,
    media::{
        ByKind, Codec, Frame, Kind,
        rtp::{self, RtpHeader},
    },
    moment::Moment,
    peer::Event,
    pipeline::{Error, TrackSinks, codec, elements, keyframe_request, packetizer, restart},
    webrtcbin::element,
};

/// The tracks of one publisher.
#[derive(Debug)]
pub(super) struct ReceivedTracks {
    sinks: TrackSinks,
    events: mpsc::Sender<Event>,
    counters: Arc<Counters>,
    /// The session's span: GStreamer's threads have none.
    span: Span,
    /// Locked for moments only.
    linked: Mutex<ByKind<Option<LinkedTrack>>>,
}

/// A track that has pads.
#[derive(Clone, Debug)]
struct LinkedTrack {
    codec: Codec,
    /// webrtcbin's pad for the source (SSRC) that sends now.
    pad: glib::WeakRef<gst::Pad>,
    /// Takes the pads of all its sources, one after the other.
    funnel: glib::WeakRef<gst::Element>,
}

#[derive(Debug)]
struct Counters {
    packets: AtomicU64,
    bytes: AtomicU64,
    last_packet: Moment,
    last_report: Moment,
    arrived: ByKind<AtomicU64>,
    made: ByKind<AtomicU64>,
}

impl ReceivedTracks {
    /// Call it within the session's span.
    pub(super) fn new(sinks: TrackSinks, events: mpsc::Sender<Event>) -> Self {
        let begin = awake::now();
        let counters = Counters {
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            last_packet: Moment::never(begin),
            last_report: Moment::never(begin),
            arrived: ByKind::default(),
            made: ByKind::default(),
        };
        Self {
            sinks,
            events,
            counters: Arc::new(counters),
            span: Span::current(),
            linked: Mutex::default(),
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
        let linked = codec.map_or_else(
            || Err(Error::Failed("unsupported codec".to_owned())),
            |codec| self.take(pipeline, pad, codec),
        );
        if let Err(error) = linked {
            tracing::warn!(parent: &self.span, %error, %caps, "publisher's stream ignored");
            discard(pad);
        }
    }

    /// The SSRC of the picture, once it flows.
    pub(super) fn video_ssrc(&self) -> Option<u32> {
        self.video_pad()?
            .current_caps()?
            .structure(0)?
            .get("ssrc")
            .ok()
    }

    /// webrtcbin's pad of the picture.
    fn video_pad(&self) -> Option<gst::Pad> {
        self.linked().video.as_ref()?.pad.upgrade()
    }

    fn take(&self, pipeline: &gst::Pipeline, pad: &gst::Pad, codec: Codec) -> Result<(), Error> {
        let track = self.linked().of(codec.kind()).cloned();
        match track {
            None => self.link(pipeline, pad, codec),
            Some(track) if track.codec == codec => self.go_on(pad, track),
            Some(track) => Err(Error::Failed(format!("the track was {}", track.codec))),
        }
    }

    fn linked(&self) -> MutexGuard<'_, ByKind<Option<LinkedTrack>>> {
        self.linked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the pad that a track comes from now.
    fn remember(&self, track: LinkedTrack) {
        let mut linked = self.linked();
        match track.codec.kind() {
            Kind::Video => linked.video = Some(track),
            Kind::Audio => linked.audio = Some(track),
        }
    }

    /// Continues a track under another SSRC: after a collision (RFC 3550 §8.2), or because the
    /// publisher restarted its encoder (RFC 9143 §9.2). Whatever else comes from the previous one
    /// is late.
    fn go_on(&self, pad: &gst::Pad, track: LinkedTrack) -> Result<(), Error> {
        let failed = |reason: &str| Error::Failed(reason.to_owned());
        let funnel = track
            .funnel
            .upgrade()
            .ok_or_else(|| failed("the track has ended"))?;
        let target = funnel.request_pad_simple("sink_%u");
        let target = target.ok_or_else(|| failed("funnel has no pad"))?;
        if let Some(before) = track.pad.upgrade() {
            discard(&before);
        }
        self.prepare(pad);
        pad.link(&target)
            .map_err(|error| Error::Failed(error.to_string()))?;
        let kind = track.codec.kind();
        tracing::info!(parent: &self.span, %kind, "the publisher continues under another SSRC");
        self.remember(LinkedTrack {
            pad: pad.downgrade(),
            ..track
        });
        Ok(())
    }

    fn link(&self, pipeline: &gst::Pipeline, pad: &gst::Pad, codec: Codec) -> Result<(), Error> {
        let failed = |error: glib::BoolError| Error::Failed(error.to_string());
        let funnel = elements::make("funnel", &[])?;
        let mut chain = vec![funnel.clone()];
        chain.extend(codec::elements(codec).depayloader()?);
        chain.push(packetizer::bin(codec, self.deliver(codec.kind()))?.upcast());
        pipeline.add_many(&chain).map_err(failed)?;
        gst::Element::link_many(&chain).map_err(failed)?;
        for element in chain.iter().rev() {
            element.sync_state_with_parent().map_err(failed)?;
        }
        let target = funnel.request_pad_simple("sink_%u");
        let target = target.ok_or_else(|| Error::Failed("funnel has no pad".to_owned()))?;
        self.prepare(pad);
        if codec == Codec::H265
            && let Some(source) = funnel.static_pad("src")
        {
            request_keyframe_after_loss(&source);
        }
        pad.link(&target)
            .map_err(|error| Error::Failed(error.to_string()))?;
        self.remember(LinkedTrack {
            codec,
            pad: pad.downgrade(),
            funnel: funnel.downgrade(),
        });
        Ok(())
    }

    /// Passes frames on, and reports the codec with the first one.
    fn deliver(&self, kind: Kind) -> impl FnMut(Frame) + Send + 'static {
        let (sink, events) = (self.sinks.of(kind).clone(), self.events.clone());
        let counters = self.counters.clone();
        let mut announced = None;
        move |frame: Frame| {
            if announced != Some(frame.codec)
                && events.try_send(Event::Track(kind, frame.codec)).is_ok()
            {
                announced = Some(frame.codec);
            }
            counters.made.get(kind).fetch_add(1, Relaxed);
            sink(frame);
        }
    }

    /// Watches a pad that is about to be linked.
    fn prepare(&self, pad: &gst::Pad) {
        self.count(pad);
        translate_requests(pad);
        restart::announce(pad);
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

    /// Notes what the publisher sends, once the sessions exist: RTCP shows that a publisher without
    /// media is alive, and RTP announces frames. `types` are the payload types of the tracks.
    pub(super) fn note_arrivals(&self, webrtcbin: &gst::Element, types: Vec<(Kind, u8)>) {
        let counters = self.counters.clone();
        element::on_reports(webrtcbin, move || {
            counters.last_report.note(awake::now());
        });
        let types: Arc<[_]> = types.into();
        for session in element::rtp_sessions(webrtcbin) {
            // Behind the SRTP decoder.
            let Some(pad) = session.static_pad("recv_rtp_sink") else {
                continue;
            };
            let (counters, types) = (self.counters.clone(), Arc::clone(&types));
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                let kind = info.buffer().and_then(|packet| kind_of(packet, &types));
                if let Some(kind) = kind {
                    counters.arrived.get(kind).fetch_add(1, Relaxed);
                }
                gst::PadProbeReturn::Ok
            });
        }
    }

    /// Asks the publisher for a keyframe of its picture.
    pub(super) fn request_keyframe(&self) {
        if let Some(pad) = self.video_pad() {
            request_keyframe(&pad);
        }
    }

    /// All but what is lost.
    pub(super) fn figures(&self) -> ReceiverFigures {
        let counters = &self.counters;
        let both =
            |counts: &ByKind<AtomicU64>| Kind::ALL.map(|kind| counts.get(kind).load(Relaxed));
        ReceiverFigures {
            packets: counters.packets.load(Relaxed),
            bytes: counters.bytes.load(Relaxed),
            lost: 0,
            packet_age: counters.last_packet.latest().map(awake::since),
            report_age: counters.last_report.latest().map(awake::since),
            arrived: both(&counters.arrived),
            made: both(&counters.made),
        }
    }
}

/// The track that a packet belongs to; `None` if it carries no media, such as one of padding.
fn kind_of(packet: &gst::BufferRef, types: &[(Kind, u8)]) -> Option<Kind> {
    let packet = packet.map_readable().ok()?;
    let header = RtpHeader::read(&packet)?;
    if rtp::payload(&packet)?.is_empty() {
        return None;
    }
    let (kind, _) = types.iter().find(|(_, of)| *of == header.payload_type)?;
    Some(*kind)
}

/// Drops everything from now on: an unlinked pad would make the whole pipeline fail. (gstreamer-rs
/// 0.24: the return value Drop makes GStreamer 1.22 free the buffer twice.)
fn discard(pad: &gst::Pad) {
    let all = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(all, |_, _| gst::PadProbeReturn::Handled);
}

/// Sends a keyframe request upstream from a pad of webrtcbin.
fn request_keyframe(pad: &gst::Pad) {
    pad.send_event(keyframe_request::event(needs_fir(pad)));
}

/// webrtcbin makes a FIR of a request for all headers, and a PLI of others. Fewer publishers
/// understand FIR, so it is for those that understand nothing else.
fn needs_fir(pad: &gst::Pad) -> bool {
    let caps = pad.current_caps();
    caps.is_some_and(|caps| {
        let rtp = caps.structure(0);
        rtp.is_some_and(|rtp| !rtp.has_field("rtcp-fb-nack-pli"))
    })
}

/// Sends the keyframe requests of the elements downstream of a pad of webrtcbin in the form that
/// the publisher understands.
fn translate_requests(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, |pad, info| {
        if let Some(gst::PadProbeData::Event(event)) = &mut info.data
            && keyframe_request::is_request(event)
            && needs_fir(pad)
        {
            *event = keyframe_request::event(true);
        }
        gst::PadProbeReturn::Ok
    });
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
        self.packets.fetch_add(packets as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.last_packet.note(awake::now());
    }
}
