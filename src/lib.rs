//! Aerial: a one-to-many WebRTC broadcast server on GStreamer.
//!
//! A publisher (browser or OBS) sends one broadcast over WHIP (RFC 9725); any number of viewers
//! watch it over WHEP (draft-ietf-wish-whep). The way of the media:
//!
//! ```text
//!  browser / OBS                                                     browsers
//!      | WHIP                                                           ^ WHEP
//!      v                                                                |
//!  http -> broadcast -> ingest (ICE, DTLS, packets in order)            |
//!                           | RTP                                       |
//!                           v                                           |
//!                       pipeline: depay -> parse -> packetize once --> fanout (GOP cache,
//!                           ^                                          per-viewer rewrite,
//!                       *.launch sources                               SRTP, one UDP port)
//! ```
//!
//! # Words
//!
//! - **broadcast**: a named one-to-many stream: at most one publisher (or one source pipeline),
//!   any number of viewers.
//! - **session**: a WHIP or WHEP session: one HTTP resource and its peer connection.
//! - **publisher / viewer**: the session that feeds / watches a broadcast.
//! - **track**: one medium of a broadcast (video, audio).
//! - **rendition**: one encoding of a track that viewers can receive.
//! - **pipeline**: a running gst-launch description.
//! - **engine**: what carries a peer connection: `webrtcbin` or `direct`.
//! - **frame**: one encoded access unit. **packet**: one RTP packet's payload.
//!
//! # Layers
//!
//! `http -> {access, broadcast}`, `broadcast -> {ingest, fanout, pipeline}`, `ingest -> {peer,
//! pipeline}`, `fanout -> peer`. Only `pipeline` and what lies behind the engine `webrtcbin` name
//! GStreamer; only `http` names warp.

pub mod access;
pub mod bench;
pub mod broadcast;
pub mod config;
pub mod error;
pub mod fanout;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod http;
pub mod ingest;
pub mod media;
pub mod peer;
pub mod pipeline;
pub mod server;
mod testing;
pub mod workbench;
