//! Starts the parts in order, stops them in reverse, within a time limit.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::Notify,
    task::{JoinSet, spawn_blocking},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    broadcast::{self, Broadcasts, Text},
    config::{Config, IceServer},
    error::Start,
    fanout::{self, Fanout, ViewerOptions},
    http::{self, Tls},
    ingest,
    peer::{
        element,
        udp::{self, Port},
    },
    pipeline::{self, Variables},
    workbench,
};

/// A running server.
pub struct Server {
    /// Where HTTP listens; the real port if the configuration says 0.
    pub address: SocketAddr,
    /// Notified, it makes certificate and key be read again. `None` without TLS.
    pub reload: Option<Arc<Notify>>,
    /// Where viewers are told to send media to.
    pub candidates: Vec<SocketAddr>,
    broadcasts: Broadcasts,
    fanout: Fanout,
    stopping: CancellationToken,
    tasks: JoinSet<()>,
    drain: Duration,
}

/// Starts everything. Ports are taken before anything runs, so that a failure leaves nothing
/// behind.
///
/// # Errors
/// A port in use, a missing GStreamer element, or another refusal of the system.
pub async fn start(config: Config) -> Result<Server, Start> {
    // Both before the first request can come: it would have to wait for them.
    spawn_blocking(|| pipeline::init().map(|()| element::prepare()))
        .await
        .map_err(|error| Start::System {
            what: "start GStreamer",
            source: io::Error::other(error),
        })??;
    let config = check_pipelines(config).await?;
    let tls = tls(&config)?;
    let loopback = config.main.listen.ip().is_loopback();
    let (listener, port) = take_ports(&config, loopback).await?;
    let system = |what| move |source| Start::System { what, source };
    let address = listener
        .local_addr()
        .map_err(system("read the HTTP address"))?;
    let publisher_addresses =
        publisher_addresses(&config, loopback).map_err(system("list the network interfaces"))?;
    let candidates = port.candidates();
    let fanout = Fanout::start(port, fanout_options(&config)).map_err(system("start a thread"))?;

    let publisher = ingest::Options {
        engine: config.webrtc.publisher_engine,
        jitter: config.webrtc.jitter,
        consent: config.timeouts.consent,
        addresses: publisher_addresses.clone(),
        public_addresses: config.webrtc.public_addresses.clone(),
        ports: config.webrtc.webrtcbin_ports,
    };
    let viewer = ViewerOptions {
        engine: config.webrtc.viewer_engine,
        webrtcbin: fanout::webrtcbin::ConnectionOptions {
            addresses: publisher_addresses.clone(),
            public_addresses: config.webrtc.public_addresses.clone(),
            ports: config.webrtc.webrtcbin_ports,
            connect: config.timeouts.connect,
            consent: config.timeouts.consent,
        },
    };
    let options = broadcast_options(&config, publisher, viewer);
    let broadcasts = Broadcasts::new(options, fanout.clone());
    for name in config.plans.with_source() {
        broadcasts
            .start_source(&name)
            .map_err(|error| Start::Broadcast { name, error })?;
    }
    let (drain, ports) = (config.timeouts.drain, config.webrtc.webrtcbin_ports);
    let stopping = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let reload = tls.as_ref().map(Tls::reload);
    tell(&config, address);
    tasks.spawn(http::serve(
        listener,
        http_options(config, tls),
        (broadcasts.clone(), fanout.clone()),
        stopping.clone(),
    ));
    tracing::info!(?candidates, "viewers are sent media from");
    tracing::info!(addresses = ?publisher_addresses, ?ports, "sessions on webrtcbin connect to");
    Ok(Server {
        address,
        reload,
        candidates,
        broadcasts,
        fanout,
        stopping,
        tasks,
        drain,
    })
}

impl Server {
    /// Serves until `shutdown` resolves, then stops.
    pub async fn run_until(mut self, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = shutdown => {}
            _ = self.tasks.join_next() => tracing::error!("HTTP has ended by itself"),
        }
        self.stop().await;
    }

    /// Stops in reverse order, with a goodbye to every peer, within the drain time.
    async fn stop(mut self) {
        let begun = Instant::now();
        let deadline = begun + self.drain;
        tracing::info!("stopping");
        self.stopping.cancel();
        let parts = async {
            self.broadcasts.stop(self.drain).await;
            while self.tasks.join_next().await.is_some() {}
            self.fanout.stop().await;
        };
        if timeout_at(deadline, parts).await.is_err() {
            tracing::warn!("not everything stopped in time");
        }
        self.tasks.shutdown().await;
        tracing::info!(milliseconds = begun.elapsed().as_millis(), "stopped");
    }
}

/// What is wrong with a pipeline file is told now, not when somebody wants to watch.
async fn check_pipelines(config: Config) -> Result<Config, Start> {
    let mut config = config;
    let checked = spawn_blocking(move || {
        config.plans.retain_automatic(can_run);
        let problems = workbench::of_config(&config, &Variables::default());
        (config, problems)
    });
    let (config, problems) = checked.await.map_err(|error| Start::System {
        what: "check the pipeline files",
        source: io::Error::other(error),
    })?;
    if problems.is_empty() {
        return Ok(config);
    }
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Err(Start::Files(lines.join("\naerial: ")))
}

