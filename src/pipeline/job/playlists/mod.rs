//! What HLS sinks write. Playlists are replaced as a whole or not at all: what does not fit on the disk
//! must not cut short the one that players read. They go on where those before end: see [`continued`].

mod continued;
mod files;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use gio::{prelude::*, subclass::prelude::*};
use gst::{glib, prelude::*};
use gstreamer as gst;
use m3u8_rs::MediaPlaylist;

use self::{continued::Before, files::NumberedFiles};

/// The signals with which a sink asks where to write, and has an old segment removed.
const PLAYLIST: &str = "get-playlist-stream";
const SEGMENT: &str = "get-fragment-stream";
const INIT_SEGMENT: &str = "get-init-stream";
const REMOVE: &str = "delete-fragment";

/// The playlists of a pipeline.
#[derive(Debug, Default)]
pub(super) struct Playlists {
    left_open: Arc<AtomicBool>,
}

impl Playlists {
    /// Has the sinks of a pipeline write so.
    pub(super) fn set_up(pipeline: &gst::Pipeline) -> Self {
        let playlists = Self::default();
        for element in pipeline.iterate_recurse().into_iter().flatten() {
            if has(&element, PLAYLIST) {
                Writer::new(&element, &playlists.left_open).connect(&element);
            }
        }
        playlists
    }

    /// Another pipeline goes on with them: they do not end with this one.
    pub(super) fn leave_open(&self) {
        self.left_open.store(true, Relaxed);
    }
}

fn has(element: &gst::Element, signal: &str) -> bool {
    glib::subclass::SignalId::lookup(signal, element.type_()).is_some()
}

/// Writes what one sink makes.
#[derive(Debug, Default)]
struct Writer {
    segments: Option<NumberedFiles>,
    init_segments: Option<NumberedFiles>,
    before: Before,
    /// Segments in the playlist; 0 means all.
    length: usize,
    left_open: Arc<AtomicBool>,
}

impl Writer {
    fn new(sink: &gst::Element, left_open: &Arc<AtomicBool>) -> Self {
        let count = |name| property(sink, name).map_or(0, |count: u32| count as usize);
        let files = |name| {
            let location: String = property(sink, name)?;
            NumberedFiles::find(&location, count("max-files"))
        };
        let location: Option<String> = property(sink, "playlist-location");
        Self {
            segments: files("location"),
            init_segments: files("init-location"),
            before: location
                .and_then(|location| before(&location))
                .unwrap_or_default(),
            length: count("playlist-length"),
            left_open: Arc::clone(left_open),
        }
    }

    fn connect(self, sink: &gst::Element) {
        let segments = self.segments.is_some();
        let init_segments = self.init_segments.is_some() && has(sink, INIT_SEGMENT);
        let writer = Arc::new(Mutex::new(self));
        let of_sink = Arc::clone(&writer);
        sink.connect(PLAYLIST, false, move |values| {
            let location: String = values.get(1)?.get().ok()?;
            Some(playlist(location.into(), Arc::clone(&of_sink)).to_value())
        });
        let handle = |signal, files: fn(&mut Writer) -> Option<&mut NumberedFiles>| {
            let writer = Arc::clone(&writer);
            sink.connect(signal, false, move |values| {
                let sink: gst::Element = values.first()?.get().ok()?;
                let location: String = values.get(1)?.get().ok()?;
                let path = files(&mut lock(&writer))?.begin(&location);
                Some(open(&sink, &path.unwrap_or(location.into())).to_value())
            });
        };
        if segments {
            handle(SEGMENT, |writer| writer.segments.as_mut());
            // With its playlist: see `finish`.
            sink.connect(REMOVE, false, |_| Some(true.to_value()));
        }
        if init_segments {
            handle(INIT_SEGMENT, |writer| writer.init_segments.as_mut());
        }
    }

