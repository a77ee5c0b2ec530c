//! What the actor tells of its broadcast.

use std::time::Instant;

use super::Actor;
use crate::{
    broadcast::status::{Details, State, Status, TrackStatus},
    media::Kind,
};

impl Actor {
    pub(super) fn details(&self) -> Details {
        let status = Status {
            outputs: Vec::new(),
            ..self.status.borrow().clone()
        };
        Details {
            status,
            outputs: self.outputs_figures(),
            rendition_pipelines: self.rendition_pipelines_figures(),
        }
    }

    pub(super) fn publish_status(&self) {
        let now = Instant::now();
        let feed = self.feed.as_ref();
        let state = self.state(now);
        let tracks = match state {
            State::Waiting => Vec::new(),
            State::Live | State::Stale | State::Slate => [Kind::Video, Kind::Audio]
                .into_iter()
                .filter_map(|kind| {
                    let track = self.tracks.of(kind)?;
                    let layers = track.layers.iter().map(|layer| layer.rid.clone()).collect();
                    let stream = self.streams.of(kind);
                    Some(TrackStatus {
                        kind,
                        codec: track.codec?,
                        transcoded_from: stream.and_then(|stream| stream.demands().origin),
                        layers,
                    })
                })
                .collect(),
        };
        let changed = self.status.send_if_modified(|status| {
            let new = Status {
                state,
                viewers: self.viewers.len(),
                started: feed.and_then(|feed| feed.live_since),
                tracks,
                outputs: self.outputs_status(),
                renditions: self.renditions_status(),
                on_demand: self.plan.on_demand,
                live: feed.is_some_and(|feed| feed.pulse.borrow().connected.is_some()),
                name: status.name.clone(),
                source: status.source,
            };
            let changed = *status != new;
            *status = new;
            changed
        });
        if changed {
            self.shared.notify();
        }
    }

    pub(super) fn is_live(&self) -> bool {
        self.feed.as_ref().is_some_and(|it| it.live_since.is_some())
    }

    pub(super) fn state(&self, now: Instant) -> State {
        let Some(feed) = self.feed.as_ref().filter(|feed| feed.live_since.is_some()) else {
            return if self.slate {
                State::Slate
            } else {
                State::Waiting
            };
        };
        if feed
            .pulse
            .borrow()
            .is_stale(now, &self.shared.options.times)
        {
            State::Stale
        } else {
            State::Live
        }
    }
}
