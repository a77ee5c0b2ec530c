//! The pipelines of a broadcast: figures for all who may watch; graphs, properties and keyframes
//! for the operator.

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
    broadcast::{Drawing, PipelineFigures},
    plan::Name,
};

/// Size of a change of properties, in bytes.
const CHANGES_BYTES_MAX: usize = 16 << 10;
/// Maximum number of graphs drawn at the same time.
pub(super) const DRAWINGS_MAX: usize = 2;

/// What hangs below a pipeline's URL.
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

#[derive(Serialize)]
struct List {
    pipelines: Vec<PipelineFigures>,
}

pub(super) async fn list(app: &App, name: &Name, for_operator: bool) -> Result<Response, Problem> {
    let mut pipelines = app.broadcasts.pipelines_of(name).await?;
    if for_operator {
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
        PipelinePart::Graph(drawing) => graph(app, name, pipeline, drawing).await,
        PipelinePart::Keyframe => {
            app.broadcasts.force_keyframe(name, pipeline).await?;
            Ok(empty(StatusCode::ACCEPTED))
        }
        PipelinePart::Properties => {
            if request.method == Method::PATCH {
                let changes = changes(app, request).await?;
                app.broadcasts.adjust(name, pipeline, changes).await?;
            }
            let properties = app.broadcasts.properties(name, pipeline).await?;
            json(&serde_json::json!({ "properties": properties }))
        }
    }
}

async fn graph(
    app: &App,
    name: &Name,
    pipeline: &str,
    drawing: Drawing,
) -> Result<Response, Problem> {
    let permit = app.drawings.try_acquire();
    let permit =
        permit.map_err(|_| Problem::full("the server has reached its limit of graph drawings"))?;
    let drawn = app.broadcasts.graph(name, pipeline, drawing).await?;
    drop(permit);
    let kind = match drawing {
        Drawing::Dot => "text/vnd.graphviz; charset=utf-8",
        Drawing::Svg => "image/svg+xml",
    };
    let mut response = with_body(StatusCode::OK, kind, drawn);
    set(&mut response, &header::CACHE_CONTROL, "no-store");
    let policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
    set(&mut response, &header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// `{"element.property": value}`.
async fn changes(app: &App, mut request: HttpRequest) -> Result<Vec<(String, String)>, Problem> {
    let body = request.body(CHANGES_BYTES_MAX, app.options.body_timeout);
    let body = body.await?;
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
