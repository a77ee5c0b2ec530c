//! Media as plain data: kinds, codecs and frames, and what their bytes say.
//!
//! Bytes in, facts out: nothing here knows GStreamer, HTTP or sockets, and nothing has a clock of
//! its own.

mod codec;
mod frame;
pub mod keyframe;
mod kind;
pub mod order;

pub use codec::Codec;
pub use frame::{Frame, FrameSink, Packet, PacketSink};
pub use kind::Kind;
