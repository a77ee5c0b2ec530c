//! The input: what publishers send becomes frames, on both engines.
//!
//! ```text
//!  webrtcbin, in a worker: webrtcbin (DTLS, SRTP, jitter buffer, NACK, RTX) -- RTP, a pad per
//!                                                       track -> depayload -> parse -> packetize
//!                                                                                              |
//!                                                                                              v
//!                                                                                            frames
//!                                                                                              ^
//!  direct: peer::session (ICE, DTLS, SRTP, NACK, RTX) --> reorder --> timeline --> assembler --+
//! ```
//!
//! - [`Publisher`]: a publisher's connection, whichever engine carries it.
//! - `webrtcbin`: the GStreamer engine, the default for publishers.
//! - `direct`: the str0m engine; it carries every publisher that offers simulcast.
//! - `reorder`, `timeline`: packets in order, and when they are due (pure).
//! - `assembler`: packets in order become frames (pure).
//!
//! What this room does not do: HTTP, broadcast rules, deciding whether media is still coming.

mod assembler;
pub(crate) mod direct;
mod error;
mod reorder;
mod timeline;
mod webrtcbin;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, mpsc};

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use self::assembler::fuzz;
use self::{direct::DirectPublisher, webrtcbin::WebrtcbinPublisher};
pub use self::{direct::PublisherChannel, error::Error};
use crate::{
    peer::{
        ChannelEvent, End, Event,
        sdp::{self, Offer},
        udp::Port,
    },
    pipeline::{TrackOutlet, TrackSinks},
    plan::Engine,
    resources::ProcessFigures,
    worker::PeerWorkers,
};

/// How publishers are received.
#[derive(Clone, Debug)]
pub struct Options {
    /// The engine that carries them, unless they offer simulcast.
    pub engine: Engine,
    /// How long to wait for a missing packet. Packets that arrive in order are not delayed.
    pub jitter: Duration,
    /// A publisher on the direct engine that shows no sign of life for this long is gone (RFC 7675
    /// §5.1 allows 30 s).
    pub consent: Duration,
    /// The bit rate above which publishers are asked to send less, and then disconnected, in bit/s.
    pub bitrate_max: u64,
    /// Run webrtcbin.
    pub workers: PeerWorkers,
}

/// Where a publisher's media goes.
pub struct Sinks {
    /// Its tracks.
    pub tracks: TrackSinks,
    /// The layers of a simulcast picture; empty without simulcast.
    pub layers: Vec<LayerSink>,
}

/// Where one layer of a simulcast picture goes.
pub struct LayerSink {
    /// The layer's name (RFC 8851).
    pub rid: String,
    /// Takes its media.
    pub outlet: TrackOutlet,
}

/// Where a connection reports to.
#[derive(Clone, Debug)]
pub struct Reports {
    /// Gets [`Event::Connected`] once, [`Event::Track`] once per track and codec, [`Event::Closed`]
    /// last. Events are sent without waiting: there must be room for all of them.
    pub events: mpsc::Sender<Event>,
    /// Notified when a loss has broken the picture.
    pub keyframe_wanted: Arc<Notify>,
    /// Gets the messages of the data channel; without it, the offer's channel is rejected.
    pub channel: Option<mpsc::Sender<ChannelEvent>>,
}

impl Reports {
    /// Passes on what comes over the data channel. A peer that sends more than its session reads
    /// loses it.
    fn converse(&self, event: ChannelEvent) {
        let told = self.channel.as_ref().map(|channel| channel.try_send(event));
        if told.is_some_and(|told| told.is_err()) {
            tracing::debug!("event of the data channel lost");
        }
    }
}

/// The media received from a publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// RTP packets received.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// RTP packets that did not arrive in time, retransmissions included.
    pub lost: u64,
    /// When the last RTP packet came.
    pub last_packet: Option<Instant>,
    /// When the peer last gave a sign of life besides RTP: RTCP that SRTP accepted, or an authentic
    /// connectivity check.
    pub last_sign: Option<Instant>,
}

/// A publisher's connection. Dropping it ends the session without a goodbye.
pub enum Publisher {
    /// On webrtcbin.
    Webrtcbin(Box<WebrtcbinPublisher>),
    /// On the direct engine.
    Direct(Box<DirectPublisher>),
}

impl Publisher {
    /// Answers an offer. Frames go to the sinks as soon as media flows.
    ///
    /// # Errors
    /// [`Error::Offer`] if the offer cannot be accepted, else the engine's failure.
    pub async fn accept(
        offer: &Offer,
        options: &Options,
        port: &Port,
        sinks: Sinks,
        reports: Reports,
    ) -> Result<(Self, String), Error> {
        // webrtcbin 1.22 does not answer simulcast.
        let simulcast = !offer.layers().is_empty();
        if simulcast || options.engine == Engine::Direct {
            let accepted = DirectPublisher::accept(offer, options, port, &sinks, reports);
            let (publisher, answer) = accepted?;
            return Ok((Self::Direct(Box::new(publisher)), answer));
        }
        let (tracks, events) = (sinks.tracks, reports.events);
        let accepting = WebrtcbinPublisher::accept(offer, options, port, tracks, events);
        let (publisher, answer) = accepting.await?;
        Ok((Self::Webrtcbin(Box::new(publisher)), answer))
    }

    /// Asks for a video keyframe now. Nothing happens before video flows, and some publishers (OBS)
    /// ignore it.
    pub fn request_keyframe(&self) {
        match self {
            Self::Webrtcbin(publisher) => publisher.request_keyframe(),
            Self::Direct(publisher) => publisher.request_keyframe(),
        }
    }

    /// Asks for at most this many bit/s (REMB). Publishers without congestion control ignore it.
    pub fn request_bitrate(&self, bitrate: u64) {
        match self {
            Self::Webrtcbin(publisher) => publisher.request_bitrate(bitrate),
            Self::Direct(publisher) => publisher.request_bitrate(bitrate),
        }
    }

    /// Its data channel, if its engine has one.
    pub fn channel(&self) -> Option<PublisherChannel> {
        match self {
            Self::Webrtcbin(_) => None,
            Self::Direct(publisher) => Some(publisher.channel()),
        }
    }

    /// Restarts ICE with the peer's new credentials and returns the server's (RFC 9725 §4.3.3).
    ///
    /// # Errors
    /// If the session has ended.
    pub async fn restart(&self, ufrag: &str, pwd: &str) -> Result<sdp::Transport, sdp::Error> {
        match self {
            Self::Webrtcbin(publisher) => publisher.restart(ufrag, pwd),
            Self::Direct(publisher) => publisher.restart(ufrag, pwd).await,
        }
    }

    /// Whether the publisher has sent an authentic connectivity check.
    pub fn is_checked(&self) -> bool {
        match self {
            Self::Webrtcbin(publisher) => publisher.is_checked(),
            Self::Direct(publisher) => publisher.is_checked(),
        }
    }

    /// The media received so far.
    pub fn statistics(&self) -> Statistics {
        match self {
            Self::Webrtcbin(publisher) => publisher.statistics(),
            Self::Direct(publisher) => publisher.statistics(),
        }
    }

    /// What its process uses, if it has one and that has been measured.
    pub fn process(&self) -> Option<ProcessFigures> {
        match self {
            Self::Webrtcbin(publisher) => publisher.process(),
            Self::Direct(_) => None,
        }
    }

    /// Says goodbye and frees everything, within the engines' time limits.
    pub async fn close(self, why: End) {
        match self {
            Self::Webrtcbin(publisher) => publisher.close().await,
            Self::Direct(publisher) => publisher.close(why).await,
        }
    }
}
