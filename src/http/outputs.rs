//! The outputs of a broadcast, which the operator starts and stops.

use ::http::Method;
use serde::{Deserialize, Serialize};
use warp::reply::Response;

use super::{App, ConfigChange, problem::Problem, request::HttpRequest, wire::json};
use crate::{access::Right, amendments::OutputSwitch, broadcast::OutputStatus, plan::Name};

/// Size of a change, in bytes.
const CHANGE_BYTES_MAX: usize = 4 << 10;

/// What the document says about the URL of an output.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "for the document; the router reads URLs")]
struct OutputPath {
    /// The broadcast
    name: Name,
    /// The pipeline: its file's name without `.launch`
    #[param(example = "record-mkv")]
    pipeline: String,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = OutputList)]
struct List {
    outputs: Vec<OutputStatus>,
}

/// What may be changed.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct OutputChange {
    /// Whether it runs whenever the broadcast is live.
    running: bool,
}

/// List the outputs
///
/// Those that the configuration starts and those that the API has started, whether the broadcast is on air or not.
#[utoipa::path(
    get,
    path = "/api/v1/broadcasts/{name}/outputs",
    operation_id = "outputs",
    tag = "pipelines",
    params(("name" = Name, Path, description = "The broadcast")),
    security(("token" = ["admin"])),
    responses((status = 200, body = List))
)]
pub(super) async fn list(
    app: &App,
    name: &Name,
    request: &HttpRequest,
) -> Result<Response, Problem> {
    app.auth.permit_right(request, Right::Admin)?;
    let outputs = app.broadcasts.outputs_of(name).await?;
    json(&List { outputs })
}

pub(super) async fn answer(
    app: &App,
    name: &Name,
    pipeline: &str,
    request: HttpRequest,
) -> Result<Response, Problem> {
    app.auth.permit_right(&request, Right::Admin)?;
    if request.method == Method::PATCH {
        switch(app, name, pipeline, request).await
    } else {
        get(app, name, pipeline).await
    }
}

/// Get an output
#[utoipa::path(
    get,
    path = "/api/v1/broadcasts/{name}/outputs/{pipeline}",
    operation_id = "output",
    tag = "pipelines",
    params(OutputPath),
    security(("token" = ["admin"])),
    responses((status = 200, body = OutputStatus))
)]
async fn get(app: &App, name: &Name, pipeline: &str) -> Result<Response, Problem> {
    let mut outputs = app.broadcasts.outputs_of(name).await?.into_iter();
    let found = outputs.find(|output| output.name == pipeline);
    json(&found.ok_or_else(|| Problem::not_found("output"))?)
}

/// Start or stop an output
///
/// From any output pipeline in the folder of pipelines. It runs whenever the broadcast is live until it is stopped,
/// also after a restart of the server if there is a folder for its state. When it stops, it finishes its files.
#[utoipa::path(
    patch,
    path = "/api/v1/broadcasts/{name}/outputs/{pipeline}",
    operation_id = "switch_output",
    tag = "pipelines",
    params(OutputPath),
    request_body = OutputChange,
    security(("token" = ["admin"])),
    responses(
        (status = 200, body = OutputStatus),
        (status = 422, description = "There is no such pipeline, it is not an output, or the broadcast has too many")
    )
)]
async fn switch(
    app: &App,
    name: &Name,
    pipeline: &str,
    mut request: HttpRequest,
) -> Result<Response, Problem> {
    let body = request
        .body(CHANGE_BYTES_MAX, app.options.body_timeout)
        .await?;
    let OutputChange { running } = request.json(&body, r#"send {"running": true}, or false"#)?;
    let switch = OutputSwitch {
        file: format!("{pipeline}.launch"),
        runs: running,
    };
    let change = ConfigChange::Output(name.clone(), switch);
    app.options.control.change(change).await?;
    let mut outputs = app.broadcasts.outputs_of(name).await?.into_iter();
    let status = outputs.find(|output| output.name == pipeline);
    json(&status.unwrap_or_else(|| OutputStatus::stopped(pipeline)))
}
