//! The options of each room, from the configuration.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    access::Rule,
    amendments::Amendments,
    broadcast,
    config::{
        Config, IceServer, MediaOverTcp, PublicAddress, RawConfig, SiteOptions, ValueOrigin, WebRtc,
    },
    fanout::{self, ViewerOptions},
    http::{self, ConfigControl, ConfigView, OptionView, SectionView, Tls},
    ingest,
    peer::udp::{self, Discovery},
    plan::Engine,
    recordings::Recordings,
    resources::Demand,
    webhooks::WebhookFigures,
    worker::{PeerWorkers, WorkerLimits},
};

/// Connections besides one for each viewer, whose page has an event stream.
const CONNECTIONS_BESIDES: usize = 1000;

/// Simultaneous connections: as configured, or what a full audience needs.
fn connections(config: &Config) -> usize {
    let fitting = config.limits.viewers.saturating_add(CONNECTIONS_BESIDES);
    config.http.connections.unwrap_or(fitting)
}

/// What the configuration allows clients to make the server open.
pub(super) fn demand(config: &Config) -> Demand {
    let Config { limits, webrtc, .. } = config;
    // A broadcast has one publisher.
    let publishers = limits.broadcasts.min(limits.sessions);
    let pipelines = config.plans.all().map(|plan| plan.files().count());
    Demand {
        connections: connections(config),
        sessions: match webrtc.viewer_engine {
            Engine::Webrtcbin => limits.sessions,
            Engine::Direct => publishers,
        },
        pipelines: pipelines.sum::<usize>().saturating_add(limits.transcodes),
    }
}

pub(super) fn fanout(config: &Config) -> fanout::Options {
    fanout::Options {
        timeouts: fanout::Timeouts {
            connect: config.timeouts.connect,
            consent: config.timeouts.consent,
        },
        ..fanout::Options::default()
    }
}

/// The options of `broadcast`.
pub(super) fn broadcasts(config: &Config, workers: &PeerWorkers) -> broadcast::Options {
    let Config {
        timeouts,
        limits,
        webrtc,
        plans,
        ..
    } = config;
    let publisher = ingest::Options {
        engine: webrtc.publisher_engine,
        jitter: webrtc.jitter,
        consent: timeouts.consent,
        bitrate_max: bits(limits.publisher_bitrate),
        workers: workers.clone(),
    };
    let viewer = ViewerOptions {
        engine: webrtc.viewer_engine,
        webrtcbin: fanout::webrtcbin::ConnectionOptions {
            connect: timeouts.connect,
            consent: timeouts.consent,
            workers: fanout::webrtcbin::ViewerWorkers::new(workers.clone(), ""),
        },
    };
    broadcast::Options {
        times: broadcast::Times {
            connect: timeouts.connect,
            media: timeouts.media,
            stale: timeouts.stale,
            silent: timeouts.silent,
            ended: timeouts.ended,
        },
        first_check: timeouts.first_check,
        grace: timeouts.grace,
        sessions_max: limits.sessions,
        broadcasts_max: limits.broadcasts,
        token_broadcasts_max: limits.token_broadcasts,
        viewers_max: limits.viewers,
        transcodes_max: limits.transcodes,
        broadcast_transcodes_max: limits.broadcast_transcodes,
        workers: worker_limits(config),
        replace_live: webrtc.replace_live,
        publisher,
        viewer,
        plans: plans.clone(),
    }
}

/// Whether any viewers are carried by webrtcbin.
fn has_viewers_on_webrtcbin(config: &Config) -> bool {
    let mut engines = config.plans.all().map(|plan| plan.viewer_engine);
    let default = config.webrtc.viewer_engine;
    default == Engine::Webrtcbin || engines.any(|engine| engine == Some(Engine::Webrtcbin))
}

/// The pool that starts workers of publishers and viewers on webrtcbin: one for the life of the
/// server. Call it within the runtime.
pub(super) fn peer_workers(config: &Config) -> PeerWorkers {
    let workers = PeerWorkers::new(worker_limits(config));
    let publishers = config.webrtc.publisher_engine == Engine::Webrtcbin;
    if publishers || has_viewers_on_webrtcbin(config) {
        workers.keeping_one_ready()
    } else {
        workers
    }
}

/// What one worker may use.
fn worker_limits(config: &Config) -> WorkerLimits {
    WorkerLimits::new(pipeline_memory(config)).killed_after(config.timeouts.worker)
}

