//! gst-launch text becomes running pipelines, and encoded media becomes frames.
//!
//! ```text
//!  text --expand--> description --role--> Source: appsink name=video / name=audio
//!                                                     |  encoded buffers, any carried codec
//!                                                     v
//!                                packetizer: parse -> payload -> media::Frame -> FrameSink
//!                                                     ^
//!                                publishers' RTP, depayloaded by ingest
//! ```
//!
//! The differences between codecs are in `codec` (elements) and in `media` (bits). All pipelines
//! share one clock and one base time (see `clock`), so that [`crate::media::Frame::pts`] can be
//! compared between them and continues across reconnects.
//!
//! Not here: WebRTC, the rules of a broadcast, restarts. A pipeline text is code: it comes from the
//! configuration, never from a request.

mod access_unit;
pub mod check;
pub(crate) mod clock;
pub(crate) mod codec;
pub(crate) mod elements;
mod error;
mod expand;
mod failing_track;
mod frame_rate;
mod framing;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod guards;
mod intake;
pub mod job;
pub(crate) mod keyframe_request;
pub(crate) mod launch;
mod lexer;
mod log;
mod loss;
mod made;
mod markers;
mod outlet;
pub(crate) mod packetizer;
mod redact;
pub(crate) mod restart;
mod role;
pub(crate) mod running;
pub mod sandbox;
mod source;
mod temporal_unit;
#[cfg(test)]
mod tests;
mod tidy;
pub mod trial;
mod variables;
mod whip;

use std::sync::Mutex;

pub use clock::running_time;
pub use error::Error;
pub use expand::expand;
pub use job::Job;
pub use loss::{LossCause, ProcessLoss};
pub use made::codec_of_appsink;
pub use outlet::{TrackOutlet, TrackSinks};
pub use redact::{redact, remember};
pub use role::PipelineRole;
use serde::{Deserialize, Serialize};
pub use source::Source;
pub use variables::Variables;

use crate::media::{Codec, Kind};

/// What a running pipeline reports upwards, on a bounded channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The first frame of a track has been made, encoded with this codec.
    Track(Kind, Codec),
    /// The first frame of a rendition has been made.
    Rendition {
        /// The kind of media.
        kind: Kind,
        /// `720p` for `appsink name=video_720p`.
        name: String,
        /// How it is encoded.
        codec: Codec,
    },
    /// The media of an appsink is transcoded, because no browser plays it.
    Transcoded {
        /// The appsink's name.
        appsink: String,
        /// The media type that it receives.
        from: String,
    },
    /// Media goes in, but nothing has come out for the time limit. The pipeline still runs.
    Stalled,
    /// After [`Event::Stalled`]: media comes out again.
    Resumed,
    /// The media of an output has changed its shape, such as its size, and the output must restart.
    /// The pipeline still runs, but gets no more of that track.
    Reshaped,
    /// A file sink of an output has finished the file at this path.
    FileFinished(String),
    /// The pipeline failed; names the element and the reason. Nothing follows.
    Failed(String),
    /// The process of the pipeline is gone. Nothing follows.
    Lost(ProcessLoss),
    /// The pipeline reached its end (EOS). Nothing follows.
    Ended,
}

/// Starts GStreamer: loads its registry, adds the plugins linked into Aerial, sends its log to the
/// tracing target `gstreamer`, and checks that every element Aerial always needs exists.
/// Blocks for some milliseconds (seconds when the registry is new). Call it before anything else
/// of this module; further calls do nothing.
///
/// # Errors
/// `Error::Init` if GStreamer does not start, `Error::MissingElement` with the Debian package
/// that has the first missing element.
pub fn init() -> Result<(), Error> {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if *done {
        return Ok(());
    }
    log::install();
    gstreamer::init().map_err(|error| Error::Init(error.to_string()))?;
    for register in [
        gstrsrtp::plugin_register_static,
        gstfmp4::plugin_register_static,
        gsthlssink3::plugin_register_static,
    ] {
        register().map_err(|error| Error::Init(error.to_string()))?;
    }
    whip::register()?;
    elements::check()?;
    running_time(); // fixes the base time
    *done = true;
    Ok(())
}
