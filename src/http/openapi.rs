//! The API's document (`OpenAPI` 3.1): made from the types and handlers themselves, so that it says
//! what the code does.

mod page;
mod whip;

use std::sync::LazyLock;

use ::http::{StatusCode, header};
use bytes::Bytes;
use utoipa::{
    OpenApi, PartialSchema,
    openapi::{
        self, Components, Content, PathItem, Ref, RefOr, Response as Documented, ResponseBuilder,
        path::Operation,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};
use warp::reply::Response;

use super::{
    api, attendees, chat, configuration, control, events, happened,
    headers::JSON_TYPE,
    health, load, metrics, outputs, pages, pipelines, problem, recordings, refusals,
    reply::{set, with_body},
    shutdown,
};

/// The name of the way in which clients prove who they are.
const TOKEN: &str = "token";
/// The media type of refusals.
const PROBLEM_TYPE: &str = "application/problem+json";
/// Responses that any request may get instead of its own.
const ALWAYS: [(&str, &str); 5] = [
    (
        "401",
        "A token is required, or this one is unknown or has expired",
    ),
    (
        "403",
        "The token does not allow this, or a page of another site has sent it",
    ),
    ("421", "The server does not know the name in `Host`"),
    (
        "429",
        "Too many requests came from this address, or it has reached one of its limits",
    ),
    (
        "503",
        "A limit of the server has been reached, or it is stopping",
    ),
];
/// The same for requests with a body.
const WITH_BODY: [(&str, &str); 4] = [
    ("400", "The body cannot be read"),
    ("408", "The body did not arrive in time"),
    ("413", "The body is too large"),
    ("415", "The body has the wrong type"),
];
/// The same for requests whose path has parameters.
const WITH_PARAMETERS: [(&str, &str); 1] = [("404", "Not found")];

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Aerial",
        description = "The API of a one-to-many WebRTC broadcast server. The paths below `/api/v1` are stable; `/api` without a version means the current one. Refusals are problem documents (RFC 9457).",
        contact(),
        license(name = "MIT", identifier = "MIT")
    ),
    tags(
        (name = "broadcasts", description = "What is on air"),
        (name = "sessions", description = "Who publishes and watches: for the operator"),
        (name = "chat", description = "The chat of a broadcast"),
        (name = "pipelines", description = "What runs for a broadcast"),
        (name = "recordings", description = "What outputs have recorded"),
        (name = "configuration", description = "Configuration, and changes to it while the server runs"),
        (name = "server", description = "The server itself"),
        (name = "whip", description = "Publish (RFC 9725)"),
        (name = "whep", description = "Watch (draft-ietf-wish-whep)"),
        (name = "pages", description = "For other sites and readers")
    ),
    paths(
        api::broadcasts,
        api::broadcast,
        refusals::answer,
        attendees::list,
        attendees::get,
        attendees::move_viewer,
        attendees::kick,
        chat::listen,
        chat::post,
        chat::announce,
        pipelines::list,
        pipelines::dot,
        pipelines::svg,
        pipelines::force_keyframe,
        pipelines::properties,
        pipelines::adjust,
        outputs::list,
        outputs::get,
        outputs::switch,
        recordings::list,
        recordings::get,
        recordings::delete,
        recordings::file,
        events::answer,
        api::server,
        load::answer,
        document,
        page,
        shutdown::drain,
        control::reload,
        configuration::get,
        configuration::patch,
        configuration::get_broadcast,
        configuration::put_broadcast,
        configuration::patch_broadcast,
        configuration::delete_broadcast,
        happened::answer,
        health::alive,
        health::ready,
        metrics::answer,
        pages::oembed::answer,
    )
)]
struct Handlers;

/// The document as JSON.
static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| Bytes::from(complete().to_pretty_json().unwrap_or_default() + "\n"));

/// Get this document
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    operation_id = "document",
    tag = "pages",
    responses((status = 200, content_type = "application/json", body = Object))
)]
pub(super) fn document() -> Response {
    let mut response = with_body(StatusCode::OK, JSON_TYPE, DOCUMENT.clone());
    set(&mut response, &header::CACHE_CONTROL, "no-cache");
    response
}

/// Read this document as a page
#[utoipa::path(
    get,
    path = "/api/v1/docs",
    operation_id = "docs",
    tag = "pages",
    responses(
        (status = 200, content_type = "text/html; charset=utf-8", body = String),
        (status = 304, description = "The page has not changed since `If-None-Match`")
    )
)]
pub(super) fn page() -> &'static str {
    static PAGE: LazyLock<String> = LazyLock::new(|| page::of(&complete()));
    &PAGE
}

