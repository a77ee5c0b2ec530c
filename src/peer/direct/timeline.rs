//! When a packet's media is due on the server's clock, from RTP timestamps, arrival times and
//! sender reports. Pure: time comes in as an argument.
//!
//! One [`Timeline`] serves a publisher. Each stream's RTP clock is laid onto the server's running
//! time at its first packet. Arrivals then correct for drift, a little at a time, and sender
//! reports of the streams (RFC 3550 §6.4.1) bring them into sync.

use std::time::Duration;

/// Arrivals are looked at this long before a correction. Long enough to see past jitter.
const WINDOW_MICROS: i64 = 2_000_000;
/// Largest correction for drift per window: 0.1 %, as bad as a clock may be.
const DRIFT_MICROS_MAX: i64 = 2_000;
/// Streams closer than this are in sync.
const SYNC_MICROS: i64 = 5_000;

/// Lays the RTP clocks of a publisher's streams onto the server's running time.
#[derive(Debug)]
pub(crate) struct Timeline {
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    /// RTP clock rate in Hz.
    clock: u32,
    /// Running time of RTP timestamp zero, in microseconds. May be negative.
    offset: Option<i64>,
    /// The earliest arrival of the window, relative to what was expected.
    earliest: Option<i64>,
    window_start: i64,
    /// NTP time of RTP timestamp zero, in microseconds.
    ntp: Option<i64>,
}

impl Timeline {
    /// A timeline of streams with these RTP clock rates, in Hz.
    pub(crate) fn new(clocks: impl IntoIterator<Item = u32>) -> Self {
        let stream = |clock| Stream {
            clock,
            offset: None,
            earliest: None,
            window_start: 0,
            ntp: None,
        };
        Self {
            streams: clocks.into_iter().map(stream).collect(),
        }
    }

    /// Running time at which the media of a packet of a stream is due. `timestamp` is the extended
    /// RTP timestamp, `arrival` the running time now.
    pub(crate) fn due(&mut self, stream: usize, timestamp: u64, arrival: Duration) -> Duration {
        let Some(stream) = self.streams.get_mut(stream) else {
            return arrival;
        };
        let media = micros_of(timestamp, stream.clock);
        let arrival = i64::try_from(arrival.as_micros()).unwrap_or(i64::MAX);
        let offset = stream.follow(arrival, arrival - media);
        Duration::from_micros(u64::try_from(media + offset).unwrap_or(0))
    }

    /// A sender report: `ntp` is the sender's time (since any epoch) of RTP timestamp `timestamp`.
    pub(crate) fn report(&mut self, stream: usize, timestamp: u64, ntp: Duration) {
        let Some(stream) = self.streams.get_mut(stream) else {
            return;
        };
        let ntp = i64::try_from(ntp.as_micros()).unwrap_or(i64::MAX);
        stream.ntp = Some(ntp - micros_of(timestamp, stream.clock));
        self.synchronise();
    }

    /// Moves the streams that are ahead back to the last one: media can be late, not early.
    fn synchronise(&mut self) {
        let lead = |stream: &Stream| Some(stream.offset? - stream.ntp?);
        let Some(last) = self.streams.iter().filter_map(lead).max() else {
            return;
        };
        for stream in &mut self.streams {
            let Some(by) = lead(stream).map(|lead| last - lead) else {
                continue;
            };
            if by > SYNC_MICROS {
                stream.offset = stream.offset.map(|offset| offset + by);
                stream.earliest = None;
            }
        }
    }
}

impl Stream {
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
            // In sync with a slower stream, one may stay ahead of its arrivals for good.
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

    const AUDIO: usize = 0;
    const VIDEO: usize = 1;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn jitter_does_not_show() {
        let mut timeline = Timeline::new([48_000, 90_000]);
        let mut due = Vec::new();
        for (count, jitter) in (0..6_u64).zip([0, 15, 3, 20, 0, 7]) {
            let arrival = ms(5000 + 20 * count + jitter);
            due.push(timeline.due(AUDIO, 77_000 + 960 * count, arrival));
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
        let mut timeline = Timeline::new([48_000, 90_000]);
        let mut lag = 0;
        // The sender's clock loses 500 microseconds a second.
        for count in 0..60_u64 * 50 {
            let arrival = Duration::from_micros(1_000_000 + count * 20_010);
            let due = timeline.due(AUDIO, 960 * count, arrival);
            lag = arrival.as_micros().abs_diff(due.as_micros());
        }
        assert!(lag < 5_000, "{lag} us behind");
    }

    #[test]
    fn sender_reports_bring_tracks_into_sync() {
        let mut timeline = Timeline::new([48_000, 90_000]);
        // Sent at the same moment, but the picture came 120 ms later than the sound.
        timeline.due(AUDIO, 48_000, ms(1000));
        timeline.due(VIDEO, 900_000, ms(1120));
        timeline.report(AUDIO, 48_000, ms(70_000));
        timeline.report(VIDEO, 900_000, ms(70_000));
        let audio = timeline.due(AUDIO, 96_000, ms(2000));
        let video = timeline.due(VIDEO, 990_000, ms(2120));
        assert_eq!(audio, video);
        assert_eq!(audio, ms(2120), "the earlier track waits");
    }

    #[test]
    fn a_jump_of_timestamps_is_a_new_start() {
        let mut timeline = Timeline::new([48_000, 90_000]);
        timeline.due(VIDEO, 1_000, ms(1000));
        let due = timeline.due(VIDEO, 500_000_000, ms(1033));
        assert_eq!(due, ms(1033));
    }
}
