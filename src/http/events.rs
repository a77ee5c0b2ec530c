//! Server-sent events: the list of broadcasts whenever it changes.

use std::{convert::Infallible, future::ready, time::Duration};

use futures_util::{Stream, StreamExt};
use tokio::{sync::watch, task::JoinSet, time::sleep};
use tokio_stream::wrappers::WatchStream;
use warp::{Reply, reply::Response, sse};

use super::{App, api::List, auth::Visible, problem::Problem, request::HttpRequest};
use crate::{broadcast::Broadcasts, resources};

/// Shortest time between two events.
const INTERVAL: Duration = Duration::from_millis(250);
/// After this long without an event a comment is sent, so that proxies keep the connection and
/// clients that have gone are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The newest list as JSON, made once for all listeners.
pub(super) struct ListUpdates {
    newest: watch::Receiver<String>,
}

impl ListUpdates {
    /// A receiver that sees every change.
    pub(super) fn newest(&self) -> watch::Receiver<String> {
        self.newest.clone()
    }

    pub(super) fn start(broadcasts: Broadcasts, tasks: &mut JoinSet<()>) -> Self {
        let (sender, newest) = watch::channel(json(&List::of(&broadcasts)));
        let mut changes = broadcasts.changes();
        tasks.spawn(async move {
            while changes.changed().await.is_ok() {
                let list = json(&List::of(&broadcasts));
                sender.send_if_modified(|newest| {
                    let differs = *newest != list;
                    *newest = list;
                    differs
                });
                sleep(INTERVAL).await;
            }
        });
        Self { newest }
    }
}

fn json(list: &List) -> String {
    serde_json::to_string(list).unwrap_or_else(|error| {
        tracing::error!(%error, "the list of broadcasts is not JSON");
        r#"{"broadcasts":[]}"#.to_owned()
    })
}

/// Refuses a stream, which keeps its connection, before open files run out.
///
/// # Errors
/// 503 if few are left.
pub(super) fn admit() -> Result<(), Problem> {
    resources::check().map_err(|short| Problem::full(short.to_string()))
}

/// The events, with only those broadcasts that the client may see.
pub(super) fn answer(app: &App, request: &HttpRequest) -> Result<Response, Problem> {
    admit()?;
    let everything = WatchStream::new(app.events.newest());
    Ok(match app.auth.view(request)? {
        Visible::Everything => reply(app, everything),
        view @ Visible::Part(..) => {
            let broadcasts = app.broadcasts.clone();
            let mut previous = None;
            let part = everything.filter_map(move |_| {
                let list = json(&List::of(&broadcasts).seen(&view));
                let news = previous.as_ref() != Some(&list);
                previous = Some(list.clone());
                ready(news.then_some(list))
            });
            reply(app, part)
        }
    })
}

fn reply(app: &App, lists: impl Stream<Item = String> + Send + Sync + 'static) -> Response {
    let events = lists
        .map(|list| Ok::<_, Infallible>(sse::Event::default().event("broadcasts").data(list)))
        .take_until(app.stopping.clone().cancelled_owned());
    sse::reply(sse::keep_alive().interval(KEEP_ALIVE).stream(events)).into_response()
}
