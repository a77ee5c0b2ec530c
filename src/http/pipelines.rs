//! The pipelines of a broadcast: figures for everyone who may watch; graphs, properties and
//! keyframes for the operator.

use ::http::{Method, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use warp::reply::Response;

use super::{
    App,
    problem::Problem,
    reply::{empty, set, with_body},
    request::HttpRequest,
    wire::json,
};
use crate::{
    access::Right,
    broadcast::{Drawing, PipelineFigures, PropertyList},
    plan::Name,
};

/// Size of a change of properties, in bytes.
const CHANGES_BYTES_MAX: usize = 16 << 10;
/// Maximum number of graphs drawn at the same time.
pub(super) const DRAWINGS_MAX: usize = 2;

/// The resources below a pipeline's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PipelinePart {
    /// `graph.dot` and `graph.svg`.
    Graph(Drawing),
    /// `force-keyframe`.
    Keyframe,
    /// `properties`.
    Properties,
}

impl PipelinePart {
    pub(super) fn of(last: &str) -> Option<Self> {
        match last {
            "graph.dot" => Some(Self::Graph(Drawing::Dot)),
            "graph.svg" => Some(Self::Graph(Drawing::Svg)),
            "force-keyframe" => Some(Self::Keyframe),
            "properties" => Some(Self::Properties),
            _ => None,
        }
    }

    /// The value of `Allow`.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Self::Graph(_) => "GET, HEAD, OPTIONS",
            Self::Keyframe => "OPTIONS, POST",
            Self::Properties => "GET, HEAD, OPTIONS, PATCH",
        }
    }
}

/// What the document says about the URL of a pipeline.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "for the document; the router reads URLs")]
struct PipelinePath {
    /// The broadcast
    name: Name,
    /// The pipeline: its file's name without `.launch`
    #[param(example = "demo")]
    pipeline: String,
}

/// The pipelines of a broadcast.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = PipelineList)]
struct List {
    pipelines: Vec<PipelineFigures>,
}

/// List the pipelines
///
/// State, restarts and figures of every pipeline of a broadcast.
#[utoipa::path(
    get,
    path = "/api/v1/broadcasts/{name}/pipelines",
    operation_id = "pipelines",
    tag = "pipelines",
    params(("name" = Name, Path, description = "The broadcast")),
    responses((status = 200, body = List))
)]
pub(super) async fn list(
    app: &App,
    name: &Name,
    request: &HttpRequest,
) -> Result<Response, Problem> {
    app.auth.permit_view(request, name).await?;
    let mut pipelines = app.broadcasts.pipelines_of(name).await?;
    if app.auth.is_operator(request) {
        pipelines.iter_mut().for_each(PipelineFigures::show_error);
    }
    json(&List { pipelines })
}

pub(super) async fn answer(
    app: &App,
    name: &Name,
    pipeline: &str,
    part: PipelinePart,
    request: HttpRequest,
) -> Result<Response, Problem> {
    app.auth.permit_right(&request, Right::Admin)?;
    match part {
        PipelinePart::Graph(Drawing::Dot) => dot(app, name, pipeline).await,
        PipelinePart::Graph(Drawing::Svg) => svg(app, name, pipeline).await,
        PipelinePart::Keyframe => force_keyframe(app, name, pipeline).await,
        PipelinePart::Properties if request.method == Method::PATCH => {
            adjust(app, name, pipeline, request).await
        }
        PipelinePart::Properties => properties(app, name, pipeline).await,
    }
}

/// Force a keyframe
///
/// Its encoders make one, at most one every 500 ms.
#[utoipa::path(
    post,
    path = "/api/v1/broadcasts/{name}/pipelines/{pipeline}/force-keyframe",
    operation_id = "force_keyframe",
    tag = "pipelines",
    params(PipelinePath),
    security(("token" = ["admin"])),
    responses(
        (status = 202, description = "It comes"),
        (status = 409, description = "The pipeline is not running")
    )
)]
async fn force_keyframe(app: &App, name: &Name, pipeline: &str) -> Result<Response, Problem> {
    app.broadcasts.force_keyframe(name, pipeline).await?;
    Ok(empty(StatusCode::ACCEPTED))
}

