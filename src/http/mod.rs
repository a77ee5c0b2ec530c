//! The door: WHIP, WHEP, session URLs, the API, events, metrics and pages over HTTP/1.1, with or
//! without TLS.
//!
//! The only room that names warp. One filter collects the parts of a request, the `router` says
//! what it is for, and handlers return replies, never rejections. Nothing here decides anything
//! about broadcasts.

mod api;
mod auth;
mod clients;
mod cors;
mod endpoint;
mod events;
mod extensions;
mod headers;
mod metrics;
mod operator;
mod origins;
mod pages;
mod pipelines;
mod preconditions;
mod problem;
mod proxies;
mod proxy_header;
mod refusals;
mod reply;
mod request;
mod resource;
mod router;
mod tls;
mod urls;
mod wire;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use ::http::{Method, StatusCode};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
    service::TowerToHyperService,
};
use ipnet::IpNet;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use warp::{Filter, path::FullPath, reply::Response};

use self::{
    auth::Auth,
    clients::ClientLimits,
    origins::{Origins, PageAccess, PageAudience},
    pages::Pages,
    problem::Problem,
    proxies::Proxies,
    refusals::{Attempt, Refusals},
    reply::empty,
    request::{Caller, Door, HttpRequest},
    router::{Naming, Route},
};
pub use self::{
    auth::Options as AuthOptions,
    operator::AdminListener,
    tls::{Tls, TlsError},
};
use crate::{
    access::Right,
    broadcast::Broadcasts,
    client::ClientAddress,
    fanout::Fanout,
    peer::sdp::Role,
    plan::Name,
    resources::{self, Amount, Asker},
};

/// Pause after the system refuses a connection, for example because file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The answer while the server is full.
const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
    Retry-After: 5\r\nContent-Length: 0\r\n\r\n";
/// Refusals in progress at once; further connections are closed without an answer.
const REFUSALS_MAX: usize = 16;
/// How long a refusal may take.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(500);
/// How much of its request is read, in bytes.
const REFUSED_BYTES: usize = 4 << 10;

/// The room's options.
#[derive(Clone, Debug)]
pub struct Options {
    /// Put before paths in `Location` and `Link`: scheme, authority, perhaps a path.
    pub public_url: Option<String>,
    /// Simultaneous connections.
    pub connections_max: usize,
    /// Time for a request's head; also how long an idle connection is kept.
    pub header_timeout: Duration,
    /// Time for a request's body.
    pub body_timeout: Duration,
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
    /// How long browsers shall refuse plain HTTP.
    pub hsts: Option<Duration>,
    /// Scheme and authority of the server that publishers are redirected to.
    pub redirect_publishers: Option<String>,
    /// Scheme and authority of the server that viewers are redirected to.
    pub redirect_viewers: Option<String>,
    /// Offers per second from one client.
    pub client_offers: usize,
    /// Proxies that are believed about their clients.
    pub trusted_proxies: Vec<IpNet>,
    /// How connections are encrypted, if they are.
    pub tls: Option<Tls>,
    /// Who may publish and watch, and how requests prove it.
    pub auth: AuthOptions,
    /// `Link` values of STUN and TURN servers.
    pub ice_servers: Vec<String>,
    /// Folder of the pages instead of the built-in ones.
    pub web: Option<PathBuf>,
    /// How long requests may take to finish when the server stops.
    pub drain: Duration,
}

/// What handlers work with.
struct App {
    options: Options,
    broadcasts: Broadcasts,
    fanout: Fanout,
    pages: Pages,
    clients: ClientLimits,
    proxies: Proxies,
    origins: Origins,
    auth: Auth,
    refusals: Refusals,
    drawings: Semaphore,
    events: events::ListUpdates,
    stopping: CancellationToken,
}

/// The ports of HTTP.
#[derive(Debug)]
pub struct Listeners {
    /// For everybody.
    pub public: TcpListener,
    /// The operator's own.
    pub admin: Option<AdminListener>,
}

