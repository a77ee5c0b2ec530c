//! Media as plain data: kinds, codecs and frames, and what their bytes say.
//!
//! Bytes in, facts out: nothing here knows GStreamer, HTTP or sockets, or asks a clock for the
//! time.

mod bits;
mod codec;
mod descriptor;
pub mod format;
mod frame;
pub mod keyframe;
mod keyframe_request_limit;
mod kind;
pub mod nal;
pub mod obu;
pub(crate) mod opus;
pub mod order;
pub mod parameter_sets;
pub mod recovery;
pub mod rtp;
pub mod timestamps;
mod token_bucket;
pub mod vp8;
pub mod vp9;

pub use codec::Codec;
pub use frame::{FRAME_BYTES_MAX, FRAME_PAYLOADS_MAX, Frame, FrameSink};
#[cfg(test)]
pub use keyframe_request_limit::KEYFRAME_PAUSE;
pub use keyframe_request_limit::KeyframeRequestLimit;
pub use kind::{ByKind, Kind};
pub use token_bucket::TokenBucket;
