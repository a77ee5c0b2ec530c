//! Starts everything in order; stops it in reverse, within a time limit.

pub mod check;
mod error;
mod nodes;
mod operator;
mod options;
mod recordings;
mod reload;

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::Notify,
    task::JoinSet,
    time::{Instant, interval, sleep, timeout_at},
};

pub use self::{
    error::{ServeError, StartError},
    reload::RunningConfig,
};
use crate::{
    access::{Access, Secret},
    awake,
    broadcast::Broadcasts,
    config::{Config, MediaOverTcp},
    fanout::Fanout,
    http::{self, ConfigControl, Listeners, Shutdown, Tls},
    peer::{
        sdp::Role,
        udp::{Discovery, Port},
    },
    pipeline::{self, Variables},
    resources,
    systemd::{self, PassedSockets},
    webhooks::Webhooks,
    words::Listed,
    worker,
};

/// How long the process may take to end after the time for stopping is over.
const STOP_MARGIN: Duration = Duration::from_secs(5);
/// How often the sessions are counted while the server waits for them to end.
const DRAIN_TICK: Duration = Duration::from_millis(100);

/// A running server.
pub struct Server {
    /// Where HTTP is.
    pub address: SocketAddr,
    /// Notify it to read the configuration again.
    pub reload: Arc<Notify>,
    /// Notify it to reload certificate and key. `None` without TLS.
    pub reload_tls: Option<Arc<Notify>>,
    broadcasts: Broadcasts,
    fanout: Fanout,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
    /// The parts that follow the configuration while the server runs.
    _followers: JoinSet<()>,
    node_tasks: JoinSet<()>,
    webhooks: Webhooks,
    /// The clock of deadlines and the watchdog run until everything has stopped.
    _clock: JoinSet<()>,
    drain: Duration,
    drain_sessions: Duration,
}

/// Starts everything, on sockets of its own unless `passed` has them. Ports are taken before anything
/// runs, so that a failure leaves nothing behind.
///
/// # Errors
/// A port in use, a missing GStreamer element, or another refusal of the system.
#[expect(
    clippy::too_many_lines,
    reason = "one step after the other, in an order that matters; what is behind a step is elsewhere"
)]
pub async fn start(
    config: Config,
    passed: PassedSockets,
    running: RunningConfig,
) -> Result<Server, StartError> {
    let loaded = config.plans.clone();
    let config = prepare(config).await?;
    let tls = tls(&config)?;
    let mut clock = JoinSet::new();
    clock.spawn(awake::beat());
    let is_own = passed.http.is_none();
    let listener = http_listener(&config, passed.http).await?;
    let address = address_of(&listener)?;
    let media = media_listener(&config).await?;
    let admin = operator::listen(&config).await?;
    let fanout = start_media(&config, passed.udp, address, media.as_ref())?;
    let workers = options::peer_workers(&config);
    let node = nodes::start(&config, fanout.clone(), &workers).await?;
    let (drain, drain_sessions) = (config.timeouts.drain, config.timeouts.drain_sessions);
    let shutdown = Shutdown::default();
    let (mut tasks, mut followers) = (JoinSet::new(), JoinSet::new());
    let reload_tls = tls.as_ref().map(Tls::reload);
    let admin_rule = operator::token(&config, admin.as_ref())?;
    announce(&config, address, fanout.port(), &mut clock);
    if is_own {
        systemd::keep(&listener);
    }
    keep_watchdog(fanout.clone(), &mut clock);
    let reload = Arc::new(Notify::new());
    let recordings = recordings::keep(&config, &node.broadcasts, &mut followers)?;
    let (control, requests) = ConfigControl::new();
    let parts = options::HttpParts {
        tls,
        admin_rule,
        control,
        webhooks: node.webhooks.figures(),
        recordings,
        view: running.view(),
    };
    let reloader = reload::Reloader {
        running,
        loaded,
        checked: config.plans.clone(),
        broadcasts: node.broadcasts.clone(),
        workers,
        http: parts.clone(),
    };
    followers.spawn(reloader.run(Arc::clone(&reload), requests));
    tasks.spawn(http::serve(
        Listeners {
            public: listener,
            admin,
            media,
            relayed: node.relayed,
        },
        options::http(config, parts),
        node.broadcasts.clone(),
        fanout.clone(),
        shutdown.clone(),
    ));
    systemd::ready();
    Ok(Server {
        address,
        reload,
        reload_tls,
        broadcasts: node.broadcasts,
        fanout,
        shutdown,
        tasks,
        _followers: followers,
        node_tasks: node.tasks,
        webhooks: node.webhooks,
        _clock: clock,
        drain,
        drain_sessions,
    })
}

/// Everything that other things need to be there first.
async fn prepare(config: Config) -> Result<Config, StartError> {
    let config = check_pipelines(config).await?;
    prepare_resources(&config);
    Ok(config)
}

