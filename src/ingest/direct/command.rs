//! Commands to a publisher's session.

use str0m::IceCreds;
use tokio::sync::oneshot;

use crate::peer::{ChannelText, End, sdp};

/// Requests of the handle to the task.
pub(super) enum ReceptionCommand {
    Keyframe,
    Text(ChannelText),
    Bitrate(u64),
    Restart(
        IceCreds,
        oneshot::Sender<Result<sdp::Transport, sdp::Error>>,
    ),
    Close(End),
}
