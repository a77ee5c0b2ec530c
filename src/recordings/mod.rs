//! Recordings: the files that outputs have written into one folder, and how long they are kept.
//!
//! Only files named as the recording pipelines name them count, `NAME-20260101T000000Z.mkv` or
//! `NAME-20260101T000000Z-00000.mp4`: nothing else in the folder is shown or deleted. No link is
//! followed, and nothing is deleted that is being written.

mod growing;
mod index;
mod mp4;
mod name;
mod playlist;
mod retention;
mod space;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::broadcast::error::RecvError,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

use self::{index::FoundFile, name::RecordingName, playlist::PlayedFile};
pub use self::{index::Recording, mp4::RecordedPicture, retention::Retention};
use crate::{
    events::{EventBus, Happening},
    plan::Name,
};

/// How often retention is applied.
const RETENTION_INTERVAL: Duration = Duration::from_secs(30);
/// The reason for what is deleted on request.
const ON_REQUEST: &str = "request";

/// Why something cannot be done with a recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// There is none of this name.
    #[error("no such recording")]
    Missing,
    /// It is still being written.
    #[error("the recording is still being written: stop its output first")]
    Growing,
    /// Its format is not for HLS.
    #[error("only MP4 can be played as HLS: play or download the file itself")]
    NoPlaylist,
    /// The system refuses.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// The recordings that are wanted.
#[derive(Clone, Debug, Default)]
pub struct RecordingQuery {
    /// Only those of this broadcast.
    pub broadcast: Option<Name>,
    /// Only those that come after this one in the list, which may be gone.
    pub after: Option<String>,
    /// At most this many.
    pub limit: usize,
}

/// A part of the list.
#[derive(Clone, Debug, Default)]
pub struct RecordingPage {
    /// The newest first.
    pub recordings: Vec<Recording>,
    /// After which one the next part begins, if there is one.
    pub next: Option<String>,
}

/// The folder of recordings. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recordings {
    folder: Option<Arc<Path>>,
    events: EventBus,
}

impl Recordings {
    /// Those in this folder; none without one.
    pub fn new(folder: Option<PathBuf>, events: EventBus) -> Self {
        Self {
            folder: folder.map(Arc::from),
            events,
        }
    }

    /// Some of them, the newest first.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub async fn list(&self, query: RecordingQuery) -> Result<RecordingPage, RecordingError> {
        let Some(folder) = self.folder.clone() else {
            return Ok(RecordingPage::default());
        };
        blocking(move || {
            let mut found = index::recordings(index::files(&folder)?);
            let after = query.after.as_deref().and_then(RecordingName::of);
            let after = after.map(|name| (index::text(name.started), name.recording()));
            found.retain(|recording| {
                let (started, id) = index::place(recording);
                let is_after = after
                    .as_ref()
                    .is_none_or(|(after, last)| (started, id) < (after.as_str(), last.as_str()));
                let broadcast = query.broadcast.as_ref();
                is_after && broadcast.is_none_or(|name| *name == recording.broadcast)
            });
            let is_more = found.len() > query.limit;
            found.truncate(query.limit);
            let next = found.last().map(|last| last.id.clone());
            for recording in &mut found {
                recording.video = picture(&folder, recording);
            }
            Ok(RecordingPage {
                recordings: found,
                next: if is_more { next } else { None },
            })
        })
        .await
    }

    /// The recording of this name.
    ///
    /// # Errors
    /// If there is none, or the folder cannot be read.
    pub async fn get(&self, id: &str) -> Result<Recording, RecordingError> {
        let (folder, id) = (self.folder()?, id.to_owned());
        blocking(move || {
            let mut recording = find(&folder, &id)?;
            recording.video = picture(&folder, &recording);
            Ok(recording)
        })
        .await
    }

    /// Deletes a recording with all its files.
    ///
    /// # Errors
    /// If there is none, it is being written, or the system refuses.
    pub async fn delete(&self, id: &str) -> Result<(), RecordingError> {
        let (folder, id) = (self.folder()?, id.to_owned());
        let recording = blocking(move || {
            let recording = find(&folder, &id)?;
            if recording.growing {
                return Err(RecordingError::Growing);
            }
            for file in &recording.files {
                fs::remove_file(folder.join(&file.name))?;
            }
            Ok(recording)
        })
        .await?;
        tracing::info!(recording = recording.id, "recording deleted");
        self.tell_deleted(recording.broadcast, recording.id, ON_REQUEST);
        Ok(())
    }

    /// A playlist with which players of HLS play the recording, from the files beside it.
    ///
    /// # Errors
    /// If there is no such recording, or its format is not for HLS.
    pub async fn playlist(&self, id: &str) -> Result<String, RecordingError> {
        let (folder, id) = (self.folder()?, id.to_owned());
        blocking(move || {
            let recording = find(&folder, &id)?;
            if !is_mp4(&id) {
                return Err(RecordingError::NoPlaylist);
            }
            let mut files = Vec::new();
            for file in &recording.files {
                let mut layout = mp4::layout(&mut open(&folder, &file.name)?)?;
                if file.growing {
                    // It may become longer.
                    layout.parts.pop();
                }
                files.push(PlayedFile {
                    name: file.name.clone(),
                    layout,
                });
            }
            let text = playlist::write(&files, &recording.started, recording.growing);
            Ok(text.map_err(io::Error::other)?)
        })
        .await
    }

    /// Opens a file of a recording.
    ///
    /// # Errors
    /// If there is none of this name that belongs to the recording.
    pub async fn open(&self, id: &str, file: &str) -> Result<File, RecordingError> {
        let folder = self.folder()?;
        let name = RecordingName::of(file).ok_or(RecordingError::Missing)?;
        if name.recording() != id {
            return Err(RecordingError::Missing);
        }
        let file = file.to_owned();
        blocking(move || open(&folder, &file)).await
    }

    /// Deletes what is no longer kept, again and again. Ends only if there is nothing to do.
    pub async fn retain(self, retention: Retention) {
        let Some(folder) = &self.folder else {
            return;
        };
        if retention.keeps_everything() {
            return;
        }
        let mut tick = interval(RETENTION_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let folder = Arc::clone(folder);
            match blocking(move || clean(&folder, &retention)).await {
                Ok(deleted) => {
                    for ((broadcast, recording), reason) in deleted {
                        self.tell_deleted(broadcast, recording, reason);
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot list recordings"),
            }
        }
    }

    /// Reports finished recordings, from the events of outputs. Never ends by itself.
    pub async fn follow(self) {
        let Some(folder) = &self.folder else {
            return;
        };
        let mut receiver = self.events.follow(None).receiver;
        // By output: one has few, and is forgotten when it ends.
        let mut written = BTreeMap::<(Name, String), BTreeSet<String>>::new();
        loop {
            let event = match receiver.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            };
            match &event.what {
                Happening::SegmentFinished {
                    broadcast,
                    pipeline,
                    file,
                    ..
                } => {
                    if let Some(recording) = recording_of(folder, file) {
                        let output = (broadcast.clone(), pipeline.clone());
                        written.entry(output).or_default().insert(recording);
                    }
                }
                Happening::OutputEnded {
                    broadcast,
                    pipeline,
                } => {
                    let output = (broadcast.clone(), pipeline.clone());
                    for recording in written.remove(&output).unwrap_or_default() {
                        let broadcast = broadcast.clone();
                        self.events.tell(Happening::RecordingFinished {
                            broadcast,
                            recording,
                        });
                    }
                }
                _ => {}
            }
        }
    }

    fn tell_deleted(&self, broadcast: Name, recording: String, reason: &'static str) {
        self.events.tell(Happening::RecordingDeleted {
            broadcast,
            recording,
            reason,
        });
    }

    fn folder(&self) -> Result<Arc<Path>, RecordingError> {
        self.folder.clone().ok_or(RecordingError::Missing)
    }
}

