//! Server-sent events: the broadcasts, whenever they change.
//!
//! A listener gets the list first, as the event `broadcasts`, and then only what changes, as
//! `changes`; one that asks for a single broadcast gets `broadcast`. Each event is written once for
//! all listeners that may see everything. The more listen, the rarer the events.

use std::{collections::BTreeMap, convert::Infallible, fmt::Write as _, sync::Arc, time::Duration};

use ::http::header;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use warp::{Reply, reply::Response};

use super::{
    App,
    auth::Visible,
    problem::Problem,
    reply::set,
    request::HttpRequest,
    sight::{self, Watcher},
};
use crate::{broadcast::Broadcasts, plan::Name, quota::Share};

/// Shortest time between two events.
const INTERVAL: Duration = Duration::from_millis(250);
/// With many listeners: this much for each, up to a limit.
const INTERVAL_PER_LISTENER: Duration = Duration::from_millis(1);
const INTERVAL_MAX: Duration = Duration::from_secs(5);
/// After this long without an event a comment is sent, so that proxies keep the connection and
/// clients that have gone are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The comment.
const COMMENT: Bytes = Bytes::from_static(b":\n\n");

/// All broadcasts at one moment.
#[derive(Debug, Default)]
pub(super) struct BroadcastList {
    /// One more than the previous snapshot's.
    number: u64,
    /// Each as JSON.
    broadcasts: BTreeMap<Name, Arc<str>>,
    /// The event with all of them.
    list: Bytes,
    /// The event with what differs from the previous snapshot.
    changes: Bytes,
}

/// The newest snapshot, made once for all listeners.
pub(super) struct BroadcastUpdates {
    newest: watch::Receiver<Arc<BroadcastList>>,
}

impl BroadcastUpdates {
    /// A receiver that sees the newest snapshot, and every one from now on that it has time for.
    pub(super) fn newest(&self) -> watch::Receiver<Arc<BroadcastList>> {
        let mut newest = self.newest.clone();
        newest.mark_changed();
        newest
    }

    pub(super) fn start(broadcasts: Broadcasts, tasks: &mut JoinSet<()>) -> Self {
        let first = BroadcastList::default().next(&broadcasts);
        let (sender, newest) = watch::channel(Arc::new(first.unwrap_or_default()));
        let mut changes = broadcasts.changes();
        tasks.spawn(async move {
            while changes.changed().await.is_ok() {
                let next = sender.borrow().next(&broadcasts);
                if let Some(next) = next {
                    sender.send_replace(Arc::new(next));
                }
                sleep(interval(sender.receiver_count())).await;
            }
        });
        Self { newest }
    }
}

fn interval(listeners: usize) -> Duration {
    let listeners = u32::try_from(listeners).unwrap_or(u32::MAX);
    INTERVAL_PER_LISTENER
        .saturating_mul(listeners)
        .clamp(INTERVAL, INTERVAL_MAX)
}

impl BroadcastList {
    /// The snapshot after this one, if there is news.
    fn next(&self, broadcasts: &Broadcasts) -> Option<Self> {
        let mut now = BTreeMap::new();
        for status in broadcasts.status() {
            match serde_json::to_string(&status) {
                Ok(text) => now.insert(status.name, Arc::from(text)),
                Err(error) => {
                    tracing::error!(%error, "cannot encode a broadcast's status as JSON");
                    continue;
                }
            };
        }
        self.followed_by(now)
    }

    fn followed_by(&self, now: BTreeMap<Name, Arc<str>>) -> Option<Self> {
        let changes = changes(&self.broadcasts, &now, |_| true);
        if changes.is_none() && self.number > 0 {
            return None;
        }
        Some(Self {
            number: self.number + 1,
            list: list(&now, |_| true),
            changes: changes.unwrap_or_default(),
            broadcasts: now,
        })
    }
}

