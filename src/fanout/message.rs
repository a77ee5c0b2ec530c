//! Messages to a worker.

use std::{sync::Arc, time::Instant};

use str0m::IceCreds;
use tokio::sync::oneshot;

use super::{
    direct::DirectViewer,
    webrtcbin::{Feedback, WebrtcbinViewer},
};
use crate::{
    media::Frame,
    peer::{ChannelText, End, sdp, udp::Datagram},
    playout::Target,
};

/// A message to a worker. Viewers on both engines draw their keys from one set of numbers.
pub(super) enum Message {
    /// The next frame of a rendition.
    Frame {
        rendition: u64,
        number: u64,
        frame: Arc<Frame>,
        /// When it was handed over. A frame that has waited too long does not wait to be sent.
        at: Instant,
    },
    /// A datagram for a viewer on the direct engine.
    Datagram { viewer: u64, datagram: Datagram },
    /// A new viewer on the direct engine.
    Join(Box<DirectViewer>),
    /// A new viewer on webrtcbin; it may not be connected yet.
    JoinOnWebrtcbin(Box<WebrtcbinViewer>),
    /// Feedback from the connection of a viewer on webrtcbin.
    Feedback { viewer: u64, feedback: Feedback },
    /// Give a viewer this layer of its picture, or let the server choose.
    Select { viewer: u64, layer: Option<usize> },
    /// Send a viewer another rendition of a track.
    Switch { viewer: u64, to: Target },
    /// Send a viewer on the direct engine a text over its data channel.
    Text { viewer: u64, text: ChannelText },
    /// Restart ICE with the peer's new credentials.
    Restart {
        viewer: u64,
        remote: IceCreds,
        reply: oneshot::Sender<Result<sdp::Transport, sdp::Error>>,
    },
    /// Close one viewer.
    Close { viewer: u64, why: End },
    /// A rendition is gone for good.
    Forget { rendition: u64 },
    /// Close all viewers and end.
    Stop,
    /// Panic, as a bug would.
    #[cfg(test)]
    Panic,
}
