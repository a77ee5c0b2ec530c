//! The actor's pipelines as operators see them.

use super::{Actor, outputs::Slot};
use crate::{
    broadcast::Error,
    broadcast::status::{PipelineFigures, PipelineKind},
};

impl Actor {
    /// Every pipeline of the broadcast, running or not.
    pub(super) fn pipelines(&self) -> Vec<PipelineFigures> {
        let source = self.source.iter().map(|(text, _)| {
            let snapshot = self.source_snapshot.borrow().clone();
            PipelineFigures::new(text, PipelineKind::Source, snapshot)
        });
        source
            .chain(self.rendition_pipelines_figures())
            .chain(self.outputs_figures())
            .collect()
    }

    /// Has a pipeline's encoders make a keyframe; for an output, whoever feeds the broadcast.
    pub(super) fn force_keyframe(&mut self, pipeline: &str) -> Result<(), Error> {
        let named = |slot: &Slot| slot.text.name() == pipeline;
        let idle = || Error::Idle(pipeline.to_owned());
        if let Some(pipeline) = self.rendition_pipelines.iter().find(|it| named(&it.slot)) {
            let running = pipeline.slot.snapshot().control.is_some();
            running.then_some(()).ok_or_else(idle)?;
            pipeline.keyframe.notify_one();
            return Ok(());
        }
        let running = if let Some(slot) = self.outputs.iter().find(|slot| named(slot)) {
            slot.snapshot().control.is_some()
        } else {
            let mut source = self.source.iter();
            let source = source.find(|(text, _)| text.name() == pipeline);
            source.ok_or(Error::Missing("pipeline"))?;
            self.source_snapshot.borrow().control.is_some()
        };
        running.then_some(()).ok_or_else(idle)?;
        self.keyframe_due = true;
        Ok(())
    }
}
