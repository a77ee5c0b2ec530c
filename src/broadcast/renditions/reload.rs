//! Another plan while the broadcast runs.

use std::{sync::Arc, time::Instant};

use super::RenditionPipelines;
use crate::{
    broadcast::rules::Rules,
    plan::{Name, Plan},
};

impl RenditionPipelines {
    /// Whether they are what this plan wants.
    pub(in crate::broadcast) fn are_same(&self, plan: &Arc<Plan>) -> bool {
        *self.plan == **plan
    }

    /// Follows other limits.
    pub(in crate::broadcast) fn reconfigure(&mut self, rules: &Rules) {
        self.transcodes_max = rules.transcodes_max;
    }

    /// Follows another plan. Nothing may be in use.
    pub(in crate::broadcast) fn renew(
        &mut self,
        broadcast: &Name,
        plan: &Arc<Plan>,
        rules: &Rules,
        now: Instant,
    ) {
        let pipelines = self.pipelines.iter();
        let runs = pipelines.map(|pipeline| pipeline.slot.run_count()).max();
        let new_rendition = Arc::clone(&self.new_rendition);
        *self = Self::new(broadcast, plan, rules, new_rendition, now);
        for pipeline in &mut self.pipelines {
            pipeline.slot.count_from(runs.unwrap_or(0));
        }
    }
}
