//! Aerial: a one-to-many WebRTC broadcast server on GStreamer.
//!
//! A publisher (browser or OBS) sends one broadcast over WHIP (RFC 9725); any number of viewers
//! watch it over WHEP (draft-ietf-wish-whep). Everything is encoded once and packetized once; per
//! viewer only the headers are rewritten, the packets encrypted and sent.
//!
//! # The way of the media
//!
//! ```text
//!  browser, OBS                                                              browsers
//!      | WHIP                                                                   ^ WHEP
//!      v                                                                        |
//!     http ------------> broadcast: who publishes, who watches what <--------- http
//!                            | starts and stops
//!      .---------------------+-------------------------+------------------------.
//!      v                     v                         v                        |
//!  publisher             source pipeline           rendition pipelines,         |
//!  (either engine)       (*.launch)                output pipelines             |
//!      |                     |                         ^         |              |
//!      '------> frames ------+-------------------------'         | frames       |
//!                            |                                   |              |
//!                            '---> packetized once <-------------'              |
//!                                       |                                       |
//!                                       v                                       |
//!                                    fanout: cached GOP, per viewer switching --'
//!                                            and rewriting, encryption, one UDP port
//! ```
//!
//! # Engines
//!
//! | | `webrtcbin` (GStreamer) | `direct` (str0m and our own packet path) |
//! |---|---|---|
//! | publishers | the default; `peer::webrtcbin` receives, `pipeline` takes the frames | simulcast always, others by configuration; `peer::direct` receives, `pipeline` takes the frames |
//! | viewers | by configuration; `fanout::fed` pushes packets into `peer::webrtcbin` | the default; `fanout` sends |
//!
//! # Rooms
//!
//! | room | what it does |
//! |---|---|
//! | `cli` | the commands: `serve`, `check`, `try`, `bench` |
//! | `server` | starts everything in order, and stops it in reverse |
//! | `config` | every option: from flags, environment and file to plain data |
//! | `plan` | what the configuration wants of each broadcast; a leaf that every room may name |
//! | `access` | tokens, and what they allow |
//! | `http` | the door: WHIP, WHEP, API, events, metrics, pages; the only room that names warp |
//! | `broadcast` | decides who publishes, which pipelines run and what each viewer gets |
//! | `fanout` | sends frames to viewers |
//! | `peer` | peer connections: SDP, ICE, DTLS, SRTP, the UDP port |
//! | `pipeline` | runs gst-launch descriptions; with `peer::webrtcbin` the only room that names GStreamer |
//! | `resources` | open files and threads that the system allows; a leaf |
//! | `media` | kinds, codecs and frames; a leaf |
//! | `bench` | measures what a server costs |
//! | `fuzz` | what must hold for any bytes |
//!
//! Who may name whom is in `tests/structure/rules.rs`, and tested: `http -> {access, broadcast,
//! plan}`, `broadcast -> {fanout, peer, pipeline, plan}`, `fanout -> peer`, `config -> {access,
//! plan}`; there are no circles. Errors belong to the room in which they arise.
//!
//! # Words
//!
//! Each has one meaning, in code, API, logs and documentation.
//!
//! - **broadcast**: a named one-to-many stream: at most one publisher or source pipeline, any
//!   number of viewers.
//! - **session**: a WHIP or WHEP session: one HTTP resource and its peer connection.
//! - **publisher**, **viewer**: the session that feeds, or watches, a broadcast.
//! - **client**: whoever sends a request, by address.
//! - **engine**: what carries a peer connection: `webrtcbin` or `direct`.
//! - **actor**: the task that decides everything about one broadcast.
//! - **plan**: what the configuration wants of one broadcast.
//! - **track**: one medium of a broadcast (video, audio).
//! - **layer**: one of several encodings that a publisher sends (simulcast).
//! - **rendition**: one encoding of a track that viewers can receive: the **original**, passed on
//!   as it comes, or one that a pipeline makes. In the API the original is called `source`.
//! - **requested**, **preferred**: the rendition that a viewer named; the one it would get if
//!   everything ran.
//! - **subscription**: the rendition that a viewer receives; **switching** is the change to
//!   another.
//! - **pipeline**: a running gst-launch description. **pipeline file**: its text.
//! - **source**, **rendition pipeline**, **output**: pipelines that feed a broadcast, make
//!   renditions of it, or take its media elsewhere.
//! - **slate**: what viewers see while nobody feeds the broadcast.
//! - **live**: somebody feeds the broadcast, and media flows.
//! - **takeover**: another publisher takes the place of one that is gone.
//! - **frame**: one encoded access unit. **packet**: one RTP packet's payload with its timestamp
//!   and marker.
//! - **GOP**: a keyframe and the frames up to the next one.
//! - **report**: what a child task tells its parent. **snapshot**: the state last told to a
//!   listener.
//! - **reap**: to collect a child process or task that has ended.
//! - **origin**: where a value of the configuration comes from: flag, environment, file, default.

mod access;
mod bench;
mod broadcast;
pub mod cli;
mod config;
mod fanout;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod http;
mod ingest;
mod media;
mod peer;
mod pipeline;
mod plan;
mod resources;
mod server;
mod testing;

/// What the integration tests use besides the program itself.
#[doc(hidden)]
pub mod for_tests {
    pub use crate::{
        config::{Opt, all as options, broadcast_keys},
        peer::srtp::{MasterKey, Profile, Sender},
        pipeline::init,
    };
}