/// Serves HTTP on `listeners` until `stopping`, then lets requests finish.
pub async fn serve(
    listeners: Listeners,
    options: Options,
    broadcasts: Broadcasts,
    fanout: Fanout,
    stopping: CancellationToken,
) {
    let drain = options.drain;
    let mut tasks = JoinSet::new();
    let app = Arc::new(App {
        events: events::ListUpdates::start(broadcasts.clone(), &mut tasks),
        pages: Pages::new(
            options.web.clone(),
            [
                &options.public_url,
                &options.redirect_publishers,
                &options.redirect_viewers,
            ],
        ),
        clients: ClientLimits::of_offers(options.client_offers),
        proxies: Proxies::new(options.trusted_proxies.clone()),
        origins: Origins::new(
            options.public_url.as_deref(),
            options.origins.clone(),
            listeners.public.local_addr().ok(),
            listeners.admin.as_ref().and_then(AdminListener::address),
        ),
        auth: Auth::new(options.auth.clone()),
        refusals: Refusals::new(),
        drawings: Semaphore::new(pipelines::DRAWINGS_MAX),
        options,
        broadcasts,
        fanout,
        stopping: stopping.clone(),
    });
    if let Some(tls) = app.options.tls.clone() {
        tasks.spawn(tls.keep());
    }
    let graceful = GracefulShutdown::new();
    let builder = builder(&app.options);
    let operator = async {
        match &listeners.admin {
            Some(listener) => operator::serve(listener, &app, &builder, &graceful).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = accept(&listeners.public, &app, &builder, &graceful, &mut tasks) => {}
        () = operator => {}
        () = stopping.cancelled() => {}
    }
    drop(listeners);
    if timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::debug!("connections closed by force");
    }
    tasks.shutdown().await;
}

/// How connections are read.
fn builder(options: &Options) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_header_size(options.header_bytes_max);
    builder
}

async fn accept(
    listener: &TcpListener,
    app: &Arc<App>,
    builder: &http1::Builder,
    graceful: &GracefulShutdown,
    tasks: &mut JoinSet<()>,
) {
    let permits = Arc::new(Semaphore::new(app.options.connections_max));
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        let (stream, client) = match listener.accept().await {
            Ok((stream, address)) => (stream, ClientAddress::new(address.ip())),
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if resources::reserve(Asker::Connection, Amount::CONNECTION).is_err() {
            if let (None, Ok(permit)) = (&app.options.tls, refusals.clone().try_acquire_owned()) {
                tasks.spawn(refuse(stream, permit));
            }
            continue;
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot turn off Nagle's algorithm");
        }
        let (app, builder, watcher) = (Arc::clone(app), builder.clone(), graceful.watcher());
        tasks.spawn(async move {
            let stopping = app.stopping.clone();
            let opening = timeout(app.options.header_timeout, open(stream, client, &app));
            match stopping.run_until_cancelled(opening).await {
                Some(Ok(Ok((Stream::Plain(stream), caller)))) => {
                    converse(stream, caller, app, builder, watcher).await;
                }
                Some(Ok(Ok((Stream::Tls(stream), caller)))) => {
                    converse(*stream, caller, app, builder, watcher).await;
                }
                Some(Ok(Err(error))) => tracing::debug!(%client, %error, "connection not opened"),
                Some(Err(_)) => tracing::debug!(%client, "connection not opened in time"),
                None => {}
            }
            drop(permit);
        });
        while tasks.try_join_next().is_some() {}
    }
}

/// A connection on which HTTP can begin.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Reads what comes before HTTP: a PROXY header, the TLS handshake. Also returns who sends.
async fn open(
    mut stream: TcpStream,
    peer: ClientAddress,
    app: &App,
) -> io::Result<(Stream, Caller)> {
    let mut address = peer;
    if app.proxies.trusts(peer)
        && let Some(client) = proxy_header::read(&mut stream).await?
    {
        address = ClientAddress::new(client);
    }
    let stream = match &app.options.tls {
        Some(tls) => Stream::Tls(Box::new(tls.accept(stream).await?)),
        None => Stream::Plain(stream),
    };
    let door = Door::Public;
    Ok((stream, Caller { address, door }))
}

/// Answers the first request of a connection that there is no room for. Reads what has
/// arrived first; otherwise the client would see a reset.
async fn refuse(mut stream: TcpStream, permit: OwnedSemaphorePermit) {
    let mut request = [0; REFUSED_BYTES];
    let talk = async {
        let _ = stream.read(&mut request).await?;
        stream.write_all(NO_ROOM).await?;
        stream.shutdown().await
    };
    match timeout(REFUSAL_TIMEOUT, talk).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "refusal not sent"),
        Err(_) => tracing::debug!("refusal timed out"),
    }
    drop(permit);
}

