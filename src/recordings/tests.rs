//! Recordings in a folder of their own.

use super::*;

/// A folder that is deleted afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[&str]) -> Self {
        let name = format!("aerial-recordings-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        for file in files {
            fs::write(folder.join(file), file).unwrap();
        }
        Self(folder)
    }

    fn recordings(&self) -> Recordings {
        Recordings::new(Some(self.0.clone()), EventBus::default())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn query(limit: usize) -> RecordingQuery {
    RecordingQuery {
        limit,
        ..RecordingQuery::default()
    }
}

fn ids(page: &RecordingPage) -> Vec<&str> {
    page.recordings
        .iter()
        .map(|recording| recording.id.as_str())
        .collect()
}

const FILES: [&str; 5] = [
    "cam-1-20260101T000000Z.mkv",
    "cam-20260102T000000Z-00000.mp4",
    "cam-20260102T000000Z-00001.mp4",
    "notes.txt",
    "cam.mkv",
];

#[tokio::test]
async fn only_recordings_are_shown_and_deleted() {
    let folder = Folder::new("only", &FILES);
    let link = "cam-20260103T000000Z.mkv";
    std::os::unix::fs::symlink("/etc/passwd", folder.0.join(link)).unwrap();
    let recordings = folder.recordings();
    let page = recordings.list(query(10)).await.unwrap();
    assert_eq!(ids(&page), ["cam-20260102T000000Z.mp4", FILES[0]]);
    let first = &page.recordings[0];
    assert_eq!(first.started, "2026-01-02T00:00:00Z");
    assert_eq!(
        (first.files.len(), first.bytes, first.growing),
        (2, 60, false)
    );
    for id in [
        "notes.txt",
        "../etc/passwd",
        link,
        "/etc/passwd",
        "..",
        FILES[1],
    ] {
        let opened = recordings.open(id, id).await;
        assert!(opened.is_err() || id == FILES[1], "{id}");
        let deleted = recordings.delete(id).await;
        assert!(matches!(deleted, Err(RecordingError::Missing)), "{id}");
    }
    let elsewhere = recordings.open(FILES[0], FILES[1]).await;
    assert!(matches!(elsewhere, Err(RecordingError::Missing)));
    let mut events = recordings.events.follow(None).receiver;
    recordings.delete("cam-20260102T000000Z.mp4").await.unwrap();
    assert_eq!(events.try_recv().unwrap().what.name(), "recording.deleted");
    assert_eq!(ids(&recordings.list(query(10)).await.unwrap()), [FILES[0]]);
    assert!(folder.0.join("notes.txt").exists() && folder.0.join("cam.mkv").exists());
}

#[tokio::test]
async fn the_list_comes_in_parts() {
    let folder = Folder::new("parts", &FILES);
    let recordings = folder.recordings();
    let first = recordings.list(query(1)).await.unwrap();
    assert_eq!(first.next.as_deref(), Some("cam-20260102T000000Z.mp4"));
    // The last one of a part may have been deleted.
    recordings.delete("cam-20260102T000000Z.mp4").await.unwrap();
    let second = RecordingQuery {
        after: first.next,
        ..query(1)
    };
    let second = recordings.list(second).await.unwrap();
    assert_eq!((ids(&second), second.next.clone()), (vec![FILES[0]], None));
    let of_another = RecordingQuery {
        broadcast: Name::new("cam"),
        ..query(1)
    };
    let none = recordings.list(of_another).await.unwrap();
    assert!(none.recordings.is_empty());
}

#[tokio::test]
async fn without_a_folder_there_are_none() {
    let recordings = Recordings::new(None, EventBus::default());
    let page = recordings.list(query(10)).await.unwrap();
    assert!(page.recordings.is_empty());
    let missing = recordings.get(FILES[0]).await;
    assert!(matches!(missing, Err(RecordingError::Missing)));
}

#[test]
fn recordings_past_their_age_are_deleted() {
    let folder = Folder::new("old", &FILES);
    let old = File::options().write(true).open(folder.0.join(FILES[0]));
    let long_ago = SystemTime::now() - Duration::from_hours(2);
    old.unwrap().set_modified(long_ago).unwrap();
    let retention = Retention {
        max_age: Some(Duration::from_hours(1)),
        ..Retention::default()
    };
    let deleted = clean(&folder.0, &retention).unwrap();
    let recording = (Name::new("cam-1").unwrap(), FILES[0].to_owned());
    assert_eq!(deleted.get(&recording), Some(&"recordings.max_age"));
    assert_eq!(deleted.len(), 1);
    assert!(folder.0.join(FILES[1]).exists() && !folder.0.join(FILES[0]).exists());
}
