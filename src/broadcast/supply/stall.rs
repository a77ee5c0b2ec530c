//! Tracks that stop while their input is live (the camera is off, or the RTP of one track no longer
//! arrives), and the one that keeps an input from being live.

use std::time::{Duration, Instant};

use super::Supply;
use crate::media::{ByKind, Kind};

/// A track without a frame for this long has stalled, if its frames usually come more often.
const STALL: Duration = Duration::from_secs(3);
/// How many times as long as usual a frame may take: of a slide show, each is a slide.
const USUAL_FACTOR: u32 = 3;
/// The same for the second frame: nobody knows yet how often they come.
const STALL_SECOND: Duration = Duration::from_secs(10);
/// A track without a frame for this long has stalled in any case.
const STALL_MAX: Duration = Duration::from_mins(1);

/// The state of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TrackChange {
    Stalled,
    Resumed,
}

/// The tracks of an input that have stalled. Pure: time comes in.
#[derive(Debug, Default)]
pub(super) struct StalledTracks {
    tracks: ByKind<TrackPace>,
    /// Viewers wait for the first keyframe, and nothing but the publisher can make one.
    keyless: bool,
}

/// How often frames of a track come.
#[derive(Debug, Default)]
struct TrackPace {
    last: Option<Instant>,
    /// The usual time between two frames, as seen at the looks.
    usual: Option<Duration>,
    stalled: bool,
}

impl TrackPace {
    /// Takes in when the last frame arrived. A track without a frame has not begun.
    fn look(&mut self, last_frame: Option<Instant>, now: Instant) -> Option<TrackChange> {
        let last = last_frame?;
        if let Some(before) = self.last.replace(last)
            && last > before
        {
            // A pause is soon forgotten when frames come often again.
            let usual = self.usual.unwrap_or_default() * 3 / 4;
            self.usual = Some(usual.max(last - before));
        }
        let limit = match self.usual {
            None => STALL_SECOND,
            Some(usual) => (usual * USUAL_FACTOR).clamp(STALL, STALL_MAX),
        };
        let stalled = now.saturating_duration_since(last) >= limit;
        if std::mem::replace(&mut self.stalled, stalled) == stalled {
            return None;
        }
        Some(if stalled {
            TrackChange::Stalled
        } else {
            TrackChange::Resumed
        })
    }
}

impl Supply {
    /// Says when a track of a live input stops, and when it goes on.
    pub(in crate::broadcast) fn look_at_tracks(&mut self, now: Instant) {
        let session = self.publisher();
        let Some(input) = &mut self.input else {
            return;
        };
        if input.live_since.is_none() {
            return;
        }
        let StalledTracks { tracks, .. } = &mut input.stalled;
        for (kind, track) in [
            (Kind::Video, &mut tracks.video),
            (Kind::Audio, &mut tracks.audio),
        ] {
            match track.look(input.gate.last_frame_of(kind), now) {
                Some(TrackChange::Stalled) => tracing::info!(session, %kind, "track stalled"),
                Some(TrackChange::Resumed) => tracing::info!(session, %kind, "track resumed"),
                None => {}
            }
        }
    }

    /// Reports that viewers wait for the first keyframe in vain.
    pub(in crate::broadcast) fn look_for_first_keyframe(&mut self) {
        let session = self.publisher();
        let keyless = self.is_keyless() && self.is_live();
        let Some(input) = &mut self.input else {
            return;
        };
        if std::mem::replace(&mut input.stalled.keyless, keyless) == keyless {
            return;
        }
        if keyless {
            tracing::warn!(
                session,
                "no keyframe has arrived: viewers get 409 until one does; with `transcode` they \
                 would get a picture"
            );
        } else {
            tracing::info!(session, "the first keyframe has arrived");
        }
    }

    /// Whether no decoder can start with what has arrived, and the server may not transcode it.
    pub(in crate::broadcast) fn is_keyless(&self) -> bool {
        let video = self.streams.video.as_ref();
        !self.transcodes() && video.is_some_and(|video| video.demands().keyless)
    }

    /// The track without which a connected publisher is not live.
    pub(in crate::broadcast) fn awaited(&self) -> Option<Kind> {
        let input = self.input.as_ref()?;
        if self.has_source() || input.live_since.is_some() || !self.is_connected() {
            return None;
        }
        let has_video = input.tracks.video.is_some();
        Some(if has_video { Kind::Video } else { Kind::Audio })
    }

    /// Whether a track of the input has stalled.
    pub(in crate::broadcast) fn is_stalled(&self, kind: Kind) -> bool {
        let input = self.input.as_ref();
        input.is_some_and(|input| input.stalled.tracks.get(kind).stalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The changes of a track with frames at these milliseconds, checked as often as the actor
    /// does.
    fn changes(frames: &[u64], end: u64) -> Vec<(u64, TrackChange)> {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut track = TrackPace::default();
        let look = |now| {
            let last = frames.iter().rfind(|frame| **frame <= now);
            let change = track.look(last.map(|last| at(*last)), at(now))?;
            Some((now, change))
        };
        (0..=end).step_by(250).filter_map(look).collect()
    }

    #[test]
    fn a_track_stalls_after_its_last_frame_and_resumes_with_the_next() {
        assert_eq!(changes(&[], 60_000), [], "not begun");
        let clip = |from: u64| (0..60).map(move |number| from + number * 33);
        let frames: Vec<_> = clip(0).chain(clip(10_000)).collect();
        let expected = [
            (5000, TrackChange::Stalled),
            (10_000, TrackChange::Resumed),
            // A single stall of eight seconds does not change the usual interval.
            (15_000, TrackChange::Stalled),
        ];
        assert_eq!(changes(&frames, 16_000), expected);
    }

    #[test]
    fn slides_are_no_stall_but_their_end_is() {
        for seconds in [1, 4, 9] {
            let slides: Vec<_> = (0..10).map(|number| number * seconds * 1000).collect();
            let found = changes(&slides, 150_000);
            let last = slides.last().unwrap();
            let limit = (3 * seconds).max(3) * 1000;
            assert_eq!(found, [(last + limit, TrackChange::Stalled)], "{seconds} s");
        }
        // A picture that nothing follows.
        assert_eq!(changes(&[0], 20_000), [(10_000, TrackChange::Stalled)]);
        // However seldom frames come.
        let rare = [0, 50_000, 100_000];
        assert_eq!(
            changes(&rare, 300_000).last(),
            Some(&(160_000, TrackChange::Stalled))
        );
    }
}
