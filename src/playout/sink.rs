//! Where a viewer's packets go.

use std::{ops::Range, sync::Arc};

use super::gop::Gop;
use crate::media::Frame;

/// Where a viewer's packets go. One playout serves one kind of sink, so that nothing in a packet's
/// path is dispatched at run time.
pub(crate) trait Sink {
    /// Numbers the packets of one track.
    type Stream;

    /// Takes packets of one frame. They may wait for [`Sink::flush`].
    fn write(&mut self, stream: &mut Self::Stream, part: &Part<'_>) -> Delivery;

    /// Sends everything written.
    fn flush(&mut self) -> Delivery;

    /// Sends about `bytes` of padding, if the engine has any, and returns how many. It is never
    /// played: it shows whether the network has room for more.
    fn pad(&mut self, _stream: &mut Self::Stream, _bytes: usize) -> usize {
        0
    }
}

/// Packets of one frame.
pub(crate) struct Part<'a> {
    /// The key of its rendition.
    pub(crate) rendition: u64,
    pub(crate) frame: &'a Arc<Frame>,
    pub(crate) packets: Range<usize>,
    /// RTP timestamp in the track's units, as this viewer sees it.
    pub(crate) timestamp: u64,
    /// The group of pictures it comes from; `None` for a frame that has just arrived.
    pub(crate) cached: Option<&'a Gop>,
}

/// The outcome of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// They are on their way.
    Sent,
    /// The connection does not keep pace: frames after these are useless before a keyframe.
    Behind,
    /// The connection is over.
    Refused,
}
