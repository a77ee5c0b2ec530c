//! What one viewer sees of one track: one continuous stream across join, drops, and a publisher's
//! reconnect. Pure: no IO and no clock of its own.

use std::sync::Arc;

use super::gop::{Continuity, Gop};
use crate::media::Frame;

/// A frame on its way to a viewer, from packet `packet` on.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) frame: Arc<Frame>,
    /// RTP timestamp in the track's units, as this viewer sees it.
    pub(crate) timestamp: u64,
    /// Index of the next packet to send.
    pub(crate) packet: usize,
}

/// Decides which frames one viewer gets, and with which timestamps.
#[derive(Debug)]
pub(crate) struct Switcher {
    position: Position,
    /// The previous timestamp: later ones must be greater, even for a frame that is sent again or
    /// one of another rendition.
    last: Option<u64>,
}

#[derive(Debug)]
enum Position {
    /// Waiting for the next keyframe; nothing is sent.
    Waiting,
    /// Catching up from the cache: the number of the next frame, and the frame under way.
    Replaying { next: u64, current: Option<Cursor> },
    /// Frames go out as they arrive.
    Live,
}

impl Switcher {
    /// Waits for a keyframe.
    pub(crate) const fn new() -> Self {
        Self {
            position: Position::Waiting,
            last: None,
        }
    }

    /// Returns to the cached keyframe. Returns false, and changes nothing, if there is none.
    pub(crate) fn replay_from_keyframe(&mut self, gop: &Gop) -> bool {
        let Some(next) = gop.keyframe() else {
            return false;
        };
        self.position = Position::Replaying {
            next,
            current: None,
        };
        true
    }

    /// Continues with another rendition: at its cached keyframe if there is one, else at its next.
    /// Its timestamps may lag behind the previous rendition's; those that the viewer sees never go
    /// back.
    pub(crate) fn switch(&mut self, gop: Option<&Gop>) {
        if !gop.is_some_and(|gop| self.replay_from_keyframe(gop)) {
            self.wait();
        }
    }

    /// Sends nothing until the next keyframe.
    pub(crate) fn wait(&mut self) {
        self.position = Position::Waiting;
    }

    /// True while nothing can be sent without a keyframe.
    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self.position, Position::Waiting)
    }

    /// True while frames come from the cache.
    pub(crate) const fn is_replaying(&self) -> bool {
        matches!(self.position, Position::Replaying { .. })
    }

    /// Takes a frame, after [`Gop::push`] said how it continues. Returns the timestamp to send it
    /// with now, or `None` to send it later or not at all.
    ///
    /// A frame with more than `burst` payload bytes is sent paced, from the cache.
    pub(crate) fn live(
        &mut self,
        number: u64,
        frame: &Frame,
        continuity: Continuity,
        burst: usize,
    ) -> Option<u64> {
        if continuity == Continuity::Broken {
            self.position = Position::Waiting;
        }
        match self.position {
            Position::Waiting if !frame.keyframe => return None,
            Position::Replaying { .. } => return None,
            Position::Waiting | Position::Live => {}
        }
        if frame.data.len() > burst {
            self.position = Position::Replaying {
                next: number,
                current: None,
            };
            return None;
        }
        self.position = Position::Live;
        Some(self.beyond_last(frame.timestamp))
    }

    /// The next frame to send from the cache, or `None` if the viewer has caught up.
    ///
    /// `edge` is the timestamp that a frame arriving now would have. A cached frame gets that one
    /// (or the next after the previous frame's), never its own, older one: to the viewer it is
    /// brand new, so that its jitter buffer does not grow and playback lands at the live edge.
    pub(crate) fn replay(&mut self, gop: &Gop, edge: u64) -> Option<&mut Cursor> {
        let caught_up = match &mut self.position {
            Position::Replaying { next, current } => {
                let done = |cursor: &Cursor| cursor.packet >= cursor.frame.ends.len();
                if current.as_ref().is_none_or(done) {
                    *current = advance(&mut self.last, next, gop, edge);
                }
                // If the cache gave up in between, only a keyframe helps.
                current.is_none().then(|| *next == gop.end())
            }
            Position::Waiting | Position::Live => return None,
        };
        match caught_up {
            Some(true) => self.position = Position::Live,
            Some(false) => self.position = Position::Waiting,
            None => {}
        }
        match &mut self.position {
            Position::Replaying { current, .. } => current.as_mut(),
            Position::Waiting | Position::Live => None,
        }
    }

    fn beyond_last(&mut self, timestamp: u64) -> u64 {
        let timestamp = self.last.map_or(timestamp, |last| timestamp.max(last + 1));
        self.last = Some(timestamp);
        timestamp
    }
}

