//! The conversation of a broadcast over HTTP: server-sent events to listen, POST to speak. For those
//! without a data channel, and for scripts.

use std::{convert::Infallible, sync::Arc, time::Duration};

use ::http::{Method, StatusCode, header};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};
use warp::{Reply as _, reply::Response};

use super::{
    App,
    problem::Problem,
    reply::{empty, set},
    request::HttpRequest,
    sight::{self, Watcher},
};
use crate::{
    broadcast::SessionId,
    chat::{ChatRefusal, ChatRequest, Parcel, ParcelSink},
    peer::sdp::Role,
    plan::Name,
    quota::Share,
};

/// Size of a request, in bytes: the largest data, and what is around it.
const BODY_BYTES_MAX: usize = 16 << 10;
/// Texts waiting for a listener; one that is slower gets everything again.
const TEXTS_MAX: usize = 32;
/// After this long without an event a comment is sent, so that proxies keep the connection and
/// clients that have gone are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The body of a POST.
#[derive(Deserialize)]
struct Posted {
    /// The participant in whose name it is, as announced on its stream.
    key: Option<String>,
    /// The name under which a client writes that does not listen.
    #[serde(default)]
    sender: String,
    #[serde(flatten)]
    request: ChatRequest,
}

/// The queue to one listener.
struct ChatListener {
    texts: mpsc::Receiver<Arc<str>>,
    _share: Share,
}

/// The texts on their way to a listener, shared among all of them.
struct ChatQueue(mpsc::Sender<Arc<str>>);

impl ParcelSink for ChatQueue {
    fn take(&self, parcel: &Parcel) -> bool {
        self.0.try_send(Arc::clone(&parcel.text)).is_ok()
    }

    fn has_room(&self) -> bool {
        self.0.capacity() > 0
    }

    fn comes_again(&self) -> bool {
        true
    }
}

pub(super) async fn answer(
    app: &App,
    name: &Name,
    request: HttpRequest,
) -> Result<Response, Problem> {
    app.auth.permit_view(&request, name).await?;
    if request.method == Method::POST {
        return post(app, name, request).await;
    }
    listen(app, name, &request)
}

/// Listen to the conversation
///
/// Server-sent events named `chat`: see docs/chat.md.
#[utoipa::path(
    get,
    path = "/api/v1/broadcasts/{name}/chat",
    operation_id = "listen",
    tag = "chat",
    params(("name" = Name, Path, description = "The broadcast")),
    responses((status = 200, content_type = "text/event-stream", body = String))
)]
fn listen(app: &App, name: &Name, request: &HttpRequest) -> Result<Response, Problem> {
    let share = app.admission.stream(request.client)?;
    let (sender, texts) = mpsc::channel(TEXTS_MAX);
    let guest = app.auth.guest(request, name);
    let chats = app.broadcasts.chats();
    let seat = chats.join_with_key(name, guest, Box::new(ChatQueue(sender)))?;
    let listener = ChatListener {
        texts,
        _share: share,
    };
    let events = stream::unfold(listener, async |mut listener| {
        let text = match timeout(KEEP_ALIVE, listener.texts.recv()).await {
            Ok(text) => format!("event:chat\ndata:{}\n\n", text?).into(),
            Err(_) => Bytes::from_static(b":\n\n"),
        };
        Some((Ok::<_, Infallible>(text), listener))
    });
    let stopping = app.shutdown.stopping.clone().cancelled_owned();
    let events = events.take_until(sight::hold(app, request, Watcher::Speaker, seat));
    let mut response = warp::reply::stream(events.take_until(stopping)).into_response();
    set(&mut response, &header::CONTENT_TYPE, "text/event-stream");
    set(&mut response, &header::CACHE_CONTROL, "no-cache");
    Ok(response)
}

/// Speak
///
/// A request as in docs/chat.md, with the key of a listener, or without one with the right to moderate.
#[utoipa::path(
    post,
    path = "/api/v1/broadcasts/{name}/chat",
    operation_id = "speak",
    tag = "chat",
    params(("name" = Name, Path, description = "The broadcast")),
    request_body = Object,
    responses((status = 204, description = "Taken"))
)]
async fn post(app: &App, name: &Name, mut request: HttpRequest) -> Result<Response, Problem> {
    let body = request
        .body(BODY_BYTES_MAX, app.options.body_timeout)
        .await?;
    let posted: Posted = request.json(&body, "send a request as in docs/chat.md")?;
    let chats = app.broadcasts.chats();
    match (posted.key, posted.request) {
        (Some(key), ChatRequest::Prove { session }) => {
            let session = app.broadcasts.session(&SessionId::from_url(&session))?;
            if session.role != Role::Publisher || session.broadcast != *name {
                return Err(Problem::not_found("session"));
            }
            let number = session.number;
            if chats.promote(name, &key, number)? {
                let (chats, name) = (chats.clone(), name.clone());
                app.auth.spawn(async move {
                    session.ended().await;
                    chats.demote(&name, &key, number);
                });
            }
        }
        (Some(key), posted) => chats.request(name, &key, posted)?,
        (None, once) => {
            app.auth.permit_moderation(&request, name)?;
            let guest = app.auth.guest(&request, name);
            chats.request_once(name, &guest, &posted.sender, once)?;
        }
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Send data to everybody
///
/// Any JSON; it arrives with the picture of this moment.
#[utoipa::path(
    post,
    path = "/api/v1/broadcasts/{name}/data",
    operation_id = "announce",
    tag = "chat",
    params(("name" = Name, Path, description = "The broadcast")),
    request_body = Value,
    responses((status = 204, description = "Sent"))
)]
pub(super) async fn announce(
    app: &App,
    name: &Name,
    mut request: HttpRequest,
) -> Result<Response, Problem> {
    app.auth.permit_moderation(&request, name)?;
    let body = request
        .body(BODY_BYTES_MAX, app.options.body_timeout)
        .await?;
    let data: Value = request.json(&body, "send JSON")?;
    app.broadcasts.chats().announce(name, data)?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// A status per way in which a conversation can refuse.
impl From<ChatRefusal> for Problem {
    fn from(refusal: ChatRefusal) -> Self {
        let wait = refusal.wait();
        let detail = refusal.to_string();
        match refusal {
            ChatRefusal::Off(_) | ChatRefusal::Missing(_) => Self::not_found_because(detail),
            ChatRefusal::Malformed(_)
            | ChatRefusal::Empty
            | ChatRefusal::TooLong(_)
            | ChatRefusal::NameMissing => Self::bad_request(&detail),
            ChatRefusal::NotAllowed
            | ChatRefusal::NotModerator
            | ChatRefusal::Banned
            | ChatRefusal::TimedOut(_) => Self::silenced(detail),
            ChatRefusal::Slow(_) | ChatRefusal::TooOften(_) | ChatRefusal::Busy => {
                Self::too_often_for(detail, wait)
            }
            ChatRefusal::Full(_) => Self::full(detail),
        }
    }
}