/// Whether this machine has what a built-in pipeline needs. Those whom it was for see what there
/// is without it.
fn can_run(text: &Text) -> bool {
    let has = pipeline::check::has_elements(&text.text);
    if let Err(error) = &has {
        let pipeline = text.name();
        tracing::warn!(pipeline, %error, "nothing is transcoded into this codec");
    }
    has.is_ok()
}

/// Binds the two ports that are fixed.
async fn take_ports(config: &Config, loopback: bool) -> Result<(TcpListener, Port), Start> {
    let refused = |protocol, address, option| {
        move |source| Start::Listen {
            protocol,
            address,
            source,
            option,
        }
    };
    let (http, udp) = (config.main.listen, config.main.udp);
    let listener = TcpListener::bind(http)
        .await
        .map_err(refused("HTTP", http, "listen"))?;
    let options = udp::Options {
        listen: udp,
        public_addresses: config.webrtc.public_addresses.clone(),
        loopback,
    };
    let port = Port::bind(&options).map_err(refused("UDP", udp, "udp"))?;
    Ok((listener, port))
}

/// The addresses on which publishers' connections are made.
fn publisher_addresses(config: &Config, loopback: bool) -> io::Result<Vec<IpAddr>> {
    let chosen = &config.webrtc.publisher_addresses;
    if !chosen.is_empty() {
        return Ok(chosen.clone());
    }
    let udp = config.main.udp.ip();
    if !udp.is_unspecified() {
        return Ok(vec![udp]);
    }
    let mut addresses: Vec<_> = udp::local_addresses()?
        .into_iter()
        .filter(|ip| ip.is_ipv4() || udp.is_ipv6())
        .filter(|ip| loopback || !ip.is_loopback())
        .collect();
    // Real interfaces first: FFmpeg takes the first host candidate only.
    addresses.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    if addresses.is_empty() {
        addresses.push(IpAddr::from([127, 0, 0, 1]));
    }
    Ok(addresses)
}

fn fanout_options(config: &Config) -> fanout::Options {
    fanout::Options {
        timeouts: fanout::Timeouts {
            connect: config.timeouts.connect,
            consent: config.timeouts.consent,
        },
        ..fanout::Options::default()
    }
}

fn broadcast_options(
    config: &Config,
    publisher: ingest::Options,
    viewer: ViewerOptions,
) -> broadcast::Options {
    let Config {
        timeouts,
        limits,
        webrtc,
        plans,
        ..
    } = config;
    broadcast::Options {
        times: broadcast::Times {
            connect: timeouts.connect,
            media: timeouts.media,
            stale: timeouts.stale,
            ended: timeouts.ended,
        },
        grace: timeouts.grace,
        sessions_max: limits.sessions,
        broadcasts_max: limits.broadcasts,
        viewers_max: limits.viewers,
        replace_live: webrtc.replace_live,
        publisher,
        viewer,
        plans: plans.clone(),
    }
}

fn tls(config: &Config) -> Result<Option<Tls>, Start> {
    let http = &config.http;
    let files = http.tls_certificate.clone().zip(http.tls_key.clone());
    files
        .map(|(certificate, key)| Tls::load(certificate, key))
        .transpose()
}

/// Says in the log where HTTP is and who can do what, and warns of what can be overheard
/// (RFC 9725 §5).
fn tell(config: &Config, address: SocketAddr) {
    let tls = config.http.tls_certificate.is_some();
    let scheme = if tls { "https" } else { "http" };
    tracing::info!(url = %format_args!("{scheme}://{address}/"), "listening");
    let access = &config.access;
    if access.tokens() > 0 {
        let (tokens, public) = (access.tokens(), access.public());
        tracing::info!(
            tokens,
            ?public,
            "publishing needs a token, and watching what is not public"
        );
    }
    let proxy = &config.http.public_url;
    let behind_tls = proxy
        .as_ref()
        .is_some_and(|url| url.0.starts_with("https:"));
    if !(tls || behind_tls || address.ip().is_loopback()) {
        tracing::warn!(
            %address,
            "HTTP without TLS beyond this machine: tokens can be overheard, and browsers give the \
             pages no camera. Set http.tls_certificate and http.tls_key, or put a proxy with TLS \
             in front and set http.public_url to its https:// address"
        );
    }
}

fn http_options(config: Config, tls: Option<Tls>) -> http::Options {
    let Config {
        main,
        http,
        limits,
        timeouts,
        webrtc,
        auth,
        access,
        ..
    } = config;
    http::Options {
        public_url: http.public_url.map(|url| url.0),
        connections_max: http.connections,
        header_timeout: http.header_timeout,
        body_timeout: http.body_timeout,
        header_bytes_max: http.header_bytes.0,
        offer_bytes_max: limits.offer_bytes.0,
        fragment_bytes_max: limits.fragment_bytes.0,
        lenient_etag: http.lenient_etag,
        missing_is_404: http.missing_is_404,
        local_control: http.local_control,
        redirect_publishers: http.redirect_publishers.map(|url| url.0),
        redirect_viewers: http.redirect_viewers.map(|url| url.0),
        source_offers: limits.source_offers,
        tls,
        auth: http::AuthOptions {
            access,
            query: auth.query,
            basic: auth.basic,
            sessions: auth.sessions,
            source_failures: limits.source_failures,
        },
        ice_servers: webrtc.ice_servers.iter().map(IceServer::link).collect(),
        web: main.web,
        drain: timeouts.drain,
    }
}
