//! The contents of the folder: files, and the recordings that they are parts of.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::SystemTime,
};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::{growing::GrowingFiles, mp4::RecordedPicture, name::RecordingName};
use crate::plan::Name;

/// Files that are read; a folder with more shows only some.
const FILES_MAX: usize = 100_000;

/// A file with a recording, or with a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundFile {
    pub(super) name: RecordingName,
    pub(super) file: String,
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
    pub(super) growing: bool,
}

/// A recording: what one run of an output has written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Recording {
    /// Its name, unique in the folder.
    #[schema(examples("studio-20260131T200000Z.mp4"))]
    pub id: String,
    /// The broadcast.
    pub broadcast: Name,
    /// When it began, in UTC.
    #[schema(format = DateTime)]
    pub started: String,
    /// How long it was written, in seconds: about as long as it plays.
    pub seconds: u64,
    /// Its size.
    pub bytes: u64,
    /// Whether it is still being written.
    pub growing: bool,
    /// The picture, if the format tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<RecordedPicture>,
    /// Its files, in order.
    pub files: Vec<RecordingFile>,
}

/// A file of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RecordingFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was last written to, in UTC.
    #[schema(format = DateTime)]
    pub modified: String,
    /// Whether it is still being written.
    pub growing: bool,
}

/// The files with recordings in a folder. Links are none: they could lead anywhere.
pub(super) fn files(folder: &Path) -> io::Result<Vec<FoundFile>> {
    let growing = GrowingFiles::now();
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)?.take(FILES_MAX) {
        let entry = entry?;
        let Ok(file) = entry.file_name().into_string() else {
            continue;
        };
        let Some(name) = RecordingName::of(&file) else {
            continue;
        };
        // Err: it has just been deleted.
        let Ok(metadata) = entry.path().symlink_metadata() else {
            continue;
        };
        if metadata.is_file() {
            found.push(FoundFile::new(name, file, &metadata, &growing));
        }
    }
    Ok(found)
}

impl FoundFile {
    fn new(name: RecordingName, file: String, found: &Metadata, growing: &GrowingFiles) -> Self {
        let modified = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Self {
            name,
            file,
            bytes: found.len(),
            modified,
            growing: growing.include(found.dev(), found.ino()),
        }
    }
}

/// The recordings that these files are, the newest first.
pub(super) fn recordings(files: Vec<FoundFile>) -> Vec<Recording> {
    let mut sorted = BTreeMap::new();
    for file in files {
        sorted.insert(file.name.clone(), file);
    }
    let mut recordings: Vec<Recording> = Vec::new();
    for (name, file) in sorted {
        let id = name.recording();
        let written = file.modified.duration_since(name.started);
        let part = RecordingFile {
            name: file.file,
            bytes: file.bytes,
            modified: text(file.modified),
            growing: file.growing,
        };
        if recordings.last().is_none_or(|last| last.id != id) {
            recordings.push(Recording {
                id,
                broadcast: name.broadcast,
                started: text(name.started),
                seconds: 0,
                bytes: 0,
                growing: false,
                video: None,
                files: Vec::new(),
            });
        }
        if let Some(recording) = recordings.last_mut() {
            recording.seconds = written.unwrap_or_default().as_secs();
            recording.bytes += part.bytes;
            recording.growing |= part.growing;
            recording.files.push(part);
        }
    }
    recordings.sort_by(|one, other| place(other).cmp(&place(one)));
    recordings
}

/// Where a recording is in the list.
pub(super) fn place(recording: &Recording) -> (&str, &str) {
    (&recording.started, &recording.id)
}

pub(super) fn text(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true)
}
