//! What happens on one connection, to tell when it has become useless.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::awake;

/// How often to check whether a connection has brought its first request.
const FIRST_REQUEST_TICK: Duration = Duration::from_millis(10);

/// The requests of one connection.
#[derive(Clone)]
pub(super) struct ConnectionUse(Arc<Mutex<Requests>>);

struct Requests {
    /// Requests that a handler works on. It has time limits of its own.
    handling: usize,
    /// Replies on their way, and when the client last took a part of each.
    replies: BTreeMap<u64, Instant>,
    /// Numbers replies.
    next_reply: u64,
    /// Whether a reply has been sent.
    has_answered: bool,
    /// Event streams, which end when the client wants.
    streams: usize,
    /// When something last happened.
    since: Instant,
}

/// How long a connection may be useless.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Without a whole request.
    pub(super) idle: Duration,
    /// With a reply that the client does not take.
    pub(super) write: Duration,
    /// Whether it is for one request only.
    pub(super) once: bool,
}

/// How far a request has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handling,
    /// With the number of the reply.
    Replying(u64),
    Streaming,
}

/// A request until its reply has been sent.
pub(super) struct Exchange {
    activity: ConnectionUse,
    stage: Stage,
}

impl ConnectionUse {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Requests {
            handling: 0,
            replies: BTreeMap::new(),
            next_reply: 0,
            has_answered: false,
            streams: 0,
            since: awake::now(),
        })))
    }

    /// A request has arrived.
    pub(super) fn begin(&self) -> Exchange {
        self.requests().enter(Stage::Handling);
        Exchange {
            activity: self.clone(),
            stage: Stage::Handling,
        }
    }

    /// Resolves once the connection has brought a request.
    pub(super) async fn used(&self) {
        while self.requests().is_unused() {
            awake::sleep(FIRST_REQUEST_TICK).await;
        }
    }

    /// Resolves once the connection has been useless for too long.
    pub(super) async fn expired(&self, patience: Patience) {
        loop {
            let deadline = self.requests().deadline(patience);
            let left = deadline.map(|at| at.saturating_duration_since(awake::now()));
            match left {
                Some(Duration::ZERO) => return,
                Some(left) => awake::sleep(left).await,
                None => awake::sleep(patience.idle).await,
            }
        }
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        // A poisoned lock is fine: nothing is ever left half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    fn enter(&mut self, stage: Stage) {
        self.since = awake::now();
        match stage {
            Stage::Handling => self.handling += 1,
            Stage::Replying(number) => drop(self.replies.insert(number, self.since)),
            Stage::Streaming => self.streams += 1,
        }
    }

    fn leave(&mut self, stage: Stage) {
        self.since = awake::now();
        match stage {
            Stage::Handling => self.handling -= 1,
            Stage::Replying(number) => {
                self.replies.remove(&number);
                self.has_answered = true;
            }
            Stage::Streaming => self.streams -= 1,
        }
    }

    fn is_unused(&self) -> bool {
        self.handling == 0 && self.streams == 0 && self.next_reply == 0
    }

    /// When the connection is useless unless something happens. A reply that waits for the client
    /// is memory: neither other requests nor event streams excuse it.
    fn deadline(&self, patience: Patience) -> Option<Instant> {
        if patience.once && self.has_answered {
            return Some(self.since);
        }
        if let Some(oldest) = self.replies.values().min() {
            return Some(*oldest + patience.write);
        }
        let rests = self.handling == 0 && self.streams == 0;
        rests.then(|| self.since + patience.idle)
    }
}

impl Exchange {
    /// The reply begins.
    pub(super) fn reply(self, is_stream: bool) -> Self {
        let mut exchange = self;
        let mut requests = exchange.activity.requests();
        requests.leave(exchange.stage);
        let stage = if is_stream {
            Stage::Streaming
        } else {
            requests.next_reply += 1;
            Stage::Replying(requests.next_reply)
        };
        requests.enter(stage);
        drop(requests);
        exchange.stage = stage;
        exchange
    }

    /// A part of the reply begins to be sent; the client has taken those before it.
    pub(super) fn advance(&self) {
        let mut requests = self.activity.requests();
        requests.since = awake::now();
        if let Stage::Replying(number) = self.stage {
            requests.replies.insert(number, awake::now());
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.activity.requests().leave(self.stage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(20),
        write: Duration::from_secs(5),
        once: false,
    };

    #[test]
    fn connections_become_useless() {
        let activity = ConnectionUse::new();
        let useless_after = || {
            let requests = activity.requests();
            requests
                .deadline(PATIENCE)
                .map(|at| (at - requests.since).as_secs())
        };
        assert_eq!(useless_after(), Some(20), "no request");
        let exchange = activity.begin();
        assert_eq!(useless_after(), None, "a handler works");
        let exchange = exchange.reply(false);
        assert_eq!(useless_after(), Some(5), "nobody reads");
        let before = activity.requests().since;
        exchange.advance();
        assert!(activity.requests().since > before);
        let stream = activity.begin().reply(true);
        drop(exchange);
        assert_eq!(useless_after(), None, "an event stream");
        drop(stream);
        assert_eq!(useless_after(), Some(20), "idle again");
    }

    #[test]
    fn nothing_excuses_a_reply_that_waits() {
        let activity = ConnectionUse::new();
        let _stream = activity.begin().reply(true);
        let _waiting = activity.begin().reply(false);
        let deadline = activity.requests().deadline(PATIENCE);
        assert!(deadline.is_some());
        // Others come and go.
        let _working = activity.begin();
        drop(activity.begin().reply(false));
        assert_eq!(activity.requests().deadline(PATIENCE), deadline);
    }

    #[test]
    fn a_connection_for_one_request_ends_after_it() {
        let activity = ConnectionUse::new();
        let once = Patience {
            once: true,
            ..PATIENCE
        };
        let exchange = activity.begin();
        assert_eq!(activity.requests().deadline(once), None);
        drop(exchange.reply(false));
        let _next = activity.begin();
        assert!(
            activity
                .requests()
                .deadline(once)
                .is_some_and(|at| at <= Instant::now())
        );
    }
}
