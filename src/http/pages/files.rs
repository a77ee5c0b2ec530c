//! The files of the pages: those in the binary, or those of a folder.

use std::{
    borrow::Cow,
    fmt::Write as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use bytes::Bytes;
use rust_embed::RustEmbed;

use super::super::problem::Problem;

/// Largest file served from a folder, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Where the words of the pages are: one file for each language.
const LANGUAGES: &str = "js/words/";
/// Made from what is there, so that a language is one file.
const LANGUAGE_LIST: &str = "js/words/languages.js";
/// Languages that are listed.
const LANGUAGES_MAX: usize = 200;

#[derive(RustEmbed)]
#[folder = "web/"]
struct BuiltIn;

/// Where the files are.
pub(super) enum Files {
    /// In the binary.
    BuiltIn {
        /// Changes with any of the files.
        version: String,
    },
    /// In a folder of the operator's; they may change at any time.
    Folder(PathBuf),
}

/// A file's content.
pub(super) struct PageFile {
    pub(super) content: Bytes,
    pub(super) etag: String,
}

impl PageFile {
    /// A file that is made for one request.
    pub(super) fn of_text(text: String) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self {
            etag: format!("\"{:016x}\"", hasher.finish()),
            content: text.into(),
        }
    }

    /// The entity tag of the file in another coding.
    pub(super) fn etag_of(&self, coding: &str) -> String {
        let etag = self.etag.trim_end_matches('"');
        format!("{etag}-{coding}\"")
    }
}

impl Files {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        if let Some(folder) = folder {
            return Self::Folder(folder);
        }
        let mut hasher = DefaultHasher::new();
        for path in BuiltIn::iter() {
            let hash = BuiltIn::get(&path).map(|file| file.metadata.sha256_hash());
            (path, hash).hash(&mut hasher);
        }
        Self::BuiltIn {
            version: format!("{:016x}", hasher.finish()),
        }
    }

    /// The version of all files together, if they stay as they are.
    pub(super) fn version(&self) -> Option<&str> {
        match self {
            Self::BuiltIn { version } => Some(version),
            Self::Folder(_) => None,
        }
    }

    pub(super) async fn read(&self, path: &str) -> Result<Option<PageFile>, Problem> {
        let found = match self {
            Self::BuiltIn { .. } => built_in(path),
            Self::Folder(folder) => read(&folder.join(path)).await?,
        };
        if found.is_none() && path == LANGUAGE_LIST {
            return Ok(Some(self.languages().await));
        }
        Ok(found)
    }

    /// The text of a part of pages. Folders without it, which are older, get ours.
    pub(super) async fn read_part(&self, path: &str) -> Result<String, Problem> {
        let own = match self {
            Self::BuiltIn { .. } => None,
            Self::Folder(folder) => read(&folder.join(path)).await?,
        };
        let file = own.or_else(|| built_in(path));
        let content = file.map(|file| file.content).unwrap_or_default();
        Ok(String::from_utf8_lossy(&content).into_owned())
    }

    /// The languages whose words are there, as a module.
    async fn languages(&self) -> PageFile {
        let mut names = match self {
            Self::BuiltIn { .. } => BuiltIn::iter()
                .filter_map(|path| path.strip_prefix(LANGUAGES).map(str::to_owned))
                .collect(),
            Self::Folder(folder) => list(&folder.join(LANGUAGES)).await,
        };
        names.sort_unstable();
        let names = names.iter().filter_map(|name| name.strip_suffix(".js"));
        let names: Vec<_> = names.filter(|name| is_language(name)).collect();
        let list = serde_json::json!(names);
        PageFile::of_text(format!("export default {list};\n"))
    }
}

/// Whether this is a tag as `en` or `zh-Hant`.
fn is_language(name: &str) -> bool {
    name.split('-').all(|part| {
        (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

async fn list(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else {
        return names;
    };
    while names.len() < LANGUAGES_MAX
        && let Ok(Some(entry)) = entries.next_entry().await
    {
        names.extend(entry.file_name().into_string().ok());
    }
    names
}

fn built_in(path: &str) -> Option<PageFile> {
    let file = BuiltIn::get(path)?;
    let content = match file.data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => Bytes::from(data),
    };
    let hash = file.metadata.sha256_hash();
    let mut etag = String::from("\"");
    for byte in hash.iter().take(16) {
        // Writing to a String cannot fail.
        let _ = write!(etag, "{byte:02x}");
    }
    etag.push('"');
    Some(PageFile { content, etag })
}

/// A file on disk, if it is there.
pub(super) async fn read(path: &Path) -> Result<Option<PageFile>, Problem> {
    let Ok(metadata) = tokio::fs::metadata(path).await else {
        return Ok(None);
    };
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(Problem::failed(format!("{} is too large", path.display())));
    }
    let content = tokio::fs::read(path).await.map_err(|error| {
        tracing::warn!(path = %path.display(), %error, "cannot read a page");
        Problem::failed("the page cannot be read")
    })?;
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.unwrap_or_default().as_nanos();
    let etag = format!("\"{modified:x}-{:x}\"", metadata.len());
    Ok(Some(PageFile {
        content: content.into(),
        etag,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_have_tags() {
        for name in ["en", "ko", "zh-Hant", "pt-BR"] {
            assert!(is_language(name), "{name}");
        }
        for name in ["", "x", "languages", "en_GB", "-", "index.test"] {
            assert!(!is_language(name), "{name}");
        }
    }
}
