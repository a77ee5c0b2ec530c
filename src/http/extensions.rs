//! WHEP extensions of a viewer's session: events and layer selection
//! (draft-ietf-wish-whep, events document).
//!
//! All URLs hang below the session's own and share its secret. With `auth.sessions` they need the
//! token as well, which `EventSource` can only send in the query.

use std::{convert::Infallible, time::Duration};

use ::http::{Method, StatusCode, header};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio_stream::wrappers::WatchStream;
use warp::{
    Reply,
    reply::Response,
    sse::{self, Event},
};

use super::{
    App,
    problem::Problem,
    relay,
    reply::{add_links, empty, set},
    request::HttpRequest,
    resource::find,
};
use crate::{
    broadcast::{EventKind, Session, State, Status},
    peer::sdp::Role,
    quota::Share,
};

/// Size of a request to an extension, in bytes: a short JSON document.
const BODY_BYTES_MAX: usize = 4096;
/// After this long without an event a comment is sent, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The resources below a session's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extension<'a> {
    /// `events`: all events (GET), or a selection of them (POST).
    Events,
    /// `events/{id}`: a selection made before.
    Selection(&'a str),
    /// `layer`: which layer the viewer gets.
    Layer,
}

/// Names the extensions in the 201 (RFC 8288), each on a line of its own.
pub(super) fn announce(response: &mut Response, session: &str) {
    let names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
    let links = [
        format!(
            "<{session}/events>; rel=\"urn:ietf:params:whep:ext:core:server-sent-events\"; \
             events=\"{}\"",
            names.join(",")
        ),
        format!("<{session}/layer>; rel=\"urn:ietf:params:whep:ext:core:layer\""),
    ];
    add_links(response, &links);
}

pub(super) async fn answer(
    app: &App,
    id: &str,
    extension: Extension<'_>,
    mut request: HttpRequest,
) -> Result<Response, Problem> {
    let session = match find(app, Role::Viewer, id) {
        Ok(session) => session,
        // Answers of other nodes are whole, and a stream never is.
        Err(problem) if ![Method::POST, Method::DELETE].contains(&request.method) => {
            return Err(problem);
        }
        Err(problem) => {
            return relay::elsewhere(app, id, &mut request).await.ok_or(problem);
        }
    };
    app.auth.permit_session(&request, &session).await?;
    match extension {
        Extension::Events if request.method == Method::POST => select(app, &session, request).await,
        Extension::Events => {
            let share = app.admission.stream(request.client)?;
            let endpoint = app.endpoint_url(&request, Role::Viewer, &session.broadcast);
            let kinds = EventKind::ALL.to_vec();
            Ok(events(app, &session, kinds, endpoint, share))
        }
        Extension::Selection(number) => {
            let kinds = session.selected_events(number);
            let kinds = kinds.ok_or_else(|| Problem::not_found("event stream"))?;
            if request.method == Method::DELETE {
                session.forget_events(number);
                return Ok(empty(StatusCode::OK));
            }
            let share = app.admission.stream(request.client)?;
            let endpoint = app.endpoint_url(&request, Role::Viewer, &session.broadcast);
            Ok(events(app, &session, kinds, endpoint, share))
        }
        Extension::Layer => layer(app, &session, request).await,
    }
}

/// Makes a stream of some kinds of events.
async fn select(
    app: &App,
    session: &Session,
    mut request: HttpRequest,
) -> Result<Response, Problem> {
    let wanted = match body(app, &mut request).await? {
        Value::Null => EventKind::ALL.to_vec(),
        Value::Array(names) => names
            .iter()
            .map(|name| {
                let known = name.as_str().and_then(EventKind::from_name);
                known.ok_or_else(|| Problem::bad_request(&format!("no such event: {name}")))
            })
            .collect::<Result<_, _>>()?,
        _ => {
            return Err(Problem::bad_request("send a JSON array of event names"));
        }
    };
    let number = session.select_events(wanted)?;
    let mut response = empty(StatusCode::CREATED);
    let session = app.session_url(&request, Role::Viewer, &session.id);
    let location = format!("{session}/events/{number}");
    set(&mut response, &header::LOCATION, &location);
    Ok(response)
}

