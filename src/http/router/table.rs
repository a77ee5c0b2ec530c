//! The routes that the API's document describes: all but pages, their files and aliases.

use super::{Naming, Route, is_id};
use crate::{
    http::{extensions::Extension, pipelines::PipelinePart, recordings::RecordingPath},
    peer::sdp::Role,
    plan::Name,
};

/// What begins the paths of the API: of this version, and of the present one.
const API: [&str; 2] = ["/api/v1/", "/api/"];

/// A path, and the route that it leads to.
pub(in crate::http) struct ApiRoute {
    /// Its parameters are names in braces.
    pub(in crate::http) path: &'static str,
    route: for<'a> fn(&Parameters<'a>) -> Option<Route<'a>>,
}

/// The parameters of a path.
pub(super) struct Parameters<'a>(Vec<(&'static str, &'a str)>);

impl<'a> Parameters<'a> {
    fn text(&self, wanted: &str) -> Option<&'a str> {
        let mut all = self.0.iter();
        all.find(|(name, _)| *name == wanted).map(|(_, text)| *text)
    }

    fn name(&self) -> Option<Name> {
        Name::new(self.text("name")?)
    }

    fn number(&self) -> Option<u64> {
        self.text("id")?.parse().ok()
    }

    fn id(&self) -> Option<&'a str> {
        self.text("id").filter(|id| is_id(id))
    }

    fn endpoint(&self, role: Role) -> Option<Route<'a>> {
        Route::endpoint(role, self.text("name")?)
    }

    fn extension(&self, extension: Extension<'a>) -> Option<Route<'a>> {
        Some(Route::Extension(self.id()?, extension))
    }

    fn recording_file(&self) -> Option<Route<'a>> {
        Some(Route::RecordingFile(RecordingPath {
            recording: self.text("recording")?,
            key: self.text("key")?,
            file: self.text("file")?,
        }))
    }

    fn pipeline(&self, last: &str) -> Option<Route<'a>> {
        let part = PipelinePart::of(last)?;
        Some(Route::Pipeline(self.name()?, self.text("pipeline")?, part))
    }
}

macro_rules! table {
    ($($path:literal => $route:expr,)+) => {
        /// Every path. No two match the same.
        pub(in crate::http) const TABLE: &[ApiRoute] =
            &[$(ApiRoute { path: $path, route: $route }),+];
    };
}

table! {
    "/api/v1/broadcasts" => |_| Some(Route::Broadcasts),
    "/api/v1/broadcasts/{name}" => |path| path.name().map(Route::Broadcast),
    "/api/v1/broadcasts/{name}/refusal" => |path| path.name().map(Route::Refusal),
    "/api/v1/broadcasts/{name}/chat" => |path| path.name().map(Route::Chat),
    "/api/v1/broadcasts/{name}/data" => |path| path.name().map(Route::Data),
    "/api/v1/broadcasts/{name}/sessions" => |path| path.name().map(Route::Sessions),
    "/api/v1/broadcasts/{name}/sessions/{id}" => |path| Some(Route::Attendee(path.name()?, path.number()?)),
    "/api/v1/broadcasts/{name}/pipelines" => |path| path.name().map(Route::Pipelines),
    "/api/v1/broadcasts/{name}/pipelines/{pipeline}/graph.dot" => |path| path.pipeline("graph.dot"),
    "/api/v1/broadcasts/{name}/pipelines/{pipeline}/graph.svg" => |path| path.pipeline("graph.svg"),
    "/api/v1/broadcasts/{name}/pipelines/{pipeline}/force-keyframe" => |path| path.pipeline("force-keyframe"),
    "/api/v1/broadcasts/{name}/pipelines/{pipeline}/properties" => |path| path.pipeline("properties"),
    "/api/v1/broadcasts/{name}/outputs" => |path| path.name().map(Route::Outputs),
    "/api/v1/broadcasts/{name}/outputs/{pipeline}" => |path| Some(Route::Output(path.name()?, path.text("pipeline")?)),
    "/api/v1/configuration" => |_| Some(Route::Configuration),
    "/api/v1/configuration/broadcasts/{name}" => |path| path.name().map(Route::BroadcastConfiguration),
    "/api/v1/recordings" => |_| Some(Route::Recordings),
    "/api/v1/recordings/{recording}" => |path| path.text("recording").map(Route::Recording),
    "/api/v1/recordings/{recording}/{key}/{file}" => |path| path.recording_file(),
    "/api/v1/events" => |_| Some(Route::Events),
    "/api/v1/server" => |_| Some(Route::Server),
    "/api/v1/server/load" => |_| Some(Route::Load),
    "/api/v1/openapi.json" => |_| Some(Route::ApiDocument),
    "/api/v1/docs" => |_| Some(Route::ApiPage),
    "/admin/drain" => |_| Some(Route::Drain),
    "/admin/reload" => |_| Some(Route::Reload),
    "/admin/events" => |_| Some(Route::Happenings),
    "/healthz" => |_| Some(Route::Health),
    "/readyz" => |_| Some(Route::Ready),
    "/metrics" => |_| Some(Route::Metrics),
    "/oembed" => |_| Some(Route::OEmbed),
    "/whip" => |_| Some(Route::Endpoint(Role::Publisher, Naming::Token)),
    "/whip/{name}" => |path| path.endpoint(Role::Publisher),
    "/whip/s/{id}" => |path| Some(Route::Session(Role::Publisher, path.id()?)),
    "/whep" => |_| Some(Route::Endpoint(Role::Viewer, Naming::Token)),
    "/whep/{name}" => |path| path.endpoint(Role::Viewer),
    "/whep/s/{id}" => |path| Some(Route::Session(Role::Viewer, path.id()?)),
    "/whep/s/{id}/layer" => |path| path.extension(Extension::Layer),
    "/whep/s/{id}/events" => |path| path.extension(Extension::Events),
    "/whep/s/{id}/events/{stream}" => |path| {
        path.extension(Extension::Selection(path.text("stream").filter(|id| is_id(id))?))
    },
}

impl ApiRoute {
    /// The route of a path. `None` if the table has none like it.
    pub(super) fn find(path: &str) -> Option<Route<'_>> {
        TABLE.iter().find_map(|entry| entry.of(path))
    }

    fn of<'a>(&self, path: &'a str) -> Option<Route<'a>> {
        let parameters = match (below_api(self.path), below_api(path)) {
            (Some(template), Some(path)) => parameters(template, path),
            (None, None) => parameters(self.path, path),
            (Some(_), None) | (None, Some(_)) => None,
        };
        (self.route)(&parameters?)
    }
}

/// The API's paths mean the same with the version and without.
fn below_api(path: &str) -> Option<&str> {
    API.iter().find_map(|start| path.strip_prefix(start))
}

/// The parameters, if the path is like the template.
fn parameters<'a>(template: &'static str, path: &'a str) -> Option<Parameters<'a>> {
    let mut segments = path.split('/');
    let mut found = Vec::new();
    for wanted in template.split('/') {
        let segment = segments.next()?;
        let parameter = wanted
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        match parameter {
            Some(name) if !segment.is_empty() => found.push((name, segment)),
            None if wanted == segment => {}
            Some(_) | None => return None,
        }
    }
    segments.next().is_none().then_some(Parameters(found))
}
