//! Viewers on the direct engine: their session lives on a worker, and their RTP is encrypted and
//! sent here.
//!
//! - `viewer`, `feedback`, `retransmission`: one viewer on its worker, and its requests.
//! - `channel`: its data channel.
//! - `context`: what the viewers of one worker share.
//! - `handle`: the session's handle of a viewer, and how a viewer begins.
//! - `stream`, `packet`, `batch`: one outgoing RTP stream: numbering, encryption, segmented sends.

mod batch;
mod channel;
mod context;
mod feedback;
mod handle;
mod packet;
mod retransmission;
mod stream;
#[cfg(test)]
pub(super) mod testing;
mod viewer;

pub(crate) use self::batch::Batch;
pub use self::{channel::ViewerChannel, context::Timeouts, handle::DirectHandle};
pub(super) use self::{context::Context, viewer::DirectViewer};
#[cfg(any(test, feature = "fuzz"))]
pub(super) use self::{handle::playout_track, viewer::Joining};
