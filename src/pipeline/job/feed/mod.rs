//! Supplies an appsrc with a stream's frames.
//!
//! ```text
//!  StreamSubscription --> Feed: RTP packets -> depayload -> parse --> Tap --> appsrc of the text
//! ```
//!
//! Nothing in here waits: what is pushed in front has reached the appsrc when the push returns, or is
//! lost and counted.

mod reader;
mod tap;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use tap::Tap;
pub(super) use tap::{TapCounters, TapLimits};

use crate::{
    media::{
        Codec, Frame, Kind, opus,
        rtp::{self, RtpHeader},
    },
    pipeline::{Error, access_unit, codec, keyframe_request},
    stream::{EncodedStream, StreamFrame, StreamSubscription},
};

/// Payload type inside the pipeline, invisible outside.
const PAYLOAD_TYPE: u8 = 96;

/// Feeds one appsrc.
pub(super) struct Feed {
    stream: EncodedStream,
    pipeline: glib::WeakRef<gst::Pipeline>,
    tap: SharedTap,
    counters: Arc<TapCounters>,
    /// `None` until the first frame shows the codec.
    chain: Option<Chain>,
}

type SharedTap = Arc<Mutex<Tap>>;

fn locked(tap: &SharedTap) -> MutexGuard<'_, Tap> {
    // Never contended: a tap has one thread at a time.
    tap.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feed {
    /// Supplies `source`, an element of `pipeline`, with what a subscription of `stream` brings.
    pub(super) fn new(
        pipeline: &gst::Pipeline,
        source: &gst_app::AppSrc,
        stream: &EncodedStream,
        subscription: &StreamSubscription,
        limits: TapLimits,
    ) -> Self {
        let counters = Arc::new(TapCounters::new(subscription.losses().clone()));
        let tap = Tap::new(stream.kind(), source, limits, Arc::clone(&counters));
        let tap = tap.beginning_at(subscription.present());
        Self {
            stream: stream.clone(),
            pipeline: pipeline.downgrade(),
            tap: Arc::new(Mutex::new(tap)),
            counters,
            chain: None,
        }
    }

    pub(super) fn counters(&self) -> &Arc<TapCounters> {
        &self.counters
    }

    /// Hands over a frame.
    ///
    /// # Errors
    /// If an element is missing or does not start.
    pub(super) fn push(&mut self, frame: &StreamFrame) -> Result<(), Error> {
        let StreamFrame {
            frame,
            discontinuous,
        } = frame;
        self.counters.note_offered();
        let chain = match &mut self.chain {
            Some(chain) if chain.codec != frame.codec => {
                self.counters.note_codec_changed();
                return Ok(());
            }
            Some(chain) => chain,
            none => {
                let Some(pipeline) = self.pipeline.upgrade() else {
                    return Ok(());
                };
                let stereo = self.stream.is_stereo() || opus::is_stereo(&frame.data);
                none.insert(Chain::new(
                    &pipeline,
                    frame.codec,
                    stereo,
                    &self.stream,
                    &self.tap,
                )?)
            }
        };
        if *discontinuous {
            locked(&self.tap).gate.interrupt();
        }
        chain.push(frame, *discontinuous);
        Ok(())
    }
}

/// Depayloader and parser of one codec, in the pipeline of the appsrc but not linked to anything
/// there.
struct Chain {
    codec: Codec,
    pad: gst::Pad,
    sequence: u16,
}

impl Chain {
    fn new(
        pipeline: &gst::Pipeline,
        codec: Codec,
        stereo: bool,
        stream: &EncodedStream,
        tap: &SharedTap,
    ) -> Result<Self, Error> {
        let failed = |error: glib::BoolError| Error::Failed(format!("input of {codec}: {error}"));
        let row = codec::elements(codec);
        let depayloader = row.frame_depayloader()?;
        let parser = row.parser()?;
        if let Some(pad) = parser.first().and_then(|parser| parser.static_pad("sink")) {
            access_unit::join_pad(&pad, codec);
        }
        let chain = [depayloader, parser].concat();
        let no_pad = || Error::Failed(format!("input of {codec}: no pad"));
        let first = chain.first().and_then(|first| first.static_pad("sink"));
        let last = chain.last().and_then(|last| last.static_pad("src"));
        reader::read(&last.ok_or_else(no_pad)?, codec, stream, tap);
        let bin = gst::Bin::with_name(&format!("input-{}", codec.kind()));
        bin.add_many(&chain).map_err(failed)?;
        gst::Element::link_many(&chain).map_err(failed)?;
        let ghost = gst::GhostPad::builder_with_target(&first.ok_or_else(no_pad)?);
        let ghost = ghost.map_err(failed)?.name("sink").build();
        bin.add_pad(&ghost).map_err(failed)?;
        pipeline.add(&bin).map_err(failed)?;
        bin.sync_state_with_parent().map_err(failed)?;
        let pad = gst::Pad::builder(gst::PadDirection::Src).build();
        let wanted = stream.clone();
        keyframe_request::watch(&pad, move |_| wanted.want_keyframe());
        pad.set_active(true).map_err(failed)?;
        pad.link(&ghost)
            .map_err(|error| Error::Failed(error.to_string()))?;
        pad.push_event(gst::event::StreamStart::new(codec.kind().name()));
        pad.push_event(gst::event::Caps::new(&caps(codec, stereo)));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        pad.push_event(gst::event::Segment::new(&segment));
        Ok(Self {
            codec,
            pad,
            sequence: 0,
        })
    }

    fn push(&mut self, frame: &Frame, discontinuous: bool) {
        let (count, pts) = (frame.ends.len(), gst::ClockTime::try_from(frame.pts).ok());
        let mut list = gst::BufferList::new_sized(count);
        let Some(packets) = list.get_mut() else {
            return;
        };
        let [.., t0, t1, t2, t3] = frame.timestamp.to_be_bytes();
        for (index, range) in (1..).zip(frame.ranges()) {
            let payload = frame.data.get(range).unwrap_or_default();
            let header = RtpHeader {
                marker: index == count && self.codec.kind() == Kind::Video,
                payload_type: PAYLOAD_TYPE,
                sequence: self.sequence,
                timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
                ssrc: 0,
            };
            self.sequence = self.sequence.wrapping_add(1);
            let mut bytes = Vec::with_capacity(rtp::FIXED_BYTES + payload.len());
            header.write(&mut bytes, &[]);
            bytes.extend_from_slice(payload);
            let mut buffer = gst::Buffer::from_slice(bytes);
            if let Some(buffer) = buffer.get_mut() {
                buffer.set_pts(pts);
                if discontinuous && index == 1 {
                    buffer.set_flags(gst::BufferFlags::DISCONT);
                }
            }
            packets.add(buffer);
        }
        if let Err(error) = self.pad.push_list(list) {
            tracing::trace!(%error, "frame refused by its depayloader");
        }
    }
}

fn caps(codec: Codec, stereo: bool) -> gst::Caps {
    let caps = gst::Caps::builder("application/x-rtp")
        .field("media", codec.kind().name())
        .field("encoding-name", codec.encoding_name().to_ascii_uppercase())
        .field(
            "clock-rate",
            i32::try_from(codec.clock_rate()).unwrap_or(90_000),
        )
        .field("payload", i32::from(PAYLOAD_TYPE));
    match codec.kind() {
        Kind::Audio => caps.field("sprop-stereo", if stereo { "1" } else { "0" }),
        Kind::Video => caps,
    }
    .build()
}
