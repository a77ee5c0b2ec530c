//! The way of a track's frames from the work to the server.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::{
    media::Frame,
    worker::{
        monotonic,
        queue::{FrameFate, Outbox, OutgoingFrame},
    },
};

/// Where frames of any track are queued for the server.
pub(super) struct FrameQueue<'a> {
    pub(super) outbox: &'a Arc<Outbox>,
    /// Notified when frames are lost that others build on.
    pub(super) keyframe_wanted: &'a Arc<Notify>,
}

impl FrameQueue<'_> {
    /// Takes the frames of one track.
    pub(super) fn sink(&self, track: u16) -> impl Fn(Frame) + Send + Sync + 'static {
        let (outbox, wanted) = (Arc::clone(self.outbox), Arc::clone(self.keyframe_wanted));
        move |frame| {
            let outgoing = OutgoingFrame {
                track,
                gap: false,
                frame: Arc::new(frame),
            };
            let fate = outbox.frame(outgoing, monotonic());
            if fate == FrameFate::Dropped || outbox.waits_for_keyframe(track) {
                wanted.notify_one();
            }
        }
    }
}
