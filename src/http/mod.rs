//! WHIP, WHEP, session URLs, the API, events, metrics and pages over HTTP/1.1 and HTTP/2, with or
//! without TLS.
//!
//! The only room that names warp. One filter collects the parts of a request, the `router` says
//! what it is for, and handlers return replies, never rejections. Nothing here decides anything
//! about broadcasts.

mod activity;
mod admission;
mod api;
mod attendees;
mod auth;
mod authority;
mod certificate;
mod chat;
mod clients;
mod configuration;
mod connections;
mod control;
mod cors;
mod dispatch;
mod endpoint;
mod events;
mod extensions;
mod forwarded;
mod happened;
mod headers;
mod health;
mod ice_servers;
mod judgement;
mod lease;
mod limit_tells;
mod load;
mod metrics;
mod openapi;
mod operator;
mod origins;
mod outputs;
mod pages;
mod patience;
mod pipelines;
mod preconditions;
mod problem;
mod proxies;
mod proxy_header;
mod ranges;
mod recording_keys;
mod recordings;
mod refusals;
mod relay;
mod reply;
mod request;
mod resource;
mod router;
mod session_limits;
mod shutdown;
mod sight;
mod tls;
mod urls;
mod wire;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ::http::{Method, StatusCode};
use ipnet::IpNet;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use warp::{Filter, path::FullPath, reply::Response};

use self::{
    admission::{Admission, Lane},
    auth::Auth,
    clients::ClientLimits,
    connections::Speaks,
    control::HeldOptions,
    limit_tells::LimitTells,
    origins::{Origins, PageAccess, PageAudience},
    pages::{PageRequest, Pages, Site},
    problem::{Problem, Reason},
    proxies::{Proxies, RequestOrigin},
    recording_keys::RecordingKeys,
    refusals::{Attempt, Refusals},
    reply::empty,
    request::{Caller, Door, HttpRequest},
    router::{Naming, Route},
    session_limits::SessionLimits,
};
pub use self::{
    configuration::{ConfigView, OptionView, SectionView},
    control::{ConfigChange, ConfigControl, ConfigRefusal, ConfigRequest, Reloaded},
    ice_servers::{IceServers, TurnSecret},
    judgement::AuthOptions,
    operator::AdminListener,
    pages::Theme,
    session_limits::SessionMaxima,
    shutdown::Shutdown,
    tls::{Tls, TlsError},
};
use crate::{
    broadcast::{Broadcasts, Relayed},
    client::ForwardedHeader,
    fanout::Fanout,
    notices::Notices,
    peer::sdp::Role,
    plan::Name,
    recordings::Recordings,
    webhooks::WebhookFigures,
};

/// The room's options.
#[derive(Clone, Debug)]
pub struct Options {
    /// Put before paths in `Location` and `Link`: scheme, authority, perhaps a path.
    pub public_url: Option<String>,
    /// Simultaneous connections, and event streams.
    pub connections_max: usize,
    /// Simultaneous connections of one client.
    pub client_connections_max: usize,
    /// Simultaneous event streams of one client.
    pub client_streams_max: usize,
    /// Simultaneous publishers.
    pub publishers_max: SessionMaxima,
    /// Simultaneous viewers.
    pub viewers_max: SessionMaxima,
    /// Time for a request's head; also how long an idle connection is kept.
    pub header_timeout: Duration,
    /// Time for a request's body.
    pub body_timeout: Duration,
    /// Time for a client to take more of a reply.
    pub write_timeout: Duration,
    /// Size of a request's head.
    pub header_bytes_max: usize,
    /// Size of an offer.
    pub offer_bytes_max: usize,
    /// Size of a trickle fragment.
    pub fragment_bytes_max: usize,
    /// Whether PATCH works without If-Match.
    pub lenient_etag: bool,
    /// Whether a broadcast without a publisher is 404 instead of 409 to viewers.
    pub missing_is_404: bool,
    /// Origins whose pages may use the API and publish; `*` for all.
    pub origins: Vec<String>,
    /// How long browsers are to refuse plain HTTP.
    pub hsts: Option<Duration>,
    /// Scheme and authority of the server that publishers are redirected to.
    pub redirect_publishers: Option<String>,
    /// Scheme and authority of the server that viewers are redirected to.
    pub redirect_viewers: Option<String>,
    /// Offers per second from one client.
    pub client_offers: usize,
    /// Proxies that are believed about their clients.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether the public port takes media as well, from clients that have no UDP.
    pub takes_media: bool,
    /// Where they name their clients.
    pub forwarded_header: ForwardedHeader,
    /// How connections are encrypted, if they are.
    pub tls: Option<Tls>,
    /// Who may publish and watch, and how requests prove it.
    pub auth: AuthOptions,
    /// STUN and TURN servers that are announced to clients.
    pub ice_servers: IceServers,
    /// Changes the options later.
    pub control: ConfigControl,
    /// The configuration as the operator sees it.
    pub configuration: Arc<ConfigView>,
    /// Those of the outputs.
    pub recordings: Recordings,
    /// Outcomes of the events for webhooks.
    pub webhooks: WebhookFigures,
    /// Folder of the pages instead of the built-in ones.
    pub web: Option<PathBuf>,
    /// The operator's design of the pages.
    pub theme: Theme,
    /// How long requests may take to finish when the server stops.
    pub drain: Duration,
}