    /// Writes a playlist, and removes the segments that have become too old.
    fn finish(&mut self, location: &Path, text: &[u8]) -> io::Result<()> {
        let whole = m3u8_rs::parse_media_playlist_res(text)
            .ok()
            .and_then(|written| self.whole(written));
        match whole {
            Some(whole) => {
                let mut text = Vec::new();
                whole.write_to(&mut text)?;
                replace(location, &text)?;
            }
            None => replace(location, text)?,
        }
        for files in [&mut self.segments, &mut self.init_segments] {
            files.iter_mut().for_each(NumberedFiles::remove_oldest);
        }
        Ok(())
    }

    /// The playlist that goes on; `None` if the sink does not number its segments.
    fn whole(&mut self, mut written: MediaPlaylist) -> Option<MediaPlaylist> {
        let segments = self.segments.as_ref()?;
        // The sink counts one more when it closes the playlist.
        if let Some(first) = written.segments.first()
            && let Some(index) = segments.index(&first.uri)
        {
            written.media_sequence = index;
        }
        for part in &mut written.segments {
            if let Some(uri) = segments.uri(&part.uri) {
                part.uri = uri;
            }
            if let Some(map) = &mut part.map
                && let Some(uri) = self
                    .init_segments
                    .as_ref()
                    .and_then(|files| files.uri(&map.uri))
            {
                map.uri = uri;
            }
        }
        let mut whole = self.before.followed_by(written, self.length);
        whole.end_list &= !self.left_open.load(Relaxed);
        Some(whole)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock is fine: nothing is ever left half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of a property, if the sink has it.
fn property<T: for<'v> glib::value::FromValue<'v> + 'static>(
    sink: &gst::Element,
    name: &str,
) -> Option<T> {
    sink.find_property(name)?;
    sink.property_value(name).get().ok()
}

/// The playlist that is there.
fn before(location: &str) -> Option<Before> {
    // Err: there is none.
    let text = fs::read(location).ok()?;
    let age = fs::metadata(location).and_then(|metadata| metadata.modified());
    let age = age.ok()?.elapsed().unwrap_or_default();
    let Ok(playlist) = m3u8_rs::parse_media_playlist_res(&text) else {
        tracing::warn!(location, "not a playlist: its numbers do not go on");
        return None;
    };
    Some(Before::new(playlist, age))
}

/// A file that takes its name when it is closed.
fn open(sink: &gst::Element, path: &Path) -> Option<gio::OutputStream> {
    let flags = gio::FileCreateFlags::NONE;
    let file = gio::File::for_path(path).replace(None, false, flags, gio::Cancellable::NONE);
    match file {
        Ok(stream) => Some(stream.upcast()),
        Err(error) => {
            let path = path.display();
            gst::element_error!(sink, gst::ResourceError::OpenWrite, ["{path}: {error}"]);
            None
        }
    }
}

/// A stream that becomes the file when it is flushed.
fn playlist(location: PathBuf, writer: Arc<Mutex<Writer>>) -> gio::OutputStream {
    let stream: PlaylistStream = glib::Object::new();
    *lock(&stream.imp().0) = Playlist {
        location,
        writer,
        text: Vec::new(),
    };
    stream.upcast()
}

glib::wrapper! {
    /// A playlist that is being written.
    pub struct PlaylistStream(ObjectSubclass<PlaylistStreamPrivate>) @extends gio::OutputStream;
}

#[derive(Default)]
struct Playlist {
    location: PathBuf,
    writer: Arc<Mutex<Writer>>,
    text: Vec<u8>,
}

/// The state of a [`PlaylistStream`].
#[derive(Default)]
pub struct PlaylistStreamPrivate(Mutex<Playlist>);

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
        lock(&self.0).text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&self, _cancellable: Option<&gio::Cancellable>) -> Result<(), glib::Error> {
        let playlist = lock(&self.0);
        let Playlist {
            location,
            writer,
            text,
        } = &*playlist;
        lock(writer).finish(location, text).map_err(|error| {
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
            let stream = playlist(location.clone(), Arc::default());
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