/// The whole document.
fn complete() -> openapi::OpenApi {
    let mut document = Handlers::openapi();
    whip::add_to(&mut document.paths);
    for (path, item) in &mut document.paths.paths {
        let has_parameters = path.contains('{');
        for operation in operations(item) {
            complete_operation(operation, has_parameters);
        }
    }
    let components = document.components.get_or_insert_with(Components::new);
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme(TOKEN, scheme);
    let problem = <problem::ProblemBody<'_> as PartialSchema>::schema();
    components.schemas.insert("Problem".to_owned(), problem);
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let all = [
        &mut item.get,
        &mut item.post,
        &mut item.put,
        &mut item.patch,
        &mut item.delete,
    ];
    all.into_iter().flatten()
}

/// Adds what holds for all operations.
fn complete_operation(operation: &mut Operation, has_parameters: bool) {
    let has_body = operation.request_body.is_some();
    let with_body: &[_] = if has_body { &WITH_BODY } else { &[] };
    let with_parameters: &[_] = if has_parameters {
        &WITH_PARAMETERS
    } else {
        &[]
    };
    let problems = ALWAYS.iter().chain(with_body).chain(with_parameters);
    for (status, meaning) in problems {
        operation
            .responses
            .responses
            .entry((*status).to_owned())
            .or_insert_with(|| RefOr::T(refusal(meaning)));
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && status.starts_with(['4', '5'])
        {
            response.content.insert(PROBLEM_TYPE.to_owned(), problem());
        }
    }
    if operation.security.is_none() {
        let anyone = SecurityRequirement::default();
        let token = SecurityRequirement::new(TOKEN, Vec::<String>::new());
        operation.security = Some(vec![anyone, token]);
    }
}

/// A problem document.
fn problem() -> RefOr<Content> {
    RefOr::T(Content::new(Some(Ref::from_schema_name("Problem"))))
}

fn refusal(meaning: &str) -> Documented {
    ResponseBuilder::new().description(meaning).build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::router::{Route, TABLE};

    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

    /// The methods of a path that the document describes.
    fn described(document: &openapi::OpenApi, path: &str) -> BTreeSet<&'static str> {
        let Some(item) = document.paths.paths.get(path) else {
            return BTreeSet::new();
        };
        let all = [
            ("GET", item.get.is_some()),
            ("POST", item.post.is_some()),
            ("PUT", item.put.is_some()),
            ("PATCH", item.patch.is_some()),
            ("DELETE", item.delete.is_some()),
        ];
        all.into_iter()
            .filter(|(_, is_described)| *is_described)
            .map(|(method, _)| method)
            .collect()
    }

    #[test]
    fn every_route_has_a_document_and_every_document_a_route() {
        let document = complete();
        let mut known = BTreeSet::new();
        for entry in TABLE {
            let mut path = entry.path.to_owned();
            for (parameter, value) in [
                ("{name}", "demo"),
                ("{pipeline}", "h264"),
                ("{id}", "7"),
                ("{stream}", "1"),
                ("{recording}", "demo-20260101T000000Z.mp4"),
                ("{key}", "1.a"),
                ("{file}", "index.m3u8"),
            ] {
                path = path.replace(parameter, value);
            }
            let route = Route::of(&path).unwrap_or_else(|| panic!("{path} leads nowhere"));
            let methods = route.methods().split(", ");
            let methods = methods.filter(|method| !["HEAD", "OPTIONS"].contains(method));
            assert_eq!(
                described(&document, entry.path),
                methods.collect(),
                "{}",
                entry.path
            );
            assert!(known.insert(entry.path), "{} twice", entry.path);
        }
        let paths: BTreeSet<_> = document.paths.paths.keys().map(String::as_str).collect();
        assert_eq!(paths, known);
    }

    /// `OPENAPI_REWRITE=1 cargo test --lib openapi` writes it.
    #[test]
    fn the_document_in_the_repository_is_fresh() {
        let text = String::from_utf8(DOCUMENT.to_vec()).unwrap();
        if std::env::var_os("OPENAPI_REWRITE").is_some() {
            std::fs::write(FILE, &text).unwrap();
        }
        let written = std::fs::read_to_string(FILE).unwrap_or_default();
        assert!(
            written == text,
            "docs/openapi.json is not what the code says: run OPENAPI_REWRITE=1 cargo test --lib openapi"
        );
    }

    #[test]
    fn the_page_shows_every_operation() {
        let document = complete();
        let page = page::of(&document);
        for path in document.paths.paths.keys() {
            assert!(page.contains(&format!("<code>{path}</code>")), "{path}");
        }
        assert!(!page.contains("http://") && !page.contains("https://"));
    }
}
