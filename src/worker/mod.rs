//! Pipelines run in processes of their own, one each: GStreamer's elements are C, fed with what
//! strangers send, and what ends or holds one of them must not touch the others.
//!
//! ```text
//!  server                                         worker (the same program)
//!  frames in --> Outbox --> socket --> Inbox --> stream --> pipeline::Job
//!  sinks <-- flood, age <-- Inbox <-- socket <-- Outbox <-------+
//!  events, figures, control, log: notes on the same socket
//! ```
//!
//! A worker that ends, hangs, floods or says nothing sensible is killed, and its job fails with a
//! reason; `broadcast` restarts it. Whatever a worker sends is checked, as if a stranger sent it.

mod connection;
mod follow;
mod host;
mod job;
mod limits;
mod log;
mod note;
mod process;
mod queue;
mod shared;
mod spawn;
#[cfg(test)]
mod tests;
pub mod trial;
mod usage;
mod wire;

use std::time::Duration;

pub use host::run;
pub use job::{WorkerControl, WorkerJob};
pub use limits::{Options, WorkerLimits};
use rustix::time::{ClockId, clock_gettime};
pub use spawn::remains as hanging;
pub use usage::{WorkerUsage, all as usage};
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz {
    //! What must hold for any bytes on the socket.

    use super::{
        note::{ToServer, ToWorker},
        wire::fuzz::messages,
    };

    /// Bytes from a worker, and from the server; how many messages they are.
    pub(crate) fn both_ways(data: &[u8]) -> usize {
        messages::<ToServer>(data) + messages::<ToWorker>(data)
    }
}

/// The hidden command that a worker is started with.
pub const COMMAND: &str = "worker";

/// The system's monotonic clock, which all processes share.
fn monotonic() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    // Never negative.
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}
