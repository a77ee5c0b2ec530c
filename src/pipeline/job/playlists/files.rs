//! The numbered files of an HLS sink. Their numbers go on where the files on the disk end: a file that a
//! playlist or a cache still knows is never written over.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
};

/// Files such as `video-00012.m4s`.
#[derive(Debug)]
pub(super) struct NumberedFiles {
    folder: PathBuf,
    prefix: String,
    digits: usize,
    suffix: String,
    /// The number that stands for the sink's 0.
    first: u64,
    /// How many are kept; 0 means all.
    max: usize,
    /// Those that are there, from the oldest.
    kept: VecDeque<u64>,
}

impl NumberedFiles {
    /// Those that follow a location like `/srv/video-%05d.m4s`, and what of them is on the disk. `None` if
    /// this is no such location.
    pub(super) fn find(location: &str, max: usize) -> Option<Self> {
        let path = Path::new(location);
        let (prefix, rest) = path.file_name()?.to_str()?.split_once('%')?;
        let (digits, suffix) = rest.split_once('d')?;
        if suffix.contains('%') || digits.bytes().any(|digit| !digit.is_ascii_digit()) {
            return None;
        }
        let mut files = Self {
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            prefix: prefix.to_owned(),
            digits: digits.parse().unwrap_or(0),
            suffix: suffix.to_owned(),
            first: 0,
            max,
            kept: VecDeque::new(),
        };
        files.look();
        Some(files)
    }

    fn look(&mut self) {
        let folder = match &self.folder {
            folder if folder.as_os_str().is_empty() => Path::new("."),
            folder => folder,
        };
        // Err: the sink will say that it cannot write there.
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut numbers: Vec<_> = names.filter_map(|name| self.number(&name)).collect();
        numbers.sort_unstable();
        self.first = numbers.last().map_or(0, |last| last + 1);
        if self.max > 0 {
            self.kept = numbers.into();
        }
    }

    /// The number in the name of such a file.
    fn number(&self, name: &str) -> Option<u64> {
        let digits = name
            .strip_prefix(&self.prefix)?
            .strip_suffix(&self.suffix)?;
        if digits.bytes().any(|digit| !digit.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok()
    }

    /// The name of the file that the sink calls by this one, and its number.
    fn continued(&self, name: &str) -> Option<(String, u64)> {
        let number = self.number(name)?.checked_add(self.first)?;
        let Self {
            prefix,
            digits,
            suffix,
            ..
        } = self;
        Some((format!("{prefix}{number:0digits$}{suffix}"), number))
    }

    /// Where to write what the sink wants to write here.
    pub(super) fn begin(&mut self, location: &str) -> Option<PathBuf> {
        let name = Path::new(location).file_name()?.to_str()?;
        let (name, number) = self.continued(name)?;
        if self.max > 0 {
            self.kept.push_back(number);
        }
        Some(self.folder.join(name))
    }

    /// The sink's own number of a file, from its URI in a playlist of the sink.
    pub(super) fn index(&self, uri: &str) -> Option<u64> {
        self.number(split(uri).1)
    }

    /// The URI of a file, from that in a playlist of the sink.
    pub(super) fn uri(&self, uri: &str) -> Option<String> {
        let (root, name) = split(uri);
        Some(format!("{root}{}", self.continued(name)?.0))
    }

    /// Removes the oldest, but for those that are kept.
    pub(super) fn remove_oldest(&mut self) {
        while self.kept.len() > self.max
            && let Some(number) = self.kept.pop_front()
        {
            let Self { digits, .. } = *self;
            let name = format!("{}{number:0digits$}{}", self.prefix, self.suffix);
            let path = self.folder.join(name);
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "cannot remove an old segment");
            }
        }
    }
}

/// The root of a URI, and the name of the file.
fn split(uri: &str) -> (&str, &str) {
    uri.split_at(uri.rfind('/').map_or(0, |slash| slash + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_and_the_oldest_files_go() {
        let folder = std::env::temp_dir().join(format!("aerial-numbered-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let others = [
            "video.m3u8",
            "video-init-00009.mp4",
            "video-x.m4s",
            "audio-00009.m4s",
        ];
        for name in ["video-00007.m4s", "video-00008.m4s"].iter().chain(&others) {
            fs::write(folder.join(name), "").unwrap();
        }
        let location = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let mut files = NumberedFiles::find(&location("video-%05d.m4s"), 2).unwrap();
        assert_eq!(
            files.uri("a/b/video-00001.m4s").unwrap(),
            "a/b/video-00010.m4s"
        );
        let path = files.begin(&location("video-00000.m4s")).unwrap();
        assert_eq!(path, folder.join("video-00009.m4s"));
        fs::write(&path, "").unwrap();
        files.remove_oldest();
        let left = |name: &str| folder.join(name).exists();
        assert!(!left("video-00007.m4s") && left("video-00008.m4s") && left("video-00009.m4s"));
        assert!(others.into_iter().all(left));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn other_locations_are_left_to_the_sink() {
        for location in ["video.m4s", "%s.ts", "a%05d-%05d.ts", "a%-5d.ts", ""] {
            assert!(NumberedFiles::find(location, 0).is_none(), "{location}");
        }
    }
}
