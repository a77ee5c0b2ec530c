//! The configuration: the operator sees it without its secrets, and changes what takes no restart.

use std::collections::BTreeMap;

use ::http::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use warp::reply::Response;

use super::{App, ConfigChange, problem::Problem, reply::empty, request::HttpRequest, wire::json};
use crate::{access::Right, amendments::BroadcastChange, plan::Name};

/// Size of a change, in bytes.
const CHANGE_BYTES_MAX: usize = 64 << 10;

/// The configuration without its secrets.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[schema(as = Configuration)]
pub struct ConfigView {
    /// Every option by its key.
    pub options: BTreeMap<&'static str, OptionView>,
    /// The sections about broadcasts. Of two sections for the same broadcast, the first one wins.
    pub sections: Vec<SectionView>,
}

/// An option.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OptionView {
    /// As a file or a flag would have it; `null` if it is unset.
    pub value: Option<String>,
    /// Where it is set.
    #[schema(examples("aerial.toml:12"))]
    pub origin: String,
    /// Whether `PATCH` may set it.
    pub changeable: bool,
}

/// A section about some broadcasts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SectionView {
    /// The name of the broadcast, or a pattern.
    pub broadcasts: String,
    /// Where the section is.
    pub origin: String,
    /// Whether the API has made it, and may change it.
    pub changeable: bool,
    /// The keys that are set. The values of variables are not shown.
    #[schema(value_type = Object)]
    pub keys: Map<String, Value>,
}

pub(super) async fn answer(app: &App, request: HttpRequest) -> Result<Response, Problem> {
    app.auth.permit_right(&request, Right::Admin)?;
    if request.method == Method::PATCH {
        patch(app, request).await
    } else {
        get(app)
    }
}

/// Get the configuration
///
/// Every option with what holds now and where it is set, and every section of broadcasts. Secrets are not shown.
#[utoipa::path(
    get,
    path = "/api/v1/configuration",
    operation_id = "configuration",
    tag = "configuration",
    security(("token" = ["admin"])),
    responses((status = 200, body = ConfigView))
)]
fn get(app: &App) -> Result<Response, Problem> {
    json(&*app.now().configuration)
}

/// Set options
///
/// As `{"log": "debug"}`: all or none, and those that take no restart. `null` restores what is configured. It
/// overrides files, variables and flags, also after a restart if there is a folder for the server's state.
#[utoipa::path(
    patch,
    path = "/api/v1/configuration",
    operation_id = "configure",
    tag = "configuration",
    request_body(content = BTreeMap<String, Value>, description = "Values by key: a text, a number, true or false, a list of these, or null"),
    security(("token" = ["admin"])),
    responses(
        (status = 200, body = ConfigView),
        (status = 422, description = "There is no such option, the API may not set it, or it does not accept this value")
    )
)]
async fn patch(app: &App, request: HttpRequest) -> Result<Response, Problem> {
    let changes = object(app, request, r#"send {"key": value}"#).await?;
    let mut options = BTreeMap::new();
    for (key, value) in changes {
        let value = match &value {
            Value::Null => None,
            value => Some(text(value).ok_or_else(|| {
                let why =
                    format!("{key} must be a text, a number, true or false, or a list of these");
                Problem::bad_request(&why)
            })?),
        };
        options.insert(key, value);
    }
    let change = ConfigChange::Options(options);
    app.options.control.change(change).await?;
    get(app)
}

/// A value as a file's reader takes it.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(text).collect();
            items.map(|items| items.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

pub(super) async fn answer_broadcast(
    app: &App,
    name: &Name,
    request: HttpRequest,
) -> Result<Response, Problem> {
    app.auth.permit_right(&request, Right::Admin)?;
    match request.method {
        Method::PUT => put_broadcast(app, name, request).await,
        Method::PATCH => patch_broadcast(app, name, request).await,
        Method::DELETE => delete_broadcast(app, name).await,
        _ => get_broadcast(app, name),
    }
}

/// Get the entry of a broadcast
///
/// Only one that the API has made.
#[utoipa::path(
    get,
    path = "/api/v1/configuration/broadcasts/{name}",
    operation_id = "broadcast_configuration",
    tag = "configuration",
    params(("name" = Name, Path, description = "The broadcast")),
    security(("token" = ["admin"])),
    responses((status = 200, body = SectionView))
)]
fn get_broadcast(app: &App, name: &Name) -> Result<Response, Problem> {
    let now = app.now();
    let mut sections = now.configuration.sections.iter();
    let found = sections.find(|section| section.changeable && section.broadcasts == name.as_str());
    json(found.ok_or_else(|| Problem::not_found("entry that the API has made"))?)
}

/// Create or replace the entry of a broadcast
///
/// With the keys of `[broadcasts.NAME]` in the configuration file. Key by key, it overrides that section.
#[utoipa::path(
    put,
    path = "/api/v1/configuration/broadcasts/{name}",
    operation_id = "configure_broadcast",
    tag = "configuration",
    params(("name" = Name, Path, description = "The broadcast")),
    request_body(content = BTreeMap<String, Value>, description = "Keys as in `[broadcasts.NAME]`"),
    security(("token" = ["admin"])),
    responses(
        (status = 200, body = SectionView),
        (status = 422, description = "The configuration would be invalid; nothing has changed")
    )
)]
async fn put_broadcast(app: &App, name: &Name, request: HttpRequest) -> Result<Response, Problem> {
    let keys = object(app, request, r#"send {"key": value}"#).await?;
    change(app, name, BroadcastChange::Put(keys)).await?;
    get_broadcast(app, name)
}

/// Change the entry of a broadcast
///
/// Or create it. Only these keys change; `null` removes one. Variables are merged in the same way.
#[utoipa::path(
    patch,
    path = "/api/v1/configuration/broadcasts/{name}",
    operation_id = "change_broadcast",
    tag = "configuration",
    params(("name" = Name, Path, description = "The broadcast")),
    request_body(content = BTreeMap<String, Value>, description = "Keys as in `[broadcasts.NAME]`"),
    security(("token" = ["admin"])),
    responses(
        (status = 200, body = SectionView),
        (status = 422, description = "The configuration would be invalid; nothing has changed")
    )
)]
async fn patch_broadcast(
    app: &App,
    name: &Name,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let keys = object(app, request, r#"send {"key": value}"#).await?;
    change(app, name, BroadcastChange::Patch(keys)).await?;
    get_broadcast(app, name)
}

/// Delete the entry of a broadcast
///
/// The entry in the configuration file, if there is one, applies again.
#[utoipa::path(
    delete,
    path = "/api/v1/configuration/broadcasts/{name}",
    operation_id = "delete_broadcast",
    tag = "configuration",
    params(("name" = Name, Path, description = "The broadcast")),
    security(("token" = ["admin"])),
    responses(
        (status = 204, description = "Deleted"),
        (status = 422, description = "The configuration would be invalid; nothing has changed")
    )
)]
async fn delete_broadcast(app: &App, name: &Name) -> Result<Response, Problem> {
    change(app, name, BroadcastChange::Delete).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn change(app: &App, name: &Name, change: BroadcastChange) -> Result<(), Problem> {
    let change = ConfigChange::Broadcast(name.clone(), change);
    app.options.control.change(change).await.map(drop)
}

async fn object(
    app: &App,
    mut request: HttpRequest,
    wanted: &str,
) -> Result<Map<String, Value>, Problem> {
    let body = request
        .body(CHANGE_BYTES_MAX, app.options.body_timeout)
        .await?;
    request.json(&body, wanted)
}
