//! How many workers start at the same time: each is then ready soon, instead of all of them late.

use std::{
    num::NonZero,
    sync::{Arc, LazyLock},
    thread,
    time::Duration,
};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::awake;

/// Workers that may start at the same time on a machine with fewer processors.
const STARTS_MIN: usize = 2;
/// A worker that takes longer lets the next one start all the same: it may hang.
const TURN_MAX: Duration = Duration::from_secs(2);

static STARTS: LazyLock<StartTurns> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    StartTurns::new(processors.max(STARTS_MIN))
});

/// The right to start a worker now. Ends when it is dropped, or after [`TURN_MAX`].
#[derive(Debug)]
pub(super) struct Turn {
    /// Ends it in time.
    _watch: JoinSet<()>,
}

impl Turn {
    /// Waits for a turn to start a worker; waiters are served in order.
    pub(super) async fn wait() -> Self {
        STARTS.turn().await
    }
}

/// The turns of those who start workers.
#[derive(Debug)]
struct StartTurns(Arc<Semaphore>);

impl StartTurns {
    fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    async fn turn(&self) -> Turn {
        // Err: never, as nobody closes it.
        let permit = Arc::clone(&self.0).acquire_owned().await;
        let mut watch = JoinSet::new();
        watch.spawn(async move {
            awake::sleep(TURN_MAX).await;
            drop(permit);
        });
        Turn { _watch: watch }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn workers_start_in_turns_and_one_that_hangs_holds_nobody_up() {
        let starts = StartTurns::new(2);
        let (first, _hangs) = (starts.turn().await, starts.turn().await);
        let (third, fourth) = (starts.turn(), starts.turn());
        tokio::pin!(third, fourth);
        assert!(third.as_mut().now_or_never().is_none());
        assert!(fourth.as_mut().now_or_never().is_none());
        drop(first);
        yield_now().await; // its watch ends
        assert!(fourth.as_mut().now_or_never().is_none(), "in order");
        let _third = third.await;
        assert!(fourth.as_mut().now_or_never().is_none());
        let began = tokio::time::Instant::now();
        let _fourth = fourth.await;
        assert!(began.elapsed() + Duration::from_millis(1) >= TURN_MAX);
    }
}