/// The event with all broadcasts that are visible.
fn list(broadcasts: &BTreeMap<Name, Arc<str>>, shows: impl Fn(&Name) -> bool) -> Bytes {
    let texts: Vec<&str> = broadcasts
        .iter()
        .filter(|(name, _)| shows(name))
        .map(|(_, text)| &**text)
        .collect();
    let json = format!(r#"{{"broadcasts":[{}]}}"#, texts.join(","));
    event("broadcasts", &json)
}

/// The event with what differs, among the broadcasts that are visible; none without a difference.
fn changes(
    old: &BTreeMap<Name, Arc<str>>,
    new: &BTreeMap<Name, Arc<str>>,
    shows: impl Fn(&Name) -> bool,
) -> Option<Bytes> {
    let is_news = |(name, text): &(&Name, &Arc<str>)| old.get(*name) != Some(*text) && shows(name);
    let changed: Vec<&str> = new
        .iter()
        .filter(is_news)
        .map(|(_, text)| &**text)
        .collect();
    let gone = old
        .keys()
        .filter(|name| !new.contains_key(*name) && shows(name));
    // Names need no escapes.
    let removed: Vec<String> = gone.map(|name| format!("\"{name}\"")).collect();
    if changed.is_empty() && removed.is_empty() {
        return None;
    }
    let (changed, removed) = (changed.join(","), removed.join(","));
    let json = format!(r#"{{"changed":[{changed}],"removed":[{removed}]}}"#);
    Some(event("changes", &json))
}

fn event(name: &str, json: &str) -> Bytes {
    let mut text = String::with_capacity(name.len() + json.len() + 16);
    // Writing to a String cannot fail.
    let _ = write!(text, "event:{name}\ndata:{json}\n\n");
    text.into()
}

/// The events of one listener.
enum View {
    /// Everything.
    All,
    /// The broadcasts that it may see.
    Part(Visible),
    /// One broadcast; none if the client may not see it, as if there were none.
    One(Option<Name>),
}

/// The queue to one listener.
struct Listener {
    view: View,
    newest: watch::Receiver<Arc<BroadcastList>>,
    previous: Option<Arc<BroadcastList>>,
    /// When it is time for a comment.
    silent_until: Instant,
    _share: Share,
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                changed = self.newest.changed() => changed.ok()?,
                () = sleep_until(self.silent_until) => {
                    self.silent_until = Instant::now() + KEEP_ALIVE;
                    return Some(COMMENT);
                }
            }
            let snapshot = Arc::clone(&self.newest.borrow_and_update());
            let event = self.view.event(self.previous.as_deref(), &snapshot);
            self.previous = Some(snapshot);
            if event.is_some() {
                self.silent_until = Instant::now() + KEEP_ALIVE;
                return event;
            }
        }
    }
}

impl View {
    /// The news for this listener, if any.
    fn event(&self, previous: Option<&BroadcastList>, now: &BroadcastList) -> Option<Bytes> {
        match (self, previous) {
            (Self::One(name), previous) => {
                let find =
                    |snapshot: &BroadcastList| snapshot.broadcasts.get(name.as_ref()?).cloned();
                let text = find(now);
                let is_known = previous.is_some_and(|old| find(old) == text);
                (!is_known).then(|| event("broadcast", text.as_deref().unwrap_or("null")))
            }
            (Self::All, Some(previous)) if previous.number + 1 == now.number => {
                Some(now.changes.clone())
            }
            // It has missed some.
            (Self::All, _) => Some(now.list.clone()),
            (Self::Part(visible), None) => Some(list(&now.broadcasts, |name| visible.shows(name))),
            (Self::Part(visible), Some(previous)) => {
                changes(&previous.broadcasts, &now.broadcasts, |name| {
                    visible.shows(name)
                })
            }
        }
    }
}

