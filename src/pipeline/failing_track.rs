//! Which track of a source has failed, and how to do without it.

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::codec;
use crate::media::Kind;

/// Elements between a source and the first one that knows its media, at most.
const ELEMENTS_MAX: usize = 16;

/// The track that an element which has failed belongs to, in a source that has the other one, too.
pub(super) fn of(failed: &gst::Object) -> Option<Kind> {
    let (pipeline, element) = place(failed)?;
    let has = |kind: Kind| {
        let appsink = pipeline.by_name(kind.name());
        appsink.is_some_and(|element| element.is::<gst_app::AppSink>())
    };
    if !Kind::ALL.into_iter().all(has) {
        return None;
    }
    kind_of(&element)
}

/// What plays the other track alone.
pub(super) fn advice(kind: Kind) -> String {
    let other = match kind {
        Kind::Video => Kind::Audio,
        Kind::Audio => Kind::Video,
    };
    format!(
        "this is the {kind}: the same file without the branch of `appsink name={kind}` plays the \
         {other} alone"
    )
}

/// The pipeline of an element, and the element of its text that this one is, or is in.
fn place(failed: &gst::Object) -> Option<(gst::Pipeline, gst::Element)> {
    let mut inner = failed.clone();
    while let Some(parent) = inner.parent() {
        match parent.downcast::<gst::Pipeline>() {
            Ok(pipeline) => return Some((pipeline, inner.downcast().ok()?)),
            Err(bin) => inner = bin,
        }
    }
    None
}

/// The kind of media that an element takes, or that those behind it do; `None` if they take both, as
/// demuxers do.
fn kind_of(element: &gst::Element) -> Option<Kind> {
    let mut element = element.clone();
    for _ in 0..ELEMENTS_MAX {
        let pads = element.sink_pads();
        if let Some(caps) = pads.iter().find_map(gst::Pad::current_caps) {
            return kind_of_caps(&caps);
        }
        // A source: what it makes shows further on.
        let pad = element.static_pad("src")?;
        element = pad.peer()?.parent_element()?;
    }
    None
}

fn kind_of_caps(caps: &gst::Caps) -> Option<Kind> {
    let media = caps.structure(0)?;
    if let Ok(kind) = media.get::<&str>("media") {
        return Kind::ALL.into_iter().find(|of| of.name() == kind);
    }
    if media.name().starts_with("audio/") {
        return Some(Kind::Audio);
    }
    let mut pictures = codec::accepted(Kind::Video);
    pictures.merge(codec::foreign(Kind::Video));
    let shown = media.name() == "video/x-raw" || pictures.can_intersect(caps);
    shown.then_some(Kind::Video)
}
