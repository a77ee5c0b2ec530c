//! Messages to a worker.

use std::{sync::Arc, time::Instant};

use str0m::IceCreds;
use tokio::sync::oneshot;

use super::direct::DirectViewer;
use crate::{
    media::Frame,
    peer::{ChannelText, End, sdp, udp::Datagram},
    playout::Target,
    worker::{FrameFeed, ViewerSwitch},
};

/// A message to a worker thread. Viewers on both engines draw their keys from one set of numbers.
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
    /// Pass on a rendition to a process that serves viewers on webrtcbin.
    Feed { rendition: u64, feed: FrameFeed },
    /// No longer pass on a rendition there.
    Unfeed { rendition: u64, feed: FrameFeed },
    /// Send a viewer on webrtcbin another rendition, which has been passed on.
    SwitchInWorker(ViewerSwitch),
    /// Give a viewer on the direct engine this layer of its picture, or let the server choose.
    Select { viewer: u64, layer: Option<usize> },
    /// Send a viewer on the direct engine another rendition of a track.
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
