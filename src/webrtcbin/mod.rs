//! The engine `webrtcbin`: GStreamer's element, as a worker runs it.
//!
//! - [`element`]: webrtcbin as both directions use it: negotiated, watched, asked to say goodbye.
//! - [`publisher`]: one that receives, and what makes frames of its RTP.
//! - [`viewers`]: those that send, and the playout of frames into them.
//!
//! Its only peer is the server's relay, over loopback: it knows no client's address, and no
//! broadcast.

pub mod element;
pub mod publisher;
pub mod viewers;
