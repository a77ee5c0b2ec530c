//! The owner's pipelines as operators see them.

use super::{Owner, outputs::Slot};
use crate::{
    broadcast::status::{PipelineFigures, PipelineKind},
    error::Error,
};

impl Owner {
    /// Every pipeline of the broadcast, running or not.
    pub(super) fn pipelines(&self) -> Vec<PipelineFigures> {
        let source = self.source.iter().map(|(text, _)| {
            let told = self.source_told.borrow().clone();
            PipelineFigures::new(text, PipelineKind::Source, told)
        });
        source
            .chain(self.ladders_figures())
            .chain(self.outputs_figures())
            .collect()
    }

    /// Has a pipeline's encoders make a keyframe; for an output, whoever feeds the broadcast.
    pub(super) fn force_keyframe(&mut self, pipeline: &str) -> Result<(), Error> {
        let named = |slot: &Slot| slot.text.name() == pipeline;
        let idle = || Error::Idle(pipeline.to_owned());
        if let Some(ladder) = self.ladders.iter().find(|it| named(&it.slot)) {
            let running = ladder.slot.told().control.is_some();
            running.then_some(()).ok_or_else(idle)?;
            ladder.keyframe.notify_one();
            return Ok(());
        }
        let running = if let Some(slot) = self.outputs.iter().find(|slot| named(slot)) {
            slot.told().control.is_some()
        } else {
            let mut source = self.source.iter();
            let source = source.find(|(text, _)| text.name() == pipeline);
            source.ok_or(Error::Missing("pipeline"))?;
            self.source_told.borrow().control.is_some()
        };
        running.then_some(()).ok_or_else(idle)?;
        self.keyframe_due = true;
        Ok(())
    }
}
