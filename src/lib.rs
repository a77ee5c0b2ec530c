//! Aerial: a one-to-many WebRTC broadcast server on GStreamer.
//!
//! A publisher (browser or OBS) sends one broadcast over WHIP (RFC 9725); any number of viewers
//! watch it over WHEP (draft-ietf-wish-whep). Media is encoded once and packetized once; for each
//! viewer only headers are rewritten, and packets encrypted and sent.
//!
//! # How media flows
//!
//! ```text
//!  browser, OBS                                                              browsers
//!      | WHIP                                                                   ^ WHEP
//!      v                                                                        |
//!  http -> broadcast -> ingest (ICE, DTLS, jitter buffer)                       |
//!                          | frames                                             |
//!  *.launch sources -------+--> packetize once ---> fanout (cached group of ----+
//!                          |         ^               pictures, per-viewer rewrite,
//!                          |         |               SRTP, one UDP port)
//!                          +--> rendition pipelines
//!                          +--> output pipelines ---> recordings, HLS, pushes
//! ```
//!
//! Each pipeline (source, rendition pipeline, output) and each publisher on webrtcbin runs in a process
//! of its own; the viewers on webrtcbin share one process per broadcast: see `worker`.
//!
//! # Two directions, two engines
//!
//! | | `webrtcbin` (GStreamer) | `direct` (str0m and our own RTP) |
//! |---|---|---|
//! | publishers | the default: `ingest::webrtcbin`, in a worker on `webrtcbin` | selectable, always for simulcast: `ingest::direct` on `peer::session`; frames without GStreamer |
//! | viewers | selectable: `fanout::webrtcbin`, in a worker on `webrtcbin` | the default: `fanout::direct` on `peer::session` |
//!
//! # Rooms
//!
//! | room | what it does |
//! |---|---|
//! | `cli` | the commands: `serve`, `check`, `config`, `token`, `hash`, `try`, `bench`, `completions`, `man` |
//! | `server` | starts everything in order, stops it in reverse |
//! | `config` | every option: from flags, environment and file to plain data |
//! | `plan` | what the configuration wants of each broadcast: names, patterns, pipeline files; a leaf |
//! | `amendments` | changes that the operator has made through the API, on top of the configuration |
//! | `access` | tokens, networks, other issuers and callbacks, and what they allow |
//! | `http` | routes, requests, replies, pages; the only room that names warp |
//! | `broadcast` | one actor per broadcast, which makes all decisions about it |
//! | `chat` | the chat of a broadcast, its reactions and presence, and data for programs |
//! | `cluster` | several nodes as one service: who publishes where, frames from node to node; the only room that names NATS |
//! | `ingest` | publishers to frames, on both engines |
//! | `fanout` | frames to viewers, on both engines |
//! | `playout` | what is sent to one viewer, and when, on either engine |
//! | `peer` | what both directions share: SDP, ICE, SRTP, the UDP port, sessions |
//! | `pipeline` | runs gst-launch text: sources, renditions, outputs |
//! | `webrtcbin` | the engine `webrtcbin`, as a worker runs it |
//! | `worker` | the processes of pipelines, of publishers on webrtcbin and of viewers on it, from both sides |
//! | `stream` | the frames of a track, for the pipelines that take them |
//! | `media` | frames, codecs and their bit streams; a leaf |
//! | `client` | the addresses of clients; a leaf |
//! | `quota` | counts what each client holds, and limits it |
//! | `histogram` | distributions of durations, for the metrics; a leaf |
//! | `moment` | when something last happened, for other threads; a leaf |
//! | `notices` | limits the log lines that strangers can cause |
//! | `outbound` | requests to other servers; a leaf |
//! | `events` | what has happened, for the operator |
//! | `webhooks` | tells other servers what has happened |
//! | `recordings` | the files that outputs have recorded: list, playlists, how long they are kept |
//! | `words` | how log lines write lists of values; a leaf |
//! | `awake` | the clock of deadlines, which stands still while the process is paused; a leaf |
//! | `resources` | the open files and threads that the system allows, and what a process uses; a leaf |
//! | `systemd` | sockets from the service manager, and notifications to it; a leaf |
//! | `bench` | measures what a server costs |
//! | `fuzz` | what must hold for any bytes |
//! | `testing` | the WebRTC client of the benchmark and the tests |
//!
//! Dependencies point one way. The main ones are `http -> {access, broadcast, plan}`, `broadcast ->
//! {ingest, fanout, pipeline, plan, worker}`, `{ingest, fanout} -> {peer, worker}`, `worker -> webrtcbin
//! -> pipeline`, `{fanout, webrtcbin} -> playout` and `config -> {access, plan}`; any room may use the
//! leaves. There are no circles between rooms, and each has its own errors. Only `pipeline` and the code of
//! the engine `webrtcbin` name GStreamer. `tests/structure` has the whole list and checks it.
//!
//! # Words
//!
//! Each has one meaning, in code, API, logs and documentation.
//!
//! - **broadcast**: a named one-to-many stream: at most one publisher or source pipeline, any
//!   number of viewers.
//! - **session**: a WHIP or WHEP session: one HTTP resource and its peer connection.
//! - **publisher**, **viewer**: the session that feeds, or watches, a broadcast.
//! - **client**: whoever sends a request, by its address.
//! - **engine**: what carries a peer connection: `webrtcbin` or `direct`.
//! - **actor**: the task of one broadcast. Its **parts** make all decisions about it; what they
//!   request are **actions**.
//! - **slot**: a pipeline file's place in a broadcast. **run**: one run of its pipeline.
//! - **plan**: what the configuration wants of one broadcast.
//! - **amendments**: what the operator has changed through the API. They count more than the
//!   configuration.
//! - **track**: one medium of a broadcast (video, audio).
//! - **layer**: one of several encodings that a publisher sends (simulcast).
//! - **rendition**: one encoding of a track that viewers can receive: the **original**, which is
//!   passed on as it arrives, or one that a pipeline makes. The API calls the original `source`.
//! - **requested**, **preferred**: the rendition that a viewer named, and the one it would get if
//!   everything ran.
//! - **subscription**: the rendition that a viewer receives; **switching**: changing it.
//! - **pipeline**: a running gst-launch description. **pipeline file**: its text.
//! - **source**, **rendition pipeline**, **output**: a pipeline that feeds a broadcast, makes
//!   renditions of it, or takes its media elsewhere.
//! - **worker**: the process that runs one pipeline, one publisher on webrtcbin, or one broadcast's
//!   viewers on webrtcbin. A thread that serves viewers is a **worker thread** of the fan-out; within
//!   `fanout`, worker for short.
//! - **input**: what a pipeline reads; of a broadcast: its publisher, or a run of its source.
//! - **recording**: what one run of an output has recorded, in one file or several.
//! - **slate**: what viewers see while nobody feeds the broadcast.
//! - **live**: somebody feeds the broadcast.
//! - **takeover**: a publisher takes the place of one that is gone.
//! - **node**: one of several servers that form one service. A broadcast's origin is the node with its
//!   publisher or source; other nodes with viewers of it are **edges**. The **registry** holds the
//!   origin's **claim** to the broadcast, and the **lease** that says that a node is alive. (Signed
//!   tokens have claims of their own: RFC 7519.)
//! - **frame**: one encoded access unit. **packet**: one RTP packet's payload with its timestamp
//!   and marker.
//! - **GOP**: a keyframe and the frames up to the next one (group of pictures).
//! - **report**: what a child task tells its parent. **snapshot**: the state last reported.
//! - **reap**: to collect a child task that has ended.
//! - **conversation**: the chat of one broadcast; **participant**: somebody who takes part in it;
//!   **seat**: the participant's place, given up when it is dropped.
//! - **origin**: where something comes from: a value of the configuration (flag, environment, file,
//!   default), a viewer's track (the original, or a rendition), or a broadcast (a node). In `http`,
//!   also the origin of a web page (RFC 6454).
//! - **event types**: the kinds of server-sent events that a viewer has selected.
//! - **figures**: what something has counted or used so far, for the API and the metrics.
//! - **stranger**: anyone who has not proven to be somebody.

mod access;
mod amendments;
mod awake;
mod bench;
mod broadcast;
mod chat;
pub mod cli;
mod client;
mod cluster;
mod config;
mod events;
mod fanout;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod histogram;
mod http;
mod ingest;
mod media;
mod moment;
mod notices;
mod outbound;
mod peer;
mod pipeline;
mod plan;
mod playout;
mod quota;
mod recordings;
mod resources;
mod server;
mod stream;
mod systemd;
mod testing;
mod webhooks;
mod webrtcbin;
mod words;
mod worker;

/// What the integration tests use besides the program itself.
#[doc(hidden)]
pub mod for_tests {
    pub use crate::{
        config::{Opt, all as options, broadcast_keys},
        media::{rtp::RtpHeader, vp8::Vp8Descriptor, vp9::Vp9Descriptor},
        peer::srtp::{MasterKey, PacketId, Profile, Sender},
        pipeline::init,
        testing::packets,
    };
}
