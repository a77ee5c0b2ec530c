//! A job's graph: GStreamer's own drawing, with the job's figures on it.

use std::{fmt::Write as _, process::Stdio, time::Duration};

use gst::prelude::*;
use gstreamer as gst;
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::Figures;
use crate::pipeline::Error;

/// Longest time for Graphviz to draw.
const DRAW_TIMEOUT: Duration = Duration::from_secs(10);
/// Graphviz's program, of the Debian package graphviz.
const DOT: &str = "dot";

/// The graph in Graphviz's language.
pub(super) fn dot(pipeline: &gst::Pipeline, figures: &Figures) -> String {
    let details = gst::DebugGraphDetails::MEDIA_TYPE | gst::DebugGraphDetails::NON_DEFAULT_PARAMS;
    let drawn = pipeline.debug_to_dot_data(details).to_string();
    let label = label(figures);
    // GStreamer's own label is the first attribute of the graph: ours goes into it.
    match drawn.split_once("label=\"") {
        Some((head, tail)) if !label.is_empty() => format!("{head}label=\"{label}\\n{tail}"),
        _ => drawn,
    }
}

fn label(figures: &Figures) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    for input in &figures.inputs {
        let _ = write!(
            text,
            "in {}: {} frames, {} bytes, {} dropped, {} ms queued\\n",
            input.kind, input.frames, input.bytes, input.dropped, input.queued_ms
        );
    }
    for output in &figures.outputs {
        let name = output.name.replace(['"', '\\'], "");
        let _ = write!(
            text,
            "out {name}: {} frames, {} bytes",
            output.frames, output.bytes
        );
        if let Some(time) = output.time_per_frame_ms {
            let _ = write!(text, ", {time:.1} ms a frame");
        }
        text.push_str("\\n");
    }
    text
}

/// Has Graphviz draw it.
pub(super) async fn svg(dot: &str) -> Result<String, Error> {
    let failed = |what: &str| Error::Failed(format!("graph: {what}"));
    let spawned = Command::new(DOT)
        .arg("-Tsvg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|error| {
        failed(&format!(
            "{DOT} does not start ({error}): install the Debian package graphviz"
        ))
    })?;
    let input = child.stdin.take();
    let draw = async {
        let write = async {
            if let Some(mut input) = input {
                input.write_all(dot.as_bytes()).await?;
            }
            Ok::<_, std::io::Error>(())
        };
        let (written, output) = tokio::join!(write, child.wait_with_output());
        written.and(output)
    };
    let output = tokio::time::timeout(DRAW_TIMEOUT, draw).await;
    let output = output
        .map_err(|_| Error::Timeout {
            step: "drawing a graph",
            limit: DRAW_TIMEOUT,
        })?
        .map_err(|error| failed(&error.to_string()))?;
    if !output.status.success() {
        return Err(failed(&format!("{DOT} ended with {}", output.status)));
    }
    String::from_utf8(output.stdout).map_err(|error| failed(&error.to_string()))
}
