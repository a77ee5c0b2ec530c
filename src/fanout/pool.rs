//! The worker threads: which has room, whether they run, what they have sent.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use futures_util::future::join_all;

use super::{
    Options,
    place::{WorkerHandle, WorkerPlace},
    queue::queues,
    statistics::Totals,
    worker::Worker,
};
use crate::peer::udp::Port;

/// Pause before asking a worker with a full queue to stop again.
const STOP_PAUSE: Duration = Duration::from_millis(5);

/// All workers.
pub(super) struct Pool {
    workers: Arc<[WorkerHandle]>,
    /// Taken out by [`Pool::stop`].
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system refuses a thread or a socket.
    pub(super) fn start(port: &Port, options: Options) -> io::Result<Self> {
        let count = match options.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let epoch = Arc::default();
        let mut workers = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        for number in 0..count {
            let (senders, queues) = queues();
            let totals = Arc::new(Totals::new());
            let worker = Worker::new(port.with_own_socket()?, options, &totals, &epoch);
            let thread = std::thread::Builder::new()
                .name(format!("fanout-{number}"))
                .spawn(move || worker.run(queues))?;
            workers.push(WorkerHandle::new(senders, thread.thread().clone(), totals));
            threads.push(thread);
        }
        Ok(Self {
            workers: workers.into(),
            threads: Mutex::new(threads),
        })
    }

    pub(super) const fn workers(&self) -> &Arc<[WorkerHandle]> {
        &self.workers
    }

    /// A place for a viewer on the worker with the fewest; `None` if no worker runs.
    pub(super) fn place(&self, key: u64) -> Option<WorkerPlace> {
        let worker = self
            .workers
            .iter()
            .filter(|worker| !worker.totals.is_stuck())
            .min_by_key(|worker| worker.viewers())?;
        Some(WorkerPlace::new(key, worker))
    }

    /// Whether every worker runs.
    pub(super) fn is_healthy(&self) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let running = threads.iter().filter(|thread| !thread.is_finished());
        let stuck = self.workers.iter().any(|worker| worker.totals.is_stuck());
        running.count() == self.workers.len() && !stuck
    }

    /// Whether a worker has hung for so long that it never comes back, or has ended.
    pub(super) fn hangs(&self) -> bool {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = threads.iter().any(JoinHandle::is_finished);
        ended || self.workers.iter().any(|worker| worker.totals.hangs())
    }

    /// Makes every worker close its viewers, and waits for the workers to end.
    pub(super) async fn stop(&self) {
        let stops = self.workers.iter().map(async |worker| {
            // A full queue drains within milliseconds, unless its worker hangs.
            while !worker.stop() {
                tokio::time::sleep(STOP_PAUSE).await;
            }
        });
        join_all(stops).await;
        let threads = {
            let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *threads)
        };
        let joined = tokio::task::spawn_blocking(move || {
            threads
                .into_iter()
                .map(JoinHandle::join)
                .filter(Result::is_err)
                .count()
        });
        if joined.await.unwrap_or(1) > 0 {
            tracing::error!("fan-out worker has panicked");
        }
    }
}
