//! From frames to every viewer: per-viewer rewrite, encryption, segmented sends.
//!
//! Worker threads, one per core, each own a share of the viewers; a frame is handed to each worker
//! once and costs a viewer only its headers, its encryption and one send. Nothing here knows
//! broadcasts, HTTP or GStreamer.
//!
//! - `rendition`, `viewer`, `reports`: the ends that other modules hold: frames in, a viewer's connection.
//! - `pool`, `worker`, `message`, `queue`, `place`: the threads, and the messages to them.
//! - `tracks`: a viewer's tracks, as its answer announces them.
//! - `direct`: viewers on the direct engine: encryption and segmented sends.
//! - `webrtcbin`, `feeds`: viewers on webrtcbin, in processes that get the frames.
//! - `rtp`, `statistics`: RTCP, counters.
//!
//! What is sent to one viewer, and when, is decided in `playout`.

mod direct;
mod error;
mod feeds;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod message;
mod place;
mod pool;
mod queue;
mod rendition;
mod reports;
mod rtp;
mod statistics;
#[cfg(test)]
mod tests;
mod tracks;
mod viewer;
pub mod webrtcbin;
mod worker;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

pub(crate) use self::direct::Batch;
#[cfg(test)]
pub(crate) use self::direct::testing::DirectEngine;
use self::pool::Pool;
pub use self::{
    direct::Timeouts,
    error::Error,
    rendition::Rendition,
    reports::ViewerReports,
    statistics::Statistics,
    tracks::{Layer, OfferedTracks},
    viewer::{Viewer, ViewerOptions},
};
pub use crate::playout::{GopLimits, ViewerStatistics};
use crate::{media::Kind, peer::udp::Port};

/// How the fan-out is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Worker threads. Default (0): one per core.
    pub workers: usize,
    /// Bounds of the cached group of pictures of each rendition.
    pub gop: GopLimits,
    /// When a viewer is dropped.
    pub timeouts: Timeouts,
}

/// The fan-out: worker threads that serve viewers. Cheap to clone.
#[derive(Clone)]
pub struct Fanout {
    inner: Arc<Inner>,
}

struct Inner {
    port: Port,
    pool: Pool,
    queue_dropped: Arc<AtomicU64>,
}

impl Fanout {
    /// Starts the workers. They send to viewers on the direct engine from `port`, each through a
    /// socket of its own.
    ///
    /// # Errors
    /// If the system refuses a thread or a socket.
    pub fn start(port: Port, options: Options) -> io::Result<Self> {
        let pool = Pool::start(&port, options)?;
        let inner = Inner {
            port,
            pool,
            queue_dropped: Arc::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Makes a place for one track of a broadcast. It lives across publishers.
    pub fn rendition(&self, kind: Kind) -> Rendition {
        Rendition::new(
            self.inner.port.next_session(),
            kind,
            Arc::clone(self.inner.pool.workers()),
            Arc::clone(&self.inner.queue_dropped),
        )
    }

    /// The UDP port that the workers send from.
    pub fn port(&self) -> &Port {
        &self.inner.port
    }

    /// Whether every worker runs; if not, some viewers get nothing.
    pub fn is_healthy(&self) -> bool {
        self.inner.pool.is_healthy()
    }

    /// The counters, summed over all workers.
    pub fn statistics(&self) -> Statistics {
        let port = self.inner.port.counters();
        let dropped = self.inner.queue_dropped.load(Relaxed);
        let start = Statistics {
            send_dropped: port.send_dropped.load(Relaxed),
            send_failed: port.send_failed.load(Relaxed),
            queue_dropped: dropped + port.queue_dropped.load(Relaxed),
            unknown_datagrams: port.unknown.load(Relaxed),
            datagrams_refused: port.refused.load(Relaxed),
            ..Statistics::default()
        };
        self.inner
            .pool
            .workers()
            .iter()
            .fold(start, |sum, worker| worker.totals.add_to(sum))
    }

    /// Closes every viewer with a `close_notify` and waits for the workers to end.
    pub async fn stop(&self) {
        self.inner.pool.stop().await;
    }
}
