//! Pages and what belongs to them, from the binary or from a folder.

mod accent;
mod compression;
mod escape;
mod files;
mod head;
pub(super) mod oembed;
mod theme;

use std::path::Path;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use warp::reply::Response;

pub use self::theme::Theme;
use self::{
    compression::{Coding, Compression},
    files::{Files, PageFile},
    head::PagePlace,
    theme::{LOGO, MANIFEST, PARTS, STYLE},
};
pub(super) use self::{
    escape::escape,
    head::{ShownBroadcast, Site},
    oembed::answer as oembed,
};
use super::{
    Options,
    headers::PERMISSIONS_POLICY,
    origins::origin,
    preconditions::is_known,
    problem::Problem,
    reply::{empty, set, with_body},
    request::{HttpRequest, PATH_BYTES_MAX},
};
use crate::plan::Name;

/// What a page may do that asks for camera, microphone or screen.
const CAPTURES: &str = "camera=(self), microphone=(self), display-capture=(self), geolocation=(), \
                        midi=(), payment=(), usb=()";
/// What other pages may do.
const CAPTURES_NOTHING: &str = "camera=(), microphone=(), display-capture=(), geolocation=(), \
                                midi=(), payment=(), usb=()";
/// What an operator's logo may do where it is opened as a page.
const LOGO_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
/// Cached, but revalidated each time, so that a new server shows new pages at once.
const CHECKED: &str = "no-cache";
/// An address with the version of the pages in it never gets other content.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// The page for addresses that lead nowhere.
const MISSING: &str = "missing.html";
/// The page of a broadcast.
pub(super) const WATCH: &str = "watch.html";
/// Stands for the file of a page that the program has written.
const WRITTEN: &str = "written.html";

/// Where pages come from.
pub(super) struct Pages {
    files: Files,
    compression: Compression,
    theme: Theme,
    /// What the built-in pages may load and contact, as a Content-Security-Policy.
    policy: String,
}

/// A file as its address names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FilePath<'a> {
    /// Below the folder of the pages.
    pub(super) path: &'a str,
    /// The version of the pages that it belongs to, if the address has one.
    pub(super) version: Option<&'a str>,
}

/// The parts of a request that matter here. Without its body it can be shared between threads.
pub(super) struct PageRequest<'a> {
    method: &'a Method,
    path: &'a str,
    query: &'a str,
    headers: &'a HeaderMap,
    /// Whether the page is for a frame.
    is_embedded: bool,
    /// The broadcast whose page it may be.
    pub(super) broadcast: Option<ShownBroadcast>,
}

impl<'a> From<&'a HttpRequest> for PageRequest<'a> {
    fn from(request: &'a HttpRequest) -> Self {
        Self {
            method: &request.method,
            path: &request.path,
            query: &request.query,
            headers: &request.headers,
            is_embedded: request.parameter("embed") == Some("1"),
            broadcast: None,
        }
    }
}

impl PageRequest<'_> {
    fn header(&self, name: &HeaderName) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// The content, before compression.
struct Content {
    status: StatusCode,
    file: PageFile,
    cached: &'static str,
}

/// The compressed content.
struct Packed {
    content: Bytes,
    coding: Coding,
}

impl Pages {
    pub(super) fn new(options: &Options) -> Self {
        // URLs at which the pages may find sessions, besides this server itself.
        let servers = [
            &options.public_url,
            &options.redirect_publishers,
            &options.redirect_viewers,
        ];
        let servers = servers.into_iter().flatten().filter_map(|url| origin(url));
        let connect: Vec<_> = std::iter::once("'self'".to_owned())
            .chain(servers)
            .collect();
        let connect = connect.join(" ");
        // Pages of the operator's own may need more: they can state a policy in a meta element.
        let policy = if options.web.is_some() {
            String::new()
        } else {
            format!(
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                 media-src 'self' blob: mediastream:; connect-src {connect}; manifest-src 'self'; \
                 base-uri 'none'; form-action 'self'; "
            )
        };
        Self {
            files: Files::new(options.web.clone()),
            compression: Compression::default(),
            theme: options.theme.clone(),
            policy,
        }
    }

