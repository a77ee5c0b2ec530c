//! Pipelines, publishers on webrtcbin and the viewers on it run in processes of their own: GStreamer's
//! elements are C, fed with what strangers send, and what ends or holds one of them must not touch the
//! others.
//!
//! ```text
//!  server                                         worker (the same program)
//!  frames in --> Outbox --> socket --> Inbox --> stream --> pipeline::Job
//!                                                  |-------> webrtcbin::viewers
//!  sinks <-- flood, age <-- Inbox <-- socket <-- Outbox <-------+-- webrtcbin::publisher
//!  events, figures, control, log: notes on the same socket
//! ```
//!
//! - `starting`, `spawn`, `prepared`, `process`, `limits`: a process, from its start to its end.
//! - `sandbox`: the files that a worker may use.
//! - `wire`, `note`, `queue`, `connection`: what goes over the socket.
//! - `fault`: the rules that a worker can break.
//! - `follow`: the task that follows a worker; `job` and `pipeline`, `receiver`, `viewers` and `feed`: what
//!   it does.
//! - `checking`: pipeline files, checked without running them.
//! - `peers`: workers for peer connections, one of which is kept ready.
//! - `host`: the worker's side.
//!
//! A worker that ends, hangs, floods or says nothing sensible is killed, and its job fails with a
//! reason; `broadcast` restarts it, or ends the session. Whatever a worker sends is checked, as if a
//! stranger sent it.

mod checking;
mod connection;
mod fault;
mod feed;
mod follow;
mod host;
mod job;
mod limits;
mod log;
mod note;
mod outlet;
mod peers;
mod pipeline;
mod prepared;
mod process;
mod queue;
mod receiver;
mod sandbox;
mod shared;
mod spawn;
mod starting;
#[cfg(test)]
mod tests;
pub mod trial;
mod usage;
mod viewers;
mod wire;

pub use checking::{check, video_codecs};
pub use feed::FrameFeed;
pub use host::run;
pub use job::{WorkerControl, WorkerJob};
pub use limits::{MEMORY_DEFAULT, Options, WorkerLimits};
pub use peers::PeerWorkers;
pub use receiver::{Receiving, WorkerReceiver};
pub use sandbox::support as sandbox_support;
pub use spawn::remains as hanging;
pub use usage::{WorkerUsage, all as usage, processes};

pub use viewers::{ViewerSwitch, Viewing, WorkerViewer, WorkerViewerState, WorkerViewers};

use crate::pipeline::clock::monotonic;

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
