//! The benchmark's WebRTC client: str0m on a socket of its own, and the HTTP exchange of WHIP and
//! WHEP.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use str0m::{
    Event, Rtc, crypto,
    format::Codec,
    media::{Direction, MediaKind, Mid, Pt},
    net::Transmit,
};
use tokio::{net::UdpSocket, time::timeout};

use super::clock_ns;
use crate::testing::peer::Peer;

/// Wanted size of the socket buffers, in bytes: more than a second of the broadcast, so that a
/// benchmark process that is not scheduled for a while loses nothing. The system may give less.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// How long one HTTP request may take.
const HTTP_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A UDP socket on the loopback address with large buffers.
pub(super) fn loopback_socket() -> Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_nonblocking(true)?;
    let options = socket2::SockRef::from(&socket);
    options.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    options.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    Ok(UdpSocket::from_std(socket)?)
}

/// An HTTP client that opens a connection per request, as a new viewer does.
pub(super) fn http_client() -> Http {
    Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build_http()
}

/// See [`http_client`].
pub(super) type Http = Client<HttpConnector, Full<Bytes>>;

/// Sends one request and reads the whole response.
pub(super) async fn request(
    http: &Http,
    request: http::Request<Full<Bytes>>,
) -> Result<http::Response<Bytes>> {
    let exchange = async {
        let (parts, body) = http.request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| anyhow!("reading the response: {error}"))?
            .to_bytes();
        Ok(http::Response::from_parts(parts, body))
    };
    timeout(HTTP_TIMEOUT, exchange)
        .await
        .context("no response in time")?
}

/// Ends a session of WHIP or WHEP.
pub(super) async fn end_session(http: &Http, session: &str) -> Result<()> {
    let delete = http::Request::delete(session).body(Full::<Bytes>::default())?;
    let response = request(http, delete).await?;
    if !response.status().is_success() {
        bail!("{} for DELETE of a session", response.status());
    }
    Ok(())
}

/// A client's peer connection.
pub(super) struct BenchConnection {
    inner: Peer,
    socket: UdpSocket,
    wake: Instant,
    sent_ns: u64,
}

impl BenchConnection {
    /// A peer that sends or receives one H264 and one Opus track, and its offer.
    pub(super) async fn new(direction: Direction) -> Result<(Self, String)> {
        let socket = loopback_socket()?;
        // Only then does tokio know that the socket can be written to.
        socket.writable().await?;
        let config = Rtc::builder()
            .set_crypto_provider(Arc::new(crypto::from_feature_flags()))
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_h264(true)
            .enable_opus(true, false);
        let kinds = [MediaKind::Video, MediaKind::Audio];
        let (inner, offer) = Peer::offering(&config, socket.local_addr()?, direction, &kinds)?;
        let peer = Self {
            inner,
            socket,
            wake: Instant::now(),
            sent_ns: 0,
        };
        Ok((peer, offer))
    }

    /// Posts the offer and takes the answer, which [`Self::accept`] wants. Also gives the URL of
    /// the session.
    pub(super) async fn negotiate(
        http: &Http,
        endpoint: &str,
        offer: String,
    ) -> Result<(String, String)> {
        let post = http::Request::post(endpoint)
            .header(http::header::CONTENT_TYPE, "application/sdp")
            .body(Full::from(offer))?;
        let response = request(http, post).await.context("posting an offer")?;
        let body = String::from_utf8_lossy(response.body()).into_owned();
        if response.status() != http::StatusCode::CREATED {
            bail!("{} for an offer: {body}", response.status());
        }
        let location = response
            .headers()
            .get(http::header::LOCATION)
            .context("201 without a Location")?
            .to_str()?;
        Ok((body, resolve(endpoint, location)?))
    }

    /// Applies the answer to the offer.
    pub(super) fn accept(&mut self, answer: &str) -> Result<()> {
        Ok(self.inner.accept(answer)?)
    }

    /// The negotiated payload type of the video (H264) or audio (Opus) track.
    pub(super) fn payload_type(&self, kind: MediaKind) -> Option<Pt> {
        let codec = match kind {
            MediaKind::Video => Codec::H264,
            MediaKind::Audio => Codec::Opus,
        };
        let rtc = &self.inner.rtc;
        let negotiated = rtc.media(self.inner.mid(kind)?)?.remote_pts();
        let params = rtc.codec_config().params();
        params
            .iter()
            .filter(|params| params.spec().codec == codec)
            .map(str0m::format::PayloadParams::pt)
            .find(|pt| negotiated.contains(pt))
    }

    /// The str0m session and the mid of the track, to write packets.
    pub(super) fn track(&mut self, kind: MediaKind) -> Option<(&mut Rtc, Mid)> {
        let mid = self.inner.mid(kind)?;
        Some((&mut self.inner.rtc, mid))
    }

    /// When [`Self::tick`] is due.
    pub(super) const fn wake(&self) -> Instant {
        self.wake
    }

    /// When the last datagram was handed to the kernel, in nanoseconds of [`clock_ns`]. Taken before
    /// the call, because afterwards the receiver may well run first.
    pub(super) const fn sent_ns(&self) -> u64 {
        self.sent_ns
    }

    /// The socket that [`Self::feed`]'s datagrams come from.
    pub(super) const fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Hands a received datagram to the session.
    pub(super) fn feed(&mut self, datagram: &[u8], sender: SocketAddr) -> Result<()> {
        Ok(self.inner.receive(Instant::now(), sender, datagram)?)
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self) -> Result<()> {
        Ok(self.inner.tick(Instant::now())?)
    }

    /// Sends what the session has to send and reports its events.
    ///
    /// # Errors
    ///
    /// If the session or the socket failed; a datagram that does not fit is an error too, because
    /// it would falsify the measurement.
    pub(super) fn drain(&mut self, on_event: impl FnMut(Event)) -> Result<()> {
        let (socket, sent_ns) = (&self.socket, &mut self.sent_ns);
        let send = |datagram: &Transmit| {
            *sent_ns = clock_ns();
            socket
                .try_send_to(&datagram.contents, datagram.destination)
                .map(drop)
        };
        self.wake = self.inner.poll(send, on_event)?;
        Ok(())
    }
}

/// `Location` is an absolute URL or an absolute path.
fn resolve(base: &str, location: &str) -> Result<String> {
    if location.starts_with("http") {
        return Ok(location.to_owned());
    }
    let base: http::Uri = base.parse()?;
    let authority = base.authority().context("an endpoint without a host")?;
    Ok(format!("http://{authority}{location}"))
}