/// The state of the handlers.
struct App {
    /// Those that the server has started with.
    options: Options,
    current: HeldOptions,
    broadcasts: Broadcasts,
    fanout: Fanout,
    pages: Pages,
    clients: ClientLimits,
    proxies: Proxies,
    origins: Origins,
    admission: Admission,
    sessions: SessionLimits,
    auth: Arc<Auth>,
    refusals: Refusals,
    load: load::Load,
    limit_tells: LimitTells,
    notices: Notices,
    drawings: Semaphore,
    events: events::BroadcastUpdates,
    shutdown: Shutdown,
    answer_times: endpoint::AnswerTimes,
    recording_keys: RecordingKeys,
    broadcast_labels: metrics::BroadcastLabels,
}

/// The ports of HTTP.
#[derive(Debug)]
pub struct Listeners {
    /// For everybody.
    pub public: TcpListener,
    /// The operator's own.
    pub admin: Option<AdminListener>,
    /// For media only.
    pub media: Option<TcpListener>,
    /// From other nodes, which pass on what is for sessions of this one.
    pub relayed: Option<mpsc::Receiver<Relayed>>,
}

/// Serves HTTP on `listeners` until the server stops, then lets requests finish.
pub async fn serve(
    listeners: Listeners,
    options: Options,
    broadcasts: Broadcasts,
    fanout: Fanout,
    shutdown: Shutdown,
) {
    let drain = options.drain;
    let mut tasks = JoinSet::new();
    let app = Arc::new(App {
        events: events::BroadcastUpdates::start(broadcasts.clone(), &mut tasks),
        pages: Pages::new(&options),
        clients: ClientLimits::of_offers(options.client_offers),
        proxies: Proxies::new(options.trusted_proxies.clone(), options.forwarded_header),
        origins: Origins::new(
            options.public_url.as_deref(),
            options.origins.clone(),
            listeners.public.local_addr().ok(),
            listeners.admin.as_ref().and_then(AdminListener::address),
        ),
        admission: Admission::new(admission::Limits::of(&options)),
        sessions: SessionLimits::new(options.publishers_max, options.viewers_max),
        auth: Arc::new(Auth::new(options.auth.clone(), options.client_offers)),
        refusals: Refusals::new(),
        load: load::Load::default(),
        limit_tells: LimitTells::default(),
        notices: Notices::of_requests(),
        drawings: Semaphore::new(pipelines::DRAWINGS_MAX),
        current: HeldOptions::new(options.clone()),
        options,
        broadcasts,
        fanout,
        shutdown: shutdown.clone(),
        answer_times: endpoint::AnswerTimes::default(),
        recording_keys: RecordingKeys::new(),
        broadcast_labels: metrics::BroadcastLabels::default(),
    });
    tasks.spawn(app.broadcasts.chats().clone().deliver());
    app.options.control.attach(&app);
    tasks.spawn(load::keep(Arc::clone(&app)));
    if let Some(tls) = app.options.tls.clone() {
        tasks.spawn(tls.keep());
    }
    let (mut connections, mut operators) = (JoinSet::new(), JoinSet::new());
    let mut peers = JoinSet::new();
    let speaks = Speaks::on_public_port(app.options.takes_media);
    let mut listeners = listeners;
    let relayed = listeners.relayed.take();
    let media = connections::accept_media(listeners.media.as_ref(), &app, &mut peers);
    let operator = async {
        match &listeners.admin {
            Some(listener) => operator::serve(listener, &app, &mut operators).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = connections::accept(&listeners.public, speaks, &app, &mut connections) => {}
        () = operator => {}
        () = media => {}
        () = relay::serve(&app, relayed) => {}
        () = shutdown.stopping.cancelled() => {}
    }
    drop(listeners);
    let all = async {
        while connections.join_next().await.is_some() {}
        while operators.join_next().await.is_some() {}
        while peers.join_next().await.is_some() {}
    };
    if timeout(drain, all).await.is_err() {
        tracing::debug!("closing connections that did not end in time");
    }
    connections.shutdown().await;
    operators.shutdown().await;
    peers.shutdown().await;
    tasks.shutdown().await;
}

/// The service that answers the requests of one connection.
fn filter(
    app: Arc<App>,
    caller: Caller,
    lane: Lane,
) -> impl Filter<Extract = (Response,), Error = warp::Rejection> + Clone + Send + Sync + 'static {
    warp::method()
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream().map(request::body))
        .then(move |method, path: FullPath, query, headers, body| {
            let path = path.as_str().to_owned();
            let origin = match caller.door {
                Door::Public => app.proxies.origin_of(caller.address, &headers),
                Door::Admin | Door::Socket => RequestOrigin::direct(caller.address),
            };
            let caller = Caller {
                address: origin.client,
                ..caller
            };
            let mut request = HttpRequest::new(caller, method, path, query, headers, body);
            request.base = origin.base;
            request.is_client_known = origin.is_known;
            let app = Arc::clone(&app);
            async move {
                match app.admission.request(lane, &request) {
                    Ok(()) => app.answer(request).await,
                    Err(problem) => problem.into(),
                }
            }
        })
}

