//! Sender reports, and what receivers' reports tell.

use std::time::{Duration, Instant};

use str0m::rtp::rtcp::ReceptionReport;

use super::{Last, Stream};
use crate::{fanout::rtp::low32, media::Kind};

/// A round trip longer than this is an error of a receiver's report.
const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);

impl Stream {
    /// Appends a sender report (RFC 3550 §6.4.1) for now. Audio and video share `epoch`, the NTP
    /// time of the server's running time zero: lip sync depends on it.
    pub(crate) fn write_report(&self, out: &mut Vec<u8>, epoch: Duration, now: Instant) {
        let Some(last) = &self.last else { return };
        let since = now.saturating_duration_since(last.at);
        let ntp = Self::ntp(last, epoch, now);
        let clock = match self.kind {
            Kind::Video => 90_000,
            Kind::Audio => 48_000,
        };
        let ticks = u64::try_from(since.as_micros()).unwrap_or(0) * clock / 1_000_000;
        let fraction = fraction(ntp);
        out.extend_from_slice(&[0x80, 200, 0, 6]);
        out.extend_from_slice(&self.identity.ssrc.to_be_bytes());
        out.extend_from_slice(&low32(ntp.as_secs()).to_be_bytes());
        out.extend_from_slice(&low32(fraction).to_be_bytes());
        out.extend_from_slice(&self.wire_timestamp(last.timestamp + ticks).to_be_bytes());
        out.extend_from_slice(&self.packets.to_be_bytes());
        out.extend_from_slice(&self.octets.to_be_bytes());
    }

    /// The NTP time of now on the clock of the reports.
    fn ntp(last: &Last, epoch: Duration, now: Instant) -> Duration {
        epoch + last.pts + now.saturating_duration_since(last.at)
    }

    /// The round trip that a receiver's report shows (RFC 3550 §6.4.1); `None` if the receiver has
    /// had no report of ours yet, or its times make no sense.
    pub(in crate::fanout::direct) fn round_trip(
        &self,
        epoch: Duration,
        now: Instant,
        report: &ReceptionReport,
    ) -> Option<Duration> {
        let last = self.last.as_ref()?;
        if report.last_sr_time == 0 {
            return None;
        }
        let ntp = Self::ntp(last, epoch, now);
        // The middle 32 bits: units of 1/65536 s.
        let middle = low32(ntp.as_secs() << 16 | fraction(ntp) >> 16);
        let units = middle
            .wrapping_sub(report.last_sr_time)
            .wrapping_sub(report.last_sr_delay);
        let trip = Duration::from_micros(u64::from(units) * 1_000_000 / 65_536);
        (trip <= ROUND_TRIP_MAX).then_some(trip)
    }
}

/// The fraction of a second, in units of 1/2^32 s (RFC 5905 §6).
fn fraction(ntp: Duration) -> u64 {
    (u64::from(ntp.subsec_nanos()) << 32) / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fanout::direct::{
        batch::Batch,
        stream::tests::{frame, identity, out, part},
    };

    #[test]
    fn reports_of_both_tracks_lie_on_one_clock() {
        let now = Instant::now();
        let mut stream = Stream::new(Kind::Video, identity(None), 0);
        let mut batch = Batch::default();
        stream
            .write(
                &mut out(&mut batch, now),
                &part(&frame(&[10]), 0..1, 99_000),
            )
            .unwrap();
        let mut report = Vec::new();
        let epoch = Duration::from_secs(1000);
        stream.write_report(&mut report, epoch, now + Duration::from_millis(400));
        assert_eq!(report.len(), 28);
        // 1 s (pts) + 0.1 s (moved by 9000 ticks) + 0.4 s after epoch.
        assert_eq!(report[8..12], 1001_u32.to_be_bytes());
        assert_eq!(
            report[12..16],
            0x8000_0000_u32.to_be_bytes(),
            "half a second"
        );
        assert_eq!(report[16..20], (99_000_u32 + 36_000).to_be_bytes());
    }

    #[test]
    fn a_receivers_report_shows_the_round_trip() {
        let now = Instant::now();
        let at = |ms| now + Duration::from_millis(ms);
        let mut stream = Stream::new(Kind::Video, identity(None), 0);
        let mut batch = Batch::default();
        let frame = frame(&[10]);
        let part = part(&frame, 0..1, 99_000);
        stream.write(&mut out(&mut batch, now), &part).unwrap();
        let epoch = Duration::from_millis(70_000_700);
        let mut sent = Vec::new();
        stream.write_report(&mut sent, epoch, at(400));
        let mut report = ReceptionReport {
            ssrc: 9.into(),
            fraction_lost: 0,
            packets_lost: 0,
            max_seq: 0,
            jitter: 0,
            last_sr_time: u32::from_be_bytes(sent[10..14].try_into().unwrap()),
            last_sr_delay: 65_536 / 2,
        };
        let trip = stream.round_trip(epoch, at(950), &report).unwrap();
        assert_eq!(trip.as_millis().abs_diff(50), 0, "{trip:?}");
        // Earlier than the report, or without one: no round trip.
        assert_eq!(stream.round_trip(epoch, at(850), &report), None);
        report.last_sr_time = 0;
        assert_eq!(stream.round_trip(epoch, at(950), &report), None);
    }
}
