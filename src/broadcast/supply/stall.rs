//! Tracks that stop while their input is live (the camera is off, or the RTP of one track no longer
//! arrives), and the one that keeps an input from being live.

use std::time::{Duration, Instant};

use super::Supply;
use crate::media::{ByKind, Kind};

/// A track without a frame for this long has stalled.
const STALL: Duration = Duration::from_secs(3);

/// What has become of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TrackChange {
    Stalled,
    Resumed,
}

/// The tracks of an input that have stalled. Pure: time comes in.
#[derive(Debug, Default)]
pub(super) struct StalledTracks(ByKind<bool>);

impl StalledTracks {
    /// Takes in when the last frame of a track arrived. A track without a frame has not begun.
    fn look(
        &mut self,
        kind: Kind,
        last_frame: Option<Instant>,
        now: Instant,
    ) -> Option<TrackChange> {
        let is_late = |last| now.saturating_duration_since(last) >= STALL;
        let stalled = last_frame.is_some_and(is_late);
        if *self.0.get(kind) == stalled {
            return None;
        }
        match kind {
            Kind::Video => self.0.video = stalled,
            Kind::Audio => self.0.audio = stalled,
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
        for kind in Kind::ALL {
            let last_frame = input.gate.last_frame_of(kind);
            match input.stalled.look(kind, last_frame, now) {
                Some(TrackChange::Stalled) => tracing::info!(session, %kind, "track stalled"),
                Some(TrackChange::Resumed) => tracing::info!(session, %kind, "track resumed"),
                None => {}
            }
        }
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
        input.is_some_and(|input| *input.stalled.0.get(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_stalls_after_its_last_frame_and_resumes_with_the_next() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut tracks = StalledTracks::default();
        let mut look = |kind, last: Option<u64>, now| tracks.look(kind, last.map(at), at(now));
        assert_eq!(look(Kind::Audio, None, 60_000), None, "not begun");
        assert_eq!(look(Kind::Video, Some(0), 2999), None);
        assert_eq!(look(Kind::Video, Some(0), 3000), Some(TrackChange::Stalled));
        assert_eq!(look(Kind::Video, Some(0), 4000), None, "said once");
        assert_eq!(look(Kind::Audio, Some(4000), 4000), None, "the other one");
        assert_eq!(
            look(Kind::Video, Some(4000), 4100),
            Some(TrackChange::Resumed)
        );
    }
}
