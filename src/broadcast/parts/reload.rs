//! Another plan while the broadcast runs.

use std::{sync::Arc, time::Instant};

use super::Parts;
use crate::{
    broadcast::{action::Action, rules::Rules},
    plan::Plan,
};

/// Renditions to make from now on: as soon as none of the present ones is in use, because viewers
/// know them by index.
pub(super) struct NextRenditions {
    rules: Rules,
    plan: Arc<Plan>,
}

impl Parts {
    /// Follows other rules and another plan. Sessions go on: what has not changed keeps running, the
    /// rest is stopped or started again.
    pub(in crate::broadcast) fn reconfigure(
        &mut self,
        rules: Rules,
        plan: Arc<Plan>,
        now: Instant,
    ) -> Vec<Action> {
        self.viewers_max = rules.viewers_max;
        let mut actions = Vec::from_iter(self.supply.reconfigure(&rules, &plan, now));
        actions.extend(self.outputs.reconfigure(&plan));
        self.plan = Arc::clone(&plan);
        self.next_renditions = Some(NextRenditions { rules, plan });
        self.renew_renditions(now);
        actions.extend(self.decide(now));
        actions
    }

    /// Takes over the renditions and the slate that are to come, once nobody uses the present ones.
    pub(super) fn renew_renditions(&mut self, now: Instant) {
        let in_use = self.renditions.is_busy()
            || self.slate.is_shown()
            || !self.audience.watched().is_empty()
            || !self.audience.promised().is_empty();
        let Some(next) = self.next_renditions.take() else {
            return;
        };
        if self.renditions.are_same(&next.plan) {
            self.renditions.reconfigure(&next.rules);
        } else if in_use {
            self.renditions.reconfigure(&next.rules);
            self.next_renditions = Some(next);
        } else {
            self.renditions
                .renew(&self.name, &next.plan, &next.rules, now);
            self.slate
                .reconfigure(next.plan.slate.is_some(), next.plan.grace);
        }
    }
}
