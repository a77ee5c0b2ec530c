//! Session URLs at a node that does not have the session: the node that has it answers.

use std::{net::IpAddr, sync::Arc};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Limited};
use tokio::{sync::mpsc, task::JoinSet};
use warp::reply::Response;

use super::{
    App,
    headers::{ACCEPT_PATCH, ACCEPT_POST, BROADCAST_STATE},
    reply::{empty, set, with_body},
    request::{Caller, Door, HttpRequest},
};
use crate::{
    broadcast::Relayed,
    client::ClientAddress,
    cluster::{RelayedReply, RelayedRequest},
};

/// Largest body of an answer; as a text in JSON it is a part of one message.
const REPLY_BYTES_MAX: usize = 640 << 10;
/// Requests of other nodes that are answered at a time.
const ANSWERS_MAX: usize = 256;
/// Headers of a request that the other node needs.
const REQUEST_HEADERS: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::AUTHORIZATION,
    header::USER_AGENT,
];
/// Headers of its answer.
const REPLY_HEADERS: [HeaderName; 10] = [
    header::CONTENT_TYPE,
    header::ETAG,
    header::LOCATION,
    header::LINK,
    header::RETRY_AFTER,
    header::CACHE_CONTROL,
    header::WWW_AUTHENTICATE,
    ACCEPT_PATCH,
    ACCEPT_POST,
    BROADCAST_STATE,
];

/// Lets the node with this session answer. `None` if this node is to answer itself: it is the only
/// one, it has the session, or nobody has.
pub(super) async fn elsewhere(
    app: &App,
    session: &str,
    request: &mut HttpRequest,
) -> Option<Response> {
    let cluster = app.broadcasts.cluster()?;
    if request.is_relayed || session.starts_with(cluster.incarnation()) {
        return None;
    }
    let body = request
        .body(app.options.fragment_bytes_max, app.options.body_timeout)
        .await
        .ok()?;
    response(cluster.relay(session, &relayed(request, &body)?).await?)
}

/// Passes the request of an operator, whom this node has let in, to all other nodes. Empty if this
/// one is the only one, or is asked by another.
pub(super) async fn others(app: &App, request: &HttpRequest, body: &[u8]) -> Vec<RelayedReply> {
    if request.is_relayed {
        return Vec::new();
    }
    let Some(cluster) = app.broadcasts.cluster() else {
        return Vec::new();
    };
    let Some(relayed) = relayed(request, body) else {
        return Vec::new();
    };
    let operators = RelayedRequest {
        operator: true,
        ..relayed
    };
    cluster.relay_to_others(&operators).await
}

/// The part of a request that the other node needs. `None` if its body is not text.
fn relayed(request: &HttpRequest, body: &[u8]) -> Option<RelayedRequest> {
    Some(RelayedRequest {
        method: request.method.to_string(),
        path: request.path.clone(),
        query: request.query.clone(),
        headers: texts(&request.headers, &REQUEST_HEADERS),
        client: request.client.to_string(),
        operator: false,
        body: String::from_utf8(body.to_vec()).ok()?,
    })
}

/// Passes on what the other node has answered.
pub(super) fn response(reply: RelayedReply) -> Option<Response> {
    let status = StatusCode::from_u16(reply.status).ok()?;
    let mut response = empty(status);
    if !reply.body.is_empty() {
        response = with_body(status, "", reply.body);
    }
    for (name, value) in reply.headers {
        if let Ok(name) = HeaderName::try_from(name) {
            set(&mut response, &name, &value);
        }
    }
    Some(response)
}

/// The headers that matter, as text.
fn texts(headers: &HeaderMap, names: &[HeaderName]) -> Vec<(String, String)> {
    let present = names.iter().filter_map(|name| {
        let value = headers.get(name)?.to_str().ok()?;
        Some((name.to_string(), value.to_owned()))
    });
    present.collect()
}

/// Answers what other nodes pass on.
pub(super) async fn serve(app: &Arc<App>, requests: Option<mpsc::Receiver<Relayed>>) {
    let Some(mut requests) = requests else {
        return std::future::pending().await;
    };
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            relayed = requests.recv(), if answers.len() < ANSWERS_MAX => match relayed {
                Some(Relayed { request, reply }) => {
                    let app = Arc::clone(app);
                    answers.spawn(async move {
                        if let Some(answer) = answer(&app, request).await {
                            // Err: the other node is not waiting any more.
                            let _ = reply.send(answer);
                        }
                    });
                }
                None => return std::future::pending().await,
            },
            Some(_) = answers.join_next() => {}
        }
    }
}

/// Whether a path is that of a broadcast's sessions, or one of them.
fn is_about_sessions(path: &str) -> bool {
    let Some(path) = path.strip_prefix("/api/") else {
        return false;
    };
    let mut parts = path.strip_prefix("v1/").unwrap_or(path).split('/');
    parts.next() == Some("broadcasts") && parts.nth(1) == Some("sessions")
}

async fn answer(app: &App, request: RelayedRequest) -> Option<RelayedReply> {
    let address: IpAddr = request.client.parse().ok()?;
    // The other node has let the operator in, for this and nothing else.
    if request.operator && !is_about_sessions(&request.path) {
        return None;
    }
    let caller = Caller {
        address: ClientAddress::new(address),
        door: if request.operator {
            Door::Socket
        } else {
            Door::Public
        },
    };
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers {
        let name = HeaderName::try_from(name).ok()?;
        if REQUEST_HEADERS.contains(&name) {
            headers.insert(name, HeaderValue::try_from(value).ok()?);
        }
    }
    let body = stream::iter([Ok(Bytes::from(request.body))]).boxed();
    let method = Method::try_from(request.method.as_str()).ok()?;
    let mut request = HttpRequest::new(caller, method, request.path, request.query, headers, body);
    request.is_relayed = true;
    let (parts, body) = app.answer(request).await.into_parts();
    let body = Limited::new(body, REPLY_BYTES_MAX).collect().await.ok()?;
    Some(RelayedReply {
        status: parts.status.as_u16(),
        headers: texts(&parts.headers, &REPLY_HEADERS),
        body: String::from_utf8(body.to_bytes().to_vec()).ok()?,
    })
}
