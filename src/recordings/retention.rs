//! Which files are kept. Pure.

use std::time::{Duration, SystemTime};

use super::index::FoundFile;

/// How long recordings are kept: as long as all of these hold, the oldest files going first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Since they were last written to.
    pub max_age: Option<Duration>,
    /// Bytes of all recordings.
    pub max_bytes: Option<u64>,
    /// Bytes that stay free on the file system.
    pub min_free: Option<u64>,
}

/// A file that goes, and the option that wants it so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExpiredFile<'a> {
    pub(super) file: &'a FoundFile,
    pub(super) reason: &'static str,
}

impl Retention {
    /// Whether nothing is ever deleted.
    pub(super) fn keeps_everything(&self) -> bool {
        *self == Self::default()
    }

    /// The files to delete, the oldest first; never one that is being written. `free`: bytes that are
    /// free now, if that is known.
    pub(super) fn expired<'a>(
        &self,
        files: &'a [FoundFile],
        free: Option<u64>,
        now: SystemTime,
    ) -> Vec<ExpiredFile<'a>> {
        let mut oldest: Vec<_> = files.iter().collect();
        oldest.sort_by_key(|file| file.modified);
        let mut bytes: u64 = oldest.iter().map(|file| file.bytes).sum();
        let mut free = free;
        let mut expired = Vec::new();
        for file in oldest.into_iter().filter(|file| !file.growing) {
            let age = now.duration_since(file.modified).unwrap_or_default();
            let is_short = |(min, free)| free < min;
            let reason = if self.max_age.is_some_and(|max| age > max) {
                "recordings.max_age"
            } else if self.max_bytes.is_some_and(|max| bytes > max) {
                "recordings.max_size"
            } else if self.min_free.zip(free).is_some_and(is_short) {
                "recordings.min_free"
            } else {
                continue;
            };
            bytes = bytes.saturating_sub(file.bytes);
            free = free.map(|free| free.saturating_add(file.bytes));
            expired.push(ExpiredFile { file, reason });
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recordings::name::RecordingName;

    const HOUR: Duration = Duration::from_hours(1);

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + HOUR * 1000
    }

    /// Files of 100 bytes, last written to this many hours ago. The newest is being written.
    fn files() -> Vec<FoundFile> {
        let file = |hours: u32| {
            let file = format!("cam-20260101T00000{hours}Z.mkv");
            FoundFile {
                name: RecordingName::of(&file).unwrap(),
                file,
                bytes: 100,
                modified: now() - HOUR * hours,
                growing: hours == 0,
            }
        };
        (0..5).map(file).collect()
    }

    /// The ages of the files that go.
    fn expired(retention: Retention, free: Option<u64>) -> Vec<u64> {
        let files = files();
        let all = retention.expired(&files, free, now());
        let age = |file: &ExpiredFile<'_>| now().duration_since(file.file.modified).unwrap();
        all.iter().map(|file| age(file).as_secs() / 3600).collect()
    }

    #[test]
    fn the_oldest_go_first_and_those_that_are_written_stay() {
        let none = Retention::default();
        assert!(none.keeps_everything());
        assert_eq!(expired(none, Some(0)), [0; 0]);
        let by_age = Retention {
            max_age: Some(HOUR * 2),
            ..none
        };
        assert_eq!(expired(by_age, None), [4, 3]);
        let by_size = Retention {
            max_bytes: Some(350),
            ..none
        };
        assert_eq!(expired(by_size, None), [4, 3]);
        let by_space = Retention {
            min_free: Some(1000),
            ..none
        };
        assert_eq!(expired(by_space, Some(1000)), [0; 0]);
        assert_eq!(expired(by_space, Some(850)), [4, 3]);
        assert_eq!(expired(by_space, None), [0; 0], "not known");
        let nothing = Retention {
            max_bytes: Some(0),
            ..none
        };
        assert_eq!(expired(nothing, None), [4, 3, 2, 1]);
    }
}
