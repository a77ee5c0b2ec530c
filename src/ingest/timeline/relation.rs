//! How a stream's RTP clock relates to its sender's clock, from sender reports (RFC 3550 §6.4.1).
//! Pure.
//!
//! A report pairs a sender's time with an RTP timestamp. Some senders (libdatachannel, and with it
//! OBS) put the time of sending beside the timestamp of the last frame, so that the time is late by
//! up to a frame's duration, and never early. The least late reports are the right ones.

use std::collections::VecDeque;

/// Most reports kept.
const REPORTS_MAX: usize = 32;
/// How long a report counts, in microseconds: at 100 ppm the clocks are 4 ms apart by then.
const REPORT_AGE_MAX: i64 = 40_000_000;
/// One in this many reports is distrusted although it is the least late.
const REPORTS_PER_DOUBT: usize = 16;
/// A report that is farther off, in microseconds, shows a jump of either clock, or is wrong.
const JITTER_MAX: i64 = 60_000;
/// A jump is accepted when this many reports in a row agree on it.
const CONFIRMATIONS: usize = 3;

/// The sender's time at RTP timestamp zero, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Relation {
    reports: VecDeque<Report>,
    /// The latest reports, if they contradict those before them.
    contradicting: Vec<Report>,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    /// When it came, on the server's clock.
    arrival: i64,
    origin: i64,
}

impl Relation {
    /// Takes a report that came at `arrival`: RTP timestamp zero was at `origin`. Returns when the
    /// reports began to contradict the earlier ones, if they are now accepted.
    pub(super) fn take(&mut self, arrival: i64, origin: i64) -> Option<i64> {
        let report = Report { arrival, origin };
        let agrees = |other: i64| origin.abs_diff(other) <= JITTER_MAX.unsigned_abs();
        if self.origin().is_none_or(agrees) {
            self.contradicting.clear();
            self.reports.push_back(report);
            self.forget(arrival);
            return None;
        }
        if self.contradicting.iter().any(|other| !agrees(other.origin)) {
            self.contradicting.clear();
        }
        self.contradicting.push(report);
        if self.contradicting.len() < CONFIRMATIONS {
            return None;
        }
        self.reports = self.contradicting.drain(..).collect();
        self.reports.front().map(|first| first.arrival)
    }

    /// The best estimate; `None` before the first report.
    pub(super) fn origin(&self) -> Option<i64> {
        let mut origins: Vec<i64> = self.reports.iter().map(|report| report.origin).collect();
        origins.sort_unstable();
        origins.get(origins.len() / REPORTS_PER_DOUBT).copied()
    }

    /// Whether the latest report contradicts those before it.
    pub(super) fn is_in_doubt(&self) -> bool {
        !self.contradicting.is_empty()
    }

    /// When the latest report came.
    pub(super) fn last_report(&self) -> Option<i64> {
        Some(self.contradicting.last().or(self.reports.back())?.arrival)
    }

    fn forget(&mut self, now: i64) {
        let is_old = |report: &Report| now - report.arrival > REPORT_AGE_MAX;
        while self.reports.len() > REPORTS_MAX || self.reports.front().is_some_and(is_old) {
            self.reports.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn the_least_late_reports_count_but_for_one() {
        let mut relation = Relation::default();
        for count in 0..16 {
            let late = count * 7 % 16 * 2_000;
            relation.take(count * SECOND, 1_000_000 + late);
        }
        assert_eq!(relation.origin(), Some(1_002_000));
    }

    #[test]
    fn one_wrong_report_changes_nothing() {
        let mut relation = Relation::default();
        relation.take(0, 1_000_000);
        assert_eq!(relation.take(SECOND, 9_000_000), None);
        assert!(relation.is_in_doubt());
        assert_eq!(relation.take(2 * SECOND, 1_000_000), None);
        assert!(!relation.is_in_doubt());
        assert_eq!(relation.origin(), Some(1_000_000));
    }

    #[test]
    fn a_jump_is_believed_when_it_is_confirmed() {
        let mut relation = Relation::default();
        relation.take(0, 1_000_000);
        assert_eq!(relation.take(SECOND, 5_000_000), None);
        assert_eq!(relation.take(2 * SECOND, 5_010_000), None);
        assert_eq!(relation.take(3 * SECOND, 5_005_000), Some(SECOND));
        assert_eq!(relation.origin(), Some(5_000_000));
    }

    #[test]
    fn old_reports_are_forgotten() {
        let mut relation = Relation::default();
        for count in 0..600 {
            relation.take(count * SECOND, 1_000_000 + count * 100);
            assert!(relation.reports.len() <= REPORTS_MAX + 1);
        }
        let origin = relation.origin().unwrap();
        assert!(origin > 1_000_000 + 560 * 100, "{origin}");
        relation.take(10_000 * SECOND, 1_020_000);
        assert_eq!(relation.origin(), Some(1_020_000));
    }
}
