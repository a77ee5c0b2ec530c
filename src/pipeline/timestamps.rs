//! RTP timestamps of outgoing frames, without the jitter of `pts`.

use std::time::Duration;

/// Opus counts in 48 kHz whatever its bandwidth (RFC 7587 §4.1).
const OPUS_RATE: u32 = 48_000;

/// How far the counted time of an audio track may be from its `pts` before it is set right: more
/// than the jitter of the network, less than anybody hears as a lip-sync fault.
const DRIFT_MAX: Duration = Duration::from_millis(60);

/// A time in units of a clock rate in Hz.
pub(crate) fn ticks(time: Duration, rate: u32) -> u64 {
    let ticks = time.as_nanos() * u128::from(rate) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// The timestamps of an Opus track: consecutive packets differ by exactly their duration, except
/// where `pts` shows a gap (silence, reconnect) or a shift.
#[derive(Debug, Default)]
pub(crate) struct Opus {
    next: Option<u64>,
}

impl Opus {
    /// The timestamp of the packet that is due at `pts`.
    pub(crate) fn stamp(&mut self, pts: Duration, packet: &[u8]) -> u64 {
        let due = ticks(pts, OPUS_RATE);
        let tolerance = ticks(DRIFT_MAX, OPUS_RATE);
        let stamp = self
            .next
            .filter(|next| next.abs_diff(due) <= tolerance)
            .unwrap_or(due);
        self.next = Some(stamp + u64::from(opus_duration(packet)));
        stamp
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
        let mut opus = Opus::default();
        let stamps: Vec<_> = [1000, 1024, 1035, 1070, 1075]
            .into_iter()
            .map(|pts| opus.stamp(ms(pts), &CELT_20_MS))
            .collect();
        assert_eq!(stamps, [48_000, 48_960, 49_920, 50_880, 51_840]);
    }

    #[test]
    fn gap_is_followed() {
        let mut opus = Opus::default();
        opus.stamp(ms(1000), &CELT_20_MS);
        assert_eq!(opus.stamp(ms(1400), &CELT_20_MS), 1400 * 48);
        assert_eq!(opus.stamp(ms(1415), &CELT_20_MS), 1420 * 48);
    }

    #[test]
    fn ticks_do_not_overflow() {
        assert_eq!(ticks(ms(1000), 90_000), 90_000);
        let year = Duration::from_hours(365 * 24);
        assert_eq!(ticks(year, 90_000), 365 * 24 * 3600 * 90_000);
    }
}
