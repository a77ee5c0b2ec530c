//! Connections: what comes before HTTP, HTTP/1.1 or HTTP/2 on them, and when they end. Some carry
//! media instead.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use ::http::{Request, Response, header};
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::{http1, http2},
    service::{HttpService, Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::graceful::GracefulConnection,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::{
    App,
    activity::{ConnectionUse, Patience},
    admission::{Lane, Place, Refusal},
    authority,
    patience::{AwakeTimer, WriteLimit},
    proxy_header,
    request::{Caller, Door},
};
use crate::{
    awake,
    client::ClientAddress,
    resources::{self, Amount, Asker},
};

/// Pause after the system refuses a connection, for example because file descriptors ran out.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a connection of the reserve may be useless.
const RESERVE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a useless connection has to end by itself. With HTTP/1.1 it may still be sending the
/// rest of a reply to a slow client, and whoever takes nothing at all is cut off by the write
/// timeout.
const H1_CLOSE_TIMEOUT: Duration = Duration::from_mins(10);
const H2_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a client that has connected just before the server stops has for its first request.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_millis(500);

/// Requests at once on one connection with HTTP/2; RFC 9113 §6.5.2 recommends no fewer.
const H2_STREAMS: u32 = 100;
/// Streams that a client may reset before the server has looked at them.
const H2_PENDING_RESETS: usize = 20;
/// Streams that the server may have reset because of a client's errors.
const H2_ERROR_RESETS: usize = 100;
/// Bytes of a reply that wait for the client, for each stream.
const H2_SEND_BYTES: usize = 64 << 10;
/// How often to ping a client with HTTP/2, and how long it has to answer.
const H2_PING_INTERVAL: Duration = Duration::from_secs(20);
const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// First bytes of HTTP/2 (RFC 9113 §3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
/// HTTP/2 as the TLS handshake calls it.
const H2_ALPN: &[u8] = b"h2";

/// First byte of a connection that carries media: of the length of a check (RFC 4571). HTTP begins
/// with a letter, and TLS with 22.
const MEDIA: &[u8] = &[0];

/// The answers to connections for which there is no room.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
    Retry-After: 5\r\nContent-Length: 0\r\n\r\n";
const TOO_MANY: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\n\
    Retry-After: 5\r\nContent-Length: 0\r\n\r\n";
/// Refusals in progress at once; further connections are closed without an answer.
const REFUSALS_MAX: usize = 16;
/// How long a refusal may take.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(500);
/// How much of its request is read, in bytes.
const REFUSED_BYTES: usize = 4 << 10;

/// The purpose of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http,
    HttpAndMedia,
    Media,
}

impl Speaks {
    pub(super) const fn on_public_port(takes_media: bool) -> Self {
        if takes_media {
            Self::HttpAndMedia
        } else {
            Self::Http
        }
    }
}

/// Takes connections for media alone, if there is a listener for them.
pub(super) async fn accept_media(
    listener: Option<&TcpListener>,
    app: &Arc<App>,
    tasks: &mut JoinSet<()>,
) {
    match listener {
        Some(listener) => accept(listener, Speaks::Media, app, tasks).await,
        None => std::future::pending().await,
    }
}

/// Takes connections until the server stops. Each becomes a task.
pub(super) async fn accept(
    listener: &TcpListener,
    speaks: Speaks,
    app: &Arc<App>,
    tasks: &mut JoinSet<()>,
) {
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok((stream, address)) => (stream, ClientAddress::new(address.ip())),
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while tasks.try_join_next().is_some() {}
        match admit(app, peer) {
            Ok(place) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot turn off Nagle's algorithm");
                }
                tasks.spawn(serve(stream, peer, speaks, place, Arc::clone(app)));
            }
            Err(refusal) => {
                app.admission.refuse(refusal, peer);
                let is_plain = app.options.tls.is_none() && speaks != Speaks::Media;
                if is_plain && let Ok(permit) = refusals.clone().try_acquire_owned() {
                    let answer = if refusal.is_of_client() {
                        TOO_MANY
                    } else {
                        FULL
                    };
                    tasks.spawn(refuse(stream, answer, permit));
                }
            }
        }
    }
}

/// A place for a connection from this address.
fn admit(app: &App, peer: ClientAddress) -> Result<Place, Refusal> {
    let place = app.admission.connection()?;
    resources::reserve(Asker::Connection, Amount::CONNECTION).map_err(|_| Refusal::Connections)?;
    if app.proxies.trusts(peer) {
        return Ok(place);
    }
    Ok(place.and(app.admission.connection_of(peer)?))
}

