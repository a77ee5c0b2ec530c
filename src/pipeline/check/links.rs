//! Checks that media can flow from each appsrc and into each appsink.

use gst::prelude::*;
use gstreamer as gst;

use super::Findings;
use crate::{
    media::Kind,
    pipeline::{
        PipelineRole, codec,
        lexer::{LaunchToken, TokenKind},
    },
};

/// Compares each appsrc and appsink with the caps of its neighbour.
pub(super) fn check(
    pipeline: &gst::Pipeline,
    role: &PipelineRole,
    tokens: &[LaunchToken],
    found: &mut Findings<'_>,
) {
    let (inputs, outputs): (&[Kind], Vec<(Kind, String)>) = match role {
        PipelineRole::Source { tracks } => (
            &[],
            tracks
                .iter()
                .map(|&kind| (kind, kind.name().to_owned()))
                .collect(),
        ),
        PipelineRole::Renditions { inputs, outputs } => {
            let name = |(kind, name): &(Kind, String)| (*kind, format!("{kind}_{name}"));
            (inputs, outputs.iter().map(name).collect())
        }
        PipelineRole::Output { inputs } => (inputs, Vec::new()),
    };
    for &kind in inputs {
        let name = kind.name();
        match neighbour(pipeline, name, "src") {
            None => found.add(
                line(tokens, name),
                format!("appsrc name={name} is linked to nothing"),
            ),
            Some(caps) if !caps.can_intersect(&codec::accepted(kind)) => found.add(
                line(tokens, name),
                format!(
                    "appsrc name={name} delivers encoded {name}, but the next element takes {}: put \
                     decodebin after the appsrc",
                    names(&caps)
                ),
            ),
            Some(_) => {}
        }
    }
    for (kind, name) in outputs {
        let encoder = match kind {
            Kind::Video => "an encoder such as x264enc or vp8enc",
            Kind::Audio => "opusenc",
        };
        let mut accepted = codec::accepted(kind);
        if matches!(role, PipelineRole::Source { .. }) {
            accepted.merge(codec::foreign(kind));
        }
        match neighbour(pipeline, &name, "sink") {
            Some(caps) if !caps.can_intersect(&accepted) => found.add(
                line(tokens, &name),
                format!(
                    "appsink name={name} gets {}, which is not encoded {kind} that Aerial carries: put \
                     {encoder} before it",
                    names(&caps)
                ),
            ),
            // None: the link may come later, when a demuxer adds its pads
            Some(_) | None => {}
        }
    }
}

/// The caps of the element next to an app element's pad.
fn neighbour(pipeline: &gst::Pipeline, name: &str, pad: &str) -> Option<gst::Caps> {
    let peer = pipeline.by_name(name)?.static_pad(pad)?.peer()?;
    Some(peer.query_caps(None))
}

fn names(caps: &gst::Caps) -> String {
    let mut names: Vec<_> = caps
        .iter()
        .map(|structure| structure.name().to_string())
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(" or ")
    }
}

/// The line of `name=...`.
fn line(tokens: &[LaunchToken], name: &str) -> Option<usize> {
    let named = tokens.iter().find(|token| {
        matches!(&token.kind, TokenKind::Property(property, value) if property == "name" && value == name)
    });
    named.map(|token| token.line)
}
