//! What the API says about broadcasts, and the counters behind the metrics.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use super::{
    choice::Misfit,
    health::{Health, Snapshot},
};
use crate::{
    histogram::TimeHistogram,
    media::{Codec, Kind},
    peer::{End, sdp::Role},
    pipeline::job::JobFigures,
    plan::{About, Name, PipelineFile},
    worker::WorkerControl,
};

/// Whether a broadcast can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Media flows; viewers are welcome.
    Live,
    /// The publisher has given no sign of life for `timeouts.stale`, or no media for `timeouts.silent`.
    Stale,
    /// Nobody feeds it; viewers see the slate.
    Slate,
    /// Nothing to watch yet, or no longer.
    Waiting,
}

impl State {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stale => "stale",
            Self::Slate => "slate",
            Self::Waiting => "waiting",
        }
    }
}

/// What feeds a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// A pipeline of the configuration.
    Pipeline,
    /// A WHIP publisher.
    Whip,
}

/// One broadcast, as `/api/broadcasts/{name}` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Status {
    /// Its name.
    pub name: Name,
    /// Its title, description and tags.
    #[serde(flatten)]
    pub about: About,
    /// Whether it can be watched.
    pub state: State,
    /// Viewers, connected or connecting.
    pub viewers: usize,
    /// Since when it has been live without a break.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started: Option<SystemTime>,
    /// What feeds it.
    pub source: SourceKind,
    /// What viewers can receive.
    pub tracks: Vec<TrackStatus>,
    /// Its outputs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<PipelineStatus>,
    /// The renditions that viewers can request besides the source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub renditions: Vec<RenditionStatus>,
    /// The limit that keeps the server from transcoding for more of its viewers, which get what
    /// there is instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcodes_full: Option<&'static str>,
    /// Whether its source starts with its first viewer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub on_demand: bool,
    /// Whether its viewers may chat.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub chat: bool,
    /// Whether its publisher or source is connected, live or not.
    #[serde(skip)]
    pub connected: bool,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PipelineStatus {
    /// The file's name, without `.launch`.
    pub name: String,
    /// Its health.
    #[serde(flatten)]
    pub health: Health,
}

/// One broadcast with the figures of its pipelines.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Details {
    /// Its entry in the list.
    #[serde(flatten)]
    pub status: Status,
    /// Its outputs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<PipelineFigures>,
    /// The pipelines that make its renditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rendition_pipelines: Vec<PipelineFigures>,
}

impl Details {
    /// A broadcast whose pipelines run elsewhere.
    pub(super) const fn of_status(status: Status) -> Self {
        Self {
            status,
            outputs: Vec::new(),
            rendition_pipelines: Vec::new(),
        }
    }

    /// Adds the reasons for failures, for the operator.
    #[must_use]
    pub fn with_errors(mut self) -> Self {
        for pipelines in [&mut self.outputs, &mut self.rendition_pipelines] {
            pipelines.iter_mut().for_each(PipelineFigures::show_error);
        }
        self
    }
}

/// A rendition made by a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RenditionStatus {
    /// Its name: `720p` for `appsink name=video_720p`.
    pub name: String,
    /// Video or audio.
    pub kind: Kind,
    /// How it is encoded; `null` before its first frame.
    pub codec: Option<Codec>,
    /// The pipeline that makes it.
    pub pipeline: String,
    /// Viewers that receive it.
    pub viewers: usize,
    /// Why it is made, if the server decided to make it: nobody can ask for it by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automatic: Option<String>,
    /// The same for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misfit: Option<Misfit>,
    /// Its pipeline's health.
    #[serde(flatten)]
    pub health: Health,
}

/// What a pipeline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PipelineKind {
    /// It feeds the broadcast.
    Source,
    /// It makes renditions.
    Renditions,
    /// It takes media elsewhere.
    Output,
}

/// A pipeline with its figures.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PipelineFigures {
    /// The file's name, without `.launch`.
    pub name: String,
    /// The file's name.
    pub file: String,
    /// What it is for.
    pub kind: PipelineKind,
    /// Its health.
    #[serde(flatten)]
    pub health: Health,
    /// [`Health::error`], once it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Its inputs and outputs.
    #[serde(flatten)]
    pub figures: JobFigures,
    /// While it runs.
    #[serde(skip)]
    pub(super) control: Option<WorkerControl>,
}

impl PipelineFigures {
    pub(super) fn new(file: &PipelineFile, kind: PipelineKind, snapshot: Snapshot) -> Self {
        Self {
            name: file.name().to_owned(),
            file: file.file.clone(),
            kind,
            health: snapshot.health,
            error: None,
            figures: snapshot.figures,
            control: snapshot.control,
        }
    }

    /// Shows why it failed, to the operator.
    pub fn show_error(&mut self) {
        self.error.clone_from(&self.health.error);
    }
}

/// One track of a broadcast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TrackStatus {
    /// Video or audio.
    pub kind: Kind,
    /// How it is encoded.
    pub codec: Codec,
    /// The media type that the source sends, if it is transcoded because browsers cannot receive it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcoded_from: Option<String>,
    /// Whether it has stopped although the broadcast is live.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stalled: bool,
    /// Whether viewers cannot start, because no keyframe has arrived and nothing is transcoded.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keyless: bool,
    /// The rids of its layers, if it is simulcast.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

