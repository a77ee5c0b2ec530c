//! Encoded stream in, frames out: parser and payloader in one bin.
//!
//! Nothing in here waits: what comes in is parsed, cut into packets and handed to the frame sink
//! before the call that brought it returns.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use gst::prelude::*;
use gstreamer as gst;

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
    let chain = codec::elements(codec).packetizer()?;
    let payloader = chain.last().and_then(|last| last.static_pad("src"));
    let payloader =
        payloader.ok_or_else(|| Error::Failed(format!("payloader for {codec}: no pad")))?;
    let encoded = chain.last().and_then(|last| last.static_pad("sink"));
    if let (Some(stream), Some(pad)) = (stream, encoded) {
        stream::tap_pad(&pad, stream, codec);
    }
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
    let end = end(codec, deliver);
    payloader
        .link(&end)
        .map_err(|error| Error::Failed(format!("packetizer for {codec}: {error}")))?;
    // It is nobody's: the payloader's pad keeps it for as long as itself.
    payloader.connect_unlinked(move |_, _| drop(end.clone()));
    Ok(bin)
}

/// What the payloader pushes into. A pad of no element, not a sink: a sink waits while the pipeline
/// pauses, on its way to its end too. In a packetizer that an appsink pushes into, that would be
/// for ever: the pipeline waits for the appsink then, and the appsink for the packetizer.
fn end(codec: Codec, deliver: impl FnMut(Frame) + Send + 'static) -> gst::Pad {
    let state = Arc::new(Mutex::new((Frames::new(codec), deliver)));
    let lists = Arc::clone(&state);
    let pad = gst::Pad::builder(gst::PadDirection::Sink)
        .chain_function(move |pad, _, buffer| {
            let (frames, deliver) = &mut *lock(&state);
            let pts = due(pad, &buffer).unwrap_or_else(clock::running_time);
            frames.push(std::iter::once(&*buffer), buffer.size(), pts, deliver);
            Ok(gst::FlowSuccess::Ok)
        })
        // a payloader's packets of one frame
        .chain_list_function(move |pad, _, list| {
            if let Some(first) = list.get(0) {
                let (frames, deliver) = &mut *lock(&lists);
                let pts = due(pad, first).unwrap_or_else(clock::running_time);
                frames.push(list.iter(), list.calculate_size(), pts, deliver);
            }
            Ok(gst::FlowSuccess::Ok)
        })
        .event_function(|_, _, _| true) // the pad itself remembers the segment
        .query_function(|_, _, query| match query.view_mut() {
            gst::QueryViewMut::Caps(query) => {
                let any = query.filter_owned().unwrap_or_else(gst::Caps::new_any);
                query.set_result(&any);
                true
            }
            gst::QueryViewMut::AcceptCaps(query) => {
                query.set_result(true);
                true
            }
            _ => false,
        })
        .build();
    // Cannot fail: it has no element whose state would have a say.
    let _ = pad.set_active(true);
    pad
}

/// Never contended: a pad has one streaming thread. Never poisoned: nothing in it panics.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server's running time at which a buffer is due. The pipeline's own base time is taken into
/// account, because a pipeline that is not live begins at zero.
fn due(pad: &gst::Pad, buffer: &gst::BufferRef) -> Option<Duration> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = event.segment().downcast_ref::<gst::ClockTime>()?;
    let running = segment.to_running_time(buffer.pts().or(buffer.dts())?)?;
    let base = pad.peer()?.parent_element()?.base_time()?;
    Some((base + running).saturating_sub(clock::base_time()).into())
}

#[cfg(test)]
mod tests {
    use tokio::{sync::mpsc, task::spawn_blocking, time::timeout};

    use super::*;
    use crate::pipeline::running::set_state;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_pipeline_on_its_way_to_its_end_is_not_waited_for() {
        crate::pipeline::init().unwrap();
        let (sender, mut frames) = mpsc::channel(8);
        let deliver = move |frame| sender.try_send(frame).unwrap();
        let bin = bin(Codec::Opus, None, deliver).unwrap();
        let pipeline = gst::Pipeline::new();
        pipeline.add(&bin).unwrap();
        // From PLAYING to NULL it is that for a moment, while media still comes.
        for state in [gst::State::Playing, gst::State::Paused] {
            set_state(&pipeline, state, TIMEOUT).await.unwrap();
        }
        let pad = gst::Pad::builder(gst::PadDirection::Src).build();
        pad.set_active(true).unwrap();
        pad.link(&bin.static_pad("sink").unwrap()).unwrap();
        let caps = gst::Caps::builder("audio/x-opus")
            .field("rate", 48_000)
            .field("channels", 2)
            .field("channel-mapping-family", 0)
            .build();
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        pad.push_event(gst::event::StreamStart::new("test"));
        pad.push_event(gst::event::Caps::new(&caps));
        pad.push_event(gst::event::Segment::new(&segment));
        let pushing = spawn_blocking(move || {
            for number in 0..5 {
                let mut buffer = gst::Buffer::from_slice([0xfc, 0xff, 0xfe]);
                let at = gst::ClockTime::from_mseconds(20 * number);
                buffer.get_mut().unwrap().set_pts(at);
                // Err: the test has seen enough.
                let _ = pad.push(buffer);
            }
        });
        let frame = timeout(TIMEOUT, frames.recv()).await;
        set_state(&pipeline, gst::State::Null, TIMEOUT)
            .await
            .unwrap();
        assert_eq!(frame.unwrap().unwrap().codec, Codec::Opus);
        pushing.await.unwrap();
    }
}
