//! Ends event streams when their listeners may no longer see, or say, the same: a token has expired or been
//! taken away, or other broadcasts are public. A client that still may connects again.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::oneshot;

use super::{
    App,
    auth::Auth,
    judgement::{Policy, RequestSender, Until},
    lease::due,
    request::{Door, HttpRequest},
};
use crate::{
    access::{Holder, Presented},
    plan::Pattern,
};

/// Who listens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Watcher {
    /// A client without a token, where anyone may watch.
    Viewer,
    /// A participant of a chat, as far as their token allows.
    Speaker,
    /// A client that is let in by a right.
    Operator,
}

/// What somebody may see, and why.
#[derive(PartialEq, Eq)]
struct Sight {
    /// What anyone may see.
    public: Vec<Pattern>,
    /// What lets them see more.
    holders: Vec<Holder>,
    /// Whether speaking in a chat takes a right.
    is_chat_closed: bool,
}

impl Sight {
    fn of(policy: &Policy, sender: &RequestSender, watcher: Watcher) -> Self {
        let access = policy.access(Door::Public);
        let holders = if watcher == Watcher::Viewer && access.is_open_to_viewers() {
            Vec::new()
        } else {
            policy.holders(sender)
        };
        Self {
            public: access.public().to_vec(),
            holders,
            is_chat_closed: watcher == Watcher::Speaker && access.closes_chat(),
        }
    }

    /// When the first token of those that let them in expires.
    fn expires(&self) -> Option<SystemTime> {
        self.holders.iter().filter_map(Holder::expires).min()
    }
}

/// Resolves when the sender of a request may no longer see the same as now.
pub(super) fn watch(app: &App, request: &HttpRequest, watcher: Watcher) -> oneshot::Receiver<()> {
    hold(app, request, watcher, ())
}

/// The same. Drops `held` then, even if the stream is not read, or once the stream has ended.
pub(super) fn hold<T: Send + 'static>(
    app: &App,
    request: &HttpRequest,
    watcher: Watcher,
    held: T,
) -> oneshot::Receiver<()> {
    let (mut ends, end) = oneshot::channel();
    let (auth, sender) = (Arc::clone(&app.auth), RequestSender::of(request));
    app.auth.spawn(async move {
        tokio::select! {
            () = ends.closed() => {}
            () = until_changed(auth, sender, watcher) => {}
        }
        drop(held);
    });
    end
}

async fn until_changed(auth: Arc<Auth>, mut sender: RequestSender, watcher: Watcher) {
    let mut policies = auth.changes();
    let first = Sight::of(&auth.policy(), &sender, watcher);
    let until = first.expires().map_or(Until::Changed, Until::Expiry);
    loop {
        tokio::select! {
            changed = policies.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = due(until) => return,
        }
        let policy = auth.policy();
        if !matches!(sender.presented(), Presented::Nothing) {
            policy.identify_again(&mut sender).await;
        }
        if Sight::of(&policy, &sender, watcher) != first {
            return;
        }
    }
}
