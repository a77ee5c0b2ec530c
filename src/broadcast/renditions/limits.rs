//! How many automatic transcodes may run.

use super::RenditionPipelines;

impl RenditionPipelines {
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
