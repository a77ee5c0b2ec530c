//! A viewer's data channel.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{context::Context, viewer::DirectViewer};
use crate::{
    fanout::{message::Message, place::WorkerHandle},
    media::Kind,
    peer::ChannelText,
    playout::{RenditionCaches, ViewerCounters},
};

/// Sends texts to a viewer.
#[derive(Clone)]
pub struct ViewerChannel {
    pub(super) key: u64,
    pub(super) worker: WorkerHandle,
    pub(super) counters: Arc<ViewerCounters>,
}

impl ViewerChannel {
    /// Sends a text. Returns false if this or an earlier one is lost: the worker is overloaded, or
    /// the viewer receives too slowly.
    pub fn send(&self, text: ChannelText) -> bool {
        let message = Message::Text {
            viewer: self.key,
            text,
        };
        let is_behind = self.counters.channel_behind.swap(false, Relaxed);
        !is_behind && self.worker.tell(message)
    }
}

impl DirectViewer {
    /// Sends the peer a text.
    pub(in crate::fanout) fn say(
        &mut self,
        cx: &mut Context,
        renditions: &RenditionCaches,
        text: &ChannelText,
    ) {
        let timed = if text.is_timed {
            self.newest_picture().map(|at| text.at(at))
        } else {
            None
        };
        let mut reports = self.take_reports();
        let written = timed.as_deref().unwrap_or(&text.text);
        if !self.session.say(cx.now, written, &mut reports) {
            self.counters.channel_behind.store(true, Relaxed);
        }
        self.report_back(cx, renditions, reports);
    }
    /// The RTP timestamp of the newest picture sent.
    fn newest_picture(&self) -> Option<u32> {
        self.playout
            .tracks
            .iter()
            .find(|track| track.codec.kind() == Kind::Video)?
            .stream
            .newest()
    }
}
