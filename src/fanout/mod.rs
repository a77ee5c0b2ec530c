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
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
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

/// How often to look whether a worker hangs.
const HANG_LOOK: Duration = Duration::from_secs(1);

/// What keeps viewers from getting anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FanoutFault {
    /// A worker does not respond.
    Worker,
    /// A socket of the port is not read.
    Port,
}

impl fmt::Display for FanoutFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worker => "a fan-out worker does not respond",
            Self::Port => "the UDP port is not read",
        })
    }
}

/// The fan-out: worker threads that serve viewers. Cheap to clone.
#[derive(Clone)]
pub struct Fanout {
    inner: Arc<Inner>,
}

struct Inner {
    port: Port,
    /// The same, with a socket that the relays of viewers on webrtcbin send through.
    relay_port: Port,
    pool: Pool,
    queue_dropped: Arc<AtomicU64>,
}

impl Fanout {
    /// Starts the workers. They send to viewers on the direct engine from `port`, each through a
    /// socket of its own; viewers on webrtcbin share another one.
    ///
    /// # Errors
    /// If the system refuses a thread or a socket.
    pub fn start(port: Port, options: Options) -> io::Result<Self> {
        let pool = Pool::start(&port, options)?;
        let inner = Inner {
            relay_port: port.with_own_socket()?,
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

    /// The same port, for the relays of viewers on webrtcbin.
    fn relay_port(&self) -> &Port {
        &self.inner.relay_port
    }

    /// Why some viewers get nothing, if that is so.
    pub fn fault(&self) -> Option<FanoutFault> {
        if !self.inner.pool.is_healthy() {
            return Some(FanoutFault::Worker);
        }
        (!self.inner.port.is_read()).then_some(FanoutFault::Port)
    }

    /// Waits until a worker has hung for so long that it never comes back.
    pub async fn hangs(&self) {
        let mut look = tokio::time::interval(HANG_LOOK);
        while !self.inner.pool.hangs() {
            look.tick().await;
        }
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
            reader_panics: port.reader_panics.load(Relaxed),
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
