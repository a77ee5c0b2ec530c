//! The kinds of workers, and those of them that are hit.

use super::{
    super::{pipelines, publishers_worker, viewers_workers, workers},
    fault::Fault,
};
use crate::support::{Server, wait_for};

/// The broadcasts of one set.
pub(super) const CONFIG: &str = r#"
[broadcasts.made-SET]
source = "card.launch"

[broadcasts.slated-SET]
slate = "card.launch"

[broadcasts.taken-SET]
renditions = ["small.launch"]
outputs = ["record-mkv.launch", "snapshot.launch"]
vars = { directory = "FOLDER", every = "1" }

[broadcasts.rtc-SET]
publisher_engine = "webrtcbin"

[broadcasts.far-SET]
viewer_engine = "webrtcbin"
"#;

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkerKind {
    Source,
    Slate,
    Rendition,
    Output,
    Snapshot,
    /// For viewers that cannot decode what is published.
    Transcode,
    /// On webrtcbin.
    Publisher,
    /// On webrtcbin.
    Viewers,
}

impl WorkerKind {
    pub(super) const ALL: [Self; 8] = [
        Self::Source,
        Self::Slate,
        Self::Rendition,
        Self::Output,
        Self::Snapshot,
        Self::Transcode,
        Self::Publisher,
        Self::Viewers,
    ];

    pub(super) fn broadcast(self, set: &str) -> String {
        let name = match self {
            Self::Source => "made",
            Self::Slate => "slated",
            Self::Rendition | Self::Output | Self::Snapshot => "taken",
            Self::Transcode => "coded",
            Self::Publisher => "rtc",
            Self::Viewers => "far",
        };
        format!("{name}-{set}")
    }

    /// The name of its pipeline file, if it has one.
    const fn pipeline(self) -> Option<&'static str> {
        match self {
            Self::Source | Self::Slate => Some("card"),
            Self::Rendition => Some("small"),
            Self::Output => Some("record-mkv"),
            Self::Snapshot => Some("snapshot"),
            // There is but one pipeline for VP8. Viewers that need H.264 go to `h264-small`
            // when `h264` fails, and stay there.
            Self::Transcode => Some("vp8"),
            Self::Publisher | Self::Viewers => None,
        }
    }

    /// How the names of the threads begin that pass media on.
    pub(super) const fn media_threads(self) -> &'static str {
        match self {
            Self::Source | Self::Slate => "videotestsrc",
            Self::Rendition | Self::Output | Self::Snapshot | Self::Transcode => "video:src",
            Self::Publisher => "rtpjitterbuf",
            Self::Viewers => "playout",
        }
    }

    /// What its worker gives way to others by.
    pub(super) const fn nice(self) -> i32 {
        match self {
            Self::Output | Self::Snapshot | Self::Transcode => 5,
            Self::Source | Self::Slate | Self::Rendition | Self::Publisher | Self::Viewers => 0,
        }
    }
}

/// A worker that is to be hit.
#[derive(Debug)]
pub(super) struct Victim {
    pub(super) kind: WorkerKind,
    pub(super) broadcast: String,
    pub(super) pid: u32,
    /// How often its pipeline had been restarted before.
    restarts: u64,
}

impl Victim {
    /// A worker of a set, once it works.
    pub(super) fn find(server: &Server, kind: WorkerKind, set: &str) -> Self {
        let broadcast = kind.broadcast(set);
        let (pid, restarts) = match (kind, kind.pipeline()) {
            (_, Some(pipeline)) => wait_for(&format!("running {pipeline} of {broadcast}"), || {
                let status = pipelines(server, &broadcast).remove(pipeline)?;
                let name = match kind {
                    WorkerKind::Source => format!("source-{broadcast}"),
                    _ => format!("{broadcast}-{pipeline}"),
                };
                let pid = *workers(server).get(&name)?;
                let runs = status["state"] == "running";
                runs.then_some((pid, status["restarts"].as_u64()?))
            }),
            (WorkerKind::Publisher, None) => (publishers_worker(server, &broadcast), 0),
            (_, None) => (*viewers_workers(server, &broadcast).last().unwrap(), 0),
        };
        Self {
            kind,
            broadcast,
            pid,
            restarts,
        }
    }

    /// Whether its pipeline runs again. Notes in `shown` whether the API has named the fault.
    pub(super) fn runs_again(&self, server: &Server, fault: &Fault, shown: &mut bool) -> bool {
        let Some(pipeline) = self.kind.pipeline() else {
            return true;
        };
        let Some(status) = pipelines(server, &self.broadcast).remove(pipeline) else {
            return false;
        };
        *shown |= fault.is_named(status["failure"].as_str(), status["error"].as_str());
        status["restarts"].as_u64() > Some(self.restarts) && status["state"] == "running"
    }

    /// Whether the log names the fault, and the pause before the restart.
    pub(super) fn is_explained(&self, server: &Server, fault: &Fault) -> bool {
        server.lines().iter().any(|line| {
            let text = line.field("error").or_else(|| line.field("reason"));
            let pause = line.field("pause_ms").and_then(|ms| ms.parse().ok());
            let restarts = match self.kind.pipeline() {
                Some(pipeline) => line.has("pipeline", pipeline) && pause >= Some(250_u64),
                None => true,
            };
            restarts
                && line.has("name", &self.broadcast)
                && fault.is_named(line.field("failure"), text)
        })
    }
}