/// Answers the requests of one connection until it ends.
async fn converse<S>(
    stream: S,
    caller: Caller,
    app: Arc<App>,
    builder: http1::Builder,
    watcher: Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(warp::service(filter(app, caller)));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "connection failed");
    }
}

/// What answers the requests of one connection.
fn filter(
    app: Arc<App>,
    caller: Caller,
) -> impl Filter<Extract = (Response,), Error = warp::Rejection> + Clone + Send + Sync + 'static {
    warp::method()
        .and(warp::path::full())
        .and(warp::query::raw().or(warp::any().map(String::new)).unify())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream().map(request::body))
        .then(move |method, path: FullPath, query, headers, body| {
            let path = path.as_str().to_owned();
            let sender = caller.address;
            let (client, path_prefix) = match caller.door {
                Door::Public => (
                    app.proxies.client(sender, &headers),
                    app.proxies.path_prefix(sender, &headers),
                ),
                Door::Admin | Door::Socket => (sender, ""),
            };
            let path_prefix = path_prefix.to_owned();
            let caller = Caller {
                address: client,
                ..caller
            };
            let mut request = HttpRequest::new(caller, method, path, query, headers, body);
            request.path_prefix = path_prefix;
            let app = Arc::clone(&app);
            async move { app.answer(request).await }
        })
}

impl App {
    async fn answer(&self, request: HttpRequest) -> Response {
        let path = request.path.clone();
        let headers = request.headers.clone();
        let route = Route::of(&path);
        let audience = self.audience(route.as_ref(), request.door);
        let access = self.origins.judge(audience, &headers);
        let attempt = Attempt::of(self, route.as_ref(), &request);
        let mut response = self.judged(route, access, request).await;
        if let Some(attempt) = attempt {
            self.refusals.note(attempt, &response);
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
            // Players on other sites load files; whether a page is framed, it says itself. The URL of
            // a session is secret: who knows it has been let in.
            Some(
                Route::File(_)
                | Route::Moved(_)
                | Route::Session(Role::Viewer, _)
                | Route::Extension(..),
            ) => PageAudience::Everyone,
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
        request: HttpRequest,
    ) -> Response {
        let is_health = matches!(route, Some(Route::Health));
        if !is_health && !self.origins.knows_host(request.door, &request.headers) {
            return Problem::wrong_host().into();
        }
        let Some(route) = route else {
            return Problem::not_found("resource").into();
        };
        if !route.allows(&request.method) {
            Problem::method_not_allowed(&request.method, route.methods()).into()
        } else if request.method == Method::OPTIONS {
            self.answer_options(&route, &request)
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
    fn answer_options(&self, route: &Route<'_>, request: &HttpRequest) -> Response {
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
            && endpoint::may_begin(self, *role, *naming, request)
        {
            reply::add_links(&mut response, &self.options.ice_servers);
        }
        response
    }

    async fn dispatch(&self, route: &Route<'_>, request: HttpRequest) -> Result<Response, Problem> {
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
            Route::Broadcast(name) => {
                self.auth.permit_view(&request, name)?;
                let for_operator = self.auth.is_operator(&request);
                api::broadcast(self, name, for_operator).await
            }
            Route::Pipelines(name) => {
                self.auth.permit_view(&request, name)?;
                let for_operator = self.auth.is_operator(&request);
                pipelines::list(self, name, for_operator).await
            }
            Route::Pipeline(name, pipeline, part) => {
                pipelines::answer(self, name, pipeline, *part, request).await
            }
            Route::Refusal(name) => refusals::answer(self, name, &request),
            Route::Events => events::answer(self, &request),
            Route::Server => api::server(self),
            Route::Health => self.health(),
            Route::Metrics => {
                self.auth.permit_right(&request, Right::Metrics)?;
                Ok(metrics::answer(self))
            }
            Route::File(path) => self.pages.answer(path, request).await,
            Route::Moved(target) => Ok(pages::moved(target, &request.query)),
        }
    }

    fn health(&self) -> Result<Response, Problem> {
        if self.fanout.is_healthy() {
            Ok(reply::text("ok\n"))
        } else {
            Err(Problem::unhealthy("a fan-out worker does not respond"))
        }
    }
}
