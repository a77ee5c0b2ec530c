//! When a packet's media is due on the server's clock, from RTP timestamps, arrival times and
//! sender reports. Pure: time comes in as an argument.
//!
//! One [`Timeline`] serves a publisher. Each track's RTP clock is laid onto the server's running
//! time at its first packet. Arrivals then correct for drift, a little at a time, and sender
//! reports of both tracks (RFC 3550 §6.4.1) bring them into sync.

use std::time::Duration;

use crate::media::Kind;

/// Arrivals are looked at this long before a correction. Long enough to see past jitter.
const WINDOW_MICROS: i64 = 2_000_000;
/// Largest correction for drift per window: 0.1 %, as bad as a clock may be.
const DRIFT_MICROS_MAX: i64 = 2_000;
/// Tracks closer than this are in sync.
const SYNC_MICROS: i64 = 5_000;

/// Lays the RTP clocks of a publisher's tracks onto the server's running time.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    video: Track,
    audio: Track,
}

#[derive(Debug, Default)]
struct Track {
    /// Running time of RTP timestamp zero, in microseconds. May be negative.
    offset: Option<i64>,
    /// The earliest arrival of the window, relative to what was expected.
    earliest: Option<i64>,
    window_start: i64,
    /// NTP time of RTP timestamp zero, in microseconds.
    ntp: Option<i64>,
}

impl Timeline {
    /// Running time at which the media of a packet is due. `timestamp` is the extended RTP
    /// timestamp in units of `clock` (Hz), `arrival` the running time now.
    pub(crate) fn due(
        &mut self,
        kind: Kind,
        timestamp: u64,
        clock: u32,
        arrival: Duration,
    ) -> Duration {
        let media = micros_of(timestamp, clock);
        let arrival = i64::try_from(arrival.as_micros()).unwrap_or(i64::MAX);
        let track = self.track(kind);
        let offset = track.follow(arrival, arrival - media);
        Duration::from_micros(u64::try_from(media + offset).unwrap_or(0))
    }

    /// A sender report: `ntp` is the sender's time (since any epoch) of RTP timestamp `timestamp`.
    pub(crate) fn report(&mut self, kind: Kind, timestamp: u64, clock: u32, ntp: Duration) {
        let ntp = i64::try_from(ntp.as_micros()).unwrap_or(i64::MAX);
        self.track(kind).ntp = Some(ntp - micros_of(timestamp, clock));
        self.synchronise();
    }

    /// Moves the track that is ahead back to the other: media can be late, not early.
    fn synchronise(&mut self) {
        let lead = |track: &Track| Some(track.offset? - track.ntp?);
        let (Some(video), Some(audio)) = (lead(&self.video), lead(&self.audio)) else {
            return;
        };
        let ahead = video - audio;
        let (track, by) = if ahead < 0 {
            (&mut self.video, -ahead)
        } else {
            (&mut self.audio, ahead)
        };
        if by > SYNC_MICROS {
            track.offset = track.offset.map(|offset| offset + by);
            track.earliest = None;
        }
    }

    fn track(&mut self, kind: Kind) -> &mut Track {
        match kind {
            Kind::Video => &mut self.video,
            Kind::Audio => &mut self.audio,
        }
    }
}

impl Track {
    /// Keeps the offset near the arrivals. `candidate` is the offset that would make this packet
    /// due right when it came.
    fn follow(&mut self, arrival: i64, candidate: i64) -> i64 {
        let Some(offset) = &mut self.offset else {
            self.window_start = arrival;
            self.offset = Some(candidate);
            return candidate;
        };
        let late = candidate - *offset;
        if late.abs() > WINDOW_MICROS {
            // The sender's timestamps have jumped: begin again.
            *offset = candidate;
            self.earliest = None;
            self.window_start = arrival;
            return candidate;
        }
        let earliest = self.earliest.map_or(late, |earliest| earliest.min(late));
        self.earliest = Some(earliest);
        if arrival - self.window_start > WINDOW_MICROS {
            // Only what came earlier than due, or never on time, says something about the clocks.
            // In sync with a slower track, a track may stay ahead of its arrivals for good.
            let drift = if self.ntp.is_some() {
                earliest.max(0)
            } else {
                earliest
            };
            *offset += drift.clamp(-DRIFT_MICROS_MAX, DRIFT_MICROS_MAX);
            self.earliest = None;
            self.window_start = arrival;
        }
        *offset
    }
}

fn micros_of(timestamp: u64, clock: u32) -> i64 {
    let micros = u128::from(timestamp) * 1_000_000 / u128::from(clock.max(1));
    i64::try_from(micros).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn jitter_does_not_show() {
        let mut timeline = Timeline::default();
        let mut due = Vec::new();
        for (count, jitter) in (0..6_u64).zip([0, 15, 3, 20, 0, 7]) {
            let arrival = ms(5000 + 20 * count + jitter);
            due.push(timeline.due(Kind::Audio, 77_000 + 960 * count, 48_000, arrival));
        }
        let steps: Vec<u128> = due
            .windows(2)
            .map(|w| w[1].saturating_sub(w[0]).as_micros())
            .collect();
        assert!(
            steps.iter().all(|step| step.abs_diff(20_000) <= 1),
            "{steps:?}"
        );
    }

    #[test]
    fn a_slow_clock_is_followed() {
        let mut timeline = Timeline::default();
        let mut lag = 0;
        // The sender's clock loses 500 microseconds a second.
        for count in 0..60_u64 * 50 {
            let arrival = Duration::from_micros(1_000_000 + count * 20_010);
            let due = timeline.due(Kind::Audio, 960 * count, 48_000, arrival);
            lag = arrival.as_micros().abs_diff(due.as_micros());
        }
        assert!(lag < 5_000, "{lag} us behind");
    }

    #[test]
    fn sender_reports_bring_tracks_into_sync() {
        let mut timeline = Timeline::default();
        // Sent at the same moment, but the picture came 120 ms later than the sound.
        timeline.due(Kind::Audio, 48_000, 48_000, ms(1000));
        timeline.due(Kind::Video, 900_000, 90_000, ms(1120));
        timeline.report(Kind::Audio, 48_000, 48_000, ms(70_000));
        timeline.report(Kind::Video, 900_000, 90_000, ms(70_000));
        let audio = timeline.due(Kind::Audio, 96_000, 48_000, ms(2000));
        let video = timeline.due(Kind::Video, 990_000, 90_000, ms(2120));
        assert_eq!(audio, video);
        assert_eq!(audio, ms(2120), "the earlier track waits");
    }

    #[test]
    fn a_jump_of_timestamps_is_a_new_start() {
        let mut timeline = Timeline::default();
        timeline.due(Kind::Video, 1_000, 90_000, ms(1000));
        let due = timeline.due(Kind::Video, 500_000_000, 90_000, ms(1033));
        assert_eq!(due, ms(1033));
    }
}
