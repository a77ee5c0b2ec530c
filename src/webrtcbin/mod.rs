//! The engine `webrtcbin`: GStreamer's element, as a worker runs it.
//!
//! - [`element`]: webrtcbin as both directions use it: negotiated, watched, asked to say goodbye.
//! - [`publisher`]: one that receives, and what makes frames of its RTP.
//!
//! Its only peer is the server's relay, over loopback: it knows no client's address, and no
//! broadcast.

pub mod element;
pub mod publisher;
