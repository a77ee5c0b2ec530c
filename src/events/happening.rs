//! The kinds of events, and what each of them tells.

use serde::Serialize;

use crate::{media::Kind, plan::Name};

macro_rules! happenings {
    ($($(#[$doc:meta])* $variant:ident = $name:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })+) => {
        /// Something that happens to a server.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
        #[serde(tag = "event")]
        pub enum Happening {
            $(
                $(#[$doc])*
                #[serde(rename = $name)]
                $variant { $($(#[$field_doc])* $field: $type),* },
            )+
        }

        impl Happening {
            /// The name of every kind.
            pub const NAMES: &[&str] = &[$($name),+];

            /// The name of its kind.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)+
                }
            }
        }
    };
}

happenings! {
    /// A broadcast exists: somebody is about to feed or watch it.
    Started = "broadcast.started" { broadcast: Name }
    /// It can be watched.
    Live = "broadcast.live" { broadcast: Name }
    /// Its publisher has given no sign of life, or sent no media, for a while.
    Stale = "broadcast.stale" { broadcast: Name }
    /// Nobody feeds it any more, or not yet again; viewers may wait or see the slate.
    Waiting = "broadcast.waiting" { broadcast: Name }
    /// It is gone.
    Ended = "broadcast.ended" { broadcast: Name }
    /// A viewer's connection is up.
    ViewerJoined = "viewer.joined" {
        broadcast: Name,
        /// The session's number, as in the log and the API.
        session: u64,
    }
    /// A viewer that had joined is gone.
    ViewerLeft = "viewer.left" {
        broadcast: Name,
        session: u64,
        /// As in the metric `aerial_sessions_ended_total`.
        reason: &'static str,
    }
    /// An output runs: what it takes elsewhere is accepted.
    OutputStarted = "output.started" {
        broadcast: Name,
        pipeline: String,
    }
    /// An output has ended: it was stopped, the broadcast has ended, or it has failed.
    OutputEnded = "output.ended" {
        broadcast: Name,
        pipeline: String,
    }
    /// An output has finished a file.
    SegmentFinished = "segment.finished" {
        broadcast: Name,
        pipeline: String,
        /// Its path as the pipeline wrote it.
        file: String,
        /// Its size.
        bytes: u64,
    }
    /// An output has finished a recording: it writes none of its files any more.
    RecordingFinished = "recording.finished" {
        broadcast: Name,
        /// As in the API.
        recording: String,
    }
    /// A recording, or a part of one, was deleted.
    RecordingDeleted = "recording.deleted" {
        broadcast: Name,
        recording: String,
        /// `request`, or the option that wants it so, such as `recordings.max_age`.
        reason: &'static str,
    }
    /// A pipeline has failed. It starts again after a pause.
    PipelineFailed = "pipeline.failed" {
        broadcast: Name,
        pipeline: String,
        error: String,
    }
    /// The server transcodes for viewers that cannot receive what is published.
    TranscodeInserted = "transcode.inserted" {
        broadcast: Name,
        rendition: String,
        kind: Kind,
        /// Why.
        reason: String,
    }
    /// A limit keeps clients from what they ask for. Reported at most once every 10 s for each
    /// limit.
    LimitHit = "limit.hit" {
        /// An option such as `limits.transcodes`, or the type of the problem that clients get.
        limit: LimitName,
        #[serde(skip_serializing_if = "Option::is_none")]
        broadcast: Option<Name>,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    }
}

/// The name of a limit.
type LimitName = &'static str;
