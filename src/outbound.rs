//! Requests to other servers: HTTP with or without TLS, within a time and a size.

use std::{
    fmt::{self, Write as _},
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use ::aws_lc_rs::hmac;
use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// Largest reply that is read, in bytes.
const REPLY_BYTES_MAX: usize = 256 << 10;
/// Connections that are kept for the next request to the same server.
const IDLE_CONNECTIONS_MAX: usize = 4;

/// Why there is no reply. The texts show no URL: some contain secrets.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OutboundError {
    /// The server cannot be reached, or breaks off.
    #[error("cannot reach the server: {0}")]
    Unreachable(String),
    /// It took too long.
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
    /// The reply is too large, or breaks off.
    #[error("cannot read the server's answer: {0}")]
    Body(String),
    /// TLS cannot be used at all.
    #[error("TLS is not available: {0}")]
    Tls(String),
}

/// Sends requests. Follows no redirects: they would take secrets elsewhere. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpClient")
    }
}

impl HttpClient {
    /// A client whose requests take at most this long, with everything.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(timeout: Duration) -> Result<Self, OutboundError> {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(ClientConfig::clone(&*tls()?))
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        Ok(Self { client, timeout })
    }

    /// Fetches what is at a URL.
    ///
    /// # Errors
    /// There is no reply in time, or it is too large. Its status may be anything.
    pub async fn get(&self, url: &Uri) -> Result<Response<Bytes>, OutboundError> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = url.clone();
        self.send(request).await
    }

    /// Sends a request and reads the whole reply.
    ///
    /// # Errors
    /// Like [`HttpClient::get`].
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, OutboundError> {
        let exchange = async {
            let reply = self.client.request(request).await;
            let reply = reply.map_err(|error| OutboundError::Unreachable(causes(&error)))?;
            let (head, body) = reply.into_parts();
            let body = Limited::new(body, REPLY_BYTES_MAX).collect().await;
            let body = body.map_err(|error| OutboundError::Body(error.to_string()))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        timeout(self.timeout, exchange)
            .await
            .map_err(|_| OutboundError::Timeout(self.timeout))?
    }
}

/// Signs what is sent, so that the receiver can verify the sender and the time.
pub struct Signer(hmac::Key);

impl Signer {
    /// Signs with this secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// A POST of JSON. `Aerial-Signature` is `sha256=` and the HMAC of `Aerial-Timestamp`, a dot and
    /// the body.
    ///
    /// # Errors
    /// If it is not a request.
    pub fn post(&self, url: &Uri, body: Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let time = time.map_or(0, |time| time.as_secs()).to_string();
        let mut signed = hmac::Context::with_key(&self.0);
        signed.update(time.as_bytes());
        signed.update(b".");
        signed.update(&body);
        let signature = hex(signed.sign().as_ref());
        Request::post(url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(
                header::USER_AGENT,
                concat!("aerial/", env!("CARGO_PKG_VERSION")),
            )
            .header("Aerial-Timestamp", time)
            .header("Aerial-Signature", format!("sha256={signature}"))
            .body(Full::new(body))
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digits = String::with_capacity(2 * bytes.len());
    bytes.iter().fold(digits, |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An error with what caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Trusts the system's certificates, or the browsers' where the system has none. Made once.
///
/// # Errors
/// If TLS cannot be set up.
pub fn tls() -> Result<Arc<ClientConfig>, OutboundError> {
    static CONFIG: LazyLock<Result<Arc<ClientConfig>, OutboundError>> = LazyLock::new(|| {
        let mut roots = RootCertStore::empty();
        let (added, _) =
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if added == 0 {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| OutboundError::Tls(error.to_string()))?;
        Ok(Arc::new(
            config.with_root_certificates(roots).with_no_client_auth(),
        ))
    });
    CONFIG.clone()
}
