//! Media as plain data: kinds, codecs and frames, and what their bytes say.
//!
//! Bytes in, facts out: nothing here knows GStreamer, HTTP or sockets, or asks a clock for the
//! time.

mod bits;
mod codec;
pub mod format;
mod frame;
pub mod keyframe;
mod kind;
pub mod nal;
mod obu;
pub(crate) mod opus;
pub mod order;
pub mod recovery;
pub mod rtp;
mod token_bucket;

pub use codec::Codec;
pub use frame::{Frame, FrameSink, Packet, PacketSink};
pub use kind::{ByKind, Kind};
pub use token_bucket::TokenBucket;