/// Compares what clients may use with what the system gives.
fn prepare_resources(config: &Config) {
    resources::compare(options::demand(config));
    if let Some(bytes) = &config.limits.memory {
        resources::limit_memory(u64::try_from(bytes.0).unwrap_or(u64::MAX));
    }
}

fn keep_watchdog(fanout: Fanout, tasks: &mut JoinSet<()>) {
    tasks.spawn(systemd::keep_watchdog(move || fanout.fault().is_none()));
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|cause| StartError::System {
        what: "read the HTTP address",
        cause,
    })
}

impl Server {
    /// Serves until the first signal or the operator's request, lets sessions end, and stops. The
    /// next signal ends the sessions, and one while the server stops ends the process.
    ///
    /// # Errors
    /// What the server cannot go on without.
    pub async fn run_until(mut self, mut signal: impl AsyncFnMut()) -> Result<(), ServeError> {
        let served = tokio::select! {
            () = signal() => Ok(()),
            () = self.shutdown.draining.cancelled() => Ok(()),
            _ = self.tasks.join_next() => Err(ServeError::Http),
            () = self.fanout.hangs() => Err(ServeError::Worker),
        };
        match &served {
            Ok(()) => self.drain(&mut signal).await,
            Err(error) => {
                let part = error.part();
                tracing::error!(part, %error, "the server ends so that it can be restarted");
            }
        }
        tokio::select! {
            () = self.stop() => {}
            () = signal() => tracing::warn!("signal while stopping: ending at once"),
        }
        served
    }

    /// Refuses new sessions, and waits for the others to end, for as long as they may.
    async fn drain(&self, signal: &mut impl AsyncFnMut()) {
        self.shutdown.draining.cancel();
        systemd::stopping(self.drain_sessions + self.drain + STOP_MARGIN);
        let ended = async {
            let mut tick = interval(DRAIN_TICK);
            while self.broadcasts.sessions() > 0 {
                tick.tick().await;
            }
        };
        let (sessions, limit) = (self.broadcasts.sessions(), self.drain_sessions);
        if sessions == 0 || limit.is_zero() {
            return;
        }
        tracing::info!(sessions, seconds = limit.as_secs_f64(), "draining");
        tokio::select! {
            () = ended => tracing::info!("all sessions have ended"),
            () = sleep(limit) => {
                tracing::info!(sessions = self.broadcasts.sessions(), "drain time is over");
            }
            () = signal() => tracing::info!("second signal: ending all sessions"),
        }
    }

    /// Stops in reverse order, with a goodbye to every peer, within the drain time.
    async fn stop(mut self) {
        let begun = Instant::now();
        let deadline = begun + self.drain;
        tracing::info!("stopping");
        self.shutdown.stopping.cancel();
        let parts = async {
            self.broadcasts.stop(self.drain).await;
            if let Some(cluster) = self.broadcasts.cluster() {
                cluster.stop().await;
            }
            self.webhooks.finish().await;
            while self.tasks.join_next().await.is_some() {}
            self.fanout.stop().await;
            self.fanout.port().stop().await;
        };
        if timeout_at(deadline, parts).await.is_err() {
            tracing::warn!("shutdown timed out");
        }
        self.tasks.shutdown().await;
        self.node_tasks.shutdown().await;
        tracing::info!(milliseconds = begun.elapsed().as_millis(), "stopped");
    }
}

/// Reports problems of pipeline files now, not when somebody wants to watch, and leaves out the
/// built-in pipelines whose elements this machine lacks: then viewers choose among the rest. A worker
/// creates the elements. It also builds GStreamer's registry, if there is none.
async fn check_pipelines(config: Config) -> Result<Config, StartError> {
    let mut config = config;
    for (name, value) in config.plans.all().flat_map(|plan| plan.vars) {
        pipeline::remember(&name, &value);
    }
    let uses = check::uses(&config.plans, &Variables::default());
    let files = uses.iter().map(|used| used.check.clone()).collect();
    let automatic = config.plans.automatic().to_vec();
    let texts = automatic.iter().map(|file| file.text.to_string());
    let memory = options::pipeline_memory(&config);
    let (found, lacking) = worker::check(files, texts.collect(), memory).await?;
    let lacking: Vec<_> = automatic.iter().zip(lacking).collect();
    config.plans.retain_automatic(|file| {
        let Some((_, Some(error))) = lacking.iter().find(|(of, _)| *of == file) else {
            return true;
        };
        tracing::warn!(pipeline = file.name(), %error, "built-in pipeline not available");
        false
    });
    let problems = check::problems(&uses, found);
    if problems.is_empty() {
        return Ok(config);
    }
    Err(StartError::Files(
        problems.iter().map(ToString::to_string).collect(),
    ))
}

