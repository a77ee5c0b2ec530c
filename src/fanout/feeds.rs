//! The renditions that a worker thread passes on to the processes that serve viewers on webrtcbin.

use std::{collections::HashMap, sync::Arc, time::Instant};

use crate::{media::Frame, playout::RenditionCache, worker::FrameFeed};

/// Where frames go besides viewers, by the keys of their renditions.
#[derive(Default)]
pub(super) struct Feeds(HashMap<u64, Vec<Feed>>);

struct Feed {
    frames: FrameFeed,
    /// Number of the frame that continues what has been passed on.
    next: Option<u64>,
}

impl Feeds {
    /// Passes on a rendition from now on, starting with its cached frames.
    pub(super) fn begin(
        &mut self,
        rendition: u64,
        frames: FrameFeed,
        cache: Option<&RenditionCache>,
        now: Instant,
    ) {
        frames.begin(
            rendition,
            cache.map(|cache| cache.backlog(now)).unwrap_or_default(),
        );
        let mut next = None;
        if let Some(gop) = cache.map(|cache| &cache.gop) {
            for number in gop
                .keyframe()
                .into_iter()
                .flat_map(|first| first..gop.end())
            {
                if let Some((_, frame)) = gop.at(number) {
                    frames.push(frame, false);
                }
            }
            next = Some(gop.end());
        }
        self.0
            .entry(rendition)
            .or_default()
            .push(Feed { frames, next });
    }

    /// A frame has arrived.
    pub(super) fn frame(&mut self, rendition: u64, number: u64, frame: &Arc<Frame>) {
        let Some(feeds) = self.0.get_mut(&rendition) else {
            return;
        };
        feeds.retain_mut(|feed| {
            let expected = feed.next.replace(number + 1);
            feed.frames
                .push(frame, expected.is_some_and(|next| next != number))
        });
    }

    /// No longer passes on a rendition there.
    pub(super) fn end(&mut self, rendition: u64, frames: &FrameFeed) {
        if let Some(feeds) = self.0.get_mut(&rendition) {
            feeds.retain(|feed| !feed.frames.is(frames));
            if feeds.is_empty() {
                self.0.remove(&rendition);
            }
        }
        frames.end();
    }
}
