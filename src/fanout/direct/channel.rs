//! A viewer's data channel.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{context::Context, viewer::DirectViewer};
use crate::{
    fanout::{message::Message, slot::WorkerHandle},
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
        let video = self.playout.tracks.iter();
        let mut video = video.filter(|track| track.codec.kind() == Kind::Video);
        let newest = video.next().and_then(|track| track.stream.newest());
        let timed = newest.filter(|_| text.is_timed).map(|at| text.at(at));
        let written = timed.as_deref().unwrap_or(&text.text);
        let mut reports = self.take_reports();
        if !self.session.say(cx.now, written, &mut reports) {
            self.counters.channel_behind.store(true, Relaxed);
        }
        self.report_back(cx, renditions, reports);
    }
}
