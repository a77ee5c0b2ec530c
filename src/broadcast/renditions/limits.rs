//! How many automatic transcodes may run, and what is promised to viewers that have yet to connect.

use std::{collections::BTreeSet, time::Instant};

use super::RenditionPipelines;
use crate::{broadcast::choice::RenditionId, media::Kind, stream::EncodedStream};

impl RenditionPipelines {
    /// Promises a rendition to a viewer that has yet to connect: it can be negotiated, and its
    /// pipeline starts when the viewer is connected. Its place among the transcodes is taken now;
    /// false if there is none.
    pub(in crate::broadcast) fn promise(&mut self, id: RenditionId, now: Instant) -> bool {
        let Some(index) = self.made.get(id.0).map(|made| made.pipeline) else {
            return false;
        };
        if let Some(pipeline) = self.pipelines.get_mut(index) {
            pipeline.used = now;
        }
        let has_place = self.take_place(index);
        if has_place {
            self.carry(index);
        }
        has_place
    }

    /// A rendition that other nodes may take: never the slate.
    pub(in crate::broadcast) fn lendable(
        &self,
        kind: Kind,
        name: &str,
    ) -> Option<(RenditionId, EncodedStream)> {
        let mut made = self.made.iter().enumerate();
        let (index, rendition) = made.find(|(_, rendition)| {
            let pipeline = self.pipelines.get(rendition.pipeline);
            rendition.kind == kind
                && rendition.name == name
                && pipeline.is_some_and(|pipeline| !pipeline.purpose.is_slate())
        })?;
        Some((RenditionId(index), rendition.stream.clone()))
    }

    /// Gives back the places of what is promised to nobody any more. `promised` are the renditions
    /// that viewers have been promised or get.
    pub(in crate::broadcast) fn keep_promises(&mut self, promised: &BTreeSet<RenditionId>) {
        for index in 0..self.pipelines.len() {
            let mut kept = promised.iter().filter_map(|id| self.made.get(id.0));
            let is_kept = kept.any(|made| made.pipeline == index);
            let pipeline = self.pipelines.get(index);
            let holds =
                pipeline.is_some_and(|found| found.slot.is_resting() && found.permit.is_some());
            if holds && !is_kept {
                self.forget(index);
            }
        }
    }

    /// Makes sure that a pipeline has its place, if it needs one. False if there is none.
    pub(super) fn take_place(&mut self, index: usize) -> bool {
        let has_room = self.full().is_none();
        let Some(pipeline) = self.pipelines.get_mut(index) else {
            return false;
        };
        if pipeline.lacks_place() && has_room {
            pipeline.permit = self.budget.take();
        }
        !pipeline.lacks_place()
    }

    /// The limit that keeps further automatic transcodes from starting, if one does.
    pub(super) fn full(&self) -> Option<&'static str> {
        let mut permits = 0;
        for pipeline in &self.pipelines {
            permits += usize::from(pipeline.permit.is_some());
        }
        if permits >= self.transcodes_max {
            Some("limits.broadcast_transcodes")
        } else if self.budget.has_room() {
            None
        } else {
            Some("limits.transcodes")
        }
    }

    /// Says once that an automatic transcode is refused.
    pub(in crate::broadcast) fn note_full(&mut self) {
        let limit = self.full();
        if limit.is_some() && self.refused != limit {
            tracing::warn!(
                limit,
                "transcoding refused: too many transcodes are running"
            );
            self.refused = limit;
        }
    }

    /// See [`Status::transcodes_full`](crate::broadcast::status::Status::transcodes_full).
    pub(in crate::broadcast) fn refused(&self) -> Option<&'static str> {
        self.refused
    }
}
