//! Which track of a source has failed, and how to do without it.

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::codec;
use crate::media::Kind;

/// Elements between a source and the first one that knows its media, at most.
const ELEMENTS_MAX: usize = 16;

/// The track that an element which has failed belongs to; `None` if it serves both, or is no longer in
/// its pipeline.
pub(super) fn of(failed: &gst::Object) -> Option<Kind> {
    let (_, element) = place(failed)?;
    kind_of(&element)
}

/// Whether the pipeline of an element has both tracks.
pub(super) fn has_other(failed: &gst::Object) -> bool {
    place(failed).is_some_and(|(pipeline, _)| {
        let has = |kind: Kind| {
            pipeline
                .by_name(kind.name())
                .is_some_and(|element| element.is::<gst_app::AppSink>())
        };
        Kind::ALL.into_iter().all(has)
    })
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

/// The kind of media that an element takes, or that those downstream do; `None` if they take both,
/// as demuxers do.
fn kind_of(element: &gst::Element) -> Option<Kind> {
    let mut element = element.clone();
    for _ in 0..ELEMENTS_MAX {
        if let Some(caps) = element.sink_pads().iter().find_map(arriving) {
            return kind_of_caps(&caps);
        }
        // A source: what it makes shows further on.
        element = element.static_pad("src")?.peer()?.parent_element()?;
    }
    None
}

/// The caps of a sink pad. Until an element has taken them, which is when it may fail, only the pad
/// before it has them.
fn arriving(pad: &gst::Pad) -> Option<gst::Caps> {
    pad.current_caps().or_else(|| pad.peer()?.current_caps())
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
