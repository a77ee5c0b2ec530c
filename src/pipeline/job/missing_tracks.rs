//! Sources that lack a track which their text expects: a camera without a microphone, a file without
//! sound.
//!
//! A pipeline that is not live plays only once every appsink has data. A branch that gets none is
//! removed, so that the source is live with what there is.

use std::time::{Duration, Instant};

use gst::{glib, prelude::*};
use gstreamer as gst;
use tokio::time::{MissedTickBehavior, interval};

use super::meters::MeteredAppsink;
use crate::{awake, pipeline::running};

/// How long one track may be behind the other at the start.
const SETTLE: Duration = Duration::from_secs(3);
/// How often the tracks are checked.
const PERIOD: Duration = Duration::from_millis(250);
/// Elements of one branch, at most.
const ELEMENTS_MAX: usize = 64;

/// Names the tracks that get no data while others play, and removes the branches of those that hold up
/// others. Ends once all tracks have data, or a branch has been removed.
pub(super) async fn run(pipeline: glib::WeakRef<gst::Pipeline>, appsinks: Vec<MeteredAppsink>) {
    let mut tick = interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting = Waiting::default();
    let missing = || appsinks.iter().filter(|sink| sink.meter.frames() == 0);
    loop {
        tick.tick().await;
        let now = awake::now();
        let frames: Vec<_> = appsinks.iter().map(|sink| sink.meter.frames()).collect();
        match waiting.look(&frames, now) {
            Verdict::Wait => {}
            Verdict::Absent => {
                for appsink in missing() {
                    tracing::warn!(
                        track = appsink.name,
                        "no media for this track so far: the source is live without it. If it has none, \
                         take its branch out of the pipeline file"
                    );
                }
            }
            Verdict::Complete => return,
            Verdict::HeldUp => break,
        }
    }
    let Some(pipeline) = pipeline.upgrade() else {
        return;
    };
    for appsink in missing() {
        let (name, track) = (pipeline.name(), &appsink.name);
        tracing::warn!(
            pipeline = %name,
            track,
            "no media for this track: continuing without it. Without its branch in the pipeline file, \
             the source starts sooner"
        );
        if let Some(element) = pipeline.by_name(&appsink.name) {
            remove_branch(&pipeline, element).await;
        }
    }
    for element in dead_ends(&pipeline) {
        remove_branch(&pipeline, element).await;
    }
    // If an element has failed, the pipeline has broken off its change to PLAYING.
    let played = running::set_state(&pipeline, gst::State::Playing, running::STATE_TIMEOUT).await;
    if let Err(error) = played {
        tracing::warn!(%error, "the source cannot continue without the track");
    }
}

/// What to do about tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Wait,
    /// All tracks have data.
    Complete,
    /// Some have none, although the others play. Said once.
    Absent,
    /// Some have none, and the others wait for them.
    HeldUp,
}

/// The progress of the tracks that have data.
#[derive(Debug, Default)]
struct Waiting {
    frames: u64,
    /// When the first frame was seen.
    begun: Option<Instant>,
    /// Whether the tracks without data have been named.
    told: bool,
    /// Since when they make no progress.
    since: Option<Instant>,
}

impl Waiting {
    /// `frames` have reached each track by `now`.
    fn look(&mut self, frames: &[u64], now: Instant) -> Verdict {
        if frames.iter().all(|frames| *frames > 0) {
            return Verdict::Complete;
        }
        let sum = frames.iter().sum();
        if sum == 0 || std::mem::replace(&mut self.frames, sum) != sum {
            self.since = None;
            return self.look_at_progress(sum, now);
        }
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) < SETTLE {
            return Verdict::Wait;
        }
        Verdict::HeldUp
    }

    /// Some tracks make progress, unless there is no frame at all.
    fn look_at_progress(&mut self, frames: u64, now: Instant) -> Verdict {
        if frames == 0 || self.told {
            return Verdict::Wait;
        }
        let begun = *self.begun.get_or_insert(now);
        self.told = now.saturating_duration_since(begun) >= SETTLE;
        if self.told {
            Verdict::Absent
        } else {
            Verdict::Wait
        }
    }
}

/// Takes an element out of its pipeline, with those before it that lead nowhere else.
async fn remove_branch(pipeline: &gst::Pipeline, last: gst::Element) {
    for element in branch(last) {
        for pad in element.pads() {
            let Some(peer) = pad.peer() else { continue };
            let unlinked = match pad.direction() {
                gst::PadDirection::Sink => peer.unlink(&pad),
                _ => pad.unlink(&peer),
            };
            if unlinked.is_err() {
                tracing::debug!(pad = %pad.name(), "already unlinked");
            }
        }
        let removed = pipeline.remove(&element).is_ok();
        let stopped = running::set_state(&element, gst::State::Null, running::STOP_TIMEOUT).await;
        if !removed || stopped.is_err() {
            tracing::warn!(element = %element.name(), "branch without media not stopped");
        }
    }
}

/// Decoders and demuxers that have never had data: they have added no pads.
fn dead_ends(pipeline: &gst::Pipeline) -> Vec<gst::Element> {
    let dead = pipeline
        .iterate_elements()
        .into_iter()
        .flatten()
        .filter(|element| {
            let adds_pads = element.pad_template_list().iter().any(|template| {
                template.direction() == gst::PadDirection::Src
                    && template.presence() == gst::PadPresence::Sometimes
            });
            adds_pads && element.num_src_pads() == 0 && element.num_sink_pads() > 0
        });
    dead.collect()
}

/// An element and those before it, up to one that also leads elsewhere.
fn branch(last: gst::Element) -> Vec<gst::Element> {
    let mut elements = Vec::new();
    let mut next = Some(last);
    while let Some(element) = next.take() {
        next = element
            .sink_pads()
            .first()
            .and_then(gst::Pad::peer)
            .and_then(|peer| peer.parent_element())
            .filter(|before| before.src_pads().len() == 1 && before.num_sink_pads() > 0);
        elements.push(element);
        if elements.len() >= ELEMENTS_MAX {
            break;
        }
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tracks_that_hold_up_others_are_given_up() {
        let begin = Instant::now();
        let look = |waiting: &mut Waiting, seconds, frames: [u64; 2]| {
            waiting.look(&frames, begin + Duration::from_secs(seconds))
        };
        let mut nothing = Waiting::default();
        assert_eq!(look(&mut nothing, 0, [0, 0]), Verdict::Wait);
        assert_eq!(look(&mut nothing, 60, [0, 0]), Verdict::Wait, "not yet");
        let mut held_up = Waiting::default();
        assert_eq!(look(&mut held_up, 0, [1, 0]), Verdict::Wait);
        assert_eq!(look(&mut held_up, 1, [1, 0]), Verdict::Wait);
        assert_eq!(look(&mut held_up, 3, [1, 0]), Verdict::Wait);
        assert_eq!(look(&mut held_up, 4, [1, 0]), Verdict::HeldUp);
        let mut live = Waiting::default();
        for second in 0..60 {
            let verdict = look(&mut live, second, [second * 25 + 1, 0]);
            let expected = if second == 3 {
                Verdict::Absent
            } else {
                Verdict::Wait // the other may still come
            };
            assert_eq!(verdict, expected, "{second}");
        }
        assert_eq!(look(&mut live, 60, [1500, 1]), Verdict::Complete);
    }
}
