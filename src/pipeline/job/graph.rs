//! A job's graph: GStreamer's own drawing, labelled with the job's figures.

use std::{fmt::Write as _, process::Stdio, time::Duration};

use gst::prelude::*;
use gstreamer as gst;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

use super::figures::JobFigures;
use crate::{
    awake,
    pipeline::{Error, redact},
};

/// How long Graphviz may take.
const DRAW_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest graph in Graphviz's language, in bytes: some thousand elements.
const DOT_BYTES_MAX: usize = 4 << 20;
/// Largest drawing, in bytes.
const SVG_BYTES_MAX: u64 = 16 << 20;
/// Graphviz's program, of the Debian package graphviz.
const DOT: &str = "dot";

/// The graph in Graphviz's language, without secrets.
///
/// # Errors
/// If it is too large.
pub(super) fn dot(pipeline: &gst::Pipeline, figures: &JobFigures) -> Result<String, Error> {
    // Whole values: a part of a secret would not be recognised.
    let details = gst::DebugGraphDetails::MEDIA_TYPE
        | gst::DebugGraphDetails::NON_DEFAULT_PARAMS
        | gst::DebugGraphDetails::FULL_PARAMS;
    let drawn = redact(&pipeline.debug_to_dot_data(details));
    let label = label(figures);
    // GStreamer's own label is the first attribute of the graph: ours goes into it.
    let annotated = match drawn.split_once("label=\"") {
        Some((head, tail)) if !label.is_empty() => format!("{head}label=\"{label}\\n{tail}"),
        _ => drawn,
    };
    if annotated.len() > DOT_BYTES_MAX {
        return Err(Error::Failed("graph: it is too large".to_owned()));
    }
    Ok(annotated)
}

fn label(figures: &JobFigures) -> String {
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
    for queue in &figures.queues {
        let name = queue.name.replace(['"', '\\'], "");
        let _ = write!(
            text,
            "queue {name}: {} buffers, {} bytes, {} ms\\n",
            queue.buffers, queue.bytes, queue.queued_ms
        );
    }
    text
}

/// Has Graphviz draw it.
pub(crate) async fn svg(dot: &str) -> Result<String, Error> {
    let failed = |what: &str| Error::Failed(format!("graph: {what}"));
    let spawned = Command::new(DOT)
        .arg("-Tsvg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|error| Error::MissingProgram {
        program: DOT.into(),
        package: "graphviz".into(),
        error: error.to_string(),
    })?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let draw = async {
        let write = async {
            if let Some(mut input) = input {
                input.write_all(dot.as_bytes()).await?;
            }
            Ok::<_, std::io::Error>(())
        };
        let read = async {
            let mut drawn = Vec::new();
            if let Some(output) = output {
                output
                    .take(SVG_BYTES_MAX + 1)
                    .read_to_end(&mut drawn)
                    .await?;
            }
            Ok::<_, std::io::Error>(drawn)
        };
        let (written, drawn) = tokio::join!(write, read);
        let drawn = drawn?;
        if drawn.len() as u64 > SVG_BYTES_MAX {
            return Ok((None, drawn)); // dropping the child ends it
        }
        written?;
        Ok::<_, std::io::Error>((Some(child.wait().await?), drawn))
    };
    let drawn = awake::timeout(DRAW_TIMEOUT, draw).await;
    let (status, drawn) = drawn
        .map_err(|_| Error::Timeout {
            step: "drawing a graph".into(),
            limit: DRAW_TIMEOUT,
        })?
        .map_err(|error| failed(&error.to_string()))?;
    let status = status.ok_or_else(|| failed("the drawing is too large"))?;
    if !status.success() {
        return Err(failed(&format!("{DOT} ended with {status}")));
    }
    String::from_utf8(drawn).map_err(|error| failed(&error.to_string()))
}
