//! Viewers on webrtcbin: processes run the element and the playout, the server does ICE with the
//! clients and hands the processes their datagrams, and the frames of the broadcast.
//!
//! ```text
//!  rendition --> worker thread: feeds --> the process's socket --> playout --> webrtcbin
//!                                                                                  |
//!  client <-- the port <-- relay <-- loopback <------------------------------------+
//! ```
//!
//! - `workers`: the processes of one broadcast, and the renditions that each gets.
//! - `handle`: the session's handle of a viewer, and how a viewer begins.
//! - `options`: what they are made with.

mod handle;
mod options;
#[cfg(test)]
mod tests;
mod workers;

pub use self::{handle::WebrtcbinHandle, options::ConnectionOptions, workers::ViewerWorkers};