/// Answers the first request of a connection for which there is no room. Reads what has
/// arrived first; otherwise the client would see a reset.
async fn refuse(mut stream: TcpStream, answer: &'static [u8], permit: OwnedSemaphorePermit) {
    let mut request = [0; REFUSED_BYTES];
    let talk = async {
        let _ = stream.read(&mut request).await?;
        stream.write_all(answer).await?;
        stream.shutdown().await
    };
    match awake::timeout(REFUSAL_TIMEOUT, talk).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "refusal not sent"),
        Err(_) => tracing::debug!("refusal timed out"),
    }
    drop(permit);
}

/// A connection whose first bytes have shown what it is for.
enum Opened {
    Http(HttpConnection),
    Media(MediaConnection),
}

/// One that carries media.
struct MediaConnection {
    stream: TcpStream,
    /// The client, with the port of whoever has connected.
    client: SocketAddr,
    /// It counts as long as the connection lasts.
    _place: Place,
}

/// One on which HTTP can begin.
struct HttpConnection {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    version: HttpVersion,
    /// The client, or the last HTTP proxy before the server.
    caller: Caller,
    place: Place,
}

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpVersion {
    Http1,
    Http2,
}

impl HttpVersion {
    fn of(is_h2: bool) -> Self {
        if is_h2 { Self::Http2 } else { Self::Http1 }
    }
}

/// Serves one connection until it ends.
async fn serve(
    stream: TcpStream,
    peer: ClientAddress,
    speaks: Speaks,
    place: Place,
    app: Arc<App>,
) {
    let patience = patience(place.lane, &app);
    let opening = awake::timeout(patience.idle, open(stream, peer, speaks, place, &app));
    let opened = tokio::select! {
        opened = opening => opened,
        () = too_late(&app) => return,
    };
    match opened {
        Ok(Ok(Opened::Http(opened))) => {
            let HttpConnection {
                stream,
                version,
                caller,
                place,
            } = opened;
            speak(stream, version, caller, place.lane, &app).await;
        }
        Ok(Ok(Opened::Media(media))) => {
            if let Err(error) = app
                .fanout
                .port()
                .serve_tcp(media.stream, media.client)
                .await
            {
                tracing::debug!(client = %media.client, %error, "media connection failed");
            }
        }
        Ok(Err(error)) => tracing::debug!(client = %peer, %error, "connection not opened"),
        Err(_) => tracing::debug!(client = %peer, "connection not opened in time"),
    }
}

/// Resolves when the server stops, and no longer waits for a first request.
async fn too_late(app: &App) {
    app.shutdown.stopping.cancelled().await;
    sleep(LAST_REQUEST_TIMEOUT).await;
}

fn patience(lane: Lane, app: &App) -> Patience {
    let (idle, write) = (app.options.header_timeout, app.options.write_timeout);
    match lane {
        Lane::Normal => Patience {
            idle,
            write,
            once: false,
        },
        Lane::Reserve => Patience {
            idle: idle.min(RESERVE_PATIENCE),
            write: write.min(RESERVE_PATIENCE),
            once: true,
        },
    }
}

/// Reads what comes before HTTP: a PROXY header, the TLS handshake. Before media comes no more than
/// the header.
async fn open(
    mut stream: TcpStream,
    peer: ClientAddress,
    speaks: Speaks,
    mut place: Place,
    app: &App,
) -> io::Result<Opened> {
    let mut sender = peer;
    if app.proxies.trusts(peer)
        && let Some(address) = proxy_header::read(&mut stream).await?
    {
        sender = ClientAddress::new(address);
        if !app.proxies.trusts(sender) {
            let counted = app.admission.connection_of(sender).map_err(|refusal| {
                app.admission.refuse(refusal, sender);
                io::Error::other("too many connections from one client")
            });
            place = place.and(counted?);
        }
    }
    if speaks != Speaks::Http && proxy_header::begins_with(&stream, MEDIA).await? {
        if place.lane == Lane::Reserve {
            app.admission.refuse(Refusal::Connections, sender);
            return Err(io::Error::other("no capacity for media connections"));
        }
        return Ok(Opened::Media(MediaConnection {
            client: SocketAddr::new(sender.ip(), stream.peer_addr()?.port()),
            stream,
            _place: place,
        }));
    }
    if speaks == Speaks::Media {
        return Err(io::Error::other("not media"));
    }
    let (stream, is_h2) = if let Some(tls) = &app.options.tls {
        let stream = tls.accept(stream).await?;
        let (_, connection) = stream.get_ref();
        let is_h2 = connection.alpn_protocol() == Some(H2_ALPN);
        (Either::Right(Box::new(stream)), is_h2)
    } else {
        let is_h2 = proxy_header::begins_with(&stream, H2_PREFACE).await?;
        (Either::Left(stream), is_h2)
    };
    Ok(Opened::Http(HttpConnection {
        stream,
        version: HttpVersion::of(is_h2),
        caller: Caller {
            address: sender,
            door: Door::Public,
        },
        place,
    }))
}

