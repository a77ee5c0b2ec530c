//! The names of recordings. Pure.

use std::time::SystemTime;

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::plan::Name;

/// How the names of files write a time.
const TIME: &str = "%Y%m%dT%H%M%SZ";
/// The endings of files that recording pipelines write.
const ENDINGS: [&str; 3] = ["mkv", "mp4", "webm"];

/// The facts in the name of a file. Those of one recording are next to each other, in order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordingName {
    pub(super) broadcast: Name,
    pub(super) started: SystemTime,
    pub(super) ending: &'static str,
    pub(super) part: Option<u32>,
}

impl RecordingName {
    /// `None` for another name. One that is taken is a file's name, never a path.
    pub(super) fn of(file: &str) -> Option<Self> {
        let (stem, ending) = file.rsplit_once('.')?;
        let ending = ENDINGS.into_iter().find(|known| *known == ending)?;
        let (before, last) = stem.rsplit_once('-')?;
        let (broadcast, started, part) = if let Some(started) = time(last) {
            (before, started, None)
        } else {
            let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
            let part = is_number.then(|| last.parse().ok())??;
            let (broadcast, started) = before.rsplit_once('-')?;
            (broadcast, time(started)?, Some(part))
        };
        Some(Self {
            broadcast: Name::new(broadcast)?,
            started,
            ending,
            part,
        })
    }

    /// The recording that the file belongs to: all its parts have it in common.
    pub(super) fn recording(&self) -> String {
        let started = DateTime::<Utc>::from(self.started).format(TIME);
        format!("{}-{started}.{}", self.broadcast, self.ending)
    }
}

fn time(text: &str) -> Option<SystemTime> {
    let time = NaiveDateTime::parse_from_str(text, TIME).ok()?.and_utc();
    // Not another way to write the same time.
    (time.format(TIME).to_string() == text).then(|| time.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_recordings_say_what_they_are() {
        let of = |file| {
            let name = RecordingName::of(file)?;
            Some((name.broadcast.to_string(), name.part))
        };
        for (file, expected) in [
            ("cam-20260101T120000Z.mkv", Some(("cam", None))),
            ("cam-1-20260101T120000Z-00007.mp4", Some(("cam-1", Some(7)))),
            ("cam-2-20260101T120000Z.webm", Some(("cam-2", None))),
            ("cam-20260101T120000Z.txt", None),
            ("cam-20261301T120000Z.mkv", None),
            ("cam-20260101T120000Z-x.mp4", None),
            ("cam-20260101T120000Z-+1.mp4", None),
            ("-20260101T120000Z.mkv", None),
            ("../a-20260101T120000Z.mkv", None),
            ("a/b-20260101T120000Z.mkv", None),
            (".a-20260101T120000Z.mkv", None),
            ("cam.mkv", None),
            ("", None),
        ] {
            let expected = expected.map(|(name, part)| (name.to_owned(), part));
            assert_eq!(of(file), expected, "{file}");
        }
        let part = RecordingName::of("cam-1-20260101T120000Z-00007.mp4").unwrap();
        assert_eq!(part.recording(), "cam-1-20260101T120000Z.mp4");
    }
}
