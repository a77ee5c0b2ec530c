//! From frames to every viewer: GOP cache, per-viewer rewrite, encryption, segmented sends.
//!
//! Worker threads, one per core, each own a share of the viewers; a frame is handed to each worker
//! once and costs a viewer only its headers, its encryption and one send. Nothing here knows
//! broadcasts, HTTP or GStreamer.
//!
//! - `rendition`, `viewer`: the ends that other rooms hold: frames in, a viewer's connection.
//! - `worker`: one thread, its renditions and its viewers.
//! - `gop`: the frames since the last keyframe (pure).
//! - `switcher`: what one viewer sees of a track (pure).
//! - `tracks`: what a viewer gets, as its answer announces it.
//! - `layers`, `selection`: which layer of a simulcast track a viewer gets.
//! - `direct`: viewers on the direct engine: encryption and segmented sends.
//! - `webrtcbin`: viewers on webrtcbin: packets pushed into its pads.

mod direct;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod gop;
mod layers;
mod rendition;
mod selection;
mod switcher;
mod tracks;
mod viewer;
pub mod webrtcbin;
mod worker;

use std::{
    io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

pub(crate) use self::direct::Batch;
use self::{
    direct::Context,
    worker::{Message, Worker},
};
pub use self::{
    direct::Timeouts,
    error::Error,
    gop::Limits,
    rendition::Rendition,
    tracks::{Layer, Tracks},
    viewer::{Viewer, ViewerOptions},
};
use crate::{media::Kind, peer::udp::Port};

/// Messages that may wait for one worker: two seconds of frames of several hundred tracks.
const QUEUE: usize = 8192;

/// How the fan-out is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Worker threads. Default (0): one per core.
    pub workers: usize,
    /// Bounds of the cached group of pictures of each rendition.
    pub gop: Limits,
    /// When a viewer is given up.
    pub timeouts: Timeouts,
}

/// What all viewers of one worker have been sent.
#[derive(Debug, Default)]
struct Totals {
    packets: AtomicU64,
    bytes: AtomicU64,
    retransmitted: AtomicU64,
    refused: AtomicU64,
    capped: AtomicU64,
}

/// The fan-out's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Statistics {
    /// RTP packets sent, retransmissions included.
    pub packets: u64,
    /// Bytes of these, encrypted, without UDP and IP headers.
    pub bytes: u64,
    /// Packets sent again on request. Those of a viewer on webrtcbin are added at its end.
    pub retransmitted: u64,
    /// Requests for packets past a viewer's retransmission budget, counted likewise.
    pub retransmissions_refused: u64,
    /// Viewers' requests for keyframes that came too soon after the one before.
    pub keyframe_requests_capped: u64,
    /// Sends that the kernel refused because its buffer was full.
    pub send_dropped: u64,
    /// Datagrams or frames that found a worker's queue full.
    pub queue_dropped: u64,
    /// Datagrams from nobody known.
    pub unknown_datagrams: u64,
}

/// The fan-out: worker threads and the task that receives from the UDP port. Cheap to clone.
#[derive(Clone)]
pub struct Fanout {
    inner: Arc<Inner>,
}

struct Inner {
    port: Port,
    workers: Vec<WorkerHandle>,
    queue_dropped: Arc<AtomicU64>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// The receiving task; it ends with the fan-out.
    receiver: Mutex<JoinSet<()>>,
}

/// The way to one worker.
#[derive(Clone)]
struct WorkerHandle {
    queue: SyncSender<Message>,
    viewers: Arc<AtomicUsize>,
    totals: Arc<Totals>,
}

impl Fanout {
    /// Starts the workers and receives from `port`. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(port: Port, options: Options) -> io::Result<Self> {
        let count = match options.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let epoch = Arc::new(OnceLock::new());
        let mut workers = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        for number in 0..count {
            let (queue, messages) = sync_channel(QUEUE);
            let totals = Arc::<Totals>::default();
            let context = Context {
                port: port.clone(),
                batch: Batch::default(),
                totals: Arc::clone(&totals),
                timeouts: options.timeouts,
                epoch: Duration::ZERO,
                now: Instant::now(),
            };
            let worker = Worker::new(context, options.gop, Arc::clone(&epoch));
            let thread = std::thread::Builder::new()
                .name(format!("fanout-{number}"))
                .spawn(move || worker.run(&messages))?;
            workers.push(WorkerHandle {
                queue,
                viewers: Arc::default(),
                totals,
            });
            threads.push(thread);
        }
        let receiver = receive(
            port.clone(),
            workers.iter().map(|w| w.queue.clone()).collect(),
        );
        Ok(Self {
            inner: Arc::new(Inner {
                port,
                workers,
                queue_dropped: Arc::default(),
                threads: Mutex::new(threads),
                receiver: Mutex::new(receiver),
            }),
        })
    }

    /// Makes a place for one track of a broadcast. It lives across publishers.
    pub fn rendition(&self, kind: Kind) -> Rendition {
        let workers = self
            .inner
            .workers
            .iter()
            .map(|worker| worker.queue.clone())
            .collect();
        Rendition::new(
            self.inner.port.next_session(),
            kind,
            workers,
            Arc::clone(&self.inner.queue_dropped),
        )
    }

    /// The UDP port that the workers send from.
    pub fn port(&self) -> &Port {
        &self.inner.port
    }

    /// The counters, summed over all workers.
    pub fn statistics(&self) -> Statistics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let port = self.inner.port.counters();
        let dropped = self.inner.queue_dropped.load(Ordering::Relaxed);
        let start = Statistics {
            send_dropped: port.send_dropped.load(Ordering::Relaxed),
            queue_dropped: dropped + port.queue_dropped.load(Ordering::Relaxed),
            unknown_datagrams: port.unknown.load(Ordering::Relaxed),
            ..Statistics::default()
        };
        self.inner
            .workers
            .iter()
            .fold(start, |sum, worker| Statistics {
                packets: sum.packets + load(&worker.totals.packets),
                bytes: sum.bytes + load(&worker.totals.bytes),
                retransmitted: sum.retransmitted + load(&worker.totals.retransmitted),
                retransmissions_refused: sum.retransmissions_refused + load(&worker.totals.refused),
                keyframe_requests_capped: sum.keyframe_requests_capped
                    + load(&worker.totals.capped),
                ..sum
            })
    }

    /// Closes every viewer with a `close_notify` and waits for the workers to end.
    pub async fn stop(&self) {
        for worker in &self.inner.workers {
            // A full queue drains within milliseconds; the worker also ends with its last sender.
            while let Err(TrySendError::Full(_)) = worker.queue.try_send(Message::Stop) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let threads = std::mem::take(&mut *lock(&self.inner.threads));
        let joined = tokio::task::spawn_blocking(move || {
            threads
                .into_iter()
                .filter_map(|thread| thread.join().err())
                .count()
        });
        if joined.await.unwrap_or(1) > 0 {
            tracing::error!("a fan-out worker had panicked");
        }
        let mut receiver = std::mem::take(&mut *lock(&self.inner.receiver));
        receiver.shutdown().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn receive(port: Port, queues: Vec<SyncSender<Message>>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let deliver = |(worker, viewer): (usize, u64), (source, datagram)| {
            let message = Message::Datagram {
                viewer,
                source,
                datagram,
            };
            let queue: Option<&SyncSender<Message>> = queues.get(worker);
            queue.is_some_and(|queue| queue.try_send(message).is_ok())
        };
        if let Err(error) = port.receive(deliver).await {
            tracing::error!(%error, "UDP port cannot be read");
        }
    });
    tasks
}

#[cfg(test)]
mod tests;