/// List the adjustable properties
///
/// Those that the pipeline's file declares adjustable.
#[utoipa::path(
    get,
    path = "/api/v1/broadcasts/{name}/pipelines/{pipeline}/properties",
    operation_id = "properties",
    tag = "pipelines",
    params(PipelinePath),
    security(("token" = ["admin"])),
    responses(
        (status = 200, body = PropertyList),
        (status = 409, description = "The pipeline is not running")
    )
)]
async fn properties(app: &App, name: &Name, pipeline: &str) -> Result<Response, Problem> {
    json(&app.broadcasts.properties(name, pipeline).await?)
}

/// Set adjustable properties
///
/// All or none, as `{"element.property": value}`. A restart of the pipeline resets them to what its file says.
#[utoipa::path(
    patch,
    path = "/api/v1/broadcasts/{name}/pipelines/{pipeline}/properties",
    operation_id = "adjust",
    tag = "pipelines",
    params(PipelinePath),
    request_body(content = std::collections::HashMap<String, Value>, description = "`{\"element.property\": value}`: a number, a text, true or false"),
    security(("token" = ["admin"])),
    responses(
        (status = 200, body = PropertyList),
        (status = 409, description = "The pipeline is not running"),
        (status = 422, description = "A property is not adjustable, or a value does not fit")
    )
)]
async fn adjust(
    app: &App,
    name: &Name,
    pipeline: &str,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let changes = changes(app, request).await?;
    app.broadcasts.adjust(name, pipeline, changes).await?;
    properties(app, name, pipeline).await
}

/// Draw the pipeline's graph
///
/// With its figures, in Graphviz' language. May hold secrets: the values of properties.
#[utoipa::path(
    get,
    path = "/api/v1/broadcasts/{name}/pipelines/{pipeline}/graph.dot",
    operation_id = "graph_dot",
    tag = "pipelines",
    params(PipelinePath),
    security(("token" = ["admin"])),
    responses(
        (status = 200, content_type = "text/vnd.graphviz; charset=utf-8", body = String),
        (status = 409, description = "The pipeline is not running")
    )
)]
async fn dot(app: &App, name: &Name, pipeline: &str) -> Result<Response, Problem> {
    let kind = "text/vnd.graphviz; charset=utf-8";
    graph(app, name, pipeline, Drawing::Dot, kind).await
}

/// Draw the pipeline's graph as a picture
///
/// With its figures. May hold secrets: the values of properties.
#[utoipa::path(
    get,
    path = "/api/v1/broadcasts/{name}/pipelines/{pipeline}/graph.svg",
    operation_id = "graph_svg",
    tag = "pipelines",
    params(PipelinePath),
    security(("token" = ["admin"])),
    responses(
        (status = 200, content_type = "image/svg+xml", body = String),
        (status = 409, description = "The pipeline is not running"),
        (status = 501, description = "Graphviz is not installed")
    )
)]
async fn svg(app: &App, name: &Name, pipeline: &str) -> Result<Response, Problem> {
    graph(app, name, pipeline, Drawing::Svg, "image/svg+xml").await
}

async fn graph(
    app: &App,
    name: &Name,
    pipeline: &str,
    drawing: Drawing,
    kind: &str,
) -> Result<Response, Problem> {
    let permit = app.drawings.try_acquire();
    let permit =
        permit.map_err(|_| Problem::full("the server has reached its limit of graph drawings"))?;
    let drawn = app.broadcasts.graph(name, pipeline, drawing).await?;
    drop(permit);
    let mut response = with_body(StatusCode::OK, kind, drawn);
    set(&mut response, &header::CACHE_CONTROL, "no-store");
    let policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
    set(&mut response, &header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// `{"element.property": value}`.
async fn changes(app: &App, mut request: HttpRequest) -> Result<Vec<(String, String)>, Problem> {
    let body = request
        .body(CHANGES_BYTES_MAX, app.options.body_timeout)
        .await?;
    let wanted = r#"send {"element.property": value}"#;
    let Value::Object(changes) = request.json(&body, wanted)? else {
        return Err(Problem::bad_request(wanted));
    };
    let text = |(name, value)| {
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                let why = format!("{name} must be a number, a text, true or false");
                return Err(Problem::bad_request(&why));
            }
        };
        Ok((name, text))
    };
    changes.into_iter().map(text).collect()
}
