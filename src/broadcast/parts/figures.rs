//! What the parts report about their broadcast.

use std::time::Instant;

use super::Parts;
use crate::{
    broadcast::{
        status::{Details, PipelineFigures, SourceKind, State, Status, TrackStatus},
        tracks::KINDS,
    },
    media::Kind,
};

impl Parts {
    pub(in crate::broadcast) fn status(&self, now: Instant) -> Status {
        let state = self.state(now);
        let tracks = match state {
            State::Waiting => Vec::new(),
            State::Live | State::Stale | State::Slate => self.tracks_status(),
        };
        Status {
            name: self.name.clone(),
            about: self.plan.about(),
            state,
            viewers: self.audience.watchers(),
            started: self.supply.live_since(),
            source: if self.plan.source.is_some() {
                SourceKind::Pipeline
            } else {
                SourceKind::Whip
            },
            tracks,
            outputs: self.outputs.status(),
            renditions: self.renditions.status(&self.audience.viewers()),
            transcodes_full: self.renditions.refused(),
            on_demand: self.plan.on_demand,
            chat: self.plan.chat,
            connected: self.supply.is_connected(),
        }
    }

    fn tracks_status(&self) -> Vec<TrackStatus> {
        let status = |kind| {
            let track = self.supply.tracks().of(kind)?;
            let stream = self.supply.streams().of(kind);
            Some(TrackStatus {
                kind,
                codec: track.codec?,
                transcoded_from: stream.and_then(|stream| stream.demands().origin),
                stalled: self.supply.is_stalled(kind),
                keyless: kind == Kind::Video && self.supply.is_keyless(),
                layers: track.layers.iter().map(|layer| layer.rid.clone()).collect(),
            })
        };
        KINDS.into_iter().filter_map(status).collect()
    }

    /// The status, with the figures of the pipelines.
    pub(in crate::broadcast) fn details(&self, now: Instant) -> Details {
        Details {
            status: Status {
                outputs: Vec::new(),
                ..self.status(now)
            },
            outputs: self.outputs.figures(),
            rendition_pipelines: self.renditions.figures(),
        }
    }

    /// Every pipeline of the broadcast, running or not.
    pub(in crate::broadcast) fn pipelines(&self) -> Vec<PipelineFigures> {
        self.supply
            .source_figures()
            .into_iter()
            .chain(self.renditions.figures())
            .chain(self.outputs.figures())
            .collect()
    }
}
