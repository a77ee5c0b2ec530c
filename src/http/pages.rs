//! Pages and what belongs to them, from the binary or from a folder.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use ::http::{StatusCode, header};
use bytes::Bytes;
use rust_embed::RustEmbed;
use warp::reply::Response;

use super::{
    headers::PERMISSIONS_POLICY,
    origins::origin,
    preconditions::is_known,
    problem::Problem,
    reply::{empty, set, with_body},
    request::HttpRequest,
};

/// Largest file served from a folder, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

#[derive(RustEmbed)]
#[folder = "web/"]
struct BuiltIn;

/// What a page may do that asks for camera, microphone or screen.
const CAPTURES: &str = "camera=(self), microphone=(self), display-capture=(self), geolocation=(), \
                        midi=(), payment=(), usb=()";
/// What other pages may do.
const CAPTURES_NOTHING: &str = "camera=(), microphone=(), display-capture=(), geolocation=(), \
                                midi=(), payment=(), usb=()";

/// Where pages come from.
pub(super) struct Pages {
    directory: Option<PathBuf>,
    /// What the built-in pages may load and contact, as a Content-Security-Policy.
    policy: String,
}

struct File {
    content: Bytes,
    etag: String,
}

impl Pages {
    /// `servers` are URLs at which the pages may find sessions, besides this server itself.
    pub(super) fn new(directory: Option<PathBuf>, servers: [&Option<String>; 3]) -> Self {
        let servers = servers.into_iter().flatten().filter_map(|url| origin(url));
        let connect: Vec<_> = std::iter::once("'self'".to_owned())
            .chain(servers)
            .collect();
        let connect = connect.join(" ");
        // Pages of the operator's own may need more: they can state a policy in a meta element.
        let policy = if directory.is_some() {
            String::new()
        } else {
            format!(
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                 media-src 'self' blob: mediastream:; connect-src {connect}; \
                 base-uri 'none'; form-action 'self'; "
            )
        };
        Self { directory, policy }
    }

    /// Serves a file. The router lets only harmless paths through: no `..`, nothing hidden.
    pub(super) async fn answer(
        &self,
        path: &str,
        request: HttpRequest,
    ) -> Result<Response, Problem> {
        let file = match &self.directory {
            Some(directory) => read(&directory.join(path)).await?,
            None => built_in(path),
        };
        let file = file.ok_or_else(|| Problem::not_found("page"))?;
        let mut response = if is_known(&request.headers, &file.etag) {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            with_body(StatusCode::OK, &content_type(path), file.content)
        };
        set(&mut response, &header::ETAG, &file.etag);
        // Cached, but checked again each time: a new server brings new pages at once.
        set(&mut response, &header::CACHE_CONTROL, "no-cache");
        if Path::new(path).extension() == Some("html".as_ref()) {
            self.protect(&mut response, path, &request);
        }
        Ok(response)
    }

    /// Only the player may be framed; a page on which one click goes live, never.
    fn protect(&self, response: &mut Response, path: &str, request: &HttpRequest) {
        let framed = path == "watch.html" && request.parameter("embed") == Some("1");
        let ancestors = if framed { "*" } else { "'none'" };
        let policy = format!("{}frame-ancestors {ancestors}", self.policy);
        set(response, &header::CONTENT_SECURITY_POLICY, &policy);
        // Its address may hold a token.
        set(response, &header::REFERRER_POLICY, "same-origin");
        let captures = if path == "publish.html" {
            CAPTURES
        } else {
            CAPTURES_NOTHING
        };
        set(response, &PERMISSIONS_POLICY, captures);
    }
}

/// Sends a browser to an address relative to the one that it asked for.
pub(super) fn moved(target: &str, query: &str) -> Response {
    let mut response = empty(StatusCode::PERMANENT_REDIRECT);
    let question = if query.is_empty() { "" } else { "?" };
    let location = format!("{target}{question}{query}");
    set(&mut response, &header::LOCATION, &location);
    response
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
        return Err(Problem::failed(format!("{} is too large", path.display())));
    }
    let content = tokio::fs::read(path).await.map_err(|error| {
        tracing::warn!(path = %path.display(), %error, "page cannot be read");
        Problem::failed("the page cannot be read")
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

/// The media type of a file, by its name.
fn content_type(path: &str) -> String {
    let guess = mime_guess::from_path(path).first_or_octet_stream();
    if guess.type_() == mime_guess::mime::TEXT {
        format!("{guess}; charset=utf-8")
    } else {
        guess.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_the_pages() {
        for (path, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("js/whip.js", "text/javascript; charset=utf-8"),
            ("css/a.css", "text/css; charset=utf-8"),
            ("favicon.svg", "image/svg+xml"),
            ("pause.png", "image/png"),
            ("js/unknown", "application/octet-stream"),
        ] {
            assert_eq!(content_type(path), expected, "{path}");
        }
    }
}
