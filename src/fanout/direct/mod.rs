//! Viewers on the direct engine: their session lives on a worker, and their RTP is encrypted and
//! sent here.
//!
//! - `viewer`, `feedback`, `retransmission`: one viewer on its worker, and what it asks for.
//! - `handle`: the viewer as others hold it, and how it begins.
//! - `stream`, `packet`, `batch`: one outgoing RTP stream: numbering, encryption, segmented sends.

mod batch;
mod feedback;
mod handle;
mod packet;
mod retransmission;
mod stream;
mod viewer;

pub(crate) use self::batch::Batch;
pub(super) use self::{
    feedback::KEYFRAME_INTERVAL,
    packet::{low16, low32},
    stream::{Identity, Stream},
    viewer::{
        BURST_BYTES, Context, DirectViewer, KEYFRAME_PATIENCE, PACE_BYTES, PACE_FACTOR,
        PACE_INTERVAL, RenditionState, Track, flush,
    },
};
pub use self::{handle::DirectHandle, viewer::Timeouts};
