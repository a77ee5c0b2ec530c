//! A viewer of one track without a network, for [`crate::fuzz`].

pub(crate) mod connected;

use std::sync::Arc;

use crate::{
    media::Frame,
    playout::{Gop, GopLimits, Switcher},
};

/// Frames with more payload are sent in portions.
const BURST_BYTES: usize = 600;

/// Checks what is sent to one viewer.
pub(crate) struct Viewer {
    gop: Gop,
    switcher: Switcher,
    last: Option<u64>,
}

impl Viewer {
    pub(crate) fn new() -> Self {
        Self {
            gop: Gop::new(GopLimits::default()),
            switcher: Switcher::new(),
            last: None,
        }
    }

    pub(crate) fn join(&mut self) {
        self.switcher.replay_from_keyframe(&self.gop);
    }

    pub(crate) fn fall_behind(&mut self) {
        self.switcher.wait();
    }

    pub(crate) fn frame(&mut self, number: u64, frame: &Arc<Frame>) {
        let continuity = self.gop.push(number, Arc::clone(frame));
        let sent = self.switcher.live(number, frame, continuity, BURST_BYTES);
        if let Some(timestamp) = sent {
            self.sent(timestamp);
        }
    }

    /// Sends this many packets from the cache.
    pub(crate) fn catch_up(&mut self, packets: usize, edge: u64) {
        for _ in 0..packets {
            let Some(cursor) = self.switcher.replay(&self.gop, edge) else {
                return;
            };
            let timestamp = cursor.timestamp;
            assert!(cursor.packet < cursor.frame.ends.len(), "a packet is left");
            cursor.packet += 1;
            if cursor.packet == 1 {
                self.sent(timestamp);
            }
        }
    }

    fn sent(&mut self, timestamp: u64) {
        assert!(
            self.last.is_none_or(|last| last < timestamp),
            "from {:?} to {timestamp}",
            self.last
        );
        self.last = Some(timestamp);
    }
}