    /// Serves a file. The router lets only harmless paths through: no `..`, nothing hidden.
    pub(super) async fn answer(
        &self,
        wanted: FilePath<'_>,
        request: &PageRequest<'_>,
        site: &Site<'_>,
    ) -> Result<Response, Problem> {
        let mut file = self
            .find(wanted.path)
            .await?
            .ok_or_else(|| Problem::not_found("page"))?;
        if is_page(wanted.path) {
            file = self.complete(&file, request, site).await?;
        }
        let is_current = wanted.version.is_some() && wanted.version == self.files.version();
        let content = Content {
            status: StatusCode::OK,
            file,
            cached: if is_current { IMMUTABLE } else { CHECKED },
        };
        Ok(self.reply(content, wanted.path, request).await)
    }

    /// A file as the operator wants it.
    async fn find(&self, path: &str) -> Result<Option<PageFile>, Problem> {
        match (path, &self.theme.logo) {
            (LOGO, Some(logo)) => files::read(logo).await,
            (STYLE, _) => Ok(self.theme.style()),
            (MANIFEST, _) => {
                let file = self.files.read(path).await?;
                Ok(file.map(|file| self.theme.manifest(file)))
            }
            _ => self.files.read(path).await,
        }
    }

    /// Serves a page that the program has written.
    pub(super) async fn show(
        &self,
        text: &str,
        request: &PageRequest<'_>,
        site: &Site<'_>,
    ) -> Result<Response, Problem> {
        let file = PageFile::of_text(text.to_owned());
        let content = Content {
            status: StatusCode::OK,
            file: self.complete(&file, request, site).await?,
            cached: CHECKED,
        };
        Ok(self.reply(content, WRITTEN, request).await)
    }

    /// What a browser gets at an address that leads nowhere: the page of the broadcast with this name, or one that
    /// says so. Programs get the problem.
    pub(super) async fn missing(
        &self,
        request: &PageRequest<'_>,
        site: &Site<'_>,
    ) -> Result<Response, Problem> {
        let problem = || Problem::not_found("resource");
        if !is_person(request) || request.path.len() > PATH_BYTES_MAX {
            return Err(problem());
        }
        if let Some(target) = watch_page(request.path) {
            return Ok(moved(
                StatusCode::TEMPORARY_REDIRECT,
                &target,
                request.query,
            ));
        }
        let file = self.files.read(MISSING).await?.ok_or_else(problem)?;
        let content = Content {
            status: StatusCode::NOT_FOUND,
            file: self.complete(&file, request, site).await?,
            cached: CHECKED,
        };
        Ok(self.reply(content, MISSING, request).await)
    }

    /// A page with its parts, and with what depends on its address.
    async fn complete(
        &self,
        file: &PageFile,
        request: &PageRequest<'_>,
        site: &Site<'_>,
    ) -> Result<PageFile, Problem> {
        let mut page = String::from_utf8_lossy(&file.content).into_owned();
        for part in PARTS {
            if page.contains(part.mark) {
                let text = self.files.read_part(part.file).await?;
                page = page.replace(part.mark, text.trim_end());
            }
        }
        let place = PagePlace {
            depth: request.path.matches('/').count().saturating_sub(1),
            version: self.files.version(),
            broadcast: request.broadcast.as_ref(),
            theme: &self.theme,
        };
        Ok(PageFile::of_text(place.complete(&page, site)))
    }

    /// The media type of a file.
    fn content_type(&self, path: &str) -> String {
        match &self.theme.logo {
            Some(logo) if path == LOGO => content_type(logo),
            _ => content_type(Path::new(path)),
        }
    }

