//! A request, and its body read under limits.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ::http::{HeaderMap, HeaderName, Method, header};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use headers::{
    Authorization, HeaderMapExt as _,
    authorization::{Bearer, Credentials},
};
use serde::de::DeserializeOwned;
use warp::{Buf, Stream};
use zeroize::Zeroizing;

use super::{
    headers::{ACCEPT_PATCH, ACCEPT_POST, JSON_TYPE},
    problem::Problem,
};
use crate::{access::Presented, awake, client::ClientAddress};

/// Longest path that is read, in bytes.
pub(super) const PATH_BYTES_MAX: usize = 512;
/// How much of an oversized body is read before the connection is cut, as a multiple of its limit:
/// the client should see the answer instead of a reset.
const DRAIN_FACTOR: usize = 8;

/// How much of a user agent is kept, in characters.
const USER_AGENT_CHARS_MAX: usize = 120;

/// A body as it arrives.
pub(super) type Body = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>;

/// Gives warp's body stream a type that can be named.
pub(super) fn body<B: Buf>(
    stream: impl Stream<Item = Result<B, warp::Error>> + Send + 'static,
) -> Body {
    Box::pin(stream.map_ok(|mut chunk| chunk.copy_to_bytes(chunk.remaining())))
}

/// The port that a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The one for everybody.
    Public,
    /// The operator's own, at an address.
    Admin,
    /// The operator's own, at a Unix socket, or at another node that has let the operator in.
    Socket,
}

/// The client of a connection, and the port that it came through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) address: ClientAddress,
    pub(super) door: Door,
}

/// A request as handlers see it.
pub(super) struct HttpRequest {
    /// Its sender, behind any trusted proxies.
    pub(super) client: ClientAddress,
    /// Whether that is the client itself: otherwise its proxy has named nobody.
    pub(super) is_client_known: bool,
    /// The port that it came through.
    pub(super) door: Door,
    /// Another node has passed it on: it goes no further.
    pub(super) is_relayed: bool,
    pub(super) method: Method,
    pub(super) path: String,
    /// What its client puts before this server's paths, as trusted proxies say: scheme, host and
    /// path, or only a path; usually empty.
    pub(super) base: String,
    /// Without the question mark; empty if there is none.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    /// What it reveals about its sender; see `Auth::identify`.
    pub(super) presented: Presented,
    /// The token, if it has one.
    pub(super) token: Option<Zeroizing<String>>,
    /// When its head had been read.
    pub(super) arrived: std::time::Instant,
    /// Never locked: it makes requests `Sync`, so that they can be lent to what waits.
    body: Mutex<Body>,
}

impl HttpRequest {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a request as warp has them"
    )]
    pub(super) fn new(
        Caller {
            address: client,
            door,
        }: Caller,
        method: Method,
        path: String,
        query: String,
        headers: HeaderMap,
        body: Body,
    ) -> Self {
        Self {
            client,
            is_client_known: true,
            door,
            is_relayed: false,
            method,
            path,
            base: String::new(),
            query,
            headers,
            presented: Presented::Nothing,
            token: None,
            arrived: awake::now(),
            body: Mutex::new(body),
        }
    }

    /// The address that networks' rights are for: never that of a proxy in place of its client.
    pub(super) fn known_ip(&self) -> Option<IpAddr> {
        self.is_client_known.then(|| self.client.ip())
    }

    /// A parameter of the query, as written: the values it may have need no escapes.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// A header as text.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The client's user agent, shortened, for the log.
    pub(super) fn user_agent(&self) -> String {
        let text = self.header(&header::USER_AGENT).unwrap_or_default();
        text.chars().take(USER_AGENT_CHARS_MAX).collect()
    }

    /// The bearer token (RFC 6750 §2.1), if there is one.
    pub(super) fn bearer(&self) -> Option<String> {
        Some(self.credentials::<Bearer>()?.token().to_owned())
    }

    /// What `Authorization` says in this scheme.
    pub(super) fn credentials<C: Credentials>(&self) -> Option<C> {
        let Authorization(credentials) = self.headers.typed_get()?;
        Some(credentials)
    }

    /// Whether the body is of this media type; parameters do not matter (RFC 9110 §8.3.1).
    pub(super) fn has_type(&self, wanted: &str) -> bool {
        self.header(&header::CONTENT_TYPE)
            .and_then(|value| value.split(';').next())
            .is_some_and(|essence| essence.trim().eq_ignore_ascii_case(wanted))
    }

    /// Reads the body, never more than `limit` bytes of it into memory.
    ///
    /// # Errors
    /// 413 if it is larger, 408 if it does not arrive in time, 400 if it breaks off.
    pub(super) async fn body(&mut self, limit: usize, time: Duration) -> Result<Bytes, Problem> {
        let body = awake::timeout(time, self.collect_body(limit)).await;
        body.map_err(|_| Problem::request_timeout())?
    }

    /// Reads a body that is a JSON document. `wanted` says what to send instead of another one.
    ///
    /// # Errors
    /// 415 for another media type, 400 for what cannot be read.
    pub(super) fn json<T: DeserializeOwned>(
        &self,
        body: &[u8],
        wanted: &str,
    ) -> Result<T, Problem> {
        if !self.has_type(JSON_TYPE) {
            let accept = if self.method == Method::PATCH {
                ACCEPT_PATCH
            } else {
                ACCEPT_POST
            };
            return Err(Problem::wrong_type(accept, JSON_TYPE));
        }
        serde_json::from_slice(body)
            .map_err(|error| Problem::bad_request(&format!("{wanted}: {error}")))
    }

    async fn collect_body(&mut self, limit: usize) -> Result<Bytes, Problem> {
        let mut collected = BytesMut::new();
        let mut seen = 0_usize;
        let body = self.body.get_mut().unwrap_or_else(PoisonError::into_inner);
        loop {
            match body.next().await {
                None if seen > limit => return Err(Problem::too_large(limit)),
                None => return Ok(collected.freeze()),
                Some(Err(error)) => return Err(Problem::bad_request(&error.to_string())),
                Some(Ok(chunk)) => {
                    seen = seen.saturating_add(chunk.len());
                    if seen <= limit {
                        collected.extend_from_slice(&chunk);
                    } else if seen > limit.saturating_mul(DRAIN_FACTOR) {
                        return Err(Problem::too_large(limit));
                    }
                }
            }
        }
    }
}
