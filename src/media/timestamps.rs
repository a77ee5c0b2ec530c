//! RTP timestamps of outgoing frames, without the jitter of `pts`.

use std::time::Duration;

/// Opus timestamps count at 48 kHz whatever the bandwidth (RFC 7587 §4.1).
const OPUS_RATE: u32 = 48_000;

/// How far the counted time of an audio track may stray from its `pts` before it is corrected: more
/// than network jitter, less than an audible lip-sync error.
const DRIFT_MAX: Duration = Duration::from_millis(60);

/// How close to its `pts` a correction brings it.
const DRIFT_NONE: Duration = Duration::from_millis(10);

/// A larger step back in `pts` is a new beginning. Smaller ones come from the jitter buffer (a burst
/// at the start) and from sender reports (lip sync); meanwhile timestamps stand still.
const STEP_BACK_MAX: Duration = Duration::from_secs(2);

/// A time in units of a clock rate in Hz.
fn ticks(time: Duration, rate: u32) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(rate) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// The timestamps of a video track: its `pts`, but always increasing, because receivers take two
/// pictures with one timestamp for one.
#[derive(Debug, Default)]
pub(crate) struct VideoTimestamps {
    last: Option<u64>,
}

impl VideoTimestamps {
    /// The timestamp of the picture that is due at `pts`, in units of `rate` in Hz.
    pub(crate) fn stamp(&mut self, pts: Duration, rate: u32) -> u64 {
        let due = ticks(pts, rate);
        let back = ticks(STEP_BACK_MAX, rate);
        let stamp = match self.last {
            Some(last) if last >= due && last - due <= back => last + 1,
            _ => due,
        };
        self.last = Some(stamp);
        stamp
    }
}

/// The timestamps of an Opus track: consecutive packets differ by exactly their duration, except
/// where `pts` shows a gap (silence, reconnect).
#[derive(Debug, Default)]
pub(crate) struct OpusTimestamps {
    next: Option<u64>,
    /// Whether packets are being dropped because they cover more time than has passed.
    ahead: bool,
}

impl OpusTimestamps {
    /// The timestamp of the packet that is due at `pts`; `None` if it must be dropped for the track
    /// to catch up with time.
    pub(crate) fn stamp(&mut self, pts: Duration, packet: &[u8]) -> Option<u64> {
        let due = ticks(pts, OPUS_RATE);
        let duration = u64::from(opus_duration(packet));
        let stamp = match self.next {
            Some(next) if due.saturating_sub(next) > ticks(DRIFT_MAX, OPUS_RATE) => due,
            Some(next) if next.saturating_sub(due) > ticks(STEP_BACK_MAX, OPUS_RATE) => due,
            Some(next) => {
                let limit = if self.ahead { DRIFT_NONE } else { DRIFT_MAX };
                self.ahead = next.saturating_sub(due) > ticks(limit, OPUS_RATE);
                if self.ahead {
                    return None;
                }
                next
            }
            None => due,
        };
        self.ahead = false;
        self.next = Some(stamp + duration);
        Some(stamp)
    }
}

/// Duration of an Opus packet in 48 kHz units, from its table-of-contents byte (RFC 6716 §3.1).
/// 0 for an empty packet; never more than 120 ms.
pub(crate) fn opus_duration(packet: &[u8]) -> u32 {
    const DURATION_MAX: u32 = OPUS_RATE / 1000 * 120;
    let Some(&toc) = packet.first() else { return 0 };
    let config = toc >> 3;
    let size = u32::from(config & 3);
    let frame = match config {
        0..=11 if size == 3 => 2880, // SILK: 10, 20, 40, 60 ms
        0..=11 => 480 << size,
        12..=15 => 480 << (size & 1), // hybrid: 10, 20 ms
        _ => 120 << size,             // CELT: 2.5, 5, 10, 20 ms
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(0, |count| u32::from(count & 0x3f)),
    };
    (frame * frames).min(DURATION_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELT_20_MS: [u8; 2] = [31 << 3, 0];

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn durations_follow_the_toc_byte() {
        assert_eq!(opus_duration(&[]), 0);
        assert_eq!(opus_duration(&[3 << 3]), 2880); // SILK, 60 ms
        assert_eq!(opus_duration(&[12 << 3]), 480); // hybrid, 10 ms
        assert_eq!(opus_duration(&[13 << 3 | 1]), 1920); // hybrid, 2 x 20 ms
        assert_eq!(opus_duration(&[16 << 3]), 120); // CELT, 2.5 ms
        assert_eq!(opus_duration(&CELT_20_MS), 960);
        assert_eq!(opus_duration(&[31 << 3 | 3, 0x80 | 3]), 2880); // 3 frames, padding flag
        assert_eq!(opus_duration(&[31 << 3 | 3]), 0); // count byte missing
        assert_eq!(opus_duration(&[3 << 3 | 3, 0x3f]), 5760); // more than 120 ms is not allowed
    }

    #[test]
    fn jitter_does_not_show() {
        let mut opus = OpusTimestamps::default();
        let stamps: Vec<_> = [1000, 1024, 1035, 1070, 1075]
            .into_iter()
            .filter_map(|pts| opus.stamp(ms(pts), &CELT_20_MS))
            .collect();
        assert_eq!(stamps, [48_000, 48_960, 49_920, 50_880, 51_840]);
    }

    #[test]
    fn gap_is_followed() {
        let mut opus = OpusTimestamps::default();
        opus.stamp(ms(1000), &CELT_20_MS);
        assert_eq!(opus.stamp(ms(1400), &CELT_20_MS), Some(1400 * 48));
        assert_eq!(opus.stamp(ms(1415), &CELT_20_MS), Some(1420 * 48));
    }

    #[test]
    fn too_many_packets_are_left_out() {
        let mut opus = OpusTimestamps::default();
        assert_eq!(opus.stamp(ms(1000), &CELT_20_MS), Some(1000 * 48));
        let burst = [960, 960, 960, 980, 1000].map(|pts| opus.stamp(ms(pts), &CELT_20_MS));
        // 20 + 60 ms are tolerated; the packet that is due when the last one ends is taken again
        assert_eq!(burst, [Some(1020 * 48), None, None, None, None]);
        assert_eq!(opus.stamp(ms(1020), &CELT_20_MS), None);
        assert_eq!(opus.stamp(ms(1040), &CELT_20_MS), Some(1040 * 48));
        assert_eq!(opus.stamp(ms(1060), &CELT_20_MS), Some(1060 * 48));
    }

    #[test]
    fn a_far_step_back_is_a_new_beginning() {
        let mut opus = OpusTimestamps::default();
        opus.stamp(ms(9000), &CELT_20_MS);
        assert_eq!(opus.stamp(ms(1000), &CELT_20_MS), Some(1000 * 48));
        let mut video = VideoTimestamps::default();
        video.stamp(ms(9000), 90_000);
        assert_eq!(video.stamp(ms(1000), 90_000), 90_000);
    }

    #[test]
    fn pictures_never_share_a_timestamp() {
        let mut video = VideoTimestamps::default();
        let stamps = [1000, 1033, 1033, 1010, 1066].map(|pts| video.stamp(ms(pts), 90_000));
        assert_eq!(stamps, [90_000, 92_970, 92_971, 92_972, 95_940]);
    }

    #[test]
    fn ticks_do_not_overflow() {
        assert_eq!(ticks(ms(1000), 90_000), 90_000);
        let year = Duration::from_hours(365 * 24);
        assert_eq!(ticks(year, 90_000), 365 * 24 * 3600 * 90_000);
    }
}
