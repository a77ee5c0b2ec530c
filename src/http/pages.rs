//! Pages and what belongs to them, from the binary or from a folder.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use ::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use rust_embed::RustEmbed;
use warp::reply::Response;

use super::{
    preconditions::is_known,
    reply::{Problem, empty, set, with_body},
};
use crate::error::Error;

/// Largest file served from a folder, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

#[derive(RustEmbed)]
#[folder = "web/"]
struct BuiltIn;

/// Where pages come from.
pub(super) struct Pages {
    directory: Option<PathBuf>,
}

struct File {
    content: Bytes,
    etag: String,
}

impl Pages {
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    /// Serves a file. The router lets only harmless paths through: no `..`, nothing hidden.
    pub(super) async fn answer(
        &self,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        let file = match &self.directory {
            Some(directory) => read(&directory.join(path)).await?,
            None => built_in(path),
        };
        let file = file.ok_or_else(|| Problem::not_found("page"))?;
        let mut response = if is_known(headers, &file.etag) {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            with_body(StatusCode::OK, content_type(path), file.content)
        };
        set(&mut response, &header::ETAG, &file.etag);
        // Kept, but asked for again each time: a new server brings new pages at once.
        set(&mut response, &header::CACHE_CONTROL, "no-cache");
        set(&mut response, &header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        Ok(response)
    }
}

fn built_in(path: &str) -> Option<File> {
    let file = BuiltIn::get(path)?;
    let content = match file.data {
        std::borrow::Cow::Borrowed(data) => Bytes::from_static(data),
        std::borrow::Cow::Owned(data) => Bytes::from(data),
    };
    let hash = file.metadata.sha256_hash();
    let mut etag = String::from("\"");
    for byte in hash.iter().take(16) {
        // Writing to a String cannot fail.
        let _ = write!(etag, "{byte:02x}");
    }
    etag.push('"');
    Some(File { content, etag })
}

async fn read(path: &Path) -> Result<Option<File>, Problem> {
    let Ok(metadata) = tokio::fs::metadata(path).await else {
        return Ok(None);
    };
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(Error::Failed(format!("{} is too large", path.display())).into());
    }
    let content = tokio::fs::read(path).await.map_err(|error| {
        tracing::warn!(path = %path.display(), %error, "page cannot be read");
        Problem::from(Error::Failed("the page cannot be read".to_owned()))
    })?;
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.unwrap_or_default().as_nanos();
    let etag = format!("\"{modified:x}-{:x}\"", metadata.len());
    Ok(Some(File {
        content: content.into(),
        etag,
    }))
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