/// Follow the broadcasts
///
/// Server-sent events: `broadcasts` with the whole list, then `changes` with what differs; with `?broadcast=`, an event
/// `broadcast` with one broadcast's state, at once and at each change.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    operation_id = "events",
    tag = "broadcasts",
    params(("broadcast" = Option<Name>, Query, description = "Only this broadcast")),
    responses((status = 200, content_type = "text/event-stream", body = String))
)]
pub(super) fn answer(app: &App, request: &HttpRequest) -> Result<Response, Problem> {
    let visible = app.auth.view(request)?;
    let view = match (request.parameter("broadcast"), visible) {
        (Some(name), visible) => {
            let name = Name::new(name).ok_or_else(|| Problem::not_found("broadcast"))?;
            View::One(visible.shows(&name).then_some(name))
        }
        (None, Visible::Everything) => View::All,
        (None, part @ Visible::Part(..)) => View::Part(part),
    };
    let listener = Listener {
        view,
        newest: app.events.newest(),
        previous: None,
        silent_until: Instant::now() + KEEP_ALIVE,
        _share: app.admission.stream(request.client)?,
    };
    let events = stream::unfold(listener, async |mut listener| {
        let event = listener.next().await?;
        Some((event, listener))
    });
    let stopping = app.shutdown.stopping.clone().cancelled_owned();
    let events = events.take_until(sight::watch(app, request, Watcher::Viewer));
    Ok(reply(events.take_until(stopping)))
}

fn reply(events: impl Stream<Item = Bytes> + Send + Sync + 'static) -> Response {
    let mut response = warp::reply::stream(events.map(Ok::<_, Infallible>)).into_response();
    set(&mut response, &header::CONTENT_TYPE, "text/event-stream");
    set(&mut response, &header::CACHE_CONTROL, "no-cache");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broadcasts(list: &[(&str, &str)]) -> BTreeMap<Name, Arc<str>> {
        let entry = |&(name, text): &(&str, &str)| (Name::new(name).unwrap(), Arc::from(text));
        list.iter().map(entry).collect()
    }

    fn text(event: Option<Bytes>) -> String {
        String::from_utf8(event.unwrap_or_default().to_vec()).unwrap()
    }

    #[test]
    fn changes_follow_the_list() {
        let start = BroadcastList::default()
            .followed_by(broadcasts(&[]))
            .unwrap();
        let all = |previous, now| text(View::All.event(previous, now));
        assert_eq!(
            all(None, &start),
            "event:broadcasts\ndata:{\"broadcasts\":[]}\n\n"
        );
        let two = start
            .followed_by(broadcasts(&[("a", "1"), ("b", "1")]))
            .unwrap();
        assert_eq!(
            all(Some(&start), &two),
            "event:changes\ndata:{\"changed\":[1,1],\"removed\":[]}\n\n"
        );
        assert!(two.followed_by(two.broadcasts.clone()).is_none(), "no news");
        let one = two.followed_by(broadcasts(&[("a", "2")])).unwrap();
        assert_eq!(
            all(Some(&two), &one),
            "event:changes\ndata:{\"changed\":[2],\"removed\":[\"b\"]}\n\n"
        );
        // A listener that has missed some starts over.
        assert_eq!(
            all(Some(&start), &one),
            "event:broadcasts\ndata:{\"broadcasts\":[2]}\n\n"
        );
    }

    #[test]
    fn listeners_to_one_broadcast_learn_of_nothing_else() {
        let view = View::One(Name::new("a"));
        let start = BroadcastList::default()
            .followed_by(broadcasts(&[("b", "1")]))
            .unwrap();
        let one = |previous, now| text(view.event(previous, now));
        assert_eq!(one(None, &start), "event:broadcast\ndata:null\n\n");
        let other = start.followed_by(broadcasts(&[("b", "2")])).unwrap();
        assert_eq!(one(Some(&start), &other), "");
        let hidden = View::One(None);
        assert_eq!(text(hidden.event(Some(&start), &other)), "");
        let live = other
            .followed_by(broadcasts(&[("a", "7"), ("b", "2")]))
            .unwrap();
        assert_eq!(one(Some(&other), &live), "event:broadcast\ndata:7\n\n");
    }

    #[test]
    fn many_listeners_get_fewer_events() {
        assert_eq!(interval(1), INTERVAL);
        assert_eq!(interval(1000), Duration::from_secs(1));
        assert_eq!(interval(1_000_000), INTERVAL_MAX);
    }
}