    async fn reply(&self, content: Content, path: &str, request: &PageRequest<'_>) -> Response {
        let kind = self.content_type(path);
        let negotiated = compression::is_worthwhile(&kind)
            .then(|| compression::wanted(request.header(&header::ACCEPT_ENCODING)));
        let coding = negotiated.flatten();
        let mut etag = match coding {
            Some(coding) => content.file.etag_of(coding.name()),
            None => content.file.etag.clone(),
        };
        let is_current = content.status == StatusCode::OK && is_known(request.headers, &etag);
        let mut response = if is_current {
            empty(StatusCode::NOT_MODIFIED)
        } else if let Some(packed) = self.pack(&content.file, path, coding).await {
            let mut response = with_body(content.status, &kind, packed.content);
            set(
                &mut response,
                &header::CONTENT_ENCODING,
                packed.coding.name(),
            );
            response
        } else {
            etag.clone_from(&content.file.etag);
            with_body(content.status, &kind, content.file.content)
        };
        if negotiated.is_some() {
            let vary = HeaderValue::from_static("Accept-Encoding");
            response.headers_mut().append(header::VARY, vary);
        }
        set(&mut response, &header::ETAG, &etag);
        set(&mut response, &header::CACHE_CONTROL, content.cached);
        if is_page(path) {
            self.protect(&mut response, path, request);
        } else if path == LOGO {
            // A drawing may hold scripts. As a picture it runs none; opened by itself, neither.
            set(&mut response, &header::CONTENT_SECURITY_POLICY, LOGO_POLICY);
        }
        response
    }

    /// `None`: the file is sent as it is.
    async fn pack(&self, file: &PageFile, path: &str, coding: Option<Coding>) -> Option<Packed> {
        let coding = coding?;
        let content = if is_page(path) {
            compression::pack_at_once(file, coding).await?
        } else {
            self.compression.pack(path, file, coding).await?
        };
        Some(Packed { content, coding })
    }

    /// Only the player may be framed; a page on which one click goes live, never.
    fn protect(&self, response: &mut Response, path: &str, request: &PageRequest<'_>) {
        let framed = path == WATCH && request.is_embedded;
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
pub(super) fn moved(status: StatusCode, target: &str, query: &str) -> Response {
    let mut response = empty(status);
    let question = if query.is_empty() { "" } else { "?" };
    let location = format!("{target}{question}{query}");
    set(&mut response, &header::LOCATION, &location);
    response
}

/// Whether somebody reads the reply in a browser, as far as one can tell.
fn is_person(request: &PageRequest<'_>) -> bool {
    let reads = [Method::GET, Method::HEAD].contains(request.method);
    reads && request.header(&header::ACCEPT).contains("text/html")
}

/// `/NAME` and `/NAME/`, relative to themselves, with the page that their readers look for.
fn watch_page(path: &str) -> Option<String> {
    let path = path.strip_prefix('/')?;
    let (name, folder) = match path.strip_suffix('/') {
        Some(name) => (name, "../watch"),
        None => (path, "watch"),
    };
    // A request for robots.txt is for a file.
    let is_file = mime_guess::from_path(name).first().is_some();
    let name = Name::new(name)?;
    (!is_file).then(|| format!("{folder}/{name}"))
}

/// Whether a file is a page.
pub(super) fn is_page(path: &str) -> bool {
    Path::new(path).extension() == Some("html".as_ref())
}

/// The media type of a file, by its name.
fn content_type(path: &Path) -> String {
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
            ("favicon.ico", "image/x-icon"),
            ("manifest.webmanifest", "application/manifest+json"),
            ("js/unknown", "application/octet-stream"),
        ] {
            assert_eq!(content_type(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn names_lead_to_their_pages() {
        let leads = |path| watch_page(path);
        assert_eq!(leads("/demo").as_deref(), Some("watch/demo"));
        assert_eq!(leads("/demo/").as_deref(), Some("../watch/demo"));
        for path in ["/", "//", "/a/b", "/.x", "/whip", "/a%20b", "/robots.txt"] {
            assert_eq!(leads(path), None, "{path}");
        }
    }
}