/// The stream itself. It begins with the present state, except `inactive`. `endpoint` is where the
/// viewer may watch again after a planned stop.
fn events(
    app: &App,
    session: &Session,
    kinds: Vec<EventKind>,
    endpoint: String,
    share: Share,
) -> Response {
    let (broadcasts, name) = (app.broadcasts.clone(), session.broadcast.clone());
    let section = session.video_section;
    let ended = session.ended();
    let stopping = app.shutdown.stopping.clone();
    let changes = WatchStream::new(app.events.newest());
    let events = changes
        .scan(Snapshot::default(), move |snapshot, _| {
            let status = broadcasts.status_of(&name).ok();
            std::future::ready(Some(snapshot.changes(status.as_ref(), section)))
        })
        .flat_map(stream::iter)
        .take_until(app.shutdown.stopping.clone().cancelled_owned());
    let goodbye = stream::once(async move {
        // A planned stop: the viewer learns where to reconnect.
        stopping
            .is_cancelled()
            .then(|| (EventKind::Reconnect, json!({ "url": endpoint })))
    });
    let wanted = events
        .chain(goodbye.filter_map(std::future::ready))
        .filter(move |(kind, _)| std::future::ready(kinds.contains(kind)))
        .map(move |(kind, data)| {
            // Counted until the stream ends.
            let _ = &share;
            Event::default().event(kind.name()).data(data.to_string())
        });
    let mut response = reply(wanted.take_until(ended));
    set(&mut response, &header::CACHE_CONTROL, "no-cache");
    response
}

fn reply(events: impl Stream<Item = Event> + Send + Sync + 'static) -> Response {
    let events = events.map(Ok::<_, Infallible>);
    sse::reply(sse::keep_alive().interval(KEEP_ALIVE).stream(events)).into_response()
}

/// What was last sent on a stream.
#[derive(Default)]
struct Snapshot {
    live: Option<bool>,
    viewers: Option<usize>,
    layers: Option<Vec<String>>,
}

impl Snapshot {
    fn changes(
        &mut self,
        status: Option<&Status>,
        section: Option<usize>,
    ) -> Vec<(EventKind, Value)> {
        let mut events = Vec::new();
        let live = status.is_some_and(|status| status.state == State::Live);
        if self.live != Some(live) {
            match (self.live, live) {
                (_, true) => events.push((EventKind::Active, json!({}))),
                (Some(_), false) => events.push((EventKind::Inactive, json!({}))),
                (None, false) => {}
            }
            self.live = Some(live);
        }
        let viewers = status.map_or(0, |status| status.viewers);
        if self.viewers.replace(viewers) != Some(viewers) {
            events.push((EventKind::ViewerCount, json!({ "viewercount": viewers })));
        }
        let layers: Vec<String> = status
            .iter()
            .flat_map(|status| &status.tracks)
            .flat_map(|t| t.layers.clone())
            .collect();
        if self.layers.as_ref() != Some(&layers) {
            if let Some(section) = section
                && !layers.is_empty()
            {
                let rids: Vec<Value> = layers.iter().map(|rid| json!({ "rid": rid })).collect();
                events.push((EventKind::Layers, json!({ section.to_string(): rids })));
            }
            self.layers = Some(layers);
        }
        events
    }
}

/// `{"mediaId":"0","rid":"h"}` selects a layer; without a rid, or with DELETE, the server does.
async fn layer(
    app: &App,
    session: &Session,
    mut request: HttpRequest,
) -> Result<Response, Problem> {
    let rid = if request.method == Method::DELETE {
        None
    } else {
        let Value::Object(wanted) = body(app, &mut request).await? else {
            return Err(Problem::bad_request(r#"send {"mediaId":"0","rid":"..."}"#));
        };
        let rid = wanted.get("rid").or_else(|| wanted.get("encodingId"));
        match rid {
            None | Some(Value::Null) => None,
            Some(Value::String(rid)) => Some(rid.clone()),
            Some(_) => return Err(Problem::bad_request("rid must be a string")),
        }
    };
    let index = match rid {
        None => None,
        Some(rid) => {
            let status = app.broadcasts.status_of(&session.broadcast)?;
            let layers: Vec<_> = status
                .tracks
                .iter()
                .flat_map(|track| &track.layers)
                .collect();
            let index = layers.iter().position(|layer| **layer == rid);
            Some(index.ok_or_else(|| {
                Problem::unprocessable(&format!("no layer {rid}; available: {layers:?}"))
            })?)
        }
    };
    session.select_layer(index);
    Ok(empty(StatusCode::OK))
}

/// The request's JSON document; `null` if it is empty.
async fn body(app: &App, request: &mut HttpRequest) -> Result<Value, Problem> {
    let body = request
        .body(BODY_BYTES_MAX, app.options.body_timeout)
        .await?;
    if body.is_empty() {
        return Ok(Value::Null);
    }
    request.json(&body, "not JSON")
}