/// The socket for HTTP that was passed, or one of the server's own.
async fn http_listener(
    config: &Config,
    passed: Option<std::net::TcpListener>,
) -> Result<TcpListener, StartError> {
    let address = config.main.listen;
    let listener = match passed {
        Some(listener) => listener
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(listener)),
        None => TcpListener::bind(address).await,
    };
    listener.map_err(|cause| StartError::Listen {
        protocol: "HTTP",
        address: address.to_string(),
        cause,
        option: "listen",
    })
}

/// A listener for media alone, if one is configured.
async fn media_listener(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let MediaOverTcp::Also(address) = config.webrtc.tcp else {
        return Ok(None);
    };
    TcpListener::bind(address)
        .await
        .map(Some)
        .map_err(|cause| StartError::Listen {
            protocol: "TCP",
            address: address.to_string(),
            cause,
            option: "webrtc.tcp",
        })
}

/// The port for media, on the socket that was passed, if there is one. HTTP is at `http`, and `tcp`
/// is for media alone.
fn media_port(
    config: &Config,
    passed: Option<UdpSocket>,
    http: SocketAddr,
    tcp: Option<&TcpListener>,
) -> Result<Port, StartError> {
    let own = tcp.and_then(|listener| listener.local_addr().ok());
    let shared = (config.webrtc.tcp != MediaOverTcp::Off).then_some(http);
    let tcp = own.into_iter().chain(shared).collect();
    let options = options::port(config, http.ip().is_loopback(), tcp);
    let port = match passed {
        Some(socket) => Port::adopt(socket, &options),
        None => Port::bind(&options),
    };
    port.map_err(|cause| StartError::Listen {
        protocol: "UDP",
        address: options.listen.to_string(),
        cause,
        option: "udp",
    })
}

/// Opens the port for media, and starts what sends through it.
fn start_media(
    config: &Config,
    passed: Option<UdpSocket>,
    http: SocketAddr,
    tcp: Option<&TcpListener>,
) -> Result<Fanout, StartError> {
    let port = media_port(config, passed, http, tcp)?;
    port.start();
    port.check_buffers();
    Fanout::start(port, options::fanout(config)).map_err(|cause| StartError::System {
        what: "start a thread",
        cause,
    })
}

/// Starts webhooks, and the broadcasts with configured sources.
fn start_sources(config: &Config, broadcasts: &Broadcasts) -> Result<Webhooks, StartError> {
    let webhooks = Webhooks::start(config.webhooks.clone(), broadcasts.events());
    for name in config.plans.with_source() {
        broadcasts
            .start_source(&name)
            .map_err(|error| StartError::Broadcast { name, error })?;
    }
    Ok(webhooks)
}

fn tls(config: &Config) -> Result<Option<Tls>, StartError> {
    let http = &config.http;
    http.tls_certificate
        .clone()
        .zip(http.tls_key.clone())
        .map(|(certificate, key)| Tls::load(certificate, key))
        .transpose()
        .map_err(StartError::from)
}

/// Logs the advertised addresses, and starts to determine public ones.
fn advertise(port: &Port, discovery: Discovery, tasks: &mut JoinSet<()>) {
    tracing::info!(
        candidates = %Listed(&port.candidates()),
        tcp_candidates = %Listed(&port.tcp_candidates()),
        "advertised addresses"
    );
    if !discovery.is_empty() {
        tasks.spawn(port.clone().discover(discovery));
    }
}

/// Logs what is open to anyone, and warns of what may be so by mistake.
fn announce_access(access: &Access) {
    let (publishing, watching) = (access.closes(Role::Publisher), !access.is_open_to_viewers());
    if publishing || watching {
        let public: Vec<_> = access.public().iter().map(ToString::to_string).collect();
        let public = public.join(",");
        tracing::info!(publishing, watching, public, "token requirements");
    }
    if watching && !publishing {
        tracing::warn!("watching needs a token, but anyone may publish");
    }
    for token in access.short_tokens() {
        tracing::warn!(
            token,
            "a token of fewer than {} characters can be guessed: use a longer one",
            Secret::CHARS_GOOD
        );
    }
}

/// Logs where HTTP is and whether tokens are needed, and warns if they can be overheard
/// (RFC 9725 §5). Tells where media goes.
fn announce(config: &Config, address: SocketAddr, port: &Port, tasks: &mut JoinSet<()>) {
    let tls = config.http.tls_certificate.is_some();
    let scheme = if tls { "https" } else { "http" };
    tracing::info!(url = %format_args!("{scheme}://{address}/"), "listening");
    announce_access(&config.access);
    let proxy = &config.http.public_url;
    let behind_tls = proxy
        .as_ref()
        .is_some_and(|url| url.0.starts_with("https:"));
    if !(tls || behind_tls || address.ip().is_loopback()) {
        tracing::warn!(
            %address,
            "HTTP is reachable without TLS: tokens can be overheard, and browsers deny the pages \
             access to cameras. Set http.tls_certificate and http.tls_key, or put a proxy with TLS \
             in front and set http.public_url to its https:// address"
        );
    }
    advertise(port, options::discovery(config), tasks);
}