/// Does what waits for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RecordingError> + Send + 'static,
) -> Result<T, RecordingError> {
    spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

fn find(folder: &Path, id: &str) -> Result<Recording, RecordingError> {
    // Most requests for what is not there end here.
    RecordingName::of(id).ok_or(RecordingError::Missing)?;
    let mut all = index::recordings(index::files(folder)?).into_iter();
    all.find(|recording| recording.id == id)
        .ok_or(RecordingError::Missing)
}

/// Opens a file in the folder that is not a link.
fn open(folder: &Path, file: &str) -> Result<File, RecordingError> {
    let path = folder.join(file);
    let missing = |_| RecordingError::Missing;
    let listed = path.symlink_metadata().map_err(missing)?;
    if !listed.is_file() {
        return Err(RecordingError::Missing);
    }
    let file = File::open(path).map_err(missing)?;
    let opened = file.metadata()?;
    // Somebody may have put a link there meanwhile.
    let is_same = (listed.dev(), listed.ino()) == (opened.dev(), opened.ino());
    is_same.then_some(file).ok_or(RecordingError::Missing)
}

fn is_mp4(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|ending| ending == "mp4")
}

/// The format of the picture, according to its first file. `None` also if it cannot be read.
fn picture(folder: &Path, recording: &Recording) -> Option<RecordedPicture> {
    let first = recording.files.first()?;
    if !is_mp4(&first.name) {
        return None;
    }
    mp4::picture(&mut open(folder, &first.name).ok()?).ok()?
}

/// The recording that a file in the folder belongs to.
fn recording_of(folder: &Path, file: &str) -> Option<String> {
    let path = fs::canonicalize(file).ok()?;
    let is_inside = path.parent()? == fs::canonicalize(folder).ok()?;
    let name = RecordingName::of(path.file_name()?.to_str()?)?;
    is_inside.then(|| name.recording())
}

/// Deletes what is no longer kept. Returns the recordings that have lost files, and why.
fn clean(
    folder: &Path,
    retention: &Retention,
) -> Result<BTreeMap<(Name, String), &'static str>, RecordingError> {
    let files = index::files(folder)?;
    let free = space::free(folder);
    let mut deleted = BTreeMap::new();
    for expired in retention.expired(&files, free, SystemTime::now()) {
        let FoundFile { name, file, .. } = expired.file;
        let reason = expired.reason;
        match fs::remove_file(folder.join(file)) {
            Ok(()) => {
                tracing::info!(file, reason, "recording deleted");
                deleted.insert((name.broadcast.clone(), name.recording()), reason);
            }
            Err(error) => tracing::warn!(file, %error, "cannot delete the recording"),
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests;
