//! Actions that the parts of a broadcast request, for the actor to carry out.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::{
    Error,
    choice::TrackOrigin,
    gate::Gate,
    health::{Activity, Snapshot},
    place::RemoteOrigin,
    slot::{RunId, StopRun},
    takeover::Pulse,
    tracks::{BroadcastTrack, BroadcastTracks},
};
use crate::{
    fanout,
    media::Kind,
    peer::End,
    plan::{PipelineFile, Plan},
    stream::{EncodedStream, EncodedStreams},
};

/// Something for the actor to do. Sessions are identified by their public number.
pub(super) enum Action {
    /// Run a publisher's session.
    StartPublisher { session: u64, input: InputStart },
    /// Run a pipeline.
    StartRun(Box<RunStart>),
    /// Tell a pipeline to stop.
    StopRun(StopRun),
    /// Run a viewer's session.
    Admit { session: u64, view: View },
    /// Refuse a viewer.
    Refuse { session: u64, error: Error },
    /// Give a viewer another rendition.
    Switch(Switching),
    /// End a session.
    Close { session: u64, why: End },
    /// Ask a publisher for a keyframe.
    RequestKeyframe { session: u64 },
    /// Make this node the origin.
    Claim,
    /// Follow an origin at another node.
    StartRemote(Box<RemoteStart>),
    /// No longer follow it.
    StopRemote,
    /// Ask it for a keyframe.
    AskOrigin,
}

/// The start of an input.
pub(super) struct InputStart {
    pub(super) gate: Arc<Gate>,
    /// Where the input reports whether it is alive.
    pub(super) pulse: watch::Sender<Pulse>,
    pub(super) tracks: BroadcastTracks,
    pub(super) streams: EncodedStreams,
}

/// The start of an input that comes from another node.
pub(super) struct RemoteStart {
    pub(super) input: InputStart,
    pub(super) origin: RemoteOrigin,
}

/// The start of a pipeline run.
pub(super) struct RunStart {
    pub(super) run: RunId,
    /// Whether this restarts the pipeline after a failure.
    pub(super) again: bool,
    pub(super) file: PipelineFile,
    /// Where its variables come from.
    pub(super) plan: Arc<Plan>,
    pub(super) work: Work,
    /// The node that makes the renditions, if it is another one.
    pub(super) origin: Option<RemoteOrigin>,
    /// Asks its encoders for a keyframe.
    pub(super) keyframe: Arc<Notify>,
    /// Where the run reports its state.
    pub(super) snapshot: watch::Sender<Snapshot>,
}

impl RunStart {
    /// Reports that the pipeline starts now. It may have waited for the previous run to end.
    pub(super) fn tell_start(&self) {
        self.snapshot.send_modify(|snapshot| {
            snapshot.health.state = Activity::Starting;
            snapshot.health.restarts += u64::from(self.again);
        });
    }
}

/// What a pipeline does.
pub(super) enum Work {
    /// Feeds the broadcast.
    Source(InputStart),
    /// Makes renditions of its inputs.
    Renditions {
        inputs: EncodedStreams,
        made: Vec<Made>,
    },
    /// Takes its inputs elsewhere.
    Output { inputs: EncodedStreams },
}

/// A rendition that a pipeline makes.
pub(super) struct Made {
    /// Name of the appsink.
    pub(super) sink: String,
    /// Name of the rendition.
    pub(super) name: String,
    pub(super) rendition: Arc<fanout::Rendition>,
    /// Where other pipelines take it from.
    pub(super) stream: EncodedStream,
}

/// What a viewer gets.
pub(super) struct View {
    pub(super) tracks: BroadcastTracks,
    /// Asks for a keyframe of its video.
    pub(super) keyframe: Arc<Notify>,
}

/// A viewer's switch to another rendition.
pub(super) struct Switching {
    pub(super) session: u64,
    pub(super) kind: Kind,
    pub(super) to: TrackOrigin,
    pub(super) track: BroadcastTrack,
    /// Asks for a keyframe of what it gets; `None` for audio.
    pub(super) keyframe: Option<Arc<Notify>>,
}

/// A switch that a viewer's session has made, as the log shows it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Switched {
    pub(super) kind: Kind,
    pub(super) from: String,
    pub(super) to: String,
}
