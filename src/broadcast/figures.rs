//! The media that a session carries.

use serde::Serialize;
use utoipa::openapi::{
    RefOr,
    schema::{AnyOfBuilder, ObjectBuilder, Schema},
};

use crate::{
    fanout::ViewerStatistics,
    ingest,
    media::{Codec, Kind},
    resources::ProcessFigures,
};

/// A track that a viewer receives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ReceivedTrack {
    /// Video or audio.
    pub kind: Kind,
    /// The codec that was negotiated.
    pub codec: Codec,
    /// The rendition's name; `source` for what the publisher sends.
    pub rendition: String,
}

/// What a session's task tells about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionReport {
    pub(super) figures: SessionFigures,
    /// What its process uses, if it has one and that has been measured.
    pub(super) process: Option<ProcessFigures>,
}

/// The media that a session has carried.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum SessionFigures {
    /// Received from a publisher.
    Received(ReceivedFigures),
    /// Sent to a viewer.
    Sent(ViewerStatistics),
}

impl utoipa::ToSchema for SessionFigures {
    fn schemas(_: &mut Vec<(String, RefOr<Schema>)>) {}
}

/// Either kind; nothing while the session is being negotiated.
impl utoipa::PartialSchema for SessionFigures {
    fn schema() -> RefOr<Schema> {
        AnyOfBuilder::new()
            .item(ReceivedFigures::schema())
            .item(ViewerStatistics::schema())
            .item(ObjectBuilder::new())
            .into()
    }
}

/// The media received from a publisher.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
pub struct ReceivedFigures {
    /// RTP packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that did not arrive in time, retransmissions included.
    pub lost: u64,
}

impl From<ingest::Statistics> for ReceivedFigures {
    fn from(statistics: ingest::Statistics) -> Self {
        Self {
            packets: statistics.packets,
            bytes: statistics.bytes,
            lost: statistics.lost,
        }
    }
}
