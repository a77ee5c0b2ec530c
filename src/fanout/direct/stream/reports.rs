//! Sender reports, and what receivers' reports tell.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use str0m::rtp::rtcp::ReceptionReport;

use super::Stream;
use crate::media::{Kind, rtp::low32};

/// Reports that receivers may still refer to: they answer the newest or the one before.
const REPORTS: usize = 4;
/// Largest rounding error of a receiver that converts the time of a report, in 1/65536 s.
const ROUNDING: u32 = 1;

/// The sender reports that were sent last.
#[derive(Default)]
pub(super) struct SentReports(VecDeque<SentReport>);

struct SentReport {
    /// The middle 32 bits of its NTP time, by which receivers refer to it.
    name: u32,
    at: Instant,
}

impl SentReports {
    fn note(&mut self, name: u32, at: Instant) {
        self.0.truncate(REPORTS - 1);
        self.0.push_front(SentReport { name, at });
    }

    fn sent(&self, name: u32) -> Option<Instant> {
        let distance = |other: u32| name.wrapping_sub(other).min(other.wrapping_sub(name));
        let mut reports = self.0.iter();
        let report = reports.find(|report| distance(report.name) <= ROUNDING)?;
        Some(report.at)
    }
}

impl Stream {
    /// Appends a sender report (RFC 3550 §6.4.1) for now. Audio and video share `epoch`, the NTP
    /// time of the server's running time zero: lip sync depends on it.
    pub(crate) fn write_report(&mut self, out: &mut Vec<u8>, epoch: Duration, now: Instant) {
        let Some(last) = &self.last else { return };
        let since = now.saturating_duration_since(last.at);
        let ntp = epoch + last.pts + since;
        let clock = match self.kind {
            Kind::Video => 90_000,
            Kind::Audio => 48_000,
        };
        let ticks = u64::try_from(since.as_micros()).unwrap_or(0) * clock / 1_000_000;
        let fraction = (u64::from(ntp.subsec_nanos()) << 32) / 1_000_000_000;
        out.extend_from_slice(&[0x80, 200, 0, 6]);
        out.extend_from_slice(&self.identity.ssrc.to_be_bytes());
        out.extend_from_slice(&low32(ntp.as_secs()).to_be_bytes());
        out.extend_from_slice(&low32(fraction).to_be_bytes());
        out.extend_from_slice(&self.wire_timestamp(last.timestamp + ticks).to_be_bytes());
        out.extend_from_slice(&self.packets.to_be_bytes());
        out.extend_from_slice(&self.octets.to_be_bytes());
        let middle = low32(ntp.as_secs() << 16 | fraction >> 16);
        self.reports.note(middle, now);
    }

    /// The round trip that a receiver's report shows (RFC 3550 §6.4.1); `None` if it refers to no
    /// recent report of ours. Measured on our clock, because the media times behind the NTP times
    /// jitter by more than a short round trip takes.
    pub(in crate::fanout::direct) fn round_trip(
        &self,
        now: Instant,
        report: &ReceptionReport,
    ) -> Option<Duration> {
        let since = now.saturating_duration_since(self.reports.sent(report.last_sr_time)?);
        let held = Duration::from_micros(u64::from(report.last_sr_delay) * 1_000_000 / 65_536);
        Some(since.saturating_sub(held))
    }
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
        let trip = stream.round_trip(at(950), &report).unwrap();
        assert_eq!(trip.as_millis(), 50);
        // A short round trip is not negative, however the receiver rounds.
        assert_eq!(stream.round_trip(at(899), &report), Some(Duration::ZERO));
        for number in 0..REPORTS as u64 {
            stream.write_report(&mut sent, epoch, at(1400 + number));
        }
        assert_eq!(stream.round_trip(at(950), &report), None, "too old");
        report.last_sr_time = 0;
        assert_eq!(stream.round_trip(at(950), &report), None);
    }
}
