//! What the rendition pipelines report, in the API and in the log.

use std::collections::BTreeMap;

use super::{
    RenditionPipelines,
    pipeline::{MadeRendition, RenditionPipeline},
};
use crate::broadcast::{
    choice::{ORIGINAL, RenditionId, TrackOrigin, Use},
    status::{PipelineFigures, RenditionStatus},
};

impl RenditionPipelines {
    /// An origin's name in the log.
    pub(in crate::broadcast) fn name(&self, origin: TrackOrigin) -> &str {
        match origin {
            TrackOrigin::Original => ORIGINAL,
            TrackOrigin::Rendition(id) => self.get(id).map_or("", |(rendition, _)| &rendition.name),
        }
    }

    /// Whether the API shows it: always if viewers can request it, otherwise while it runs.
    fn shown(pipeline: &RenditionPipeline) -> bool {
        pipeline.purpose == Use::Configured || !pipeline.slot.is_resting()
    }

    pub(in crate::broadcast) fn status(
        &self,
        viewers: &BTreeMap<RenditionId, usize>,
    ) -> Vec<RenditionStatus> {
        let status = |(index, rendition): (usize, &MadeRendition)| {
            let pipeline = self.pipelines.get(rendition.pipeline)?;
            let reason = pipeline.reason.as_ref();
            let misfit = reason.filter(|_| pipeline.purpose.is_automatic());
            Self::shown(pipeline).then(|| RenditionStatus {
                name: rendition.name.clone(),
                kind: rendition.kind,
                codec: rendition.codec,
                pipeline: pipeline.slot.file().name().to_owned(),
                viewers: viewers.get(&RenditionId(index)).copied().unwrap_or(0),
                automatic: misfit.map(ToString::to_string),
                misfit: misfit.cloned(),
                health: pipeline.slot.health(),
            })
        };
        self.made.iter().enumerate().filter_map(status).collect()
    }

    pub(in crate::broadcast) fn figures(&self) -> Vec<PipelineFigures> {
        let shown = self
            .pipelines
            .iter()
            .filter(|pipeline| Self::shown(pipeline));
        shown.map(|pipeline| pipeline.slot.figures()).collect()
    }
}
