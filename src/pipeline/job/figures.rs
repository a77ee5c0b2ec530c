//! What a job reports about itself, as plain data.

use serde::{Deserialize, Serialize};

use crate::{media::Kind, pipeline::sandbox::SandboxState, resources::ProcessFigures};

/// The figures of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobFigures {
    /// One entry per appsrc.
    pub inputs: Vec<InputFigures>,
    /// One entry per appsink; for an output, per sink.
    pub outputs: Vec<OutputFigures>,
    /// One entry per queue of the text.
    pub queues: Vec<QueueFigures>,
    /// The resources that its process uses; `None` before it has been measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessFigures>,
    /// How much of its sandbox the kernel enforces; `None` if its file declares none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxState>,
}

/// The figures of an appsrc.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InputFigures {
    /// The track.
    pub kind: Kind,
    /// Frames queued for the pipeline.
    pub frames: u64,
    /// Bytes queued for the pipeline.
    pub bytes: u64,
    /// Frames lost because the pipeline did not keep up or waited for a keyframe.
    pub dropped: u64,
    /// Bytes waiting now.
    pub queued_bytes: u64,
    /// Media waiting now, in milliseconds.
    pub queued_ms: u64,
}

/// The figures of an appsink or of a sink of an output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OutputFigures {
    /// The element's name.
    pub name: String,
    /// Buffers out: frames, or pieces that a muxer writes.
    pub frames: u64,
    /// Bytes out.
    pub bytes: u64,
    /// Mean time of a video frame from appsrc to appsink, in milliseconds.
    pub time_per_frame_ms: Option<f64>,
    /// Longest such time, in milliseconds.
    pub time_per_frame_max_ms: Option<f64>,
    /// The caps of its media.
    pub caps: Option<String>,
}

/// How full a queue element is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct QueueFigures {
    /// The element's name.
    pub name: String,
    /// Buffers in it.
    pub buffers: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Media in it, in milliseconds.
    pub queued_ms: u64,
}