/// Whether the server refuses because it, or the client's share of it, is used up.
fn is_exhaustion(status: StatusCode) -> bool {
    [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ]
    .contains(&status)
}

impl App {
    fn recordings(&self) -> &Recordings {
        &self.options.recordings
    }

    async fn answer(&self, request: HttpRequest) -> Response {
        let path = request.path.clone();
        let headers = request.headers.clone();
        let route = Route::of(&path);
        let access = self
            .origins
            .judge(self.audience(route.as_ref(), request.door), &headers);
        let attempt = Attempt::of(self, route.as_ref(), &request);
        let is_probe = matches!(route, Some(Route::Health | Route::Ready));
        let (client, user_agent) = (request.client, request.user_agent());
        let mut response = self.judged(route, access, request).await;
        if let Some(reason) = response.extensions().get::<Reason>() {
            self.limit_tells.note(reason, self.broadcasts.events());
        }
        if let Some(attempt) = attempt {
            self.refusals.note(attempt, &response);
        } else if !is_probe && is_exhaustion(response.status()) {
            let reason = response.extensions().get::<Reason>();
            let reason = reason.map(|reason| reason.detail.as_str());
            if let Some(left_out) = self.notices.line() {
                tracing::warn!(%client, user_agent, left_out, reason, "request refused");
            }
        }
        cors::open(&mut response, access);
        headers::protect(&mut response, self.options.hsts);
        response
    }

    /// Whose pages may use what is at a route.
    fn audience(&self, route: Option<&Route<'_>>, door: Door) -> PageAudience {
        if door != Door::Public {
            return PageAudience::Own;
        }
        match route {
            // Players on other sites load files; whether a page is framed, it says itself. The URL
            // of a session is secret: whoever knows it has been let in.
            Some(
                Route::OEmbed
                | Route::File(_)
                | Route::Moved(_)
                | Route::Session(Role::Viewer, _)
                | Route::Extension(..),
            ) => PageAudience::Everyone,
            Some(Route::Chat(name)) if self.auth.is_public(Some(name)) => PageAudience::Everyone,
            Some(Route::Endpoint(Role::Viewer, naming)) => {
                let name = match naming {
                    Naming::Path(name) => Name::new(name),
                    Naming::Token => None,
                };
                if self.auth.is_public(name.as_ref()) {
                    PageAudience::Everyone
                } else {
                    PageAudience::Own
                }
            }
            _ => PageAudience::Own,
        }
    }

    async fn judged(
        &self,
        route: Option<Route<'_>>,
        access: PageAccess<'_>,
        mut request: HttpRequest,
    ) -> Response {
        let is_probe = matches!(route, Some(Route::Health | Route::Ready));
        if !is_probe && !self.origins.knows_host(request.door, &request.headers) {
            return Problem::wrong_host().into();
        }
        let Some(route) = route else {
            if request.door != Door::Public {
                return Problem::not_found("resource").into();
            }
            let site = self.site(&request);
            let request = PageRequest::from(&request);
            return self
                .pages
                .missing(&request, &Site(&site))
                .await
                .unwrap_or_else(Response::from);
        };
        self.auth.identify(&mut request).await;
        if !route.allows(&request.method) {
            Problem::method_not_allowed(&request.method, route.methods()).into()
        } else if request.method == Method::OPTIONS {
            self.answer_options(&route, &request).await
        } else if access == PageAccess::Refused {
            Problem::foreign_page().into()
        } else {
            self.dispatch(&route, request)
                .await
                .unwrap_or_else(Response::from)
        }
    }

    /// Preflights are always answered (RFC 9725 §4.7.1: never 401). Browsers stop if the answer does
    /// not name the page's origin.
    async fn answer_options(&self, route: &Route<'_>, request: &HttpRequest) -> Response {
        if cors::is_preflight(request) {
            return cors::preflight();
        }
        if let Route::Session(role, id) = route
            && let Err(problem) = resource::find(self, *role, id)
        {
            return problem.into();
        }
        let mut response = empty(StatusCode::OK);
        cors::describe(&mut response, route);
        // They may hold passwords: only for clients that may begin a session (RFC 9725 §4.6).
        if let Route::Endpoint(role, naming) = route
            && endpoint::may_begin(self, *role, *naming, request).await
        {
            // No session has begun.
            let links = self.now().ice_servers.links("0", SystemTime::now());
            reply::add_links(&mut response, &links);
        }
        response
    }
}