/// Speaks HTTP until the connection ends.
pub(super) async fn speak<S>(
    stream: S,
    version: HttpVersion,
    caller: Caller,
    lane: Lane,
    app: &Arc<App>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let patience = patience(lane, app);
    let stream = TokioIo::new(WriteLimit::new(stream, patience.write));
    let activity = ConnectionUse::new();
    let service = service(app, caller, lane, &activity);
    if version == HttpVersion::Http2 {
        let builder = h2(app, lane);
        let connection = builder.serve_connection(stream, service);
        converse(connection, &activity, patience, H2_CLOSE_TIMEOUT, app).await;
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(AwakeTimer)
            .header_read_timeout(patience.idle)
            .max_header_size(app.options.header_bytes_max)
            .keep_alive(lane == Lane::Normal);
        let connection = builder.serve_connection(stream, service);
        let close = match lane {
            Lane::Normal => H1_CLOSE_TIMEOUT,
            Lane::Reserve => RESERVE_PATIENCE,
        };
        converse(connection, &activity, patience, close, app).await;
    }
}

fn h2(app: &App, lane: Lane) -> http2::Builder<TokioExecutor> {
    let streams = match lane {
        Lane::Normal => H2_STREAMS,
        Lane::Reserve => 1,
    };
    let header_bytes = u32::try_from(app.options.header_bytes_max).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(AwakeTimer)
        .max_concurrent_streams(streams)
        .max_header_list_size(header_bytes)
        .max_pending_accept_reset_streams(H2_PENDING_RESETS)
        .max_local_error_reset_streams(H2_ERROR_RESETS)
        .max_send_buf_size(H2_SEND_BYTES)
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_TIMEOUT);
    builder
}

/// Resolves when the server stops, and the connection has brought a request or had time to.
async fn last_request(activity: &ConnectionUse, app: &App) {
    app.shutdown.stopping.cancelled().await;
    // Err: none has arrived.
    let _ = awake::timeout(LAST_REQUEST_TIMEOUT, activity.used()).await;
}

/// Runs a connection until it ends, has become useless, or the server stops.
async fn converse<C>(
    connection: C,
    activity: &ConnectionUse,
    patience: Patience,
    close: Duration,
    app: &App,
) where
    C: GracefulConnection<Error = hyper::Error>,
{
    let mut connection = Box::pin(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = activity.expired(patience) => {
            connection.as_mut().graceful_shutdown();
            let Ok(ended) = awake::timeout(close, connection).await else {
                return tracing::debug!("idle or stuck connection closed");
            };
            ended
        }
        () = last_request(activity, app) => {
            connection.as_mut().graceful_shutdown();
            // The server limits how long this may take.
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection failed");
    }
}

/// The body of a reply, watched on its way.
type ReplyBody = UnsyncBoxBody<Bytes, warp::Error>;

/// The service that answers the requests of one connection.
fn service(
    app: &Arc<App>,
    caller: Caller,
    lane: Lane,
    activity: &ConnectionUse,
) -> impl HttpService<Incoming, ResBody = ReplyBody, Error = Infallible, Future: Send + 'static>
+ Send
+ 'static {
    let filter = super::filter(Arc::clone(app), caller, lane);
    let service = TowerToHyperService::new(warp::service(filter));
    let activity = activity.clone();
    service_fn(move |mut request: Request<Incoming>| {
        let exchange = activity.begin();
        let reply = authority::settle(&mut request).map(|()| service.call(request));
        async move {
            let response = match reply {
                Ok(reply) => reply.await?,
                Err(problem) => problem.into(),
            };
            let exchange = exchange.reply(is_stream(&response));
            Ok(response.map(|body| {
                let body = body.map_frame(move |frame| {
                    exchange.advance();
                    frame
                });
                body.boxed_unsync()
            }))
        }
    })
}

fn is_stream<B>(response: &Response<B>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}
