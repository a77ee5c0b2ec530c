//! One HTTP/1.1 request on a connection of its own, with or without TLS.

use std::io;

use bytes::Bytes;
use futures_util::future::join;
use http::{HeaderValue, Request, Response, Uri, header, uri::Scheme};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::outbound::{self, OutboundError};

/// Largest response read, in bytes: more than any answer.
const RESPONSE_BYTES_MAX: usize = 256 << 10;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0}")]
    Connection(#[from] io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("its name cannot be in a certificate")]
    Name,
    #[error("{0}")]
    Tls(#[from] OutboundError),
    #[error("reading its response: {0}")]
    Body(String),
}

/// Sends a request to a URL with a host, and reads the whole response. Without a time limit.
///
/// # Errors
/// The server cannot be reached, or breaks off.
pub(super) async fn exchange(
    url: &Uri,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, Error> {
    let encrypted = url.scheme() == Some(&Scheme::HTTPS);
    let host = url
        .host()
        .unwrap_or_default()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let port = url.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let request = address(request, url)?;
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    if !encrypted {
        return converse(stream, request).await;
    }
    let connector = TlsConnector::from(outbound::tls()?);
    let name = ServerName::try_from(host).map_err(|_| Error::Name)?;
    converse(connector.connect(name, stream).await?, request).await
}

/// Request line and `Host` as HTTP/1.1 requires them, without a user name.
fn address(request: Request<Full<Bytes>>, url: &Uri) -> Result<Request<Full<Bytes>>, Error> {
    let mut request = request;
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let host = HeaderValue::from_str(host).map_err(|_| Error::Name)?;
    request.headers_mut().insert(header::HOST, host);
    *request.uri_mut() = match url.path_and_query() {
        Some(path) => Uri::from(path.clone()),
        None => Uri::from_static("/"),
    };
    Ok(request)
}

async fn converse<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async move {
        let (parts, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Error::Body(error.to_string()))?;
        // `sender` ends here, and the connection with it
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    let (answer, connection) = join(answer, connection).await;
    if let Err(error) = connection {
        tracing::debug!(%error, "connection to the WHIP server failed");
    }
    answer
}
