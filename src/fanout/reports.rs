//! Where a viewer's connection reports to.

use tokio::sync::mpsc;

use crate::peer::{ChannelEvent, Event};

/// Where a viewer's connection reports to.
#[derive(Clone, Debug)]
pub struct ViewerReports {
    /// Gets [`Event::Connected`], [`Event::KeyframeWanted`] and, last, [`Event::Closed`].
    pub events: mpsc::Sender<Event>,
    /// Gets the messages of the data channel; without it, the offer's channel is rejected.
    pub channel: Option<mpsc::Sender<ChannelEvent>>,
}

impl From<mpsc::Sender<Event>> for ViewerReports {
    fn from(events: mpsc::Sender<Event>) -> Self {
        Self {
            events,
            channel: None,
        }
    }
}
