//! Playlists of HLS sinks, replaced as a whole or not at all: what does not fit on the disk must not
//! cut short the one that players read.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use gio::{prelude::*, subclass::prelude::*};
use gst::{glib, prelude::*};
use gstreamer as gst;

/// The signal with which a sink asks where to write a playlist.
const SIGNAL: &str = "get-playlist-stream";

/// Has the sinks of a pipeline write their playlists so.
pub(super) fn set_up(pipeline: &gst::Pipeline) {
    for element in pipeline.iterate_recurse().into_iter().flatten() {
        if glib::subclass::SignalId::lookup(SIGNAL, element.type_()).is_none() {
            continue;
        }
        element.connect(SIGNAL, false, |values| {
            let location: String = values.get(1)?.get().ok()?;
            Some(playlist(location.into()).to_value())
        });
    }
}

/// A stream that becomes the file when it is flushed.
fn playlist(location: PathBuf) -> gio::OutputStream {
    let stream: PlaylistStream = glib::Object::new();
    stream.imp().playlist().location = location;
    stream.upcast()
}

glib::wrapper! {
    /// A playlist that is being written.
    pub struct PlaylistStream(ObjectSubclass<PlaylistStreamPrivate>) @extends gio::OutputStream;
}

#[derive(Default)]
struct Playlist {
    location: PathBuf,
    text: Vec<u8>,
}

/// The state of a [`PlaylistStream`].
#[derive(Default)]
pub struct PlaylistStreamPrivate(Mutex<Playlist>);

impl PlaylistStreamPrivate {
    fn playlist(&self) -> MutexGuard<'_, Playlist> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[glib::object_subclass]
impl ObjectSubclass for PlaylistStreamPrivate {
    const NAME: &'static str = "AerialPlaylistStream";
    type Type = PlaylistStream;
    type ParentType = gio::OutputStream;
}

impl ObjectImpl for PlaylistStreamPrivate {}

impl OutputStreamImpl for PlaylistStreamPrivate {
    fn write(
        &self,
        bytes: &[u8],
        _cancellable: Option<&gio::Cancellable>,
    ) -> Result<usize, glib::Error> {
        self.playlist().text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&self, _cancellable: Option<&gio::Cancellable>) -> Result<(), glib::Error> {
        let playlist = self.playlist();
        let Playlist { location, text } = &*playlist;
        replace(location, text).map_err(|error| {
            let text = format!("{}: {error}", location.display());
            let kind = match error.kind() {
                io::ErrorKind::StorageFull => gio::IOErrorEnum::NoSpace,
                _ => gio::IOErrorEnum::Failed,
            };
            glib::Error::new(kind, &text)
        })
    }

    fn close(&self, _cancellable: Option<&gio::Cancellable>) -> Result<(), glib::Error> {
        Ok(())
    }
}

/// Puts a file with this text in the place of another.
fn replace(location: &Path, text: &[u8]) -> io::Result<()> {
    let mut part = location.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let replaced = fs::write(&part, text).and_then(|()| fs::rename(&part, location));
    if replaced.is_err() {
        // Err: it was not even made.
        let _ = fs::remove_file(&part);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::run_in_namespace;

    #[test]
    fn a_full_disk_leaves_the_playlist_before() {
        run_in_namespace("pipeline::job::playlists::tests::inside_a_namespace");
    }

    #[test]
    #[ignore = "mounts a file system: run by `a_full_disk_leaves_the_playlist_before`"]
    fn inside_a_namespace() {
        let folder = std::env::temp_dir().join(format!("aerial-playlists-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(&folder)
            .status();
        assert!(mounted.unwrap().success());
        let location = folder.join("video.m3u8");
        let write = |text: &str| {
            let stream = playlist(location.clone());
            // As the sink does: in pieces.
            for line in text.split_inclusive('\n') {
                stream
                    .write_all(line.as_bytes(), gio::Cancellable::NONE)
                    .unwrap();
            }
            stream.flush(gio::Cancellable::NONE)
        };
        let (first, second) = ("#EXTM3U\none\n", "#EXTM3U\none\ntwo\n");
        write(first).unwrap();
        write(second).unwrap();
        assert_eq!(fs::read_to_string(&location).unwrap(), second);
        // Err: full.
        fs::write(folder.join("others"), vec![0; 1 << 20]).unwrap_err();
        let long = "#EXTM3U\nthree\n".repeat(1000);
        assert!(write(&long).unwrap_err().matches(gio::IOErrorEnum::NoSpace));
        assert_eq!(fs::read_to_string(&location).unwrap(), second);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing is left");
        fs::remove_file(folder.join("others")).unwrap();
        write(&long).unwrap();
        assert_eq!(fs::read_to_string(&location).unwrap(), long);
    }
}