/// The next cached frame, with its timestamp pulled to the live edge.
fn advance(last: &mut Option<u64>, next: &mut u64, gop: &Gop, edge: u64) -> Option<Cursor> {
    let (number, frame) = gop.at(*next)?;
    let newest = number + 1 == gop.end();
    let due = if newest {
        frame.timestamp
    } else {
        frame.timestamp.max(edge)
    };
    let timestamp = last.map_or(due, |last| due.max(last + 1));
    *last = Some(timestamp);
    *next = number + 1;
    Some(Cursor {
        frame: Arc::clone(frame),
        timestamp,
        packet: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playout::gop::{GopLimits, tests::frame};

    const BURST: usize = 1000;

    fn gop_of(frames: &[(u64, bool)]) -> Gop {
        let mut gop = Gop::new(GopLimits::default());
        for (number, (millis, keyframe)) in (0..).zip(frames) {
            gop.push(number, frame(*millis, *keyframe, 10));
        }
        gop
    }

    fn started(gop: &Gop) -> Switcher {
        let mut switcher = Switcher::new();
        switcher.replay_from_keyframe(gop);
        switcher
    }

    fn replay_all(switcher: &mut Switcher, gop: &Gop, edge: u64) -> Vec<u64> {
        let mut timestamps = Vec::new();
        while let Some(cursor) = switcher.replay(gop, edge) {
            timestamps.push(cursor.timestamp);
            cursor.packet = cursor.frame.ends.len();
        }
        timestamps
    }

    #[test]
    fn a_joining_viewer_gets_the_group_of_pictures_at_the_live_edge() {
        let mut gop = gop_of(&[(0, true), (33, false), (66, false), (1000, false)]);
        let mut switcher = started(&gop);
        let timestamps = replay_all(&mut switcher, &gop, 90_000 - 900);
        assert_eq!(timestamps, [89_100, 89_101, 89_102, 90_000]);
        let next = frame(1033, false, 10);
        let continuity = gop.push(4, Arc::clone(&next));
        assert_eq!(switcher.live(4, &next, continuity, BURST), Some(1033 * 90));
    }

    #[test]
    fn without_a_cached_keyframe_it_waits_for_one() {
        let mut switcher = started(&gop_of(&[(0, false)]));
        assert!(switcher.is_waiting());
        let delta = frame(33, false, 10);
        assert_eq!(
            switcher.live(1, &delta, Continuity::Continuous, BURST),
            None
        );
        let key = frame(66, true, 10);
        assert_eq!(
            switcher.live(2, &key, Continuity::Continuous, BURST),
            Some(66 * 90)
        );
        let delta = frame(99, false, 10);
        assert_eq!(
            switcher.live(3, &delta, Continuity::Continuous, BURST),
            Some(99 * 90)
        );
        assert_eq!(switcher.live(5, &delta, Continuity::Broken, BURST), None);
        assert!(switcher.is_waiting());
    }

    #[test]
    fn timestamps_never_go_back_after_a_replay() {
        let gop = gop_of(&[(0, true), (33, false), (66, false)]);
        let mut switcher = started(&gop);
        let last = replay_all(&mut switcher, &gop, 200 * 90).pop().unwrap();
        let early = frame(99, false, 10);
        let sent = switcher
            .live(3, &early, Continuity::Continuous, BURST)
            .unwrap();
        assert!(sent > last);
    }

    #[test]
    fn a_keyframe_that_is_sent_again_is_a_new_frame() {
        let mut gop = gop_of(&[]);
        let mut switcher = started(&gop);
        let key = frame(33, true, 10);
        let continuity = gop.push(0, Arc::clone(&key));
        assert_eq!(switcher.live(0, &key, continuity, BURST), Some(33 * 90));
        assert!(switcher.replay_from_keyframe(&gop));
        assert_eq!(replay_all(&mut switcher, &gop, 40 * 90), [33 * 90 + 1]);
    }

    #[test]
    fn a_new_keyframe_cuts_a_replay_short_but_no_frame_in_two() {
        let mut gop = gop_of(&[(0, true), (33, false), (66, false)]);
        let mut switcher = started(&gop);
        let first = switcher.replay(&gop, 0).unwrap();
        assert_eq!(first.frame.timestamp, 0);
        gop.push(3, frame(99, true, 10));
        let still = switcher.replay(&gop, 0).unwrap();
        assert_eq!(still.frame.timestamp, 0, "the frame under way is finished");
        still.packet = still.frame.ends.len();
        let jumped = switcher.replay(&gop, 0).unwrap();
        assert_eq!(jumped.frame.timestamp, 99 * 90);
    }

    #[test]
    fn timestamps_never_go_back_when_going_over_to_a_rendition_that_lags() {
        let key = frame(1000, true, 10);
        let mut switcher = Switcher::new();
        let last = switcher.live(0, &key, Continuity::Continuous, BURST);
        let gop = gop_of(&[(800, true), (833, false)]);
        switcher.switch(Some(&gop));
        let timestamps = replay_all(&mut switcher, &gop, 0);
        assert!(timestamps[0] > last.unwrap() && timestamps[1] > timestamps[0]);
        let late = frame(866, false, 10);
        let sent = switcher.live(2, &late, Continuity::Continuous, BURST);
        assert!(sent.unwrap() > timestamps[1]);
        // Without a cached keyframe it waits for one.
        switcher.switch(None);
        assert!(switcher.is_waiting());
        let key = frame(880, true, 10);
        let next = switcher.live(9, &key, Continuity::Continuous, BURST);
        assert!(next > sent);
    }

    #[test]
    fn a_large_frame_is_paced() {
        let mut gop = gop_of(&[(0, true)]);
        let mut switcher = started(&gop);
        replay_all(&mut switcher, &gop, 0);
        let large = frame(33, false, BURST + 1);
        let continuity = gop.push(1, Arc::clone(&large));
        assert_eq!(switcher.live(1, &large, continuity, BURST), None);
        assert_eq!(replay_all(&mut switcher, &gop, 0), [33 * 90]);
        assert!(!switcher.is_replaying());
    }
}
