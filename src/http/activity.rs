//! What goes on on one connection, to tell when it has become useless.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};

/// The requests of one connection.
#[derive(Clone)]
pub(super) struct ConnectionUse(Arc<Mutex<Requests>>);

struct Requests {
    /// Requests that a handler works on. It has time limits of its own.
    handling: usize,
    /// Replies on their way.
    replies: usize,
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
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handling,
    Replying,
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
            replies: 0,
            streams: 0,
            since: Instant::now(),
        })))
    }

    /// A request has come.
    pub(super) fn begin(&self) -> Exchange {
        *self.requests().count(Stage::Handling) += 1;
        Exchange {
            activity: self.clone(),
            stage: Stage::Handling,
        }
    }

    /// Resolves once the connection has been useless for too long.
    pub(super) async fn expired(&self, patience: Patience) {
        loop {
            let deadline = self.requests().deadline(patience);
            match deadline {
                Some(at) if at <= Instant::now() => return,
                Some(at) => sleep_until(at).await,
                None => sleep(patience.idle).await,
            }
        }
    }

    fn requests(&self) -> MutexGuard<'_, Requests> {
        // Numbers only: never half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    fn count(&mut self, stage: Stage) -> &mut usize {
        self.since = Instant::now();
        match stage {
            Stage::Handling => &mut self.handling,
            Stage::Replying => &mut self.replies,
            Stage::Streaming => &mut self.streams,
        }
    }

    fn deadline(&self, patience: Patience) -> Option<Instant> {
        if self.handling > 0 || self.streams > 0 {
            None
        } else if self.replies > 0 {
            Some(self.since + patience.write)
        } else {
            Some(self.since + patience.idle)
        }
    }
}

impl Exchange {
    /// The reply begins.
    pub(super) fn reply(self, is_stream: bool) -> Self {
        let mut exchange = self;
        let stage = if is_stream {
            Stage::Streaming
        } else {
            Stage::Replying
        };
        let mut requests = exchange.activity.requests();
        *requests.count(exchange.stage) -= 1;
        *requests.count(stage) += 1;
        drop(requests);
        exchange.stage = stage;
        exchange
    }

    /// The client has taken a part of the reply.
    pub(super) fn advance(&self) {
        self.activity.requests().since = Instant::now();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        *self.activity.requests().count(self.stage) -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(20),
        write: Duration::from_secs(5),
    };

    #[test]
    fn connections_become_useless() {
        let activity = ConnectionUse::new();
        let useless_after = || {
            let requests = activity.requests();
            let deadline = requests.deadline(PATIENCE);
            deadline.map(|at| (at - requests.since).as_secs())
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
        assert_eq!(useless_after(), None, "an event stream");
        drop(stream);
        assert_eq!(useless_after(), Some(5));
        drop(exchange);
        assert_eq!(useless_after(), Some(20), "idle again");
    }
}