/// Bytes of memory for one pipeline's process.
pub(super) fn pipeline_memory(config: &Config) -> u64 {
    bytes(config.limits.pipeline_memory.0)
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Where the UDP port is, and what is advertised.
pub(super) fn port(config: &Config, loopback: bool, tcp: Vec<SocketAddr>) -> udp::Options {
    let public = config.webrtc.public_addresses.iter();
    udp::Options {
        listen: config.main.udp,
        public_addresses: public
            .filter_map(|address| match address {
                PublicAddress::Ip(ip) => Some(*ip),
                PublicAddress::Name(_) => None,
            })
            .collect(),
        only_public: !config.webrtc.local_addresses,
        loopback,
        tcp,
    }
}

/// What to find out about public addresses.
pub(super) fn discovery(config: &Config) -> Discovery {
    let public = config.webrtc.public_addresses.iter();
    let server = config.webrtc.stun_server.as_ref();
    Discovery {
        names: public
            .filter_map(|address| match address {
                PublicAddress::Ip(_) => None,
                PublicAddress::Name(name) => Some(name.clone()),
            })
            .collect(),
        stun_server: server.map(|server| server.0.clone()),
    }
}

fn ice_servers(webrtc: &WebRtc) -> http::IceServers {
    let servers = webrtc.ice_servers.iter();
    let (shared, fixed): (Vec<_>, Vec<_>) =
        servers.partition(|server| server.takes_made_password().is_some());
    let urls = shared
        .into_iter()
        .filter_map(IceServer::takes_made_password);
    let secret = webrtc.turn_secret.clone();
    http::IceServers {
        fixed: fixed.into_iter().map(IceServer::link).collect(),
        shared: urls.map(str::to_owned).collect(),
        turn: secret.map(|secret| http::TurnSecret {
            secret,
            lifetime: webrtc.turn_lifetime,
        }),
    }
}

/// Bit/s of kbit/s.
fn bits(kilobits: usize) -> u64 {
    u64::try_from(kilobits)
        .unwrap_or(u64::MAX)
        .saturating_mul(1000)
}

fn theme(site: SiteOptions) -> http::Theme {
    http::Theme {
        name: site.name.0,
        description: site.description.map(|text| text.0),
        footer: site.footer.map(|text| text.0),
        logo: site.logo.map(|file| file.0),
        accent: site.accent.map(|colour| colour.0),
    }
}

/// The configuration as the operator sees it. `raw` has the amendments.
pub(super) fn view(raw: &RawConfig, amendments: &Amendments) -> Arc<ConfigView> {
    let options = raw.shown_options().map(|option| {
        let shown = OptionView {
            value: option.value,
            origin: option.origin.to_string(),
            changeable: option.changeable,
        };
        (option.key, shown)
    });
    let sections = raw.shown_sections().map(|section| {
        let name = section.pattern.name();
        SectionView {
            broadcasts: section.pattern.to_string(),
            origin: section.origin.to_string(),
            changeable: *section.origin == ValueOrigin::Api
                && name.is_some_and(|name| amendments.configures(&name)),
            keys: section.keys.clone(),
        }
    });
    Arc::new(ConfigView {
        options: options.collect(),
        sections: sections.collect(),
    })
}

/// Options of `http` that do not come from the configuration.
#[derive(Clone)]
pub(super) struct HttpParts {
    pub(super) tls: Option<Tls>,
    /// The token that was made for the operator.
    pub(super) admin_rule: Option<Rule>,
    pub(super) control: ConfigControl,
    pub(super) webhooks: WebhookFigures,
    pub(super) recordings: Recordings,
    pub(super) view: Arc<ConfigView>,
}

pub(super) fn http(config: Config, parts: HttpParts) -> http::Options {
    let connections = connections(&config);
    let Config {
        main,
        http,
        site,
        limits,
        timeouts,
        webrtc,
        auth,
        access,
        ..
    } = config;
    http::Options {
        public_url: http.public_url.map(|url| url.0),
        connections_max: connections,
        client_connections_max: limits.source_connections,
        client_streams_max: limits.source_streams,
        publishers_max: http::SessionMaxima {
            client: limits.source_publishers,
            token: None,
        },
        viewers_max: http::SessionMaxima {
            client: limits.source_viewers,
            token: Some(limits.token_viewers),
        },
        header_timeout: http.header_timeout,
        body_timeout: http.body_timeout,
        write_timeout: http.write_timeout,
        header_bytes_max: http.header_bytes.0,
        offer_bytes_max: limits.offer_bytes.0,
        fragment_bytes_max: limits.fragment_bytes.0,
        lenient_etag: http.lenient_etag,
        missing_is_404: http.missing_is_404,
        origins: http.origins.into_iter().map(|origin| origin.0).collect(),
        hsts: http.hsts,
        redirect_publishers: http.redirect_publishers.map(|url| url.0),
        redirect_viewers: http.redirect_viewers.map(|url| url.0),
        client_offers: limits.source_offers,
        trusted_proxies: http.trusted_proxies,
        takes_media: webrtc.tcp != MediaOverTcp::Off,
        forwarded_header: http.forwarded_header,
        tls: parts.tls,
        auth: http::AuthOptions {
            access,
            admin_rule: parts.admin_rule,
            query: auth.query,
            basic: auth.basic,
            sessions: auth.sessions,
            source_failures: limits.source_failures,
        },
        ice_servers: ice_servers(&webrtc),
        control: parts.control,
        recordings: parts.recordings,
        configuration: parts.view,
        webhooks: parts.webhooks,
        web: main.web,
        theme: theme(site),
        drain: timeouts.drain,
    }
}
