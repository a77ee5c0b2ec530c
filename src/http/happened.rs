//! Everything that happens, for the operator: server-sent events, the same that webhooks get.

use std::{convert::Infallible, sync::Arc, time::Duration};

use ::http::{HeaderName, header};
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::timeout,
};
use warp::{Reply as _, reply::Response};

use super::{
    App,
    problem::Problem,
    reply::set,
    request::HttpRequest,
    sight::{self, Watcher},
};
use crate::{
    access::Right,
    events::{EventFilter, Following, ServerEvent},
    quota::Share,
};

/// After this long without an event a comment is sent, so that proxies keep the connection and
/// clients that have gone are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The last event that a client has seen; browsers send it when they reconnect.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The queue to one operator.
struct OperatorStream {
    /// The oldest last.
    missed: Vec<Arc<ServerEvent>>,
    receiver: Receiver<Arc<ServerEvent>>,
    wanted: EventFilter,
    _share: Share,
}

impl OperatorStream {
    /// The next piece of the stream; `None` at its end.
    async fn next(&mut self) -> Option<String> {
        loop {
            let event = match self.missed.pop() {
                Some(event) => event,
                None => match timeout(KEEP_ALIVE, self.receiver.recv()).await {
                    Err(_) => return Some(":\n\n".to_owned()),
                    Ok(Ok(event)) => event,
                    Ok(Err(RecvError::Lagged(count))) => {
                        return Some(format!("event:lost\ndata:{{\"events\":{count}}}\n\n"));
                    }
                    Ok(Err(RecvError::Closed)) => return None,
                },
            };
            if self.wanted.wants(&event.what) {
                return text(&event);
            }
        }
    }
}

fn text(event: &ServerEvent) -> Option<String> {
    let json = serde_json::to_string(event)
        .inspect_err(|error| tracing::error!(%error, "cannot encode an event as JSON"));
    let (id, name) = (&event.id, event.what.name());
    Some(format!("id:{id}\nevent:{name}\ndata:{}\n\n", json.ok()?))
}

/// Follow everything that happens
///
/// Server-sent events, the same that webhooks get. `Last-Event-ID` brings what has been missed, as far as it is
/// remembered; `lost` says how many a slow reader has missed.
#[utoipa::path(
    get,
    path = "/admin/events",
    operation_id = "happenings",
    tag = "server",
    params(
        ("events" = Option<String>, Query, description = "Only these, such as `viewer.*,broadcast.live`"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event seen")
    ),
    security(("token" = ["admin"])),
    responses(
        (status = 200, content_type = "text/event-stream", body = ServerEvent),
        (status = 400, description = "There is no such event")
    )
)]
pub(super) fn answer(app: &App, request: &HttpRequest) -> Result<Response, Problem> {
    app.auth.permit_right(request, Right::Admin)?;
    let wanted = match request.parameter("events") {
        None => EventFilter::all(),
        Some(names) => {
            let names = names.replace("%2C", ",").replace("%2A", "*");
            let wrong = || Problem::bad_request(&format!("send {}", EventFilter::TAKES));
            EventFilter::read(&names).ok_or_else(wrong)?
        }
    };
    let share = app.admission.stream(request.client)?;
    let events = app.broadcasts.events();
    let Following {
        mut missed,
        receiver,
    } = events.follow(request.header(&LAST_EVENT_ID));
    missed.reverse();
    let follower = OperatorStream {
        missed,
        receiver,
        wanted,
        _share: share,
    };
    let events = stream::unfold(follower, async |mut follower| {
        let text = follower.next().await?;
        Some((Ok::<_, Infallible>(text), follower))
    });
    let events = events.take_until(sight::watch(app, request, Watcher::Operator));
    let stopping = app.shutdown.stopping.clone().cancelled_owned();
    let mut response = warp::reply::stream(events.take_until(stopping)).into_response();
    set(&mut response, &header::CONTENT_TYPE, "text/event-stream");
    set(&mut response, &header::CACHE_CONTROL, "no-cache");
    Ok(response)
}
