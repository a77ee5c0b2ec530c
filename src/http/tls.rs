//! TLS of the HTTP port: certificate and key from files, reloaded when they change.
//!
//! A change applies to new connections; existing ones continue.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Notify,
    task::spawn_blocking,
    time::sleep,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{
            CertificateDer, PrivateKeyDer,
            pem::{self, PemObject as _},
        },
    },
    server::TlsStream,
};

/// How often the files are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// First byte of a TLS connection: a record of the handshake (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;
/// The reply to a client without TLS, in plain HTTP.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\r\nThis port speaks HTTPS: use https://\n";
/// How much of such a client's request is read first, in bytes: otherwise it would see a reset.
const NOT_TLS_BYTES: usize = 16 << 10;

/// The problem with the certificate's files.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {problem}", path = .path.display())]
pub struct TlsError {
    path: PathBuf,
    problem: String,
}

/// The present certificate and key.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    certificate: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
    /// See [`Tls::expiry`]; 0 if unknown.
    expiry: AtomicI64,
    wanted: Arc<Notify>,
}

/// When the files were changed, and their sizes.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl Tls {
    /// Reads a certificate chain and its key, both PEM.
    ///
    /// # Errors
    /// A file that cannot be read or used.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let Loaded { config, expiry } = read(&certificate, &key)?;
        Ok(Self(Arc::new(Shared {
            expiry: AtomicI64::new(expiry.unwrap_or_default()),
            certificate,
            key,
            config: RwLock::new(Arc::new(config)),
            wanted: Arc::default(),
        })))
    }

    /// When the certificate expires, in seconds since 1970.
    pub(super) fn expiry(&self) -> Option<i64> {
        let expiry = self.0.expiry.load(Ordering::Relaxed);
        (expiry != 0).then_some(expiry)
    }

    /// Notify it to reload the files.
    pub fn reload(&self) -> Arc<Notify> {
        Arc::clone(&self.0.wanted)
    }

    /// Reloads the files whenever they change. Never ends.
    pub(super) async fn keep(self) {
        let Shared {
            certificate, key, ..
        } = &*self.0;
        let mut seen = stamp(certificate, key);
        loop {
            let asked = tokio::select! {
                () = self.0.wanted.notified() => true,
                () = sleep(CHECK_INTERVAL) => false,
            };
            let now = stamp(certificate, key);
            if !asked && now == seen {
                continue;
            }
            seen = now;
            let (certificate, key) = (certificate.clone(), key.clone());
            match spawn_blocking(move || read(&certificate, &key)).await {
                Ok(Ok(Loaded { config, expiry })) => {
                    let expiry = expiry.unwrap_or_default();
                    self.0.expiry.store(expiry, Ordering::Relaxed);
                    // A poisoned lock is fine: nothing is ever left half-changed.
                    let mut current = self
                        .0
                        .config
                        .write()
                        .unwrap_or_else(PoisonError::into_inner);
                    *current = Arc::new(config);
                    tracing::info!("certificate reloaded");
                }
                Ok(Err(error)) => tracing::warn!(%error, "certificate not reloaded"),
                Err(error) => tracing::error!(%error, "certificate not reloaded"),
            }
        }
    }

    /// Begins TLS on a connection.
    ///
    /// # Errors
    /// What the client does wrong, or a connection that breaks off.
    pub(super) async fn accept(&self, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first != [HANDSHAKE] {
            let mut request = vec![0; NOT_TLS_BYTES];
            // How much has arrived does not matter.
            let _ = stream.read(&mut request).await?;
            stream.write_all(NOT_TLS).await?;
            stream.shutdown().await?;
            return Err(io::Error::other("not TLS"));
        }
        let config = Arc::clone(&self.0.config.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(stream).await
    }
}

/// Without the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.certificate).finish()
    }
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

/// The purpose of the files.
struct Loaded {
    config: ServerConfig,
    /// See [`Tls::expiry`].
    expiry: Option<i64>,
}

/// TLS 1.2 and 1.3 with this certificate.
fn read(certificate: &Path, key: &Path) -> Result<Loaded, TlsError> {
    let refused = |path: &Path, problem: String| TlsError {
        path: path.to_owned(),
        problem,
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refused(certificate, describe(&error)))?;
    if chain.is_empty() {
        return Err(refused(
            certificate,
            "it contains no PEM certificate".to_owned(),
        ));
    }
    let expiry = chain
        .first()
        .and_then(|own| super::certificate::expiry(own));
    let secret =
        PrivateKeyDer::from_pem_file(key).map_err(|error| refused(key, describe(&error)))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(chain, secret)
        })
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let certificate = certificate.display();
                refused(
                    key,
                    format!("not the key of the certificate in {certificate}"),
                )
            }
            error => refused(certificate, format!("cannot be used: {error}")),
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Loaded { config, expiry })
}

fn describe(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot be read: {error}"),
        pem::Error::NoItemsFound => {
            "no usable PEM private key in it; keys with a password are not supported".to_owned()
        }
        error => format!("not PEM: {error}"),
    }
}
