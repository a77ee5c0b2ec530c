//! Dispatches an admitted request to its handler.

use ::http::StatusCode;
use warp::reply::Response;

use super::{
    App, api, attendees, chat, configuration, control, endpoint, events, extensions, happened,
    health, load, metrics, openapi, operator, outputs,
    pages::{self, FilePath, PageRequest, ShownBroadcast, Site, WATCH},
    pipelines,
    problem::Problem,
    recordings, refusals,
    request::{Door, HttpRequest},
    resource,
    router::Route,
    shutdown,
};
use crate::plan::{About, Name};

impl App {
    pub(super) async fn dispatch(
        &self,
        route: &Route<'_>,
        request: HttpRequest,
    ) -> Result<Response, Problem> {
        if request.door != Door::Public {
            operator::admit(self, route, &request)?;
        }
        match route {
            Route::Endpoint(role, naming) => endpoint::answer(self, *role, *naming, request).await,
            Route::Session(role, id) => resource::answer(self, *role, id, request).await,
            Route::Extension(id, extension) => {
                extensions::answer(self, id, *extension, request).await
            }
            Route::Broadcasts => api::broadcasts(self, &request),
            Route::Broadcast(name) => api::broadcast(self, name, &request).await,
            Route::Pipelines(name) => pipelines::list(self, name, &request).await,
            Route::Pipeline(name, pipeline, part) => {
                pipelines::answer(self, name, pipeline, *part, request).await
            }
            Route::Configuration => configuration::answer(self, request).await,
            Route::BroadcastConfiguration(name) => {
                configuration::answer_broadcast(self, name, request).await
            }
            Route::Recordings => recordings::list(self, &request).await,
            Route::Recording(id) => recordings::answer(self, id, &request).await,
            Route::RecordingFile(path) => recordings::file(self, *path, &request).await,
            Route::Outputs(name) => outputs::list(self, name, &request).await,
            Route::Output(name, pipeline) => outputs::answer(self, name, pipeline, request).await,
            Route::Sessions(name) => attendees::list(self, name, &request).await,
            Route::Attendee(name, number) => attendees::answer(self, name, *number, request).await,
            Route::Chat(name) => chat::answer(self, name, request).await,
            Route::Data(name) => chat::announce(self, name, request).await,
            Route::Refusal(name) => refusals::answer(self, name, &request).await,
            Route::Events => events::answer(self, &request),
            Route::Server => api::server(self),
            Route::Load => load::answer(self, &request),
            Route::ApiDocument => Ok(openapi::document()),
            Route::ApiPage => self.api_page(&request).await,
            Route::Health => health::alive(self),
            Route::Ready => health::ready(self),
            Route::Metrics => metrics::answer(self, &request),
            Route::Happenings => happened::answer(self, &request),
            Route::Drain => shutdown::drain(self, &request),
            Route::Reload => control::reload(self, &request).await,
            Route::OEmbed => {
                let site = self.site(&request);
                pages::oembed(&request, &Site(&site), &self.options.theme)
            }
            Route::File(file) => self.file(*file, &request).await,
            Route::Moved(target) => {
                let status = StatusCode::PERMANENT_REDIRECT;
                Ok(pages::moved(status, target, &request.query))
            }
        }
    }

    async fn file(&self, file: FilePath<'_>, request: &HttpRequest) -> Result<Response, Problem> {
        let site = self.site(request);
        let mut page = PageRequest::from(request);
        if file.path == WATCH {
            page.broadcast = self.shown_broadcast(request);
        }
        self.pages.answer(file, &page, &Site(&site)).await
    }

    /// The broadcast whose page is requested. A client that may not see it learns only its name,
    /// which is in the address.
    fn shown_broadcast(&self, request: &HttpRequest) -> Option<ShownBroadcast> {
        let name = request.path.rsplit('/').next().and_then(Name::new)?;
        let may_know = self.auth.view(request).is_ok_and(|view| view.shows(&name));
        let about = if may_know {
            self.broadcasts.about(&name)
        } else {
            About::default()
        };
        Some(ShownBroadcast { name, about })
    }

    async fn api_page(&self, request: &HttpRequest) -> Result<Response, Problem> {
        let site = self.site(request);
        let request = PageRequest::from(request);
        self.pages
            .show(openapi::page(), &request, &Site(&site))
            .await
    }
}
