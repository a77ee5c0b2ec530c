//! Encoded stream in, frames out: parser, payloader and sink in one bin.
//!
//! Nothing in here waits: what comes in is parsed, cut into packets and handed to the frame sink
//! before the call that brought it returns.

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::{
    Error, clock, codec,
    frames::Frames,
    stream::{self, Stream},
};
use crate::media::{Codec, Frame};

/// A bin with one pad, `sink`, that takes a stream of this codec and calls `deliver` with each
/// frame, on the streaming thread: it must not block. What the parser makes goes to `stream` too.
pub(crate) fn bin(
    codec: Codec,
    stream: Option<&Stream>,
    deliver: impl FnMut(Frame) + Send + 'static,
) -> Result<gst::Bin, Error> {
    let mut chain = codec::elements(codec).packetizer()?;
    let payloader = chain
        .last()
        .and_then(|payloader| payloader.static_pad("sink"));
    if let (Some(stream), Some(pad)) = (stream, payloader) {
        stream::tap_pad(&pad, stream, codec);
    }
    chain.push(sink(codec, deliver).upcast());
    let bin = gst::Bin::with_name(&format!("packetizer-{}", codec.kind()));
    let failed = |error: glib::BoolError| Error::Failed(format!("packetizer for {codec}: {error}"));
    bin.add_many(&chain).map_err(failed)?;
    gst::Element::link_many(&chain).map_err(failed)?;
    let target = chain.first().and_then(|first| first.static_pad("sink"));
    let target = target.ok_or_else(|| Error::Failed(format!("packetizer for {codec}: no pad")))?;
    let pad = gst::GhostPad::builder_with_target(&target)
        .map_err(failed)?
        .name("sink")
        .build();
    bin.add_pad(&pad).map_err(failed)?;
    Ok(bin)
}

fn sink(codec: Codec, mut deliver: impl FnMut(Frame) + Send + 'static) -> gst_app::AppSink {
    let mut frames = Frames::new(codec);
    let callbacks = gst_app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            take(&mut frames, sink, &sample, &mut deliver);
            Ok(gst::FlowSuccess::Ok)
        })
        .build();
    let sink = gst_app::AppSink::builder()
        .name(format!("frames-{}", codec.kind()))
        .buffer_list(true) // a payloader's packets of one frame stay together
        .sync(false)
        .async_(false) // joins pipelines that already play
        .enable_last_sample(false)
        .callbacks(callbacks)
        .build();
    sink.set_max_buffers(1);
    sink
}

fn take(
    frames: &mut Frames,
    sink: &gst_app::AppSink,
    sample: &gst::Sample,
    deliver: &mut impl FnMut(Frame),
) {
    let pts = |first| due(sink, sample, first).unwrap_or_else(clock::running_time);
    if let Some(list) = sample.buffer_list() {
        if let Some(first) = list.get(0) {
            frames.push(list.iter(), list.calculate_size(), pts(first), deliver);
        }
    } else if let Some(buffer) = sample.buffer() {
        frames.push(std::iter::once(buffer), buffer.size(), pts(buffer), deliver);
    }
}

/// The server's running time at which a buffer is due. The pipeline's own base time is taken into
/// account, because a pipeline that is not live begins at zero.
fn due(
    sink: &gst_app::AppSink,
    sample: &gst::Sample,
    buffer: &gst::BufferRef,
) -> Option<std::time::Duration> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let running = segment.to_running_time(buffer.pts().or(buffer.dts())?)?;
    let base = sink.base_time()?;
    Some((base + running).saturating_sub(clock::base_time()).into())
}
