//! Whether an output can take the codecs of its broadcast, and whether it can follow changes.

use gst::prelude::*;
use gstreamer as gst;

use crate::{
    media::{Codec, Kind},
    pipeline::{Error, PipelineRole, Variables, codec, launch},
};

/// Elements that write the shape of the media (size, parameter sets, channels) once per file, and
/// refuse any other.
const FIXED: [&str; 8] = [
    "cmafmux",
    "isofmp4mux",
    "matroskamux",
    "mp4mux",
    "oggmux",
    "qtmux",
    "splitmuxsink",
    "webmmux",
];

/// Whether a pipeline must restart when its media changes its shape.
pub(super) fn is_fixed(pipeline: &gst::Pipeline) -> bool {
    pipeline
        .iterate_recurse()
        .into_iter()
        .flatten()
        .filter_map(|element| element.factory())
        .into_iter()
        .any(|factory| FIXED.contains(&factory.name().as_str()))
}

/// Parses an output for a broadcast with this video codec.
///
/// # Errors
/// [`Error::Unfit`] if it cannot take the codec, or what is wrong with its text.
pub(super) fn parse(
    name: &str,
    description: &str,
    codecs: &[Codec],
) -> Result<gst::Pipeline, Error> {
    let pipeline = match launch::parse(name, description) {
        Ok(pipeline) => pipeline,
        // Another codec's parser may lack a property that the text sets.
        Err(Error::Text(reason)) if codecs.iter().any(|codec| *codec != Codec::H264) => {
            return Err(Error::Unfit {
                codec: codecs.first().copied().unwrap_or(Codec::H264),
                reason,
            });
        }
        Err(error) => return Err(error),
    };
    match codecs.iter().find(|codec| !takes(&pipeline, **codec)) {
        None => Ok(pipeline),
        Some(codec) => Err(Error::Unfit {
            codec: *codec,
            reason: "what follows its appsrc does not accept that".to_owned(),
        }),
    }
}

/// Whether what follows the appsrc of its kind accepts a codec. It does if there is no appsrc.
fn takes(pipeline: &gst::Pipeline, codec: Codec) -> bool {
    let source = pipeline.by_name(codec.kind().name());
    let Some(pad) = source.and_then(|source| source.static_pad("src")) else {
        return true;
    };
    let wanted = gst::Caps::new_empty_simple(codec::elements(codec).media_type);
    pad.peer_query_caps(None).can_intersect(&wanted)
}

/// The video codecs that an output can take; empty if it takes no video, or cannot be parsed.
/// Elements are created, but nothing is started. Blocks.
pub fn video_codecs(text: &str, variables: &Variables) -> Vec<Codec> {
    let takes = |codec: &Codec| {
        let Ok(description) = variables.clone().with_parser(*codec).expand(text) else {
            return false;
        };
        let role = PipelineRole::of(&description);
        let output =
            matches!(role, Ok(PipelineRole::Output { inputs }) if inputs.contains(&Kind::Video));
        output && parse("check", &description, &[*codec]).is_ok()
    };
    let video = Codec::ALL
        .into_iter()
        .filter(|codec| codec.kind() == Kind::Video);
    video.filter(takes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_made_outputs_take_their_codecs() {
        crate::pipeline::init().unwrap();
        let all = "H264 H265 VP8 VP9 AV1";
        for (name, expected) in [
            ("record-mkv", all),
            ("record-mp4", all),
            ("snapshot", all),
            ("rtsp-push", all),
            ("hls", "H264"),
            ("rtmp-push", "H264"),
            ("whip-push", "H264"),
            ("srt-push", "H264 H265"),
        ] {
            let path = format!("{}/pipelines/{name}.launch", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let given = [
                ("url", "http://127.0.0.1:1/x"),
                ("name", "x"),
                ("time", "0"),
            ];
            let names: Vec<_> = video_codecs(&text, &given.into_iter().collect())
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(names.join(" "), expected, "{name}");
        }
    }

    #[test]
    fn recordings_are_fixed_and_pushes_are_not() {
        crate::pipeline::init().unwrap();
        for (text, fixed) in [
            (
                "appsrc name=video ! h264parse ! matroskamux ! fakesink",
                true,
            ),
            (
                "appsrc name=video ! h264parse ! splitmuxsink location=x",
                true,
            ),
            (
                "appsrc name=video ! h264parse ! hlscmafsink location=x",
                true,
            ),
            (
                "appsrc name=video ! h264parse ! mpegtsmux ! fakesink",
                false,
            ),
            ("appsrc name=video ! h264parse ! flvmux ! fakesink", false),
        ] {
            let pipeline = launch::parse("x", text).unwrap();
            assert_eq!(is_fixed(&pipeline), fixed, "{text}");
        }
    }
}