/// What has happened since the start.
#[derive(Debug, Default)]
pub struct BroadcastCounters {
    publishers: AtomicU64,
    viewers: AtomicU64,
    publisher_connects: TimeHistogram,
    viewer_connects: TimeHistogram,
    /// Keyframe requests sent to publishers.
    pub(super) keyframe_requests: AtomicU64,
    /// Restarts of source pipelines that had failed or ended.
    pub(super) source_restarts: AtomicU64,
    /// Pipelines that have started, by kind in the order of [`PIPELINE_KINDS`].
    pipelines: [AtomicU64; PIPELINE_KINDS.len()],
    /// Sessions that ended, by reason in the order of [`End::ALL`].
    ended: [AtomicU64; End::ALL.len()],
    /// Sessions in a row from which no check has arrived.
    unreached: AtomicU64,
}

/// After this many sessions in a row without a check, the network is to blame rather than the
/// clients.
const UNREACHED_MAX: u64 = 5;

/// Every kind of pipeline, with its name in metrics.
const PIPELINE_KINDS: [(PipelineKind, &str); 3] = [
    (PipelineKind::Source, "source"),
    (PipelineKind::Renditions, "renditions"),
    (PipelineKind::Output, "output"),
];

impl BroadcastCounters {
    pub(super) fn started(&self, role: Role) {
        let counter = match role {
            Role::Publisher => &self.publishers,
            Role::Viewer => &self.viewers,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that came up this long after its request.
    pub(super) fn connected(&self, role: Role, time: Duration) {
        self.connect_times(role).note(time);
    }

    /// Times from requests to connections.
    pub fn connect_times(&self, role: Role) -> &TimeHistogram {
        match role {
            Role::Publisher => &self.publisher_connects,
            Role::Viewer => &self.viewer_connects,
        }
    }

    pub(super) fn ended(&self, why: End) {
        let counter = self.ended.iter().zip(End::ALL).find(|(_, end)| *end == why);
        if let Some((counter, _)) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if self.is_unreachable(why) {
            tracing::warn!(
                sessions = UNREACHED_MAX,
                "clients reach the server over HTTP, but none of their UDP packets arrive: is the \
                 UDP port open, and does the server advertise an address that clients can reach \
                 (webrtc.public_addresses)?"
            );
        }
    }

    /// Whether to report that media does not get through: once, until a session connects.
    fn is_unreachable(&self, end: End) -> bool {
        match end {
            End::NoCheck => self.unreached.fetch_add(1, Ordering::Relaxed) + 1 == UNREACHED_MAX,
            End::PeerClosed | End::Vanished | End::NoMedia | End::Deleted => {
                self.unreached.store(0, Ordering::Relaxed);
                false
            }
            _ => false,
        }
    }

    /// Sessions answered so far.
    pub fn sessions(&self, role: Role) -> u64 {
        match role {
            Role::Publisher => self.publishers.load(Ordering::Relaxed),
            Role::Viewer => self.viewers.load(Ordering::Relaxed),
        }
    }

    /// Sessions that ended, by reason.
    pub fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.ended
            .iter()
            .zip(End::ALL)
            .map(|(count, end)| (end.name(), count.load(Ordering::Relaxed)))
    }

    pub(super) fn pipeline_started(&self, kind: PipelineKind) {
        let mut counters = self.pipelines.iter().zip(PIPELINE_KINDS);
        if let Some((counter, _)) = counters.find(|(_, (counted, _))| *counted == kind) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Pipelines that have started, by kind.
    pub fn pipeline_starts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.pipelines
            .iter()
            .zip(PIPELINE_KINDS)
            .map(|(count, (_, name))| (name, count.load(Ordering::Relaxed)))
    }

    /// Keyframes requested from publishers.
    pub fn keyframe_requests(&self) -> u64 {
        self.keyframe_requests.load(Ordering::Relaxed)
    }

    /// Restarts of source pipelines.
    pub fn source_restarts(&self) -> u64 {
        self.source_restarts.load(Ordering::Relaxed)
    }
}

/// A shared [`BroadcastCounters`].
pub(super) type SharedCounters = Arc<BroadcastCounters>;

/// As `2026-01-01T00:00:00Z`.
#[expect(clippy::ref_option, reason = "the signature that serde calls")]
pub(super) fn rfc3339<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text =
        time.map(|time| DateTime::<Utc>::from(time).to_rfc3339_opts(SecondsFormat::Secs, true));
    text.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn sessions_that_never_arrive_are_told_of_once() {
        let counters = BroadcastCounters::default();
        let told = |ends: &[End]| {
            ends.iter()
                .filter(|end| counters.is_unreachable(**end))
                .count()
        };
        assert_eq!(told(&[End::NoCheck; 4]), 0);
        assert_eq!(told(&[End::Yielded, End::NoCheck]), 1);
        assert_eq!(told(&[End::NoCheck; 20]), 0);
        assert_eq!(told(&[End::PeerClosed]), 0);
        assert_eq!(told(&[End::NoCheck; 5]), 1);
    }

    #[test]
    fn status_json() {
        let mut status = Status {
            name: Name::new("demo").unwrap(),
            about: About::default(),
            state: State::Live,
            viewers: 3,
            started: Some(UNIX_EPOCH + Duration::from_hours(490_896)),
            source: SourceKind::Pipeline,
            tracks: vec![TrackStatus {
                kind: Kind::Video,
                codec: Codec::H264,
                transcoded_from: None,
                stalled: false,
                keyless: false,
                layers: Vec::new(),
            }],
            outputs: Vec::new(),
            renditions: Vec::new(),
            transcodes_full: None,
            on_demand: false,
            chat: false,
            connected: true,
        };
        assert_eq!(
            serde_json::to_string(&status).unwrap(),
            r#"{"name":"demo","state":"live","viewers":3,"started":"2026-01-01T00:00:00Z","source":"pipeline","tracks":[{"kind":"video","codec":"h264"}]}"#
        );
        status.started = None;
        assert!(
            serde_json::to_string(&status)
                .unwrap()
                .contains(r#""started":null"#)
        );
    }
}
