//! Encoded stream in, frames out: parser and payloader in one bin.
//!
//! Nothing in here waits: each buffer is parsed, cut into packets and delivered as a frame before the
//! push that brought it returns.

use std::sync::{Mutex, PoisonError};

use gst::prelude::*;
use gstreamer as gst;

use super::{Error, access_unit, clock, codec, framing::FrameAssembler, restart};
use crate::media::{Codec, Frame};

/// A bin with one pad, `sink`, that takes a stream of this codec and calls `deliver` with each
/// frame on the streaming thread: it must not block.
pub(crate) fn bin(
    codec: Codec,
    deliver: impl FnMut(Frame) + Send + 'static,
) -> Result<gst::Bin, Error> {
    let chain = codec::elements(codec).packetizer()?;
    let pad = |element: Option<&gst::Element>, name| {
        let pad = element.and_then(|element| element.static_pad(name));
        pad.ok_or_else(|| Error::Failed(format!("packetizer for {codec}: no pad {name}")))
    };
    take(&pad(chain.last(), "src")?, codec, deliver);
    restart::gate_pad(&pad(chain.first(), "sink")?, codec);
    access_unit::join_pad(&pad(chain.first(), "sink")?, codec);
    let bin = gst::Bin::with_name(&format!("packetizer-{}", codec.kind()));
    let failed = |error: glib::BoolError| Error::Failed(format!("packetizer for {codec}: {error}"));
    bin.add_many(&chain).map_err(failed)?;
    gst::Element::link_many(&chain).map_err(failed)?;
    let ghost = gst::GhostPad::builder_with_target(&pad(chain.first(), "sink")?)
        .map_err(failed)?
        .name("sink")
        .build();
    bin.add_pad(&ghost).map_err(failed)?;
    Ok(bin)
}

/// Takes everything that leaves the payloader. By a probe, not an appsink: while PAUSED, a sink
/// blocks in its chain function. If its buffers come from another appsink's callback, that one blocks
/// too, holding the lock that its own change to PAUSED or READY needs. Whether the pipeline ever
/// stops would then depend on which of the two it stops first.
fn take(payloader: &gst::Pad, codec: Codec, deliver: impl FnMut(Frame) + Send + 'static) {
    let output = Mutex::new((FrameAssembler::new(codec), deliver));
    let all = gst::PadProbeType::DATA_DOWNSTREAM | gst::PadProbeType::EVENT_FLUSH;
    payloader.add_probe(all, move |pad, info| {
        // A panic in there loses one frame; the next one is whole again.
        let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
        let (frames, deliver) = &mut *output;
        let pts = |first| due(pad, first).unwrap_or_else(clock::running_time);
        match &info.data {
            Some(gst::PadProbeData::BufferList(list)) => {
                if let Some(first) = list.get(0) {
                    frames.push(list.iter(), list.calculate_size(), pts(first), deliver);
                }
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let one = std::iter::once(buffer.as_ref());
                frames.push(one, buffer.size(), pts(buffer), deliver);
            }
            _ => {}
        }
        gst::PadProbeReturn::Handled
    });
}

/// The server's running time at which a buffer is due. Accounts for the pipeline's own base time,
/// because a pipeline that is not live begins at zero.
fn due(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<std::time::Duration> {
    let segment = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
    let running = segment.to_running_time(buffer.pts().or(buffer.dts())?)?;
    let base = pad.parent_element()?.base_time()?;
    Some(
        (base + running)
            .saturating_sub(clock::base_clock_time())
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pipeline::running::{blocking, set_state};

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn nothing_waits_in_a_pipeline_that_is_being_stopped() {
        crate::pipeline::init().unwrap();
        let bin = bin(Codec::Opus, |_| ()).unwrap();
        set_state(&bin, gst::State::Paused, LIMIT).await.unwrap();
        let pad = gst::Pad::builder(gst::PadDirection::Src).build();
        pad.set_active(true).unwrap();
        pad.link(&bin.static_pad("sink").unwrap()).unwrap();
        let push = move || {
            let caps = gst::Caps::builder("audio/x-opus").field("channel-mapping-family", 0);
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            pad.push_event(gst::event::StreamStart::new("sound"));
            pad.push_event(gst::event::Caps::new(&caps.build()));
            pad.push_event(gst::event::Segment::new(&segment));
            let pushed = pad.push(gst::Buffer::from_slice([0xf8_u8, 0xff, 0xfe]));
            pad.push_event(gst::event::Eos::new());
            pushed
        };
        let pushed = blocking("pushing", LIMIT, push).await.unwrap();
        assert_eq!(pushed, Ok(gst::FlowSuccess::Ok));
        set_state(&bin, gst::State::Null, LIMIT).await.unwrap();
    }
}
