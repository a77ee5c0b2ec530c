//! The connection to NATS: how it is made, and how it changes to another server when this one no
//! longer answers.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_nats::{Client, ConnectOptions, Event, ServerAddr, connection::State};
use tokio::sync::watch;
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::{Error, Options};

/// Messages that wait for the connection.
const COMMANDS_MAX: usize = 1024;
/// Messages that wait in one subscription; beyond that they are lost, and requested again.
const MESSAGES_MAX: usize = 1024;
/// Longest pause between two attempts to connect.
const RECONNECT_MAX: Duration = Duration::from_millis(500);
/// How often to ask the server whether it is alive.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The connection of this node.
pub(super) struct Connection {
    pub(super) client: Client,
    servers: Vec<ServerAddr>,
    /// Counts the changes to another server.
    turns: AtomicUsize,
    /// Whether a change is under way.
    changing: AtomicBool,
    /// Counts the connections that came up.
    pub(super) connected: watch::Receiver<u64>,
}

impl Connection {
    /// Begins to connect; it goes on until it succeeds. `seed`: which server is the first one, so
    /// that nodes with the same list spread over it.
    pub(super) async fn open(options: &Options, seed: u64) -> Result<Self, Error> {
        let servers = options.servers.iter().map(|server| {
            server
                .parse::<ServerAddr>()
                .map_err(|_| Error::Address(server.clone()))
        });
        let mut servers = servers.collect::<Result<Vec<_>, _>>()?;
        let first = usize::try_from(seed).unwrap_or_default() % servers.len().max(1);
        servers.rotate_left(first);
        let (sender, connected) = watch::channel(0);
        let sender = Arc::new(sender);
        let said = Arc::new(AtomicBool::new(false));
        let mut connecting = ConnectOptions::new()
            .name(format!("aerial {}", options.node))
            .retry_on_initial_connect()
            // A turn to the next server must not end at the same one.
            .retain_servers_order()
            .ping_interval(PING_INTERVAL)
            .client_capacity(COMMANDS_MAX)
            .subscription_capacity(MESSAGES_MAX)
            .connection_timeout(Duration::from_secs(2))
            .reconnect_delay_callback(|attempts| {
                let failed = u64::try_from(attempts.saturating_sub(1)).unwrap_or(u64::MAX);
                Duration::from_millis(failed.saturating_mul(50)).min(RECONNECT_MAX)
            })
            .event_callback(move |event| {
                note(&event, &sender, &said);
                async {}
            });
        if let Some(file) = &options.credentials {
            let unreadable = |cause| Error::File(file.clone(), cause);
            let text = fs::read_to_string(file).map_err(unreadable)?;
            let seed = text.trim();
            connecting = if seed.starts_with("SU") && !seed.contains(char::is_whitespace) {
                connecting.nkey(seed.to_owned())
            } else {
                connecting.credentials(&text).map_err(unreadable)?
            };
        }
        if options.tls {
            connecting = connecting
                .require_tls(true)
                .tls_client_config(tls(options)?);
        }
        let client = connecting.connect(servers.as_slice()).await;
        Ok(Self {
            client: client.map_err(|error| Error::Connect(error.to_string()))?,
            servers,
            turns: AtomicUsize::new(0),
            changing: AtomicBool::new(false),
            connected,
        })
    }

    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Goes to another server: this one has died, or is cut off from where the others are.
    pub(super) async fn change(&self) {
        if self.servers.len() < 2 || !self.is_up() || self.changing.swap(true, Relaxed) {
            return;
        }
        self.turn().await;
        self.changing.store(false, Relaxed);
    }

    async fn turn(&self) {
        let turn = self.turns.fetch_add(1, Relaxed) + 1;
        let mut servers = self.servers.clone();
        servers.rotate_left(turn % self.servers.len());
        tracing::info!("no answers from the NATS server; switching to another one");
        let changed = self.client.set_server_pool(servers.as_slice()).await;
        if changed.is_ok() {
            // Err: the client is closing.
            let _ = self.client.force_reconnect().await;
        }
    }
}

/// Notes what happens to the connection; the log hears of each change once.
fn note(event: &Event, connected: &watch::Sender<u64>, said: &AtomicBool) {
    match event {
        Event::Connected => {
            said.store(false, Relaxed);
            tracing::info!("connected to NATS");
            connected.send_modify(|times| *times += 1);
        }
        Event::Disconnected => {
            tracing::warn!("disconnected from NATS; local viewers are not affected");
        }
        Event::LameDuckMode => tracing::info!("the NATS server is about to stop"),
        Event::ServerError(error) if !said.swap(true, Relaxed) => {
            tracing::warn!(%error, "NATS refused this node");
        }
        Event::ClientError(error) if !said.swap(true, Relaxed) => {
            tracing::warn!(%error, "cannot reach NATS");
        }
        Event::SlowConsumer(_)
        | Event::ServerError(_)
        | Event::ClientError(_)
        | Event::Draining
        | Event::Closed => {}
    }
}

/// TLS with a provider named: the process has two, and rustls would not choose.
fn tls(options: &Options) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &options.ca {
        for certificate in certificates(file)? {
            let unusable = |error| Error::File(file.clone(), io::Error::other(error));
            roots.add(certificate).map_err(unusable)?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let unusable = |error| Error::Connect(format!("TLS is not available: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots);
    match options.certificate.as_ref().zip(options.key.as_ref()) {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let key = pem(key, PrivateKeyDer::from_pem_file(key))?;
            let chain = certificates(certificate)?;
            builder.with_client_auth_cert(chain, key).map_err(unusable)
        }
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = pem(file, CertificateDer::pem_file_iter(file))?;
    pem(file, certificates.collect())
}

fn pem<T>(
    file: &Path,
    read: Result<T, tokio_rustls::rustls::pki_types::pem::Error>,
) -> Result<T, Error> {
    read.map_err(|error| Error::File(PathBuf::from(file), io::Error::other(error.to_string())))
}
