//! A publisher on the direct engine: a session's task, which makes frames of its packets.

mod channel;
mod command;
mod counters;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod reception;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::Instrument;

pub use self::channel::PublisherChannel;
use self::reception::{Reception, ReceptionHandle, StreamInput};
use super::{Error, Options, Reports, Sinks, Statistics};
use crate::{
    media::Kind,
    peer::{
        End,
        sdp::{self, Choice, Format, Offer},
        udp::Port,
    },
};

/// A publisher on the direct engine. Dropping it ends the session.
pub struct DirectPublisher {
    session: ReceptionHandle,
    task: JoinSet<()>,
}

impl DirectPublisher {
    /// Answers an offer and starts the session's task.
    pub(super) fn accept(
        offer: &Offer,
        options: &Options,
        port: &Port,
        sinks: &Sinks,
        reports: Reports,
    ) -> Result<(Self, String), Error> {
        let inputs = offered_streams(offer, sinks)?;
        let (session, reception, answer) =
            Reception::accept(offer, port, options, inputs, reports)?;
        let mut task = JoinSet::new();
        task.spawn(reception.run().in_current_span());
        Ok((Self { session, task }, answer))
    }

    /// Asks for a keyframe.
    pub(super) fn request_keyframe(&self) {
        self.session.request_keyframe();
    }

    /// Asks for at most this many bit/s.
    pub(super) fn request_bitrate(&self, bitrate: u64) {
        self.session.request_bitrate(bitrate);
    }

    /// Its data channel.
    pub(super) fn channel(&self) -> PublisherChannel {
        self.session.channel()
    }

    /// Restarts ICE.
    pub(super) async fn restart(
        &self,
        ufrag: &str,
        pwd: &str,
    ) -> Result<sdp::Transport, sdp::Error> {
        self.session.restart(ufrag, pwd).await
    }

    /// Whether the publisher has sent an authentic check.
    pub(super) fn is_checked(&self) -> bool {
        self.session.is_checked()
    }

    /// The media received so far.
    pub(super) fn statistics(&self) -> Statistics {
        self.session.statistics()
    }

    /// Says goodbye, with which the session's task ends.
    pub(super) async fn close(mut self, why: End) {
        self.session.close(why).await;
        while self.task.join_next().await.is_some() {}
    }
}

/// The streams that a publisher sends, each with its destination.
fn offered_streams(offer: &Offer, sinks: &Sinks) -> Result<Vec<StreamInput>, sdp::Error> {
    let mut streams = Vec::new();
    for choice in offer.choose_publish()? {
        let Choice::Receive(Format {
            codec: Some(codec), ..
        }) = choice
        else {
            continue;
        };
        if codec.kind() == Kind::Audio || sinks.layers.is_empty() {
            streams.push(StreamInput {
                codec,
                rid: None,
                frames: Arc::clone(sinks.tracks.of(codec.kind())),
            });
            continue;
        }
        streams.extend(sinks.layers.iter().map(|layer| StreamInput {
            codec,
            rid: Some(layer.rid.clone()),
            frames: Arc::clone(&layer.outlet.frames),
        }));
    }
    Ok(streams)
}
